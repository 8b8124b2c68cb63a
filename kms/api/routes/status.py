"""Spaces, recipients, keys and the health of the site."""

from starlette.responses import Response

from kms.api import views
from kms.api.context import Context
from kms.api.endpoints import Endpoint, json_reply
from kms.api.facts import families
from kms.api.metrics import MEDIA_TYPE, Metrics
from kms.api.routes.meetings import PAGING
from kms.domain.ids import parse_meeting, parse_space
from kms.policy.authorizer import Target
from kms.usecases.escrow import escrow_status
from kms.usecases.queries import (
    SiteStatus,
    describe_tokens,
    list_recipients,
    list_spaces,
    site_status,
    unknown_spaces,
)
from kms.usecases.rotation.status import Place, rotation_status
from kms.usecases.services import authorize
from kms.usecases.veil import is_hidden, is_operator_only
from kms.usecases.watch.health import known_alerts
from kms.wire.cursors import Cursors
from kms.wire.replies import (
    EscrowOut,
    Health,
    KeyListOut,
    RecipientList,
    RotationPage,
    SpaceList,
    StatusOut,
    TokenList,
)

_READY = "ready"


def endpoints(metrics: Metrics) -> tuple[Endpoint, ...]:
    """Return the endpoints of the site."""

    async def exposition(context: Context) -> Response:
        context.query()
        await authorize(context.services, context.call, Target(), "metrics")
        return Response(metrics.render(families(context.services)), media_type=MEDIA_TYPE)

    cursors = Cursors()

    async def rotation(context: Context) -> Response:
        return await _rotation(context, cursors)

    return (
        Endpoint("health.live", _live, Health),
        Endpoint("status.read", _status, StatusOut),
        Endpoint("rotation.read", rotation, RotationPage, query=PAGING),
        Endpoint("escrow.read", _escrow, EscrowOut),
        Endpoint("metrics.read", exposition, MEDIA_TYPE),
        Endpoint("space.list", _spaces, SpaceList),
        Endpoint("recipient.list", _recipients, RecipientList),
        Endpoint("key-list.read", _key_list, KeyListOut),
        Endpoint("hsm.read", _tokens, TokenList),
    )


async def _live(context: Context) -> Response:
    context.query()
    await authorize(context.services, context.call, Target(), "health")
    return json_reply(Health(status="live"))


async def _status(context: Context) -> Response:
    context.query()
    found: SiteStatus = await site_status(context.services, context.call)
    return json_reply(
        StatusOut(
            site=found.site,
            banner=found.banner,
            spaces=found.spaces,
            tree_size=found.tree_size,
            checkpoint_size=found.checkpoint_size,
            key_operations=found.key_operations,
            workers=found.workers,
            alerts=len(known_alerts(context.services, context.principal)),
            channels=_channels(context),
        )
    )


def _channels(context: Context) -> dict[str, str]:
    channels = context.services.watched.channels.items()
    return {name: one.error or _READY for name, one in channels}


async def _rotation(context: Context, cursors: Cursors) -> Response:
    """Show a page; an operator learns neither which meeting is confidential nor where it ends."""
    query = context.query("after", "limit")
    limit, veiled = query.limit(), is_operator_only(context.principal)
    after = _place(cursors.read(query.text("after"), hidden=veiled))
    page = await rotation_status(context.services, context.call, after, limit)
    following = f"{page[-1].space}/{page[-1].meeting}" if len(page) == limit else None
    if following and veiled:
        following = cursors.hide(following)
    items = tuple(
        views.rotation(entry, hidden=veiled and entry.people is not None) for entry in page
    )
    unknown = await unknown_spaces(context.services, context.call)
    return json_reply(RotationPage(items=items, next=following, unknown=tuple(unknown)))


def _place(after: str) -> Place:
    """Return space and meeting that a page goes on after; raise InvalidInput."""
    if not after:
        return "", ""
    space, _, meeting = after.partition("/")
    return parse_space(space), parse_meeting(meeting)


async def _escrow(context: Context) -> Response:
    context.query()
    services, found = context.services, await escrow_status(context.services, context.call)
    hidden = [
        gap
        for gap in found.gaps
        if await is_hidden(services, context.principal, gap.space, gap.meeting)
    ]
    return json_reply(views.escrow(found, hidden))


async def _spaces(context: Context) -> Response:
    context.query()
    found = await list_spaces(context.services, context.call)
    return json_reply(SpaceList(items=tuple(views.space(entry) for entry in found)))


async def _recipients(context: Context) -> Response:
    context.query()
    found = await list_recipients(context.services, context.call)
    return json_reply(RecipientList(items=tuple(views.recipient(entry) for entry in found)))


async def _key_list(context: Context) -> Response:
    context.query()
    await authorize(context.services, context.call, Target(), "key-list")
    return json_reply(KeyListOut(key_list=context.services.key_list))


async def _tokens(context: Context) -> Response:
    context.query()
    found = await describe_tokens(context.services, context.call)
    return json_reply(TokenList(items=tuple(views.token(entry) for entry in found)))
