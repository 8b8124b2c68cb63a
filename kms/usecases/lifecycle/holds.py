"""Legal holds: placed at once by one officer, lifted by an approved request. Nothing under a hold
is destroyed.
"""

from dataclasses import replace

from uuid_utils import uuid7

from kms.audit.leaf import Outcome, Phase
from kms.domain.approvals import HoldTarget
from kms.domain.grants import Hold
from kms.domain.ids import MeetingId, SpaceName
from kms.domain.rows import RowKind
from kms.domain.text import check_reason
from kms.errors import IntegrityFailure, InvalidInput, NotFound, OnHold, StateNotAllowed
from kms.policy.authorizer import Target
from kms.statements.canonical import make_row
from kms.statements.request import CheckedRequest
from kms.usecases.approvals.effect import Effect
from kms.usecases.services import (
    Call,
    Services,
    authorize,
    lock_name,
    store_rows,
    uninterrupted,
)


@uninterrupted
async def place(
    services: Services, call: Call, space: SpaceName, meeting: str, reason: str
) -> Hold:
    """Place a hold on a meeting, or with an empty ``meeting`` on the whole space, and return it.

    A destruction that has begun ends first. Raise NotFound, Forbidden, InvalidInput without a
    reason, HsmUnavailable, StoreUnavailable.
    """
    check_reason(reason)
    await authorize(services, call, Target(space=space), f"spaces/{space}")
    await services.cache.space(space)
    if meeting:
        await services.cache.meeting(space, MeetingId(meeting))
    hold = Hold(space, str(uuid7()), meeting, reason, call.principal.name, services.seconds())
    async with services.locks.of(lock_of_holds(space)):
        await _store(services, call, hold)
    return hold


async def _store(services: Services, call: Call, hold: Hold) -> None:
    row = make_row(hold, 1)
    sealed = await services.workers.space(hold.space).seal_rows([row])
    leaf = call.leaf(
        hold.space,
        hold_path(hold),
        Phase.EVENT,
        Outcome.SUCCEEDED,
        rows={row.key: row.version},
        details={"hold": hold.hold, "meeting": hold.meeting, "reason": hold.reason},
    )
    reply = (call.remember(hold),) if call.remember else ()
    await store_rows(services, sealed, reply, leaf)


async def list_holds(services: Services, call: Call, space: SpaceName) -> list[Hold]:
    """Return every hold of a space, lifted ones too, by id; raise NotFound, IntegrityFailure."""
    await authorize(services, call, Target(space=space), f"spaces/{space}")
    await services.cache.space(space)
    return await _holds(services, space)


async def check_no_hold(services: Services, space: SpaceName, meeting: MeetingId) -> None:
    """Raise OnHold if a hold protects the meeting, IntegrityFailure if one may have vanished."""
    for hold in await _holds(services, space):
        if hold.covers(meeting):
            raise OnHold(
                "the legal hold {hold} forbids it: {reason}",
                hint="a hold is lifted by an approved request (hold.lift)",
                about={"hold": hold.hold, "reason": hold.reason},
            )


async def prepare_lift(services: Services, call: Call, checked: CheckedRequest) -> Effect:
    """Return the end of a hold; raise NotFound, StateNotAllowed if it is lifted already."""
    del call
    target, space = checked.parameters, SpaceName(checked.wanted.space)
    if not isinstance(target, HoldTarget):
        raise InvalidInput("the request names no hold")
    hold, version = await _hold(services, space, target.hold)
    if hold.lifted:
        raise StateNotAllowed("the hold is lifted already")
    lifted = replace(hold, lifted=services.seconds())
    return Effect(hold_path(hold), ((lifted, version + 1),), details={"hold": hold.hold})


def hold_path(hold: Hold) -> str:
    """Return the resource path of a hold."""
    return f"spaces/{hold.space}/holds/{hold.hold}"


def lock_of_holds(space: str) -> str:
    """Return the name of the lock under which holds are placed and destructions carried out."""
    return lock_name(space, "holds")


async def _holds(services: Services, space: SpaceName) -> list[Hold]:
    rows = services.store.holds(space)
    if len(rows) != services.store.row_count(f"{RowKind.HOLD}/{space}/"):
        raise IntegrityFailure("a legal hold that the log names is gone")
    checked = [(await services.cache.admit(row)).record for row in rows]
    return [record for record in checked if isinstance(record, Hold)]


async def _hold(services: Services, space: SpaceName, name: str) -> tuple[Hold, int]:
    key = f"{RowKind.HOLD}/{space}/{name}"
    sealed = services.store.row(RowKind.HOLD, key)
    if sealed is None:
        if services.store.row_version(key):
            raise IntegrityFailure("a row that the log names is gone")
        raise NotFound("there is no such hold")
    checked = await services.cache.admit(sealed)
    if not isinstance(checked.record, Hold):
        raise IntegrityFailure("a row is not what its key says")
    return checked.record, checked.version
