"""Looks whether the wall clock has jumped, and writes each jump once; decides nothing by it."""

import asyncio
import logging
from datetime import UTC, datetime

from kms.audit.leaf import LeafDraft, Outcome, Phase, decode_leaf
from kms.clock import TOLERANCE, SteadyClock
from kms.errors import ConclaveError
from kms.ports import Store, Unit
from kms.usecases.activations import SERVICE
from kms.usecases.services import Call

LEAP = 86_400.0
"""So long a silence of the log is worth a look: the machine was off, or its clock is wrong."""
_LOOK_SECONDS = 1.0
_LATEST = 253_402_300_799
"""The last second that can be written."""
_LOG = logging.getLogger(__name__)


class ClockWatch:
    """Compares the wall clock with the service's; ``offset`` is by how many seconds the wall clock
    was ahead when it looked last (negative: behind).
    """

    def __init__(self, store: Store, clock: SteadyClock) -> None:
        self._store, self._clock = store, clock
        self.offset = 0.0
        self._told = 0.0

    async def start(self) -> None:
        """Go on from the log's last leaf, and write it if the wall clock is far from that.

        Behind it, the service keeps to the log's time; ahead, the wall clock is believed.
        """
        last = _last_time(self._store)
        gap = self._clock.wall() - last
        self._clock.not_before(last)
        self.offset = self._told = self._difference()
        if last and (gap < -TOLERANCE or gap > LEAP):
            await self._write(gap)

    async def run(self) -> None:
        """Look each second, for ever; what cannot be written is written later."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self.look()
            except ConclaveError as error:
                _LOG.warning("a jump of the clock could not be logged: %s", error.code)

    async def look(self) -> None:
        """Write a jump since the last one; raise as ``Store.commit``."""
        self.offset = seen = self._difference()
        if abs(seen - self._told) > TOLERANCE:
            await self._write(seen - self._told)
            self._told = seen

    def _difference(self) -> float:
        return self._clock.wall() - self._clock.now()

    async def _write(self, seconds: float) -> None:
        await self._store.commit(Unit(leaves=(self._leaf(round(seconds)),)))
        _LOG.warning("the wall clock jumped by %+d seconds", round(seconds))

    def _leaf(self, seconds: int) -> LeafDraft:
        wall = datetime.fromtimestamp(max(0, min(int(self._clock.wall()), _LATEST)), UTC)
        return Call(SERVICE, "clock.jump", "").leaf(
            "",
            "clock",
            Phase.EVENT,
            Outcome.SUCCEEDED,
            details={"seconds": seconds, "wall": wall.strftime("%Y-%m-%dT%H:%M:%SZ")},
        )


def _last_time(store: Store) -> float:
    """Return the last leaf's time in seconds since 1970, 0 if there is none."""
    size = store.tree_size()
    if not size:
        return 0.0
    return datetime.fromisoformat(decode_leaf(store.leaves(size - 1, 1)[0]).time).timestamp()
