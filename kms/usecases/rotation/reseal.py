"""Moves every key of a space to its newest vault key, beside other work. The older one stays until
people have it destroyed by an approved request (vaults.py).

What is left to do is always read from the store, so a process that dies loses nothing: the next
one looks again. A key that cannot be moved is told once, skipped, and keeps the older vault alive.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from kms.audit.leaf import LeafDraft, Outcome, Phase
from kms.domain.ids import MeetingId, RecipientId, SpaceName
from kms.domain.models import Recipient
from kms.domain.rows import RowKind, SealedRow
from kms.errors import ConclaveError, IntegrityFailure, StateNotAllowed
from kms.ports import Change, DropEnvelope, PutEnvelopes, PutMark, Resealed, ResealItem, Unit
from kms.statements.canonical import digest, read_row
from kms.usecases.activations import SERVICE
from kms.usecases.rotation.vaults import is_paused, vaults_of
from kms.usecases.services import Call, Services, lock_name, meeting_path, refusal, store_rows

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 5.0
_PAGE = 200
BATCH = 20
"""Epochs in one request and commit: a mint waits for no more than these."""
_FAILED = "reseal-failed/{}"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an epoch is."""

    meeting: MeetingId
    epoch: int
    key: str


@dataclass(frozen=True, slots=True)
class _Move:
    """From which vault key of a space to which."""

    space: SpaceName
    old: RecipientId
    new: Recipient


class Resealing:
    """The background work of one process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store
        self._looked: set[RecipientId] = set()

    async def run(self) -> None:
        """Move what is to be moved, for ever; what fails for a while is tried again."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Do what there is to do now in every space, in all at once: each has its own token."""
        spaces = (SpaceName(one.row.key.partition("/")[2]) for one in self._store.spaces())
        await asyncio.gather(*(self._guarded(space) for space in spaces))

    async def _guarded(self, space: SpaceName) -> None:
        try:
            record = await self._services.cache.space(space)
            if not (record.destroyed or self._services.seals.holds(space)):
                await self._work(space)
        except ConclaveError as error:
            _LOG.warning("resealing in %s waits: %s", space, error.message)

    async def _work(self, space: SpaceName) -> None:
        live = [one for one in await vaults_of(self._services, space) if not one.revoked]
        for old in live[:-1]:
            if not self._is_stuck(space, old.recipient):
                await self._move(_Move(space, old.recipient, live[-1]))

    def _is_stuck(self, space: SpaceName, old: RecipientId) -> bool:
        """Whether all that is left under a vault key is known not to move: then nothing is read
        again and again, until people go on or destroy what is left.
        """
        failed = map(_place_of, self._services.reseals[space].failed)
        return old in self._looked and any(
            self._store.envelope(space, one.meeting, one.epoch, old) is not None for one in failed
        )

    # --- moving keys ------------------------------------------------------------------------------

    async def _move(self, move: _Move) -> None:
        after = ("", -1)
        while rows := self._store.epochs_kept_for(move.space, move.old, after, _PAGE):
            places = [_place_of(one.row.key) for one in rows]
            after = (places[-1].meeting, places[-1].epoch)
            failed = self._services.reseals[move.space].failed
            for batch in _batches([one for one in places if one.key not in failed]):
                if is_paused(self._store, move.space):
                    return
                await self._paced(move, batch)
        self._looked.add(move.old)

    async def _paced(self, move: _Move, batch: Sequence[_Place]) -> None:
        """Move a batch, and rest so long that the rate of the settings is kept."""
        self._services.gate()
        clock, progress = self._services.clock, self._services.reseals[move.space]
        begun = clock.monotonic()
        async with AsyncExitStack() as held:
            # In one order, so that whoever else holds several meetings never waits for us for ever.
            for name in sorted({lock_name(move.space, one.meeting) for one in batch}):
                await held.enter_async_context(self._services.locks.of(name))
            await self._reseal(move, batch)
        rate = self._services.settings.rotation.reseal_per_second
        rest = len(batch) / rate - (clock.monotonic() - begun)
        await asyncio.sleep(max(0.0, rest))
        progress.seconds += clock.monotonic() - begun

    async def _reseal(self, move: _Move, batch: Sequence[_Place]) -> None:
        """Move a batch whose meetings are locked; where one fails, move the others one by one."""
        try:
            items = [item for place in batch if (item := self._item(move, place))]
            if items:
                worker = self._services.workers.space(move.space)
                resealed = await worker.reseal(items, self._services.seconds())
                await self._keep(move, resealed)
        except IntegrityFailure as error:
            if len(batch) == 1:
                await self._fail(move.space, batch[0], error)
                return
            for place in batch:
                await self._reseal(move, [place])

    def _item(self, move: _Move, place: _Place) -> ResealItem | None:
        """Return what is to be moved as it is now, None if it is not there any more."""
        blob = self._store.envelope(move.space, place.meeting, place.epoch, move.old)
        sealed = self._store.row(RowKind.EPOCH, place.key)
        if blob is None:
            return None
        if sealed is None or sealed.row.version != self._store.row_version(place.key):
            raise IntegrityFailure("a row is not the version that the log names")
        return ResealItem(sealed, move.old, blob)

    async def _keep(self, move: _Move, resealed: Resealed) -> None:
        changes: list[Change] = []
        for one in resealed.envelopes:
            if one.recipient != move.new.recipient:
                raise StateNotAllowed(
                    "the token's newest vault key is not registered", hint="finish the ceremony"
                )
            changes.append(PutEnvelopes((one,)))
            changes.append(DropEnvelope(one.space, one.meeting, one.epoch, move.old))
        leaf = _leaf(
            move.space,
            "vault.rewrap",
            f"spaces/{move.space}",
            resealed.rows,
            ceremony="",
            recipient=move.new.recipient,
            version=move.new.version,
            addenda=[_last_addendum(one) for one in resealed.rows],
        )
        await store_rows(self._services, resealed.rows, changes, leaf)
        for sealed in resealed.rows:
            self._services.cache.forget(sealed.row.key)  # most are of meetings long past
        self._services.reseals[move.space].done += len(resealed.rows)

    async def _fail(self, space: SpaceName, place: _Place, error: IntegrityFailure) -> None:
        """Skip an epoch, and tell the log of it once, however often it is tried."""
        self._services.reseals[space].failed[place.key] = error.code
        mark = _FAILED.format(place.key)
        if self._store.mark(mark, 0):
            return
        path = meeting_path(space, place.meeting, place.epoch)
        leaf = refusal(Call(SERVICE, "vault.rewrap", ""), "integrity.failure", space, path, error)
        await self._store.commit(Unit((PutMark(mark, 1),), (leaf,)))


def _place_of(key: str) -> _Place:
    _kind, _space, meeting, epoch = key.split("/")
    return _Place(MeetingId(meeting), int(epoch), key)


def _batches(places: Sequence[_Place]) -> Iterator[Sequence[_Place]]:
    for start in range(0, len(places), BATCH):
        yield sorted(places[start : start + BATCH], key=lambda one: one.key)


def _last_addendum(sealed: SealedRow) -> str:
    record: Any = read_row(sealed.row)
    return digest(record.addenda[-1].encode())


def _leaf(
    space: SpaceName, action: str, path: str, rows: Sequence[SealedRow], **details: object
) -> LeafDraft:
    return Call(SERVICE, action, "").leaf(
        space,
        path,
        Phase.EVENT,
        Outcome.SUCCEEDED,
        rows={one.row.key: one.row.version for one in rows},
        details=details,
    )
