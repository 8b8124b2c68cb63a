"""What an epoch's key protected, who could read it and who has fetched it: the extent of a
compromise. Read from manifests and from the log.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from kms.audit.actions import SERVING
from kms.audit.leaf import Leaf, Outcome, decode_leaf
from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Epoch, Meeting
from kms.domain.states import KeyState
from kms.errors import IntegrityFailure
from kms.ports import Unit
from kms.statements.addendum import SILENT
from kms.statements.readers import Readers, peek_readers
from kms.usecases.services import Services, meeting_path
from kms.wire.base import rfc3339

_PAGE = 1000
_LIVED = frozenset({KeyState.ACTIVE, KeyState.SUSPENDED, KeyState.DEACTIVATED})


@dataclass(frozen=True, slots=True)
class Fetched:
    """How often a caller was served one recipient's envelope, and when (RFC 3339)."""

    actor: str
    recipient: str
    count: int
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class Cascade:
    """The extent of one epoch's compromise: ``was`` its state before, ``readers`` who could open
    it beside vault and escrow. Seconds since 1970; ``ends`` is 0 while it was in use.
    """

    space: SpaceName
    meeting: MeetingId
    epoch: int
    was: KeyState
    starts: int
    ends: int
    readers: tuple[str, ...]
    fetched: tuple[Fetched, ...]

    @property
    def served(self) -> int:
        """How many envelopes were served."""
        return sum(one.count for one in self.fetched)


def readers_of(epoch: Epoch) -> Readers:
    """Return who reads an epoch whose row was checked; raise IntegrityFailure."""
    return peek_readers(epoch.manifest, epoch.addenda)


async def end_of(services: Services, meeting: Meeting, epoch: Epoch) -> int:
    """Return when a key ceased to be used (seconds since 1970), 0 while it is in use.

    That is when the next one that certainly came into use was due: never too early.
    """
    if epoch.epoch == meeting.current_epoch:
        return meeting.closed
    if epoch.epoch > meeting.current_epoch:
        return epoch.activates
    after = epoch.epoch
    while page := services.store.epochs(meeting.space, meeting.meeting, after, _PAGE):
        for sealed in page:
            after = int(sealed.row.key.rpartition("/")[2])
            later, _ = await services.cache.epoch(meeting.space, meeting.meeting, after)
            if later.state in _LIVED or after == meeting.current_epoch:
                return later.activates
    raise IntegrityFailure("a meeting's present epoch is gone")


async def living_epochs(services: Services, meeting: Meeting) -> list[tuple[Epoch, int]]:
    """Return a meeting's epochs that are not destroyed, with their rows' versions."""
    living, after = [], -1
    while page := services.store.epochs(meeting.space, meeting.meeting, after, _PAGE):
        for sealed in page:
            after = int(sealed.row.key.rpartition("/")[2])
            found = await services.cache.epoch(meeting.space, meeting.meeting, after)
            if found[0].state is not KeyState.DESTROYED:
                living.append(found)
    return living


async def cascades(
    services: Services, meeting: Meeting, epochs: Sequence[Epoch]
) -> tuple[Cascade, ...]:
    """Return the extent of each epoch. The caller holds the meeting's lock, so that nothing of it
    is served meanwhile. Raise IntegrityFailure, StoreUnavailable.
    """
    fetched = await _fetched(services, meeting, epochs)
    found = []
    for epoch in epochs:
        ended = await end_of(services, meeting, epoch)
        named = readers_of(epoch).entries
        found.append(
            Cascade(
                epoch.space,
                epoch.meeting,
                epoch.epoch,
                epoch.state,
                epoch.activates,
                ended,
                tuple(entry.id for entry in named if entry.kind not in SILENT),
                tuple(fetched[epoch.epoch].values()),
            )
        )
    return tuple(found)


_ByReader = dict[tuple[str, str], Fetched]


async def _fetched(
    services: Services, meeting: Meeting, epochs: Sequence[Epoch]
) -> dict[int, _ByReader]:
    """Return who was served of each epoch, from the log since the first of them was minted."""
    found: dict[int, _ByReader] = {epoch.epoch: {} for epoch in epochs}
    await services.store.commit(Unit())  # what was served before us is durable behind this
    start = _place_of(services, min(readers_of(epoch).manifest.iat for epoch in epochs))
    async for leaf in _served(services, meeting, start):
        readers = found.get(int(leaf.resource.rpartition("/")[2]))
        if readers is not None:
            _count(readers, leaf)
    return found


def _count(readers: _ByReader, leaf: Leaf) -> None:
    key = (leaf.actor, str(leaf.details["recipient"]))
    known = readers.get(key, Fetched(*key, 0, leaf.time, leaf.time))
    readers[key] = replace(known, count=known.count + 1, last=leaf.time)


async def _served(services: Services, meeting: Meeting, position: int) -> AsyncIterator[Leaf]:
    """Yield the leaves by which a meeting's envelopes were served; others have their turns."""
    place = meeting_path(meeting.space, meeting.meeting)
    mark = f'"resource":"{place}/epochs/'.encode()
    while page := services.store.leaves(position, _PAGE):
        position += len(page)
        for data in page:
            if mark in data:
                leaf = decode_leaf(data)
                if leaf.action in SERVING and leaf.outcome is Outcome.SUCCEEDED:
                    yield leaf
        await asyncio.sleep(0)


def _place_of(services: Services, second: int) -> int:
    """Return the number of the first leaf not before that second: the log's times never go back."""
    time = rfc3339(second)[:-1]  # without its Z a prefix, and so before every fraction of it
    low, high = 0, services.store.tree_size()
    while low < high:
        middle = (low + high) // 2
        if decode_leaf(services.store.leaves(middle, 1)[0]).time < time:
            low = middle + 1
        else:
            high = middle
    return low
