"""One space's meetings in the order in which their next epochs are due, and their rotation.

What fails is tried again, later and later, while others go on. Rows are read unchecked only to
know when to look; what is rotated comes through the verified cache.
"""

import asyncio
import heapq
import logging
from contextlib import suppress
from dataclasses import dataclass

from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Epoch
from kms.domain.policies import RotationRules
from kms.domain.rows import SealedRow
from kms.errors import (
    AuditUnavailable,
    ConclaveError,
    HsmUnavailable,
    InvalidInput,
    Sealed,
    StoreUnavailable,
)
from kms.statements.canonical import read_row
from kms.usecases.policies import policy_in_force
from kms.usecases.rotation.lease import Lease
from kms.usecases.rotation.outlook import Outlook, outlook
from kms.usecases.rotation.rules import next_due
from kms.usecases.rotation.turn import Pace, rotate_if_due
from kms.usecases.services import Services

_PAGE = 500
_PAUSE_SECONDS = 1.0
"""How long to wait at most before the clock is looked at again."""
_LOOK_AGAIN = 3600
"""A meeting is looked at so often at least, whatever its unchecked row says."""
_FIRST_RETRY, _LAST_RETRY = 1, 300
_MOST_REST = 30
_SPACE_TROUBLES = (HsmUnavailable, StoreUnavailable, AuditUnavailable, Sealed)
"""What ails the whole space, not one meeting."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Limit:
    """So many uses of an epoch are enough."""

    epoch: int
    uses: int


class SpaceQueue:
    """The meetings of one space, each with the moment at which to look at it."""

    def __init__(self, services: Services, space: SpaceName, lease: Lease, pace: Pace) -> None:
        self._services, self._space = services, space
        self._lease, self._pace = lease, pace
        self._heap: list[tuple[int, str]] = []
        self._planned: dict[str, int] = {}
        self._limits: dict[str, _Limit] = {}
        self._failures: dict[str, int] = {}
        self._troubles = 0
        self._changed = asyncio.Event()
        self._stale = True

    @property
    def counts_uses(self) -> bool:
        """Whether any meeting here has a maximum of uses."""
        return bool(self._limits)

    def look(self, meeting: str) -> None:
        """Look at a meeting soon: something of it has changed."""
        now = self._services.seconds()
        if self._planned.get(meeting, now + 1) > now:
            self._failures.pop(meeting, None)
            self._plan(meeting, now)

    def look_at_all(self) -> None:
        """Look at every meeting anew: the space's policy has changed, or it is in service again."""
        self._stale = True
        self._changed.set()

    def served(self, meeting: str, epoch: int) -> None:
        """Look at a meeting if an epoch has now been used often enough."""
        limit = self._limits.get(meeting)
        if limit is None or limit.epoch != epoch:
            return
        if self._services.store.uses(self._space, MeetingId(meeting), epoch) >= limit.uses:
            self.look(meeting)

    async def run(self) -> None:
        """Rotate what is due, for ever."""
        while True:
            await self._lease.wait()
            try:
                if self._stale:
                    await self._load()
                await self._due_ones()
            except ConclaveError as error:
                await self._rest(error)
            else:
                await self._wait()

    # when to look

    def _plan(self, meeting: str, at: int) -> None:
        at = min(at, self._services.seconds() + _LOOK_AGAIN)
        if self._planned.get(meeting) == at:
            return
        self._planned[meeting] = at
        heapq.heappush(self._heap, (at, meeting))
        self._changed.set()

    async def _load(self) -> None:
        """Plan every meeting whose key may be in use, page by page; bad rows are looked at."""
        self._stale = False
        try:
            rules = (await policy_in_force(self._services, self._space))[0].rotation
            after = ("", -1)
            while page := self._services.store.present_epochs(self._space, after, _PAGE):
                for sealed in page:
                    after = _place(sealed)
                    self._plan_row(rules, sealed, after)
                await asyncio.sleep(0)  # others have their turn between two pages
        except ConclaveError:
            self._stale = True
            raise

    def _plan_row(self, rules: RotationRules, sealed: SealedRow, place: tuple[str, int]) -> None:
        meeting, number = place
        now = self._services.seconds()
        try:
            epoch = read_row(sealed.row)
        except InvalidInput:
            self._plan(meeting, now)
            return
        if not isinstance(epoch, Epoch):
            return
        uses = self._services.store.uses(self._space, MeetingId(meeting), number)
        due = next_due(rules, epoch, None, uses, now)
        self._limit(meeting, number, rules)
        if due is not None:
            self._plan(meeting, due.at)

    def _limit(self, meeting: str, epoch: int, rules: RotationRules) -> None:
        if rules.maximum_uses:
            self._limits[meeting] = _Limit(epoch, rules.maximum_uses)
        else:
            self._limits.pop(meeting, None)

    async def _wait(self) -> None:
        self._changed.clear()
        if self._stale:
            return
        due = self._heap[0][0] - self._services.clock.now() if self._heap else _PAUSE_SECONDS
        if due > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(due, _PAUSE_SECONDS)):
                    await self._changed.wait()

    # what to do then

    async def _due_ones(self) -> None:
        while self._heap and self._heap[0][0] <= self._services.clock.now():
            if self._stale or not self._lease.held():
                return
            at, meeting = heapq.heappop(self._heap)
            if self._planned.get(meeting) == at:
                del self._planned[meeting]
                await self._turn(MeetingId(meeting))

    async def _turn(self, meeting: MeetingId) -> None:
        """Look at a meeting, and rotate it if it is due; raise what ails the whole space."""
        try:
            seen = await outlook(self._services, self._space, meeting)
            if self._is_due(meeting, seen):
                await self._pace.turn()
                if self._lease.held():
                    await rotate_if_due(self._services, self._space, meeting)
                self._plan(meeting, self._services.seconds())
        except ConclaveError as error:
            self._try_later(meeting, error)
            if isinstance(error, _SPACE_TROUBLES):
                raise
        else:
            self._failures.pop(meeting, None)
            self._troubles = 0

    def _is_due(self, meeting: MeetingId, seen: Outlook | None) -> bool:
        """Whether to rotate now; plan the next look if not."""
        if seen is None:
            self._limits.pop(meeting, None)
            return False
        self._limit(meeting, seen.present.epoch, seen.rules)
        if seen.due is None:
            return False
        if seen.due.at > self._services.seconds():
            self._plan(meeting, seen.due.at)
            return False
        return True

    def _try_later(self, meeting: MeetingId, error: ConclaveError) -> None:
        failures = self._failures[meeting] = self._failures.get(meeting, 0) + 1
        wait = min(_FIRST_RETRY << min(failures - 1, 10), _LAST_RETRY)
        _LOG.warning("rotation of %s/%s failed: %s", self._space, meeting, error.code)
        self._plan(meeting, self._services.seconds() + wait)

    async def _rest(self, error: ConclaveError) -> None:
        """Leave the space alone until its token answers again, longer and longer."""
        _LOG.warning("rotation in %s rests: %s", self._space, error.code)
        while True:
            self._troubles += 1
            await asyncio.sleep(min(_FIRST_RETRY << min(self._troubles - 1, 10), _MOST_REST))
            try:
                await self._services.workers.space(self._space).check_rows([])
            except ConclaveError:
                continue
            return


def _place(sealed: SealedRow) -> tuple[str, int]:
    """Return meeting and number of an epoch's row, from its key."""
    _, _, meeting, number = sealed.row.key.split("/")
    return meeting, int(number)
