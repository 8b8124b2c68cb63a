"""A meeting's epochs: list, show with manifest, rotate by hand."""

from starlette.responses import Response

from kms.api import views
from kms.api.context import Context
from kms.api.endpoints import Endpoint, json_reply, tagged
from kms.api.idempotency import Idempotency
from kms.api.routes.meetings import PAGING, render_meeting
from kms.domain.models import RotationReason
from kms.policy.authorizer import Target
from kms.usecases.meetings import rotate
from kms.usecases.minting import MeetingView
from kms.usecases.queries import get_epoch, list_epochs
from kms.usecases.services import Call
from kms.wire.replies import EpochOut, EpochPage, MeetingOut
from kms.wire.requests import Rotate


def endpoints(idempotency: Idempotency) -> tuple[Endpoint, ...]:
    """Return the endpoints of epochs."""

    async def rotation(context: Context) -> Response:
        context.query()
        space, meeting = context.space, context.meeting
        reason = RotationReason(context.message(Rotate).reason)

        async def make(call: Call) -> MeetingView:
            return await rotate(context.services, call, space, meeting, reason)

        target = Target(space=space, reason=reason)
        return await idempotency.create(context, target, make, render_meeting)

    return (
        Endpoint("epoch.list", _list, EpochPage, query=PAGING),
        Endpoint("epoch.rotate", rotation, MeetingOut, Rotate, status=201),
        Endpoint("epoch.read", _read, EpochOut),
    )


async def _list(context: Context) -> Response:
    query = context.query("after", "limit")
    limit, after = query.limit(), query.number("after", -1)
    page = await list_epochs(
        context.services, context.call, context.space, context.meeting, after, limit
    )
    following = page[-1].epoch if len(page) == limit else None
    items = tuple(views.epoch(record) for record in page)
    return json_reply(EpochPage(items=items, next=following))


async def _read(context: Context) -> Response:
    context.query()
    epoch, version = await get_epoch(
        context.services, context.call, context.space, context.meeting, context.epoch
    )
    # ``current`` moves from epoch to epoch, whose rows count their versions apart.
    return tagged(context, f'"{epoch.epoch}.{version}"', views.epoch(epoch))
