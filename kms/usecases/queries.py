"""Reads of metadata. Nothing here releases a key, so nothing here writes a leaf but a refusal."""

from dataclasses import dataclass
from typing import TypeVar

from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Epoch, Meeting, Principal, Recipient, Role, Roster, Space
from kms.domain.rows import SealedRow
from kms.domain.states import MeetingState
from kms.errors import ConclaveError, IntegrityFailure, NotFound, Sealed
from kms.policy.authorizer import Target
from kms.ports import TokenInfo, Unit
from kms.usecases.minting import MeetingView
from kms.usecases.services import Call, Services, authorize, meeting_path
from kms.usecases.sharing import side_of

MAX_PAGE = 500
_PEOPLE = frozenset({Role.OFFICER, Role.AUDITOR})
_R = TypeVar("_R", Meeting, Epoch, Space, Recipient)


@dataclass(frozen=True, slots=True)
class SiteStatus:
    """The site at a glance: ``workers`` maps each token to "ready" or an error's code."""

    site: str
    banner: str
    spaces: int
    tree_size: int
    checkpoint_size: int
    key_operations: str
    workers: dict[str, str]


async def get_meeting(
    services: Services, call: Call, space: SpaceName, meeting: MeetingId
) -> MeetingView:
    """Return a meeting with its roster and epochs, to the people of a space that it is shared with
    too; raise NotFound.
    """
    side = space
    if call.principal.roles & _PEOPLE:
        side = await side_of(services, call.principal, space, meeting)
    if side == space:
        await authorize(services, call, Target(space=space), meeting_path(space, meeting))
    else:
        await authorize(services, call, Target(space=side), f"spaces/{side}")
        services.seals.check(space)
    return await _view(services, space, meeting)


async def _view(services: Services, space: SpaceName, meeting: MeetingId) -> MeetingView:
    record, version = await services.cache.meeting(space, meeting)
    roster, row = await services.cache.roster(space, meeting)
    current = published = None
    if record.state is MeetingState.OPEN:
        current, _ = await services.cache.epoch(space, meeting, record.current_epoch)
    if record.next_epoch is not None:
        published, _ = await services.cache.epoch(space, meeting, record.next_epoch)
    return MeetingView(record, version, roster, row, current, published)


async def list_meetings(
    services: Services, call: Call, space: SpaceName, after: str, limit: int
) -> list[Meeting]:
    """Return a page of a space's meetings, by id."""
    await authorize(services, call, Target(space=space), f"spaces/{space}")
    await services.cache.space(space)
    page = services.store.meetings(space, after, min(limit, MAX_PAGE))
    return [await _admit(services, row, Meeting) for row in page]


async def get_roster(
    services: Services, call: Call, space: SpaceName, meeting: MeetingId
) -> tuple[Roster, int]:
    """Return a meeting's roster and its row's version; raise NotFound."""
    await authorize(services, call, Target(space=space), meeting_path(space, meeting))
    return await services.cache.roster(space, meeting)


async def list_epochs(
    services: Services, call: Call, space: SpaceName, meeting: MeetingId, after: int, limit: int
) -> list[Epoch]:
    """Return a page of a meeting's epochs, by number; raise NotFound."""
    await authorize(services, call, Target(space=space), meeting_path(space, meeting))
    await services.cache.meeting(space, meeting)
    page = services.store.epochs(space, meeting, after, min(limit, MAX_PAGE))
    return [await _admit(services, row, Epoch) for row in page]


async def get_epoch(
    services: Services, call: Call, space: SpaceName, meeting: MeetingId, epoch: int | None
) -> tuple[Epoch, int]:
    """Return an epoch (None: the present one) and its row's version; raise NotFound."""
    await authorize(services, call, Target(space=space), meeting_path(space, meeting))
    record, _ = await services.cache.meeting(space, meeting)
    number = record.current_epoch if epoch is None else epoch
    return await services.cache.epoch(space, meeting, number)


async def list_spaces(services: Services, call: Call) -> list[Space]:
    """Return the spaces that the caller may know of."""
    await authorize(services, call, Target(), "spaces")
    spaces = [await _admit(services, row, Space) for row in services.store.spaces()]
    return [space for space in spaces if call.principal.reaches(space.space)]


async def present_spaces(services: Services, call: Call) -> list[Space]:
    """Return the spaces that the caller may know of and whose tokens are there: neither destroyed
    nor sealed nor out of the configuration, so that their rows can be checked.
    """
    spaces = await living_spaces(services, call)
    return [space for space in spaces if is_present(services, space.space)]


async def unknown_spaces(services: Services, call: Call) -> list[SpaceName]:
    """Return the spaces that the caller may know of and of which an overview can say nothing: they
    are sealed or out of the configuration.
    """
    spaces = await living_spaces(services, call)
    return sorted(one.space for one in spaces if not is_present(services, one.space))


async def living_spaces(services: Services, call: Call) -> list[Space]:
    """Return the spaces that the caller may know of and that are not destroyed."""
    spaces = [await _admit(services, row, Space) for row in services.store.spaces()]
    return [one for one in spaces if call.principal.reaches(one.space) and not one.destroyed]


def is_present(services: Services, space: SpaceName) -> bool:
    """Whether a space's token can be asked: it is configured and not sealed."""
    try:
        check_present(services, space)
    except (NotFound, Sealed):
        return False
    return True


def check_present(services: Services, space: SpaceName) -> None:
    """Raise NotFound for a space whose token is not configured, Sealed for one that is sealed."""
    services.seals.check(space)
    services.workers.space(space)


async def list_recipients(services: Services, call: Call) -> list[Recipient]:
    """Return the recipients of the spaces that the caller may know of, without those revoked."""
    await authorize(services, call, Target(), "recipients")
    found = []
    for space in await present_spaces(services, call):
        rows = services.store.recipients(space.space)
        found += [await _admit(services, row, Recipient) for row in rows]
    return [recipient for recipient in found if not recipient.revoked]


async def _admit(services: Services, sealed: SealedRow, kind: type[_R]) -> _R:
    record = (await services.cache.admit(sealed)).record
    if not isinstance(record, kind):
        raise IntegrityFailure("a row is not what its key says")
    return record


async def site_status(services: Services, call: Call) -> SiteStatus:
    """Return the state of log, workers and key operations."""
    await authorize(services, call, Target(), "status")
    checkpoints = services.store.last_checkpoint()
    return SiteStatus(
        services.settings.site.id,
        services.settings.site.banner,
        len(services.store.spaces()),
        services.store.tree_size(),
        checkpoints[0] if checkpoints else 0,
        await _operations(services),
        await worker_health(services, call.principal),
    )


async def _operations(services: Services) -> str:
    try:
        await check_writable(services)
    except ConclaveError as error:
        return error.code
    return "ready"


async def check_writable(services: Services) -> None:
    """Raise AuditUnavailable or StoreUnavailable unless a key operation could be recorded now.

    An empty unit is a real transaction: it fails if the database is gone, replaced or full.
    """
    services.gate()
    await services.store.commit(Unit())


async def worker_health(services: Services, principal: Principal) -> dict[str, str]:
    """Return "ready" or an error's code for each token that the caller may know of."""
    health = {}
    for token in services.settings.hsm.tokens:
        if token.space and not principal.reaches(token.space):
            continue
        try:
            keeper = (
                services.workers.space(SpaceName(token.space))
                if token.space
                else services.workers.site
            )
            await keeper.check_rows([])
            health[token.label] = "ready"
        except ConclaveError as error:
            health[token.label] = error.code
    return health


async def describe_tokens(services: Services, call: Call) -> list[TokenInfo]:
    """Return what each token that the caller may know of says of itself; raise HsmUnavailable."""
    await authorize(services, call, Target(), "hsm")
    infos = [await keeper.info() for keeper in services.workers.all()]
    return [info for info in infos if not info.space or call.principal.reaches(info.space)]
