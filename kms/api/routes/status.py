"""Spaces, recipients, keys and the health of the site."""

from starlette.responses import Response

from kms.api import views
from kms.api.context import Context
from kms.api.endpoints import Endpoint, json_reply
from kms.api.metrics import MEDIA_TYPE, Metrics
from kms.errors import Sealed, Unavailable
from kms.policy.authorizer import Target
from kms.usecases.escrow import escrow_status
from kms.usecases.queries import (
    SiteStatus,
    check_writable,
    describe_tokens,
    list_recipients,
    list_spaces,
    rotation_status,
    site_status,
    worker_health,
)
from kms.usecases.services import authorize
from kms.wire.replies import (
    EscrowOut,
    Health,
    KeyListOut,
    RecipientList,
    RotationList,
    SpaceList,
    StatusOut,
    TokenList,
)

_MOST_ROTATIONS = 1000
_READY = "ready"


def endpoints(metrics: Metrics) -> tuple[Endpoint, ...]:
    """Return the endpoints of the site."""

    async def exposition(context: Context) -> Response:
        context.query()
        await authorize(context.services, context.call, Target(), "metrics")
        return Response(metrics.render(_gauges(context)), media_type=MEDIA_TYPE)

    return (
        Endpoint("health.live", _live, Health),
        Endpoint("health.ready", _ready, Health),
        Endpoint("status.read", _status, StatusOut),
        Endpoint("rotation.read", _rotation, RotationList),
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


async def _ready(context: Context) -> Response:
    context.query()
    await authorize(context.services, context.call, Target(), "health")
    await check_writable(context.services)
    workers = await worker_health(context.services, context.principal)
    fine = {_READY, Sealed.code}
    down = sorted(token for token, health in workers.items() if health not in fine)
    if down:
        raise Unavailable(f"HSM workers are down: {', '.join(down)}")
    return json_reply(Health(status=_READY))


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
        )
    )


async def _rotation(context: Context) -> Response:
    context.query()
    found = await rotation_status(context.services, context.call, _MOST_ROTATIONS)
    return json_reply(RotationList(items=tuple(views.rotation(entry) for entry in found)))


async def _escrow(context: Context) -> Response:
    context.query()
    return json_reply(views.escrow(await escrow_status(context.services, context.call)))


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


def _gauges(context: Context) -> dict[str, tuple[str, float]]:
    store = context.services.store
    checkpoint = store.last_checkpoint()
    return {
        "conclave_audit_leaves": ("Durable leaves of the audit log.", store.tree_size()),
        "conclave_audit_checkpoint_leaves": (
            "Leaves under the newest signed checkpoint.",
            checkpoint[0] if checkpoint else 0,
        ),
        "conclave_audit_open_intents": (
            "Operations that have begun and not ended.",
            len(store.open_intents()),
        ),
        "conclave_epochs_pending": (
            "Epochs that are published and not yet active.",
            len(store.pending_epochs()),
        ),
    }
