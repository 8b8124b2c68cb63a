"""One meeting's security: score with every reason, epochs, roster, holds, and for auditors who
fetched its keys. People of a space that it is shared with see what ``meeting.read`` gives them.
"""

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from kms.audit.actions import ACTIONS, SERVING
from kms.domain.grants import Hold
from kms.domain.ids import parse_meeting, parse_space
from kms.domain.models import Meeting, Role, Space
from kms.domain.score import Score
from kms.domain.states import MeetingState
from kms.errors import InvalidInput, StoreUnavailable
from kms.i18n import Language, language
from kms.ports import Deed
from kms.usecases.deeds import deeds_of
from kms.usecases.lifecycle.holds import list_holds
from kms.usecases.minting import MeetingView
from kms.usecases.queries import get_meeting, list_recipients, list_spaces
from kms.usecases.scores import score_of
from kms.web.days import Days, chosen_days
from kms.web.history import history_of
from kms.web.links import href
from kms.web.roles import OVERSEERS
from kms.web.scoring import findings, label, mark
from kms.web.visit import Page, Visit

_MOST_FETCHERS = 200


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Who did what with a meeting's envelopes: ``name`` of the recipient if it is registered,
    ``href`` where each single time stands.
    """

    deed: Deed
    what: str
    name: str
    href: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """Who fetched keys in the chosen days (None: it cannot be told now); ``whole``: nothing is left
    out; ``error``: those are no days.
    """

    days: Days
    fetchers: tuple[Fetcher, ...] | None
    whole: bool
    error: InvalidInput | None = None


async def _meeting(visit: Visit) -> Response:
    space, meeting = parse_space(visit.path("space")), parse_meeting(visit.path("meeting"))
    view = await get_meeting(visit.services, visit.call("meeting.read"), space, meeting)
    own = await _own(visit, view) if visit.principal.reaches(space) else {}
    fetched = own.get("fetched")
    return visit.show(
        "meeting.html",
        400 if fetched and fetched.error else 200,
        view=view,
        meeting=view.meeting,
        heads=len(view.roster.recipients),
        label=label(),
        **{**dict.fromkeys(("space", "mark", "findings", "history", "holds", "fetched")), **own},
    )


async def _own(visit: Visit, view: MeetingView) -> dict[str, Any]:
    """Return what people of the meeting's own space see besides."""
    spaces = await list_spaces(visit.services, visit.call("space.list"))
    scored = await _score(visit, view)
    return {
        "space": _release(spaces, view),
        "mark": mark(scored) if scored else None,
        "findings": findings(scored, view.meeting.space, view.meeting.meeting) if scored else (),
        "history": await history_of(visit, view, visit.request.url.path),
        "holds": await _holds(visit, view),
        "fetched": await _fetched(visit, view) if Role.AUDITOR in visit.principal.roles else None,
    }


def _release(spaces: list[Space], view: MeetingView) -> Space | None:
    return next((one for one in spaces if one.space == view.meeting.space), None)


async def _score(visit: Visit, view: MeetingView) -> Score | None:
    """Return the score, None for a meeting whose keys are destroyed."""
    record = view.meeting
    if record.state is MeetingState.DESTROYED:
        return None
    call = visit.call("score.read")
    return (await score_of(visit.services, call, record.space, record.meeting))[1]


async def _holds(visit: Visit, view: MeetingView) -> list[Hold]:
    """Return the holds in force that protect the meeting."""
    found = await list_holds(visit.services, visit.call("hold.list"), view.meeting.space)
    return [one for one in found if one.covers(view.meeting.meeting)]


async def _fetched(visit: Visit, view: MeetingView) -> Fetched:
    try:
        return await _fetched_in(visit, view.meeting, chosen_days(visit))
    except InvalidInput as error:
        typed = Days(visit.query("from"), visit.query("until"), "", "")
        return Fetched(typed, (), whole=True, error=error)


async def _fetched_in(visit: Visit, record: Meeting, days: Days) -> Fetched:
    call, bounds = visit.call("audit.search"), (days.begin, days.end)
    try:
        deeds = await deeds_of(visit.services, call, record.space, record.meeting, SERVING, *bounds)
    except StoreUnavailable:
        return Fetched(days, None, whole=False)
    known = await list_recipients(visit.services, visit.call("recipient.list"))
    names = {str(one.recipient): one.name for one in known}
    shown = deeds.items[:_MOST_FETCHERS]
    fetchers = tuple(_fetcher(record, days, one, names.get(one.recipient, "")) for one in shown)
    return Fetched(days, fetchers, deeds.whole and len(shown) == len(deeds.items))


def _fetcher(record: Meeting, days: Days, deed: Deed, name: str) -> Fetcher:
    action = ACTIONS[deed.action]
    what = action.zh if language() is Language.ZH else action.en
    fields = {"meeting": record.meeting, "space": record.space, "actor": deed.actor}
    fields |= {"action": deed.action, "since": days.begin, "until": days.end}
    return Fetcher(deed, what, name, href("/audit", **fields))


PAGES = (Page("meeting", "/meetings/{space}/{meeting}", OVERSEERS, _meeting),)
