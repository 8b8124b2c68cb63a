"""Suspending an epoch's key: at once by one officer; taken into use again by an approved request.

Only the present epoch of an open meeting is suspended. It ends as ever, with the next mint.
"""

from kms.audit.leaf import Outcome, Phase
from kms.domain.approvals import EpochTarget
from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Epoch
from kms.domain.states import KeyState, MeetingState
from kms.domain.text import check_reason
from kms.errors import InvalidInput, StateNotAllowed
from kms.statements.canonical import make_row
from kms.statements.request import CheckedRequest
from kms.usecases.approvals.effect import Effect
from kms.usecases.meetings import permitted
from kms.usecases.services import (
    Call,
    Services,
    lock_name,
    meeting_path,
    store_rows,
    uninterrupted,
)


@uninterrupted
async def suspend(
    services: Services,
    call: Call,
    space: SpaceName,
    meeting: MeetingId,
    epoch: int | None,
    reason: str,
) -> Epoch:
    """Stop serving a meeting's present key (``epoch`` None, or its number); return its epoch.

    No signed checkpoint is waited for: stopping is safe while the log's signing is overdue. Raise
    NotFound, Forbidden, InvalidInput without a reason, StateNotAllowed, HsmUnavailable,
    StoreUnavailable.
    """
    check_reason(reason)
    async with services.locks.of(lock_name(space, meeting)):
        record, _ = await permitted(services, call, space, meeting)
        number = record.current_epoch if epoch is None else epoch
        found, version = await services.cache.epoch(space, meeting, number)
        if number != record.current_epoch:
            raise StateNotAllowed(
                "only a meeting's present key can be suspended",
                hint="another key that must stop is marked compromised",
            )
        suspended = found.moved(KeyState.SUSPENDED)
        row = make_row(suspended, version + 1)
        sealed = await services.workers.space(space).seal_rows([row])
        leaf = call.leaf(
            space,
            meeting_path(space, meeting, number),
            Phase.EVENT,
            Outcome.SUCCEEDED,
            rows={row.key: row.version},
            details={"epoch": number, "reason": reason},
        )
        await store_rows(services, sealed, (), leaf)
        return suspended


async def prepare_resume(services: Services, call: Call, checked: CheckedRequest) -> Effect:
    """Return a suspended key's way back into use; raise NotFound, StateNotAllowed."""
    del call
    target, space = checked.parameters, SpaceName(checked.wanted.space)
    if not isinstance(target, EpochTarget):
        raise InvalidInput("the request names no epoch")
    record, _ = await services.cache.meeting(space, target.meeting)
    epoch, version = await services.cache.epoch(space, target.meeting, target.epoch)
    if record.state is not MeetingState.OPEN or target.epoch != record.current_epoch:
        raise StateNotAllowed("only the present key of an open meeting is taken into use again")
    if epoch.state is not KeyState.SUSPENDED:
        raise StateNotAllowed("the key is {state}, not suspended", about={"state": epoch.state})
    return Effect(
        meeting_path(space, target.meeting, target.epoch),
        ((epoch.moved(KeyState.ACTIVE), version + 1),),
        details={"epoch": target.epoch},
    )
