"""Marking keys compromised: they stop being served at once, the log says how far it reaches, and
an open meeting that used one of them gets a new key.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from kms.audit.leaf import LeafDraft, Outcome, Phase
from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Epoch, Meeting, RotationReason
from kms.domain.states import KeyState, MeetingState
from kms.domain.text import check_reason
from kms.errors import ConclaveError, StateNotAllowed
from kms.statements.canonical import make_row
from kms.usecases.lifecycle.cascade import Cascade, cascades, living_epochs
from kms.usecases.meetings import permitted
from kms.usecases.minting import Plan, mint
from kms.usecases.services import (
    Call,
    Services,
    lock_name,
    meeting_path,
    store_rows,
    uninterrupted,
)


@dataclass(frozen=True, slots=True)
class Compromise:
    """What was marked, and the epoch that a forced rotation put in place (None: none was due)."""

    cascades: tuple[Cascade, ...]
    rotated: int | None


async def compromise(
    services: Services,
    call: Call,
    space: SpaceName,
    meeting: MeetingId,
    epoch: int | None,
    reason: str,
) -> Compromise:
    """Mark one epoch (None: the present one) compromised, then rotate if it is in use.

    The mark stands whatever becomes of the rotation, which the service tries again by itself: its
    error says so. Raise NotFound, Forbidden, InvalidInput, StateNotAllowed and as ``mint``.
    """

    async def one(record: Meeting) -> list[_Marked]:
        number = record.current_epoch if epoch is None else epoch
        found, version = await services.cache.epoch(space, meeting, number)
        found.moved(KeyState.COMPROMISED)
        return [(found, version)]

    return await _compromise(services, call, space, meeting, one, reason)


async def compromise_all(
    services: Services, call: Call, space: SpaceName, meeting: MeetingId, reason: str
) -> Compromise:
    """Mark every key of a meeting that is not destroyed; as ``compromise``."""

    async def every(record: Meeting) -> list[_Marked]:
        living = await living_epochs(services, record)
        left = [entry for entry in living if entry[0].state is not KeyState.COMPROMISED]
        if not left:
            raise StateNotAllowed("every key of the meeting is compromised or destroyed already")
        return left

    return await _compromise(services, call, space, meeting, every, reason)


_Marked = tuple[Epoch, int]
"""An epoch to be marked, and its row's version."""


@uninterrupted
async def _compromise(
    services: Services,
    call: Call,
    space: SpaceName,
    meeting: MeetingId,
    choose: Callable[[Meeting], Awaitable[list[_Marked]]],
    reason: str,
) -> Compromise:
    check_reason(reason)
    async with services.locks.of(lock_name(space, meeting)):
        record, version = await permitted(services, call, space, meeting)
        marked = await choose(record)
        extent = await cascades(services, record, [one for one, _ in marked])
        numbers = {one.epoch for one, _ in marked}
        open_keys = {record.current_epoch, record.next_epoch} - {None}
        if record.next_epoch in numbers:
            record, version = replace(record, next_epoch=None), version + 1
            await _mark(services, call, marked, extent, reason, (record, version))
        else:
            await _mark(services, call, marked, extent, reason, None)
        rotated = None
        if record.state is MeetingState.OPEN and numbers & open_keys:
            rotated = await _rotate(services, call, record, version)
        return Compromise(extent, rotated)


async def _mark(
    services: Services,
    call: Call,
    marked: Sequence[_Marked],
    extent: Sequence[Cascade],
    reason: str,
    meeting: tuple[Meeting, int] | None,
) -> None:
    """Make all marks durable together, a leaf each; ``meeting`` lost its published epoch."""
    rows = [make_row(one.moved(KeyState.COMPROMISED), at + 1) for one, at in marked]
    changed = [{row.key: row.version} for row in rows]
    if meeting is not None:
        rows.append(make_row(*meeting))
        published = [one.state is KeyState.PRE_ACTIVATION for one, _ in marked].index(True)
        changed[published][rows[-1].key] = rows[-1].version
    sealed = await services.workers.space(marked[0][0].space).seal_rows(rows)
    leaves = [
        _leaf(call, cascade, reason, own) for cascade, own in zip(extent, changed, strict=True)
    ]
    await store_rows(services, sealed, (), *leaves)


def _leaf(call: Call, cascade: Cascade, reason: str, rows: dict[str, int]) -> LeafDraft:
    return call.leaf(
        cascade.space,
        meeting_path(cascade.space, cascade.meeting, cascade.epoch),
        Phase.EVENT,
        Outcome.SUCCEEDED,
        rows=rows,
        details={
            "epoch": cascade.epoch,
            "reason": reason,
            "was": cascade.was.value,
            "readers": list(cascade.readers),
            "served": cascade.served,
        },
    )


async def _rotate(services: Services, call: Call, meeting: Meeting, version: int) -> int:
    roster, row = await services.cache.roster(meeting.space, meeting.meeting)
    plan = Plan(meeting, version, roster, row, False, RotationReason.COMPROMISE, {})
    try:
        view = await mint(services, replace(call, operation="epoch.rotate", remember=None), plan)
    except ConclaveError as error:
        raise type(error)(
            f"the key is marked compromised and no longer served, but its replacement failed: "
            f"{error.message}",
            hint="the rotation is tried again by itself; until then the meeting has no key",
        ) from error
    return view.meeting.current_epoch
