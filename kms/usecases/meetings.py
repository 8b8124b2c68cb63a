"""Opening, changing, rotating and closing a meeting."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from uuid_utils import uuid7

from kms.audit.leaf import Outcome, Phase
from kms.domain.ids import MeetingId, RecipientId, SpaceName
from kms.domain.models import Meeting, ReleaseClass, Roster, RotationReason
from kms.domain.rows import Row
from kms.domain.states import IN_USE, KeyState, MeetingState
from kms.errors import AlreadyExists, InvalidInput, NotFound, PreconditionFailed, StateNotAllowed
from kms.operations import OPERATIONS
from kms.policy.authorizer import Target
from kms.ports import Change, DropEnvelopes
from kms.statements.canonical import make_row
from kms.usecases.minting import MeetingView, Plan, mint, moved
from kms.usecases.rosters import WantedRoster, host_of, make_roster, reason_of
from kms.usecases.services import (
    Call,
    Services,
    authorize,
    lock_name,
    meeting_path,
    store_rows,
    uninterrupted,
)
from kms.usecases.sharing import side_of


@uninterrupted
async def open_meeting(
    services: Services,
    call: Call,
    space: SpaceName,
    meeting: MeetingId | None,
    wanted: WantedRoster,
) -> MeetingView:
    """Open a meeting and mint its epoch 0; raise AlreadyExists, InvalidInput and as ``mint``."""
    await authorize(services, call, Target(space=space), f"spaces/{space}")
    record = await services.cache.space(space)
    if meeting is None and record.release_class is ReleaseClass.ROSTER:
        raise InvalidInput("a signed roster names its meeting: choose the meeting's UUIDv7 first")
    chosen = meeting or MeetingId(str(uuid7()))
    async with services.locks.of(lock_name(space, chosen)):
        await _refuse_known(services, space, chosen)
        host = host_of(services, record, wanted)
        roster = await make_roster(services, record, chosen, wanted, 1, host)
        new = Meeting(
            space=space,
            meeting=chosen,
            state=MeetingState.OPEN,
            current_epoch=-1,
            next_epoch=None,
            last_epoch=-1,
            roster_version=1,
            created=services.seconds(),
            host=host,
        )
        plan = Plan(new, 0, roster, 1, roster_changed=True, reason=RotationReason.OPEN, details={})
        return await mint(services, call, plan)


async def _refuse_known(services: Services, space: SpaceName, meeting: MeetingId) -> None:
    try:
        await services.cache.meeting(space, meeting)
    except NotFound:
        return
    raise AlreadyExists("a meeting of that id is there", hint="choose a new UUIDv7")


@uninterrupted
async def change_roster(
    services: Services,
    call: Call,
    space: SpaceName,
    meeting: MeetingId,
    wanted: WantedRoster,
    if_match: int | None = None,
) -> MeetingView:
    """Replace the roster; every join and leave mints a new epoch. ``if_match`` is the roster
    row's version that the caller saw; raise PreconditionFailed and as ``mint``.
    """
    return await _change(services, call, space, meeting, lambda _old: wanted, if_match)


@uninterrupted
async def amend_roster(
    services: Services,
    call: Call,
    space: SpaceName,
    meeting: MeetingId,
    add: tuple[RecipientId, ...],
    remove: tuple[RecipientId, ...],
    if_match: int | None = None,
) -> MeetingView:
    """Add registered recipients to a ``trusted`` meeting's roster and remove others."""

    def amended(old: Roster) -> WantedRoster:
        if old.statement:
            raise InvalidInput("this space wants a signed roster statement", hint="use PUT")
        kept = tuple(one for one in old.recipients if one not in remove)
        return WantedRoster(recipients=kept + tuple(one for one in add if one not in kept))

    return await _change(services, call, space, meeting, amended, if_match)


async def _change(
    services: Services,
    call: Call,
    space: SpaceName,
    meeting: MeetingId,
    want: Callable[[Roster], WantedRoster],
    if_match: int | None,
) -> MeetingView:
    async with services.locks.of(lock_name(space, meeting)):
        record, version = await permitted(services, call, space, meeting)
        old, row = await services.cache.roster(space, meeting)
        if if_match is not None and if_match != row:
            raise PreconditionFailed("the roster has changed", hint="read it again")
        home = await services.cache.space(space)
        new = await make_roster(services, home, meeting, want(old), old.version + 1, record.host)
        details: dict[str, Any] = {
            "joined": sorted(set(new.recipients) - set(old.recipients)),
            "left": sorted(set(old.recipients) - set(new.recipients)),
        }
        reason = reason_of(old, new)
        plan = Plan(record, version, new, row + 1, True, reason, details)
        return await mint(services, call, plan)


@uninterrupted
async def rotate(
    services: Services, call: Call, space: SpaceName, meeting: MeetingId, reason: RotationReason
) -> MeetingView:
    """Mint a new epoch for the present roster; raise as ``mint``."""
    if reason not in (RotationReason.MANUAL, RotationReason.SUSPICION):
        raise InvalidInput("a rotation by hand is for the reason manual or suspicion")
    async with services.locks.of(lock_name(space, meeting)):
        record, version = await permitted(services, call, space, meeting, reason)
        roster, row = await services.cache.roster(space, meeting)
        return await mint(services, call, Plan(record, version, roster, row, False, reason, {}))


@uninterrupted
async def close_meeting(
    services: Services, call: Call, space: SpaceName, meeting: MeetingId
) -> MeetingView:
    """End a meeting: its epoch is deactivated if it is in use, a published one destroyed. Whoever
    may end meetings of the space that it is shared with may end it too.
    """
    async with services.locks.of(lock_name(space, meeting)):
        side = await side_of(services, call.principal, space, meeting)
        record, version = await permitted(services, call, space, meeting, side=side)
        closed = replace(
            record, state=MeetingState.CLOSED, next_epoch=None, closed=services.seconds()
        )
        rows = [make_row(closed, version + 1)]
        present, _ = await services.cache.epoch(space, meeting, record.current_epoch)
        if present.state in IN_USE:
            rows.append(await moved(services, record, present.epoch, KeyState.DEACTIVATED))
        drops: list[Change] = []
        if record.next_epoch is not None:
            rows.append(await moved(services, record, record.next_epoch, KeyState.DESTROYED))
            drops.append(DropEnvelopes(space, meeting, record.next_epoch))
        details = {"cancelled": record.next_epoch, "deactivated": record.current_epoch}
        return await _commit(services, call, closed, version + 1, rows, drops, details)


async def permitted(
    services: Services,
    call: Call,
    space: SpaceName,
    meeting: MeetingId,
    reason: str = "",
    side: SpaceName | None = None,
) -> tuple[Meeting, int]:
    """Return the meeting if the caller may do this to it now, by the policies of its space, or of
    its partner's ``side``; raise NotFound, Forbidden, StateNotAllowed, Sealed.
    """
    if side is None or side == space:
        await authorize(
            services, call, Target(space=space, reason=reason), meeting_path(space, meeting)
        )
    else:
        await authorize(services, call, Target(space=side, reason=reason), f"spaces/{side}")
        services.seals.check(space)
    record, version = await services.cache.meeting(space, meeting)
    states = OPERATIONS[call.operation].states
    if states and record.state not in states:
        raise StateNotAllowed(
            "{operation} is not possible while the meeting is {state}",
            about={"operation": call.operation, "state": record.state},
        )
    return record, version


async def _commit(
    services: Services,
    call: Call,
    meeting: Meeting,
    version: int,
    rows: list[Row],
    drops: list[Change],
    details: dict[str, Any],
) -> MeetingView:
    services.gate()
    hsm = services.workers.space(meeting.space)
    sealed = await hsm.seal_rows(rows)
    leaf = call.leaf(
        meeting.space,
        meeting_path(meeting.space, meeting.meeting),
        Phase.EVENT,
        Outcome.SUCCEEDED,
        rows={row.key: row.version for row in rows},
        details=details,
    )
    roster, roster_row = await services.cache.roster(meeting.space, meeting.meeting)
    view = MeetingView(meeting, version, roster, roster_row, None, None)
    changes = [*drops, call.remember(view)] if call.remember else drops
    await store_rows(services, sealed, changes, leaf)
    return view
