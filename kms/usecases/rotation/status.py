"""How the keys of open meetings stand: since when, until when, and what comes next."""

from dataclasses import dataclass, replace

from kms.domain.ids import MAX_EPOCH, MeetingId, SpaceName
from kms.domain.models import Meeting
from kms.errors import NotFound
from kms.policy.authorizer import NOT_THERE, Target
from kms.usecases.queries import MAX_PAGE, check_present, present_spaces
from kms.usecases.rotation.outlook import Outlook, outlook
from kms.usecases.rotation.rules import MARGIN
from kms.usecases.services import Call, Services, authorize
from kms.usecases.veil import is_hidden

GRACE = 3 * MARGIN
"""So many seconds late, people should know."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """An open meeting's present epoch; times in whole seconds since 1970.

    ``due``: when its next epoch is to be made, and ``why`` (None: one is published, or people
    suspended this one). ``overdue``: it is past its maximum age, or should have been replaced.
    ``uses`` of ``maximum_uses`` (0: any number) envelopes were served of it. ``people`` is the
    head count of a confidential meeting, None of others.
    """

    space: str
    meeting: str
    epoch: int
    state: str
    reason: str
    activated: int
    retires: int
    due: int | None
    why: str | None
    overdue: bool
    uses: int
    maximum_uses: int
    next_epoch: int | None
    next_activates: int | None
    people: int | None = None


Place = tuple[str, str]
"""A space and a meeting in it: where a page ends."""


async def rotation_status(
    services: Services, call: Call, after: Place, limit: int
) -> list[Rotation]:
    """Return a page of the open meetings that the caller may know of, by space and id, after one
    place (("", "") for all); raise Forbidden, IntegrityFailure, HsmUnavailable.
    """
    await authorize(services, call, Target(), "rotation")
    found: list[Rotation] = []
    for space in sorted(one.space for one in await present_spaces(services, call)):
        if space >= after[0]:
            start = after[1] if space == after[0] else ""
            found += await _page(services, space, start, limit - len(found))
    return found


async def rotation_of(
    services: Services, call: Call, space: SpaceName, meeting: MeetingId
) -> Rotation | None:
    """Return one meeting's rotation, None if it has ended; to operators a confidential meeting is
    none that they may ask for. Raise Forbidden, NotFound, Sealed, IntegrityFailure, HsmUnavailable.
    """
    await authorize(services, call, Target(), "rotation")
    if not call.principal.reaches(space):
        raise NotFound(NOT_THERE)
    check_present(services, space)
    if await is_hidden(services, call.principal, space, meeting):
        raise NotFound(NOT_THERE)
    seen = await outlook(services, space, meeting)
    if seen is None:
        return None
    return replace(
        _rotation(seen, services.seconds()), people=await _people(services, seen.meeting)
    )


async def _page(services: Services, space: SpaceName, after: str, limit: int) -> list[Rotation]:
    """Return a page of one space; older epochs of a meeting may be compromised beside the last."""
    found: list[Rotation] = []
    place = (after, MAX_EPOCH)
    while len(found) < limit and (
        rows := services.store.present_epochs(space, place, min(limit, MAX_PAGE))
    ):
        for sealed in rows:
            meeting = sealed.row.key.split("/")[2]
            if meeting == place[0] or len(found) == limit:
                continue
            place = (meeting, MAX_EPOCH)
            seen = await outlook(services, space, MeetingId(meeting))
            if seen is not None:
                people = await _people(services, seen.meeting)
                found.append(replace(_rotation(seen, services.seconds()), people=people))
    return found


async def _people(services: Services, meeting: Meeting) -> int | None:
    if not meeting.host:
        return None
    roster, _ = await services.cache.roster(meeting.space, meeting.meeting)
    return len(roster.recipients)


def is_overdue(seen: Outlook, now: int) -> bool:
    """Whether a present epoch is past its maximum age, or should have been replaced."""
    late = seen.due is not None and now >= seen.due.at + GRACE
    return late or now >= seen.present.retires


def _rotation(seen: Outlook, now: int) -> Rotation:
    present, published, due = seen.present, seen.published, seen.due
    return Rotation(
        space=present.space,
        meeting=present.meeting,
        epoch=present.epoch,
        state=present.state.value,
        reason=present.reason.value,
        activated=present.activates,
        retires=present.retires,
        due=due.at if due else None,
        why=due.reason.value if due else None,
        overdue=is_overdue(seen, now),
        uses=seen.uses,
        maximum_uses=seen.rules.maximum_uses,
        next_epoch=seen.meeting.next_epoch,
        next_activates=published.activates if published else None,
    )
