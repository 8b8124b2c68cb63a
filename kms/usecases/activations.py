"""Epochs that were published ahead become active at their time."""

import asyncio
import heapq
import logging
from contextlib import suppress
from dataclasses import replace

from kms.audit.leaf import Outcome, Phase
from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Epoch, Principal, PrincipalKind
from kms.domain.rows import SealedRow
from kms.domain.states import IN_USE, KeyState, MeetingState
from kms.errors import ConclaveError, InvalidInput, Sealed
from kms.statements.canonical import make_row, read_row
from kms.usecases.minting import moved
from kms.usecases.services import Call, Services, lock_name, meeting_path, store_rows

_LOG = logging.getLogger(__name__)
_RETRY_SECONDS = 1
_LOOK_SECONDS = 1.0
"""The wall clock may be set while we wait, so we look at it at least this often."""

SERVICE = Principal("service", PrincipalKind.SOCKET, "self", frozenset(), frozenset())
"""In whose name the service itself writes leaves."""


async def activate(services: Services, space: SpaceName, meeting: MeetingId) -> None:
    """Make a meeting's published epoch active if its time has come; else do nothing."""
    async with services.locks.of(lock_name(space, meeting)):
        record, version = await services.cache.meeting(space, meeting)
        if record.next_epoch is None or record.state is not MeetingState.OPEN:
            return
        epoch, _ = await services.cache.epoch(space, meeting, record.next_epoch)
        if epoch.activates > services.seconds():
            return
        now = replace(record, current_epoch=record.next_epoch, next_epoch=None)
        rows = [
            make_row(now, version + 1),
            await moved(services, record, record.next_epoch, KeyState.ACTIVE),
        ]
        present, _ = await services.cache.epoch(space, meeting, record.current_epoch)
        if present.state in IN_USE:
            rows.append(await moved(services, record, present.epoch, KeyState.DEACTIVATED))
        sealed = await services.workers.space(space).seal_rows(rows)
        leaf = Call(SERVICE, "epoch.activate", "").leaf(
            space,
            meeting_path(space, meeting, record.next_epoch),
            Phase.EVENT,
            Outcome.SUCCEEDED,
            rows={row.key: row.version for row in rows},
            details={"epoch": record.next_epoch, "deactivated": record.current_epoch},
        )
        await store_rows(services, sealed, (), leaf)


class Activations:
    """The meetings whose published epoch waits for its time, earliest first."""

    def __init__(self) -> None:
        self._due: list[tuple[int, str, str]] = []
        self._changed = asyncio.Event()

    def schedule(self, space: str, meeting: str, when: int) -> None:
        """Ask for an activation at ``when`` (seconds since 1970)."""
        heapq.heappush(self._due, (when, space, meeting))
        self._changed.set()

    async def run(self, services: Services) -> None:
        """Activate what is due, for ever; what fails is tried again."""
        await self._schedule_stored(services)
        while True:
            await self._wait(services)
            while self._due and self._due[0][0] <= services.clock.now():
                await self._activate(services, *heapq.heappop(self._due))

    async def _schedule_stored(self, services: Services) -> None:
        """Schedule what was published before the start."""
        for sealed in await _pending(services):
            try:
                epoch = read_row(sealed.row)
            except InvalidInput as error:
                # Altered on the disk: its own meeting is refused, the others go on.
                _LOG.error("%s cannot be read: %s", sealed.row.key, error.code)
                continue
            if isinstance(epoch, Epoch):
                self.schedule(epoch.space, epoch.meeting, epoch.activates)

    async def _wait(self, services: Services) -> None:
        self._changed.clear()
        due = self._due[0][0] - services.clock.now() if self._due else _LOOK_SECONDS
        pause = min(due, _LOOK_SECONDS)
        if pause > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()

    async def _activate(self, services: Services, when: int, space: str, meeting: str) -> None:
        try:
            await activate(services, SpaceName(space), MeetingId(meeting))
        except Sealed:
            # It is unsealed while the service stands still, and the start schedules it again.
            _LOG.info("the space %s is sealed: no activation of %s", space, meeting)
        except ConclaveError as error:
            _LOG.warning("activation of %s/%s failed: %s", space, meeting, error.code)
            self.schedule(space, meeting, max(when, services.seconds()) + _RETRY_SECONDS)


async def _pending(services: Services) -> list[SealedRow]:
    """Return the epochs that wait, once the store can be read."""
    while True:
        try:
            return services.store.pending_epochs()
        except ConclaveError as error:
            _LOG.warning("the published epochs cannot be read: %s", error.code)
            await asyncio.sleep(_RETRY_SECONDS)
