"""Marking keys compromised: they stop being served at once, the log says how far it reaches, and
an open meeting that used one of them gets a new key.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kms.audit.leaf import LeafDraft, Outcome, Phase
from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Epoch, Meeting, RotationReason
from kms.domain.states import TRANSITIONS, KeyState, MeetingState
from kms.errors import ConclaveError, StateNotAllowed
from kms.statements.canonical import make_row
from kms.usecases.lifecycle.cascade import Cascade, cascades
from kms.usecases.lifecycle.suspension import check_reason
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

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Compromise:
    """What was marked, and the epoch that a forced rotation put in place (None: none was due)."""

    cascades: tuple[Cascade, ...]
    rotated: int | None


@uninterrupted
async def compromise(
    services: Services,
    call: Call,
    space: SpaceName,
    meeting: MeetingId,
    epoch: int | None,
    reason: str,
) -> Compromise:
    """Mark one epoch (None: every one of the meeting) compromised, then rotate if it is in use.

    The marks stand whatever becomes of the rotation, which the service tries again by itself: its
    error says so. Raise NotFound, Forbidden, InvalidInput, StateNotAllowed and as ``mint``.
    """
    check_reason(reason)
    async with services.locks.of(lock_name(space, meeting)):
        record, version = await permitted(services, call, space, meeting)
        marked = await _to_mark(services, record, epoch)
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


async def _to_mark(
    services: Services, meeting: Meeting, epoch: int | None
) -> list[tuple[Epoch, int]]:
    """Return the epochs with their rows' versions; raise NotFound, StateNotAllowed."""
    if epoch is not None:
        found, version = await services.cache.epoch(meeting.space, meeting.meeting, epoch)
        found.moved(KeyState.COMPROMISED)
        return [(found, version)]
    every, after = [], -1
    while page := services.store.epochs(meeting.space, meeting.meeting, after, _PAGE):
        for sealed in page:
            after = int(sealed.row.key.rpartition("/")[2])
            every.append(await services.cache.epoch(meeting.space, meeting.meeting, after))
    left = [entry for entry in every if KeyState.COMPROMISED in TRANSITIONS[entry[0].state]]
    if not left:
        raise StateNotAllowed("every key of the meeting is compromised or destroyed already")
    return left


async def _mark(
    services: Services,
    call: Call,
    marked: Sequence[tuple[Epoch, int]],
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
