"""A meeting's roster: show, replace, amend."""

from starlette.responses import Response

from kms.api import views
from kms.api.context import Context, etag
from kms.api.endpoints import Endpoint, json_reply, tagged
from kms.api.routes.meetings import wanted
from kms.domain.ids import RecipientId
from kms.domain.models import Roster
from kms.errors import InvalidInput
from kms.usecases.meetings import change_roster
from kms.usecases.minting import MeetingView
from kms.usecases.queries import get_roster
from kms.usecases.rosters import WantedRoster
from kms.usecases.services import Call
from kms.wire.replies import MeetingOut, RosterOut
from kms.wire.requests import AmendRoster, RosterWish


def endpoints() -> tuple[Endpoint, ...]:
    """Return the endpoints of rosters."""
    return (
        Endpoint("roster.read", _read, RosterOut),
        Endpoint("roster.change", _replace, MeetingOut, RosterWish),
        Endpoint("roster.amend", _amend, MeetingOut, AmendRoster),
    )


async def _read(context: Context) -> Response:
    context.query()
    roster, row = await get_roster(context.services, context.call, context.space, context.meeting)
    return tagged(context, etag(row), views.roster(roster))


async def _replace(context: Context) -> Response:
    context.query()
    wish = wanted(context.message(RosterWish))
    return _changed(await _change(context, wish, context.if_match()))


async def _amend(context: Context) -> Response:
    context.query()
    message, seen = context.message(AmendRoster), context.if_match()
    call = Call(context.principal, "roster.read", context.digest)
    roster, row = await get_roster(context.services, call, context.space, context.meeting)
    if roster.statement:
        raise InvalidInput("this space wants a signed roster statement", hint="use PUT")
    wish = WantedRoster(recipients=_amended(roster, message))
    return _changed(await _change(context, wish, row if seen is None else seen))


def _amended(roster: Roster, message: AmendRoster) -> tuple[RecipientId, ...]:
    present = set(roster.recipients)
    if not set(message.remove) <= present or set(message.add) & present:
        raise InvalidInput("remove who is on the roster, add who is not", hint="read it again")
    kept = tuple(entry for entry in roster.recipients if entry not in message.remove)
    return kept + tuple(RecipientId(entry) for entry in message.add)


async def _change(context: Context, wish: WantedRoster, if_match: int | None) -> MeetingView:
    return await change_roster(
        context.services, context.call, context.space, context.meeting, wish, if_match
    )


def _changed(view: MeetingView) -> Response:
    return json_reply(views.meeting(view), headers={"etag": etag(view.roster_row)})
