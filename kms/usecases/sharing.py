"""Meetings that two spaces share: both approve, the partner's vault receives the keys from the next
one on, and each side can end the meeting.
"""

from dataclasses import replace

from kms.domain.approvals import Sharing
from kms.domain.grants import Share
from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Meeting, Principal, Recipient, RecipientKind, RotationReason, Space
from kms.domain.rows import RowKind
from kms.domain.states import MeetingState
from kms.errors import IntegrityFailure, InvalidInput, NotFound, Sealed, StateNotAllowed
from kms.statements.canonical import read_row
from kms.statements.request import CheckedRequest
from kms.usecases.approvals.effect import Effect
from kms.usecases.lifecycle.cascade import readers_of
from kms.usecases.minting import Plan, mint
from kms.usecases.services import Call, Services, lock_name, meeting_path


async def prepare_share(services: Services, call: Call, checked: CheckedRequest) -> Effect:
    """Return a meeting's sharing with a partner. Raise NotFound, Sealed, StateNotAllowed unless
    both spaces are in service, the meeting is open and shared with nobody, and the partner's vault
    is registered in the meeting's space.
    """
    del call
    wish, space = checked.parameters, SpaceName(checked.wanted.space)
    if not isinstance(wish, Sharing):
        raise InvalidInput("the request names no meeting to share")
    if wish.partner == space:
        raise InvalidInput("a space does not share with itself")
    for one in (space, wish.partner):
        _check_in_service(services, await services.cache.space(one))
    meeting, version = await services.cache.meeting(space, wish.meeting)
    if meeting.state is not MeetingState.OPEN:
        raise StateNotAllowed(
            "the meeting is {state}: only an open one is shared", about={"state": meeting.state}
        )
    if meeting.partner:
        raise StateNotAllowed("the meeting is shared already")
    await _check_registered(services, space, wish.partner)
    share = Share(space, wish.meeting, wish.partner, checked.wanted.id, services.seconds())
    return Effect(
        meeting_path(space, wish.meeting),
        ((share, 1), (replace(meeting, partner=wish.partner), version + 1)),
        details={"partner": wish.partner},
    )


def _check_in_service(services: Services, space: Space) -> None:
    services.seals.check(space.space)
    if space.sealed:
        raise Sealed("the space {space} is sealed", about={"space": space.space})
    if space.retired or space.destroyed:
        raise StateNotAllowed("the space {space} is retired", about={"space": space.space})


async def _check_registered(services: Services, space: SpaceName, partner: SpaceName) -> None:
    """Raise StateNotAllowed unless officers registered the partner's vault, and the partner uses it
    still; the worker looks at its token again.
    """
    for row in services.store.recipients(space):
        found = (await services.cache.admit(row)).record
        if not isinstance(found, Recipient):
            raise IntegrityFailure("a row is not what its key says")
        if (found.kind, found.name) == (RecipientKind.PARTNER, partner) and not found.revoked:
            await _check_in_use(services, partner, found)
            return
    raise StateNotAllowed(
        "the vault of {space} is not registered in this space",
        hint="a ceremony register-recipient of the kind partner registers it",
        about={"space": partner},
    )


async def _check_in_use(services: Services, partner: SpaceName, vault: Recipient) -> None:
    try:
        await services.cache.recipient(partner, vault.recipient)
    except NotFound as error:
        raise StateNotAllowed(
            "the vault key of {space} that is registered here is retired",
            hint="register the partner's newest vault key: register-recipient, kind partner",
            about={"space": partner},
        ) from error


async def give_next_key(services: Services, call: Call, checked: CheckedRequest) -> None:
    """Have the shared meeting's next key made now, unless the partner has received one: it gets
    none that was made before. Raise as ``mint``.
    """
    wish, space = checked.parameters, SpaceName(checked.wanted.space)
    if not isinstance(wish, Sharing):
        raise InvalidInput("the request names no meeting to share")
    async with services.locks.of(lock_name(space, wish.meeting)):
        meeting, version = await services.cache.meeting(space, wish.meeting)
        if meeting.state is not MeetingState.OPEN or await _received(services, meeting):
            return
        roster, row = await services.cache.roster(space, wish.meeting)
        plan = Plan(meeting, version, roster, row, False, RotationReason.MANUAL, {})
        await mint(services, replace(call, operation="epoch.rotate", remember=None), plan)


async def _received(services: Services, meeting: Meeting) -> bool:
    """Whether the meeting's newest key was made for the partner too."""
    newest, _ = await services.cache.epoch(meeting.space, meeting.meeting, meeting.last_epoch)
    return bool(readers_of(newest).of_kind(RecipientKind.PARTNER))


async def side_of(
    services: Services, principal: Principal, space: SpaceName, meeting: MeetingId
) -> SpaceName:
    """Return by which space's policies a caller may act on a meeting: the meeting's own, or the
    partner's if the caller belongs to that alone. Raise IntegrityFailure.

    Whoever belongs to neither learns nothing, not even by how long it takes: only a share with a
    space of the caller's is looked at further.
    """
    if principal.reaches(space):
        return space
    sealed = services.store.row(RowKind.SHARE, f"{RowKind.SHARE}/{space}/{meeting}")
    share = read_row(sealed.row) if sealed else None
    if sealed is None or not isinstance(share, Share) or not principal.reaches(share.partner):
        return space
    checked = (await services.cache.admit(sealed)).record
    record, _ = await services.cache.meeting(space, meeting)
    if not isinstance(checked, Share) or record.partner != checked.partner:
        raise IntegrityFailure("a share is not the one that its meeting names")
    return checked.partner
