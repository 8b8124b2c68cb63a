"""Meetings: open, list, show, close."""

from starlette.responses import Response

from kms.api import views
from kms.api.context import Context, etag
from kms.api.endpoints import Endpoint, json_reply, render, tagged
from kms.api.idempotency import Idempotency
from kms.domain.ids import MeetingId, RecipientId, parse_meeting
from kms.policy.authorizer import Target
from kms.usecases.meetings import close_meeting, open_meeting
from kms.usecases.minting import MeetingView
from kms.usecases.queries import get_meeting, list_meetings
from kms.usecases.rosters import WantedRoster
from kms.usecases.services import Call
from kms.wire.base import Wire
from kms.wire.replies import MeetingOut, MeetingPage
from kms.wire.requests import OpenMeeting, RosterWish

PAGING = (("after", "the last page's `next`"), ("limit", "1 to 500, 100 if not given"))


class Nothing(Wire):
    """An empty object, or no body at all."""


def endpoints(idempotency: Idempotency) -> tuple[Endpoint, ...]:
    """Return the endpoints of meetings."""

    async def start(context: Context) -> Response:
        context.query()
        space, wish = context.space, context.message(OpenMeeting)
        meeting = MeetingId(wish.meeting) if wish.meeting else None

        async def make(call: Call) -> MeetingView:
            return await open_meeting(context.services, call, space, meeting, wanted(wish))

        return await idempotency.create(context, Target(space=space), make, render_meeting)

    return (
        Endpoint("meeting.open", start, MeetingOut, OpenMeeting, status=201),
        Endpoint("meeting.list", _list, MeetingPage, query=PAGING),
        Endpoint("meeting.read", _read, MeetingOut),
        Endpoint("meeting.close", _close, MeetingOut, Nothing),
    )


def wanted(wish: RosterWish) -> WantedRoster:
    """Return the wish as the use cases take it."""
    recipients = tuple(RecipientId(entry) for entry in wish.recipients or ())
    return WantedRoster(wish.statement or "", recipients)


def render_meeting(view: MeetingView) -> bytes:
    """Return a meeting's JSON."""
    return render(views.meeting(view))


async def _list(context: Context) -> Response:
    query = context.query("after", "limit")
    limit, after = query.limit(), query.text("after")
    if after:
        parse_meeting(after)
    page = await list_meetings(context.services, context.call, context.space, after, limit)
    following = page[-1].meeting if len(page) == limit else None
    items = tuple(views.summary(record) for record in page)
    return json_reply(MeetingPage(items=items, next=following))


async def _read(context: Context) -> Response:
    context.query()
    view = await get_meeting(context.services, context.call, context.space, context.meeting)
    return tagged(context, etag(view.version), views.meeting(view))


async def _close(context: Context) -> Response:
    context.query()
    context.message(Nothing)
    view = await close_meeting(context.services, context.call, context.space, context.meeting)
    return json_reply(views.meeting(view))
