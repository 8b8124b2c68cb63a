"""How the keys of open meetings stand: since when, until when, and what comes next."""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from kms.domain.ids import MAX_EPOCH, MeetingId, SpaceName
from kms.domain.models import Epoch, Meeting
from kms.errors import NotFound
from kms.policy.authorizer import NOT_THERE, Target
from kms.usecases.queries import check_present, present_spaces
from kms.usecases.rotation.outlook import Outlook, outlook
from kms.usecases.rotation.rules import MARGIN, Due
from kms.usecases.services import Call, Services, authorize
from kms.usecases.veil import is_hidden

_PAGE = 50
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


@dataclass(frozen=True, slots=True)
class RotationCounts:
    """As of a time (whole seconds; 0: not counted yet), by space: meetings with a key in use, and
    those whose rotation is overdue.
    """

    at: int
    open: dict[str, int]
    overdue: dict[str, int]


async def rotation_status(
    services: Services,
    call: Call,
    after: Place,
    limit: int,
    space: str = "",
    *,
    overdue_only: bool = False,
) -> list[Rotation]:
    """Return a page of the open meetings that the caller may know of, by space and id, after one
    place (("", "") for all); of one space alone, or those alone that are overdue: that were when
    keys were counted last, and still are. Raise Forbidden, IntegrityFailure, HsmUnavailable.
    """
    await authorize(services, call, Target(), "rotation")
    found: list[Rotation] = []
    for one in sorted(known.space for known in await present_spaces(services, call)):
        if one < after[0] or space not in ("", one):
            continue
        start = after[1] if one == after[0] else ""
        wanted = _overdue if overdue_only else open_outlooks
        async with aclosing(wanted(services, one, start)) as page:
            async for seen in page:
                if len(found) == limit:
                    return found
                found.append(await _shown(services, seen))
    return found


async def rotation_counts(services: Services, call: Call) -> RotationCounts:
    """Return how many keys are in use and how many overdue, as they were counted last."""
    await authorize(services, call, Target(), "rotation", "rotation.read")
    facts = services.watched.facts
    keys = {one: keys for one, keys in facts.keys.items() if call.principal.reaches(one)}
    return RotationCounts(
        facts.keys_at,
        {space: one.open for space, one in keys.items()},
        {space: len(one.late) for space, one in keys.items()},
    )


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
    return await _shown(services, seen)


async def open_outlooks(
    services: Services, space: SpaceName, after: str
) -> AsyncGenerator[Outlook, None]:
    """Yield one space's open meetings by id, after one; older epochs of a meeting may be
    compromised beside the last. Raise IntegrityFailure, HsmUnavailable.
    """
    place = (after, MAX_EPOCH)
    while rows := services.store.present_epochs(space, place, _PAGE):
        for sealed in rows:
            meeting = sealed.row.key.split("/")[2]
            if meeting != place[0]:
                place = (meeting, MAX_EPOCH)
                seen = await outlook(services, space, MeetingId(meeting))
                if seen is not None:
                    yield seen
        await asyncio.sleep(0)  # others have their turn between two pages


async def _overdue(
    services: Services, space: SpaceName, after: str
) -> AsyncGenerator[Outlook, None]:
    """Yield those that were overdue when keys were counted last, and still are."""
    keys = services.watched.facts.keys.get(space)
    late = keys.late if keys else ()
    for meeting in late[bisect_right(late, after) :]:
        seen = await outlook(services, space, MeetingId(meeting))
        if seen is not None and is_overdue(seen, services.seconds()):
            yield seen


async def _shown(services: Services, seen: Outlook) -> Rotation:
    people = await _people(services, seen.meeting)
    return replace(_rotation(seen, services.seconds()), people=people)


async def _people(services: Services, meeting: Meeting) -> int | None:
    if not meeting.host:
        return None
    roster, _ = await services.cache.roster(meeting.space, meeting.meeting)
    return len(roster.recipients)


def is_overdue(seen: Outlook, now: int) -> bool:
    """Whether a present epoch is past its maximum age, or should have been replaced."""
    return is_late(seen.present, seen.due, now)


def is_late(present: Epoch, due: Due | None, now: int) -> bool:
    """Whether an epoch is past its maximum age, or should have been replaced when it was due."""
    return now >= present.retires or (due is not None and now >= due.at + GRACE)


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
