"""Series for plots: from the journal's counts and samples, and from what the watcher counted last.
None looks at the log or at meetings, so none takes longer as they grow.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from kms.audit.actions import MINTING
from kms.domain.models import EVERY_SPACE, Principal, RotationReason
from kms.policy.authorizer import Target
from kms.ports import Slot
from kms.usecases import recorder
from kms.usecases.services import Call, Services, authorize
from kms.usecases.watch.state import AGES

_R = RotationReason
REASONS: dict[str, frozenset[str]] = {
    "opened": frozenset({_R.OPEN}),
    "time": frozenset({_R.TIME, _R.USES}),
    "roster": frozenset({_R.JOIN, _R.LEAVE}),
    "manual": frozenset({_R.MANUAL}),
    "suspicion": frozenset({_R.SUSPICION, _R.COMPROMISE}),
}
"""Classes of the reasons why keys are made."""
_CLASS = {reason: name for name, reasons in REASONS.items() for reason in reasons}
_DAY = 24 * 3600
_BY_HOUR = 4 * _DAY
"""A range up to this is shown by hours, a longer one by days."""


@dataclass(frozen=True, slots=True)
class Series:
    """Points of (whole seconds since 1970, or the end of a bucket in seconds; value). ``unit``:
    count, share (0 to 1), seconds, per-second or score (0 to 1). ``subject``: a space or token.
    """

    name: str
    unit: str
    points: tuple[tuple[int, float], ...]
    subject: str = ""


async def rotation_series(
    services: Services, call: Call, since: int, until: int
) -> tuple[Series, ...]:
    """Return how many keys were made in the caller's spaces, a series for each class of reasons, by
    hours or days of the site's time; slots without any are 0. Raise Forbidden, StoreUnavailable.
    """
    await authorize(services, call, Target(), "rotation", "rotation.read")
    slot: Slot = "hour" if until - since <= _BY_HOUR else "day"
    spaces, bounds = _spaces(call.principal), (_time(since), _time(until))
    ahead = services.settings.site.utc_offset_minutes
    counts = await asyncio.to_thread(
        services.journal.counts, MINTING, *bounds, slot, "reason", spaces, ahead
    )
    slots = _slots(since, until, slot, 60 * ahead)
    found = {name: dict.fromkeys(slots, 0.0) for name in REASONS}
    for one in counts:
        points, start = found[_CLASS.get(one.key, "manual")], _seconds(one.start) - 60 * ahead
        points[start] = points.get(start, 0.0) + one.number
    return tuple(
        Series(name, "count", tuple(sorted(points.items()))) for name, points in found.items()
    )


async def key_age_series(services: Services, call: Call) -> tuple[int, Series]:
    """Return when keys were counted last (whole seconds; 0: not yet), and how many in the caller's
    spaces were up to each age old; the last bucket has no end, which 0 stands for.
    """
    await authorize(services, call, Target(), "rotation", "rotation.read")
    facts = services.watched.facts
    ages = [one.ages for name, one in facts.keys.items() if call.principal.reaches(name)]
    sums = [float(sum(column)) for column in zip(*(one for one in ages if one), strict=True)]
    points = zip((*AGES, 0), sums or [0.0] * (len(AGES) + 1), strict=True)
    return facts.keys_at, Series("key-age", "count", tuple(points))


async def fetch_series(
    services: Services, call: Call, since: int, until: int
) -> tuple[Series, ...]:
    """Return fetches a second, and what half and 95 of 100 took at most. Raise Forbidden,
    StoreUnavailable.
    """
    await authorize(services, call, Target(), "status", "status.read")
    units = {
        recorder.FETCHES: "per-second",
        recorder.FETCH_P50: "seconds",
        recorder.FETCH_P95: "seconds",
    }
    wanted = [(name, unit, "") for name, unit in units.items()]
    return await _sampled(services, wanted, since, until)


async def hsm_series(services: Services, call: Call, since: int, until: int) -> tuple[Series, ...]:
    """Return requests a second and the busy share of each token that the caller may know of. Raise
    Forbidden, StoreUnavailable.
    """
    await authorize(services, call, Target(), "hsm", "hsm.read")
    tokens = services.settings.hsm.tokens
    labels = [one.label for one in tokens if not one.space or call.principal.reaches(one.space)]
    units = {recorder.HSM_REQUESTS: "per-second", recorder.HSM_BUSY: "share"}
    wanted = [(name, unit, label) for label in labels for name, unit in units.items()]
    return await _sampled(services, wanted, since, until)


async def score_series(
    services: Services, call: Call, space: str, since: int, until: int
) -> tuple[Series, ...]:
    """Return the mean and the lowest score of a space's open meetings, how many they were and how
    many overdue. Raise Forbidden, NotFound, Sealed, StoreUnavailable.
    """
    await authorize(services, call, Target(space=space), f"spaces/{space}", "score.read")
    units = {
        recorder.SCORE_MEAN: "score",
        recorder.SCORE_LOWEST: "score",
        recorder.OPEN: "count",
        recorder.OVERDUE: "count",
    }
    wanted = [(name, unit, space) for name, unit in units.items()]
    return await _sampled(services, wanted, since, until)


async def _sampled(
    services: Services, wanted: Iterable[tuple[str, str, str]], since: int, until: int
) -> tuple[Series, ...]:
    """Return a series for each name, unit and subject."""

    def read() -> tuple[Series, ...]:
        samples = services.journal.samples
        return tuple(
            Series(name, unit, tuple(samples(name, since, until, subject)), subject)
            for name, unit, subject in wanted
        )

    return await asyncio.to_thread(read)


def _spaces(principal: Principal) -> frozenset[str] | None:
    return None if EVERY_SPACE in principal.spaces else principal.spaces


def _slots(since: int, until: int, slot: Slot, ahead: int) -> range:
    width = 3600 if slot == "hour" else _DAY
    return range(since - (since + ahead) % width, until, width)


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _seconds(start: str) -> int:
    return int(datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp())
