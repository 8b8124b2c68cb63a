"""Fetching envelopes: the hot path. No HSM, one indexed read, one decision, one durable leaf."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from kms.audit.leaf import LeafDraft, Outcome, Phase
from kms.domain.ids import MeetingId, RecipientId, SpaceName
from kms.domain.models import ReleaseClass
from kms.domain.states import SERVED
from kms.errors import (
    AssertionRequired,
    ConclaveError,
    Forbidden,
    IntegrityFailure,
    NotFound,
    Sealed,
    StateNotAllowed,
)
from kms.operations import OPERATIONS
from kms.policy.authorizer import NOT_THERE, Target
from kms.ports import Unit
from kms.usecases.assertions import Door, refused
from kms.usecases.services import Call, Services, lock_name, meeting_path, refusal

MAX_BATCH = 200


@dataclass(frozen=True, slots=True)
class FetchedEnvelope:
    """An envelope as served: the signed manifest with its addenda and the caller's blob."""

    space: str
    meeting: str
    epoch: int
    recipient: str
    manifest: str
    blob: bytes
    addenda: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One envelope to fetch; ``epoch`` None is the present one. ``assertion`` (JWT or statement of
    presence) says who is at the device, for a confidential meeting.
    """

    space: SpaceName
    meeting: MeetingId
    epoch: int | None
    recipient: RecipientId
    assertion: str = field(default="", repr=False)


async def fetch_envelope(services: Services, call: Call, wanted: Wanted) -> FetchedEnvelope:
    """Return one envelope once its leaf is durable; raise NotFound, Forbidden, AssertionRequired,
    StateNotAllowed, Sealed, IntegrityFailure, AuditUnavailable, StoreUnavailable.
    """
    services.gate()
    ((answer, leaf),) = await _prepare(services, call, [wanted], _one)
    if leaf is not None:
        await services.store.commit(Unit(leaves=(leaf,)))
    if isinstance(answer, ConclaveError):
        raise answer
    return answer


async def fetch_batch(
    services: Services, call: Call, wanted: list[Wanted]
) -> list[FetchedEnvelope | ConclaveError]:
    """Return an envelope or an error for each, once all their leaves are durable together."""
    services.gate()
    prepared = await _prepare(services, call, wanted, _of_many)
    leaves = tuple(leaf for _, leaf in prepared if leaf is not None)
    if leaves:
        await services.store.commit(Unit(leaves=leaves))
    return [answer for answer, _ in prepared]


_Prepared = tuple[FetchedEnvelope | ConclaveError, LeafDraft | None]
"""An answer, and the leaf that has to be durable before anybody hears it."""


async def _prepare(
    services: Services,
    call: Call,
    wanted: list[Wanted],
    prepare: Callable[[Services, Call, Wanted], Awaitable[_Prepared]],
) -> list[_Prepared]:
    """Prepare all answers on meetings that stand still.

    Nothing awaits between the last look and the leaves' place in the writer's queue, so the log
    never shows a fetch behind the change that forbids it.
    """
    reached = [one for one in wanted if call.principal.reaches(one.space)]
    meetings = {lock_name(one.space, one.meeting) for one in reached}
    while True:
        look, sealed = await services.locks.settled(meetings), len(services.seals.spaces)
        prepared = [await prepare(services, call, one) for one in wanted]
        if look.holds() and sealed == len(services.seals.spaces):
            return prepared


async def _of_many(services: Services, call: Call, wanted: Wanted) -> _Prepared:
    try:
        return await _one(services, call, wanted)
    except (NotFound, StateNotAllowed, Sealed) as error:
        return error, None
    except IntegrityFailure as error:
        resource = meeting_path(wanted.space, wanted.meeting, wanted.epoch)
        return error, refusal(call, "integrity.failure", wanted.space, resource, error)


async def _one(services: Services, call: Call, wanted: Wanted) -> _Prepared:
    """Return the envelope or the policy's refusal; raise NotFound, StateNotAllowed, Sealed."""
    space, meeting, recipient = wanted.space, wanted.meeting, wanted.recipient
    operation = await _permitted(services, call, wanted)
    if isinstance(operation, ConclaveError):
        path = meeting_path(space, meeting)
        return operation, refusal(call, "access.refused", space, path, operation)
    record, _ = await services.cache.meeting(space, meeting)
    states = OPERATIONS[operation].states
    if states and record.state not in states:
        raise StateNotAllowed(f"envelopes are not served while the meeting is {record.state}")
    number = record.current_epoch if wanted.epoch is None else wanted.epoch
    epoch, _ = await services.cache.epoch(space, meeting, number)
    if epoch.state not in SERVED:
        raise StateNotAllowed(f"the epoch is {epoch.state}")
    blob = await services.cache.blob(space, meeting, number, recipient)
    try:
        shown = await _shown(services, wanted, record.host) if record.host else {}
    except AssertionRequired as unproven:
        path = meeting_path(space, meeting, number)
        return unproven, refusal(call, "access.refused", space, path, unproven)
    leaf = call.leaf(
        space,
        meeting_path(space, meeting, number),
        Phase.EVENT,
        Outcome.SUCCEEDED,
        action=operation,
        details={"epoch": number, "recipient": recipient, **shown},
    )
    fetched = FetchedEnvelope(
        space, meeting, number, recipient, epoch.manifest, blob, epoch.addenda
    )
    return fetched, leaf


async def _shown(services: Services, wanted: Wanted, host: str) -> dict[str, str]:
    """Return how the log names the assertion that lets an envelope of a confidential meeting go;
    raise AssertionRequired.
    """
    if services.assertions is None:
        raise refused()
    roster, _ = await services.cache.roster(wanted.space, wanted.meeting)
    door = Door(
        services.settings.site.id,
        wanted.space,
        wanted.meeting,
        wanted.recipient,
        host,
        roster.statement,
        services.passkeys.known,
    )
    return services.assertions.accept(wanted.assertion, door, services.seconds(), wanted)


async def _permitted(services: Services, call: Call, wanted: Wanted) -> str | ConclaveError:
    """Return which operation it is, or the refusal: in a ``roster`` space a server relays, it does
    not fetch.

    Another space's rows are not even looked up: how long it takes would tell what is there.
    """
    space, meeting, recipient = wanted.space, wanted.meeting, wanted.recipient
    if not call.principal.reaches(space):
        return NotFound(NOT_THERE)
    services.seals.check(space)
    release_class, on_roster, known = ReleaseClass.TRUSTED, False, True
    try:
        release_class = (await services.cache.space(space)).release_class
        roster, _ = await services.cache.roster(space, meeting)
        on_roster = recipient in roster.recipients
    except NotFound:
        known = False
    operation = "envelope.relay" if release_class is ReleaseClass.ROSTER else "envelope.fetch"
    target = Target(
        space=space,
        release_class=release_class,
        on_roster=on_roster or not known,
        own_recipient=call.principal.recipient == recipient,
    )
    try:
        await services.access.decide(services, call, operation, target)
    except (Forbidden, NotFound) as error:
        return error
    return operation
