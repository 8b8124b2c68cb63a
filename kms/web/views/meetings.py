"""Meeting security: the self-check score of a space's open meetings, and those that have ended."""

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from kms.domain.ids import SpaceName, parse_meeting
from kms.domain.models import Meeting, Space
from kms.domain.states import MeetingState
from kms.errors import InvalidInput
from kms.usecases.finding import find_meetings
from kms.usecases.queries import list_meetings, living_spaces, unknown_spaces
from kms.usecases.scores import MeetingScore, scores_page
from kms.web.links import chosen_space, first_space, href
from kms.web.naming import named
from kms.web.roles import OVERSEERS
from kms.web.scoring import Mark, label, mark, said
from kms.web.views import meeting as one_meeting
from kms.web.visit import PAGE_ROWS, Kind, Page, Visit

_LOOKED_AT = 200
"""Meetings looked at for one page of those that have ended."""


@dataclass(frozen=True, slots=True)
class Scored:
    """An open meeting with its score and the gravest reason against it, empty for none."""

    found: MeetingScore
    mark: Mark
    worst: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of meetings; ``next`` is where the next one begins, empty for none."""

    scored: tuple[Scored, ...] = ()
    ended: tuple[Meeting, ...] = ()
    next: str = ""


async def _meetings(visit: Visit) -> Response:
    """Show a page, or go to the one meeting that the field names."""
    wanted = await named(visit, "meeting.list", find_meetings)
    if wanted.one:
        return visit.go(_where(*wanted.one))
    code, values = 400 if wanted.error else 200, await _values(visit)
    return visit.show("meetings.html", code, named=wanted, where=_where, **values)


def _where(space: str, meeting: str) -> str:
    return f"/meetings/{space}/{meeting}"


async def _now(visit: Visit) -> Response:
    return visit.show("part-meetings.html", **await _values(visit))


async def _values(visit: Visit) -> dict[str, Any]:
    services, state = visit.services, visit.query("state", "open")
    if state not in {"open", "closed"}:
        raise InvalidInput("state is open or closed")
    spaces = await living_spaces(services, visit.call("space.list"))
    unknown = await unknown_spaces(services, visit.call("space.list"))
    space = _space(visit, spaces, unknown)
    filters = {"space": space.space if space else "", "state": state}
    page = await _page(visit, space, state) if space and space.space not in unknown else Listed()
    return {
        "page_of": page,
        "space": space,
        "spaces": spaces,
        "unknown": unknown,
        "filters": filters,
        "label": label(),
        "live": href("/parts/meetings", **filters, after=visit.query("after")),
        "next": href("/meetings", **filters, after=page.next) if page.next else "",
        "first": href("/meetings", **filters) if visit.query("after") else "",
    }


def _space(visit: Visit, spaces: list[Space], unknown: list[SpaceName]) -> Space | None:
    """Return the chosen space, or of those that can be looked at the one with the most open
    meetings; None if there is none.
    """
    chosen = chosen_space(visit)
    wanted = [one for one in spaces if chosen in ("", one.space)]
    present = [one for one in wanted if one.space not in unknown]
    return first_space(visit, present or wanted)


async def _page(visit: Visit, space: Space, state: str) -> Listed:
    after = visit.query("after")
    after = parse_meeting(after) if after else ""
    return await (_open if state == "open" else _ended)(visit, space.space, after)


async def _open(visit: Visit, space: SpaceName, after: str) -> Listed:
    call = visit.call("score.read")
    found = await scores_page(visit.services, call, space, after, PAGE_ROWS)
    rows = tuple(Scored(one, mark(one.score), said(one.worst)) for one in found)
    return Listed(scored=rows, next=found[-1].meeting if len(found) == PAGE_ROWS else "")


async def _ended(visit: Visit, space: SpaceName, after: str) -> Listed:
    """Return those that have ended among the next meetings by id; there may be few."""
    call = visit.call("meeting.list")
    seen = await list_meetings(visit.services, call, space, after, _LOOKED_AT)
    ended = [one for one in seen if one.state is not MeetingState.OPEN]
    if len(ended) > PAGE_ROWS:
        return Listed(ended=tuple(ended[:PAGE_ROWS]), next=ended[PAGE_ROWS - 1].meeting)
    return Listed(ended=tuple(ended), next=seen[-1].meeting if len(seen) == _LOOKED_AT else "")


PAGES = (
    Page("meetings", "/meetings", OVERSEERS, _meetings),
    Page("meetings-now", "/parts/meetings", OVERSEERS, _now, Kind.FRAGMENT),
    *one_meeting.PAGES,
)
