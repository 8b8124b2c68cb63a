"""Notes for plots what stands in no log: how fast envelopes are fetched, how busy tokens are, how
open meetings score. Nothing is decided on it.

It reads counters that are kept anyway, so nothing on the way of a request waits for it; of scores
it looks at one meeting at a time, and others have their turn.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing
from itertools import accumulate

from kms.domain.ids import SpaceName
from kms.errors import ConclaveError
from kms.ports import Load, Sample
from kms.usecases.rotation.status import open_outlooks
from kms.usecases.scores import MeetingScore, known_of, scored
from kms.usecases.services import Services
from kms.usecases.watch.state import Served
from kms.usecases.watch.survey import open_spaces

FETCHES, FETCH_P50, FETCH_P95 = "fetches", "fetch-p50", "fetch-p95"
"""Fetches a second; seconds that half of them, and 95 of 100, took at most."""
HSM_REQUESTS, HSM_BUSY = "hsm-requests", "hsm-busy"
"""Of a token: requests a second; the share of time (0 to 1) in which it had something to do."""
OPEN, OVERDUE = "meetings-open", "meetings-overdue"
SCORE_MEAN, SCORE_LOWEST = "score-mean", "score-lowest"
"""Of a space's open meetings."""
_LOG = logging.getLogger(__name__)


class Recorder:
    """The background work."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._taken = services.clock.monotonic()
        self._served: Served = services.watched.served()
        self._loads: dict[str, Load] = {}
        self._scores_due = 0.0

    async def run(self) -> None:
        """Take samples at the interval, for ever."""
        await self._services.escrow_log.catch_up(self._services.store)
        while True:
            await asyncio.sleep(self._services.settings.watch.sample_seconds)
            try:
                await self.take()
            except ConclaveError as error:
                _LOG.info("samples were not kept: %s", error.message)
            except Exception:  # noqa: BLE001 -- nothing depends on samples
                _LOG.exception("taking samples failed unexpectedly")

    async def take(self) -> None:
        """Take the samples that are due; raise StoreUnavailable."""
        services = self._services
        now, watched = services.clock.monotonic(), services.watched
        time, passed = services.seconds(), max(now - self._taken, 1e-3)
        served, loads = watched.served(), watched.loads()
        await services.escrow_log.catch_up(services.store)
        samples = [*fetch_samples(time, passed, self._served, served)]
        for label, load in loads.items():
            samples += load_samples(time, passed, label, self._loads.get(label), load)
        self._taken, self._served, self._loads = now, served, loads
        if now >= self._scores_due:
            self._scores_due = now + services.settings.watch.score_seconds
            for space in open_spaces(services):
                samples += await self._scores(time, space)
        await asyncio.to_thread(services.journal.put_samples, samples)

    async def _scores(self, time: int, space: SpaceName) -> list[Sample]:
        """Return what a space's open meetings score; nothing if its token does not answer."""
        found: list[tuple[float, bool]] = []
        try:
            known = await known_of(self._services, space)
            async with aclosing(open_outlooks(self._services, space, "")) as meetings:
                async for seen in meetings:
                    one: MeetingScore = scored(self._services, seen, None, known)
                    found.append((one.score.number, one.overdue))
                    await asyncio.sleep(0)
        except ConclaveError as error:
            _LOG.info("the meetings of %s are not scored: %s", space, error.code)
            return []
        return score_samples(time, space, found)


def fetch_samples(time: int, passed: float, before: Served, now: Served) -> list[Sample]:
    """Return rate and latency of the fetches between two counts, ``passed`` seconds apart."""
    earlier = before.counts or (0,) * len(now.counts)
    fresh = [one - old for one, old in zip(now.counts, earlier, strict=True)]
    samples = [Sample(time, FETCHES, sum(fresh) / passed)]
    if any(fresh):
        samples.append(Sample(time, FETCH_P50, quantile(now.bounds, fresh, 0.5)))
        samples.append(Sample(time, FETCH_P95, quantile(now.bounds, fresh, 0.95)))
    return samples


def quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float:
    """Return up to which value that share of the counted lies, as if evenly spread within buckets;
    beyond the last bound, that bound.
    """
    rank = share * sum(counts)
    lower = 0.0
    for upper, count, total in zip(bounds, counts, accumulate(counts), strict=False):
        if count and total >= rank:
            return lower + (upper - lower) * (rank - (total - count)) / count
        lower = upper
    return lower


def load_samples(
    time: int, passed: float, label: str, before: Load | None, now: Load
) -> list[Sample]:
    """Return a token's load between two counts; nothing of the first."""
    if before is None:
        return []
    busy = min(1.0, max(0.0, (now.busy - before.busy) / passed))
    requests = (now.requests - before.requests) / passed
    return [Sample(time, HSM_REQUESTS, requests, label), Sample(time, HSM_BUSY, busy, label)]


def score_samples(time: int, space: str, found: Sequence[tuple[float, bool]]) -> list[Sample]:
    """Return a space's samples of (score, overdue) of each open meeting."""
    scores = [one for one, _ in found]
    samples = [
        Sample(time, OPEN, len(found), space),
        Sample(time, OVERDUE, sum(overdue for _, overdue in found), space),
    ]
    if scores:
        samples.append(Sample(time, SCORE_MEAN, sum(scores) / len(scores), space))
        samples.append(Sample(time, SCORE_LOWEST, min(scores), space))
    return samples
