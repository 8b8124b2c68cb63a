"""Rotation as it stands: every open meeting's key, since when, what comes next; and one meeting's
timeline. Operators see what ``rotation.read`` says: of confidential meetings times and a number.
"""

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from kms.domain.ids import MeetingId, SpaceName, parse_meeting, parse_space
from kms.usecases.queries import get_meeting, living_spaces, unknown_spaces
from kms.usecases.rotation.status import (
    Place,
    Rotation,
    rotation_counts,
    rotation_of,
    rotation_status,
)
from kms.usecases.veil import is_operator_only
from kms.web.history import History, history_of
from kms.web.links import chosen_flag, chosen_space, href
from kms.web.roles import OVERSEERS, PEOPLE
from kms.web.visit import PAGE_ROWS, Kind, Page, Visit
from kms.wire.cursors import Cursors

_CURSORS = Cursors()


@dataclass(frozen=True, slots=True)
class Row:
    """An open meeting's rotation; ``hidden``: which meeting it is may not be told."""

    rotation: Rotation
    hidden: bool


async def _rotation(visit: Visit) -> Response:
    return visit.show("rotation.html", **await _values(visit))


async def _now(visit: Visit) -> Response:
    return visit.show("part-rotation.html", **await _values(visit))


async def _values(visit: Visit) -> dict[str, Any]:
    space, overdue = chosen_space(visit), chosen_flag(visit, "overdue")
    veiled = is_operator_only(visit.principal)
    after = _place(_CURSORS.read(visit.query("after"), hidden=veiled))
    spaces = await living_spaces(visit.services, visit.call("space.list"))
    page = await rotation_status(
        visit.services, visit.call("rotation.read"), after, PAGE_ROWS, space, overdue_only=overdue
    )
    filters = {"space": space, "overdue": "1" if overdue else ""}
    return {
        "rows": _rows(visit, page),
        "spaces": spaces,
        "counts": await rotation_counts(visit.services, visit.call("rotation.read")),
        "unknown": await unknown_spaces(visit.services, visit.call("space.list")),
        "filters": filters,
        "next": _next(visit, page, filters),
        "first": href("/rotation", **filters) if visit.query("after") else "",
    }


def _place(after: str) -> Place:
    """Return space and meeting that a page goes on after; raise InvalidInput."""
    if not after:
        return "", ""
    space, _, meeting = after.partition("/")
    return parse_space(space), parse_meeting(meeting)


def _rows(visit: Visit, page: list[Rotation]) -> tuple[Row, ...]:
    veiled = is_operator_only(visit.principal)
    return tuple(Row(one, veiled and one.people is not None) for one in page)


def _next(visit: Visit, page: list[Rotation], filters: dict[str, str]) -> str:
    """Return the link to the next page; an operator's tells nothing."""
    if len(page) < PAGE_ROWS:
        return ""
    place = f"{page[-1].space}/{page[-1].meeting}"
    after = _CURSORS.hide(place) if is_operator_only(visit.principal) else place
    return href("/rotation", **filters, after=after)


async def _meeting(visit: Visit) -> Response:
    return visit.show("rotation-meeting.html", **await _timeline(visit))


async def _meeting_now(visit: Visit) -> Response:
    return visit.show("part-rotation-meeting.html", **await _timeline(visit))


async def _timeline(visit: Visit) -> dict[str, Any]:
    space, meeting = parse_space(visit.path("space")), parse_meeting(visit.path("meeting"))
    seen = await rotation_of(visit.services, visit.call("rotation.read"), space, meeting)
    overseer = bool(visit.principal.roles & OVERSEERS)
    return {
        "space": space,
        "meeting": meeting,
        "seen": seen,
        "history": await _history(visit, space, meeting) if overseer else None,
    }


async def _history(visit: Visit, space: SpaceName, meeting: MeetingId) -> History:
    view = await get_meeting(visit.services, visit.call("meeting.read"), space, meeting)
    return await history_of(visit, view, f"/rotation/{space}/{meeting}")


PAGES = (
    Page("rotation", "/rotation", PEOPLE, _rotation),
    Page("rotation-now", "/parts/rotation", PEOPLE, _now, Kind.FRAGMENT),
    Page("rotation-meeting", "/rotation/{space}/{meeting}", PEOPLE, _meeting),
    Page(
        "rotation-meeting-now",
        "/parts/rotation/{space}/{meeting}",
        PEOPLE,
        _meeting_now,
        Kind.FRAGMENT,
    ),
)
