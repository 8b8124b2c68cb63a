"""Minting an epoch: the one flow behind opening, roster changes and rotation.

intent leaf durable -> worker mints -> one commit: epoch, envelopes, meeting, result leaf -> reply.
An epoch is never stored, so never fetched or active, without its escrow envelope.
"""

from dataclasses import dataclass, replace
from typing import Any

from kms.audit.leaf import Outcome, Phase
from kms.domain.ids import SpaceName
from kms.domain.models import Epoch, Meeting, Roster, RotationReason
from kms.domain.rows import Row, RowKind, SealedRow
from kms.domain.states import IN_USE, KeyState
from kms.errors import ConclaveError, Conflict, IntegrityFailure, Sealed, StateNotAllowed
from kms.ports import Change, DropEnvelopes, Minted, MintOrder, PutEnvelopes, Unit
from kms.statements.canonical import digest, make_row, read_row
from kms.usecases.policies import policy_in_force
from kms.usecases.rotation.rules import lifetime
from kms.usecases.services import Call, Services, meeting_path, store_rows


@dataclass(frozen=True, slots=True)
class MeetingView:
    """A meeting with its roster and its present and published epochs."""

    meeting: Meeting
    version: int
    roster: Roster
    roster_row: int
    current: Epoch | None
    next: Epoch | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be minted: the meeting as it is (version 0: new), the roster that decides the
    recipients and its row's version (``roster_changed``: the row is to be stored).
    """

    meeting: Meeting
    version: int
    roster: Roster
    roster_row: int
    roster_changed: bool
    reason: RotationReason
    details: dict[str, Any]


async def mint(services: Services, call: Call, plan: Plan) -> MeetingView:
    """Mint the next epoch of a meeting and return the meeting as it is then.

    The caller holds the meeting's lock. Raise StateNotAllowed in a retired space, Sealed in a
    sealed one, VerificationFailed, IntegrityFailure, HsmUnavailable, AuditUnavailable,
    StoreUnavailable; then no epoch was added.
    """
    services.gate()
    await _check_in_service(services, plan.meeting.space)
    order = await _order(services, plan)
    resource = meeting_path(order.meeting.space, order.meeting.meeting, order.epoch)
    facts = {"epoch": order.epoch, "reason": plan.reason.value, **plan.details}
    intent = call.leaf(order.meeting.space, resource, Phase.INTENT, Outcome.PENDING, details=facts)
    (seq,) = await services.store.commit(Unit(leaves=(intent,)))
    try:
        minted = await services.workers.space(order.meeting.space).mint(order)
    except ConclaveError as error:
        await _log_failure(services, call, order, seq, facts, error)
        raise
    try:
        return await _store(services, call, plan, order, minted, seq, facts)
    except (Conflict, Sealed) as error:
        await _log_failure(services, call, order, seq, facts, error)
        raise
    # If the disk fails, the intent stays open: it may yet turn out to hold the result.


async def _log_failure(
    services: Services,
    call: Call,
    order: MintOrder,
    intent: int,
    facts: dict[str, Any],
    error: ConclaveError,
) -> None:
    """Write the result of a mint of which nothing was stored."""
    failed = call.leaf(
        order.meeting.space,
        meeting_path(order.meeting.space, order.meeting.meeting, order.epoch),
        Phase.RESULT,
        Outcome.FAILED,
        intent=intent,
        details={**facts, "code": error.code},
    )
    await services.store.commit(Unit(leaves=(failed,)))


async def _check_in_service(services: Services, space: SpaceName) -> None:
    record = await services.cache.space(space)
    if record.sealed:
        raise Sealed(
            "the space {space} is sealed",
            hint="people unseal it by the ceremony unseal",
            about={"space": space},
        )
    if record.retired:
        raise StateNotAllowed("the space is retired", hint="open meetings in another space")


async def _order(services: Services, plan: Plan) -> MintOrder:
    now = services.seconds()
    present = await _present(services, plan)
    policy, _ = await policy_in_force(services, plan.meeting.space)
    activates, retires = lifetime(policy.rotation, plan.reason, present, now)
    at_once = activates <= now
    epoch = plan.meeting.last_epoch + 1
    meeting = replace(
        plan.meeting,
        current_epoch=epoch if at_once else plan.meeting.current_epoch,
        next_epoch=None if at_once else epoch,
        last_epoch=epoch,
        roster_version=plan.roster.version,
    )
    return MintOrder(
        site=services.settings.site.id,
        meeting=meeting,
        meeting_version=plan.version + 1,
        roster=plan.roster,
        epoch=epoch,
        reason=plan.reason,
        activates=activates,
        retires=retires,
        now=now,
        others=tuple(await _other_rows(services, plan, present if at_once else None)),
        share=await _share(services, plan.meeting),
    )


async def _present(services: Services, plan: Plan) -> Epoch | None:
    """Return the meeting's present epoch; a new meeting has none."""
    if not plan.version:
        return None
    meeting = plan.meeting
    epoch, _ = await services.cache.epoch(meeting.space, meeting.meeting, meeting.current_epoch)
    return epoch


async def _share(services: Services, meeting: Meeting) -> SealedRow | None:
    """Return the row by which the meeting's partner receives its keys too, checked."""
    if not meeting.partner:
        return None
    sealed = services.store.row(RowKind.SHARE, f"share/{meeting.space}/{meeting.meeting}")
    if sealed is None:
        raise IntegrityFailure("a meeting has a partner, but no share")
    await services.cache.admit(sealed)
    return sealed


async def _other_rows(services: Services, plan: Plan, ended: Epoch | None) -> list[Row]:
    """Return the rows that change beside epoch and meeting; ``ended`` is the present epoch if it
    ends now. One that people stopped for good stays as it is.
    """
    rows = []
    if plan.roster_changed:
        rows.append(make_row(plan.roster, plan.roster_row))
    if plan.meeting.next_epoch is not None:
        rows.append(
            await moved(services, plan.meeting, plan.meeting.next_epoch, KeyState.DESTROYED)
        )
    if ended is not None and ended.state in IN_USE:
        rows.append(await moved(services, plan.meeting, ended.epoch, KeyState.DEACTIVATED))
    return rows


async def moved(services: Services, meeting: Meeting, number: int, state: KeyState) -> Row:
    """Return the next version of an epoch's row, in another state."""
    epoch, version = await services.cache.epoch(meeting.space, meeting.meeting, number)
    return make_row(epoch.moved(state), version + 1)


async def _store(
    services: Services,
    call: Call,
    plan: Plan,
    order: MintOrder,
    minted: Minted,
    intent: int,
    facts: dict[str, Any],
) -> MeetingView:
    epoch = _epoch(minted)
    cancelled = plan.meeting.next_epoch
    details = {
        **facts,
        "state": epoch.state.value,
        "manifest": digest(epoch.manifest.encode()),
        "cancelled": cancelled,
        "recipients": [envelope.recipient for envelope in minted.envelopes],
        "roster_version": plan.roster.version,
    }
    result = call.leaf(
        order.meeting.space,
        meeting_path(order.meeting.space, order.meeting.meeting, order.epoch),
        Phase.RESULT,
        Outcome.SUCCEEDED,
        intent=intent,
        rows={sealed.row.key: sealed.row.version for sealed in minted.rows},
        details=details,
    )
    view = await _view(services, plan, order, epoch)
    changes: list[Change] = [PutEnvelopes(minted.envelopes)]
    if cancelled is not None:
        changes.append(DropEnvelopes(order.meeting.space, order.meeting.meeting, cancelled))
    if call.remember:
        changes.append(call.remember(view))
    if epoch.state is KeyState.PRE_ACTIVATION:
        services.schedule(order.meeting.space, order.meeting.meeting, epoch.activates)
    await store_rows(services, minted.rows, changes, result)
    return view


def _epoch(minted: Minted) -> Epoch:
    record = read_row(minted.rows[0].row)
    if minted.rows[0].row.kind is not RowKind.EPOCH or not isinstance(record, Epoch):
        raise TypeError("a worker answers with the epoch's row first")
    return record


async def _view(services: Services, plan: Plan, order: MintOrder, epoch: Epoch) -> MeetingView:
    active = epoch.state is KeyState.ACTIVE
    if active:
        current = epoch
    else:
        meeting = plan.meeting
        number = meeting.current_epoch
        current, _ = await services.cache.epoch(meeting.space, meeting.meeting, number)
    return MeetingView(
        order.meeting,
        order.meeting_version,
        plan.roster,
        plan.roster_row,
        current,
        None if active else epoch,
    )
