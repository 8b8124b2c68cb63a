"""Counters of requests and families of the site's facts, in Prometheus' text format 0.0.4.

Labels are of closed sets or from the configuration: never a space, a meeting or a caller.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from kms.usecases.watch.state import Served

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BOUNDS = (
    *(0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
_FETCHES = ("envelope.fetch", "envelope.relay")


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: its values by the value of its one label, or a single one by the empty text."""

    name: str
    kind: Literal["gauge", "counter"]
    meaning: str
    values: Mapping[str, float]
    label: str = ""

    def lines(self) -> Iterator[str]:
        """Yield its text."""
        yield f"# HELP {self.name} {self.meaning}"
        yield f"# TYPE {self.name} {self.kind}"
        for value, number in sorted(self.values.items()):
            labels = f'{{{self.label}="{value}"}}' if self.label else ""
            yield f"{self.name}{labels} {_number(number)}"


def _number(value: float) -> str:
    """Return a number without loss: counts of leaves go beyond six digits."""
    return str(int(value)) if value == int(value) else f"{value:.3f}"


class Metrics:
    """What has been answered since the start; bounded by operations times status codes."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int], int] = defaultdict(int)
        self._seconds: dict[str, float] = defaultdict(float)
        self._buckets: dict[str, list[int]] = {}

    def count(self, operation: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._counts[operation, status] += 1
        self._seconds[operation] += seconds
        buckets = self._buckets.get(operation)
        if buckets is None:
            buckets = self._buckets[operation] = [0] * (len(_BOUNDS) + 1)
        for place, bound in enumerate(_BOUNDS):
            if seconds <= bound:
                buckets[place] += 1
                return
        buckets[-1] += 1

    def served(self) -> Served:
        """Return how long fetches took, of whichever kind: for the watcher's samples."""
        known = [self._buckets[name] for name in _FETCHES if name in self._buckets]
        counts = tuple(map(sum, zip(*known, strict=True)))
        return Served(_BOUNDS, counts or (0,) * (len(_BOUNDS) + 1))

    def render(self, families: Sequence[Family]) -> str:
        """Return the text: the families, then what was counted here."""
        lines = [line for family in families for line in family.lines()]
        lines += [
            "# HELP conclave_requests_total Answers by operation and status.",
            "# TYPE conclave_requests_total counter",
        ]
        lines += [
            f'conclave_requests_total{{operation="{operation}",status="{status}"}} {count}'
            for (operation, status), count in sorted(self._counts.items())
        ]
        lines += [
            "# HELP conclave_request_seconds Time to answer.",
            "# TYPE conclave_request_seconds histogram",
        ]
        for operation in sorted(self._buckets):
            lines += self._histogram(operation)
        return "\n".join(lines) + "\n"

    def _histogram(self, operation: str) -> list[str]:
        label = f'operation="{operation}"'
        sums = list(accumulate(self._buckets[operation]))
        bounds = [*(f"{bound:g}" for bound in _BOUNDS), "+Inf"]
        return [
            *(
                f'conclave_request_seconds_bucket{{{label},le="{bound}"}} {total}'
                for bound, total in zip(bounds, sums, strict=True)
            ),
            f"conclave_request_seconds_sum{{{label}}} {self._seconds[operation]:.6f}",
            f"conclave_request_seconds_count{{{label}}} {sums[-1]}",
        ]
