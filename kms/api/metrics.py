"""Counters of requests and gauges of the site, in Prometheus' text format 0.0.4.

Labels are operations and status codes: never a space, a meeting or a caller.
"""

from collections import defaultdict
from itertools import accumulate

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


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

    def render(self, gauges: dict[str, tuple[str, float]]) -> str:
        """Return the text; ``gauges`` maps a name to its meaning and value."""
        lines = []
        for name, (meaning, value) in gauges.items():
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge", f"{name} {value:g}"]
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
