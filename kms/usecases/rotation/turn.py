"""One rotation by the engine, and how many there are a second."""

import asyncio

from kms.domain.ids import MeetingId, SpaceName
from kms.ports import Clock
from kms.usecases.activations import SERVICE
from kms.usecases.minting import Plan, mint
from kms.usecases.rotation.outlook import outlook
from kms.usecases.services import Call, Services, lock_name


class Pace:
    """At most so many turns a second, over all spaces."""

    def __init__(self, per_second: int, clock: Clock) -> None:
        self._gap, self._clock = 1 / per_second, clock
        self._next = float("-inf")

    async def turn(self) -> None:
        """Wait for the next turn."""
        now = self._clock.monotonic()
        at = max(self._next, now)
        self._next = at + self._gap
        if at > now:
            await asyncio.sleep(at - now)


async def rotate_if_due(services: Services, space: SpaceName, meeting: MeetingId) -> None:
    """Mint a meeting's next epoch if it is due; else do nothing. Raise as ``mint``.

    What has begun comes to its end, also when the service stops meanwhile.
    """
    task = asyncio.ensure_future(_rotate(services, space, meeting))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


async def _rotate(services: Services, space: SpaceName, meeting: MeetingId) -> None:
    async with services.locks.of(lock_name(space, meeting)):
        seen = await outlook(services, space, meeting)
        if seen is None or seen.due is None or seen.due.at > services.seconds():
            return
        roster, row = await services.cache.roster(space, meeting)
        plan = Plan(seen.meeting, seen.version, roster, row, False, seen.due.reason, {})
        await mint(services, Call(SERVICE, "epoch.rotate", ""), plan)
