"""What every step of a request shares: where it lies, whether it still counts, who must approve it,
and that no refusal goes unlogged.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from kms.audit.leaf import LeafDraft, Outcome, Phase
from kms.domain.approvals import (
    EpochTarget,
    MeetingTarget,
    Parameters,
    Request,
    RequestState,
    Sharing,
    side_needs,
)
from kms.domain.disks import DiskTarget, DiskWish
from kms.domain.ids import SpaceName, parse_request_id
from kms.domain.people import Register
from kms.domain.policies import GroupNeed
from kms.domain.text import visible
from kms.errors import (
    ConclaveError,
    ConfigurationError,
    IntegrityFailure,
    NotFound,
    StateNotAllowed,
    Unavailable,
    VerificationFailed,
)
from kms.policy.authorizer import Target
from kms.ports import RowKeeper, Unit
from kms.statements.request import CheckedRequest, OperationRequest, peek_request, verify_request
from kms.usecases.approvals.registers import InForce
from kms.usecases.disks.common import NAMES, lock_of, lock_of_device
from kms.usecases.lifecycle.holds import lock_of_holds
from kms.usecases.passkeys.statements import check_unrevoked
from kms.usecases.policies import policy_in_force
from kms.usecases.services import Call, Services, authorize, lock_name

AGAIN = "make the request again"
_MOST_REASON = 200


@dataclass(frozen=True, slots=True)
class Place:
    """What a refusal is about: a request of a space, or of the site (empty)."""

    space: str = ""
    request: str = ""
    operation: str = ""

    @property
    def path(self) -> str:
        """The resource that the log names."""
        if not self.request:
            return "requests"
        own = f"requests/{self.request}"
        return f"spaces/{self.space}/{own}" if self.space else own


def place_of(wanted: OperationRequest) -> Place:
    """Return where a request lies."""
    return Place(wanted.space, wanted.id, wanted.operation)


def request_leaf(
    call: Call, action: str, wanted: OperationRequest, person: str, rows: dict[str, int]
) -> LeafDraft:
    """Return the leaf of a request that was handed in, signed or cancelled."""
    return call.leaf(
        wanted.space,
        place_of(wanted).path,
        Phase.EVENT,
        Outcome.SUCCEEDED,
        action=action,
        rows=rows,
        details={"operation": wanted.operation, "digest": wanted.digest(), "person": person},
    )


@asynccontextmanager
async def refusals(services: Services, call: Call, place: Place) -> AsyncIterator[None]:
    """Write every refusal within to the log, before the caller hears of it."""
    try:
        yield
    except (Unavailable, IntegrityFailure, ConfigurationError):
        raise
    except ConclaveError as error:
        leaf = call.leaf(
            place.space,
            place.path,
            Phase.EVENT,
            Outcome.REFUSED,
            action="approval.refused",
            details={
                "code": error.code,
                "operation": place.operation,
                "reason": visible(error.message)[:_MOST_REASON],
            },
        )
        await services.store.commit(Unit(leaves=(leaf,)))
        raise


async def find(services: Services, call: Call, request: str) -> tuple[Request, OperationRequest]:
    """Return a request that the caller may know of; raise NotFound, Forbidden, InvalidInput."""
    parse_request_id(request)
    record, _ = await services.cache.request(request)
    wanted = peek_request(record.request)
    await authorize(services, call, Target(space=record.space), place_of(wanted).path)
    return record, wanted


async def find_to_change(services: Services, call: Call, request: str) -> OperationRequest:
    """Return what a request asks for, as ``find``; that there is none stands in the log."""
    async with refusals(services, call, Place()):
        await services.cache.request(parse_request_id(request))
    return (await find(services, call, request))[1]


@asynccontextmanager
async def changing(services: Services, request: str) -> AsyncIterator[tuple[Request, int]]:
    """Let nobody else change a request meanwhile; yield it with its row's version."""
    async with services.locks.of(f"requests:{request}"):
        yield await services.cache.request(request)


@asynccontextmanager
async def held(services: Services, space: str, parameters: Parameters) -> AsyncIterator[None]:
    """Hold the locks of what the parameters name, in the order in which everybody takes them."""
    async with AsyncExitStack() as locks:
        for name in _locks(space, parameters):
            await locks.enter_async_context(services.locks.of(name))
        yield


def _locks(space: str, parameters: Parameters) -> tuple[str, ...]:
    match parameters:
        case EpochTarget() | MeetingTarget() | Sharing():
            # No legal hold is placed between the look at them and a destruction.
            return lock_name(space, parameters.meeting), lock_of_holds(space)
        case DiskWish():
            return lock_of(parameters.disk), NAMES, lock_of_device(parameters.serial)
        case DiskTarget():
            return (lock_of(parameters.disk),)
        case _:
            return ()


def check_open(services: Services, record: Request, wanted: OperationRequest) -> None:
    """Raise StateNotAllowed for a request that is over."""
    if record.state is not RequestState.PENDING:
        raise StateNotAllowed("the request is {state}", about={"state": record.state})
    if services.seconds() >= wanted.expires:
        raise StateNotAllowed("the request has expired", hint=AGAIN)


async def check_current(services: Services, record: Request) -> tuple[CheckedRequest, InForce]:
    """Return a request whose signatures hold under the register and quorum in force, and that
    register; raise VerificationFailed, InvalidInput.
    """
    present = services.registers.in_force(services.store, services.settings.paths.state)
    site = services.settings.site.id
    checked = verify_request(record, site, present.register, present.sha256)
    check_unrevoked(services, record)
    wanted, partner = checked.wanted, ""
    if isinstance(checked.parameters, Sharing):
        partner = checked.parameters.partner
    needs = await quorum_in_force(
        services, present.register, wanted.operation, wanted.space, partner
    )
    if wanted.quorum != needs:
        raise VerificationFailed(
            "the request names another quorum than the one in force now", hint=AGAIN
        )
    return checked, present


async def quorum_in_force(
    services: Services, register: Register, operation: str, space: str, partner: str
) -> tuple[GroupNeed, ...]:
    """Return who must approve an operation of a space, or of the site (empty): as its policy says,
    else the default; then, for a ``partner``, the same of its side.
    """
    own = await _side(services, register, operation, space, "")
    if not partner:
        return own
    return own + await _side(services, register, operation, partner, partner)


async def _side(
    services: Services, register: Register, operation: str, space: str, side: str
) -> tuple[GroupNeed, ...]:
    policy = (await policy_in_force(services, SpaceName(space)))[0] if space else None
    return side_needs(operation, register, policy, side)


def keeper_of(services: Services, space: str) -> RowKeeper:
    """Return whose token seals a space's requests, or the site's (empty); raise NotFound."""
    return services.workers.space(SpaceName(space)) if space else services.workers.site


async def check_space(services: Services, space: str) -> None:
    """Raise NotFound or StateNotAllowed for a space in which nothing can be asked for."""
    if not space:
        return
    record = await services.cache.space(SpaceName(space))
    if record.destroyed:
        raise StateNotAllowed("the space is destroyed")


def unknown_effect(operation: str) -> NotFound:
    """Return the refusal of an operation that nothing here carries out."""
    return NotFound("nothing here carries out {operation}", about={"operation": operation})
