"""The emergency seal of a space or of the whole box."""

from starlette.responses import Response

from kms.api.context import Context
from kms.api.endpoints import Endpoint, json_reply
from kms.usecases.seals import Sealing, seal_site, seal_space
from kms.wire.base import rfc3339
from kms.wire.replies import SealOut
from kms.wire.requests import Seal


def endpoints() -> tuple[Endpoint, ...]:
    """Return the endpoints."""
    return (
        Endpoint("space.seal", _space, SealOut, Seal),
        Endpoint("site.seal", _site, SealOut, Seal),
    )


async def _space(context: Context) -> Response:
    context.query()
    reason = context.message(Seal).reason
    return _reply(await seal_space(context.services, context.call, context.space, reason))


async def _site(context: Context) -> Response:
    context.query()
    reason = context.message(Seal).reason
    return _reply(await seal_site(context.services, context.call, reason))


def _reply(sealing: Sealing) -> Response:
    return json_reply(
        SealOut(
            space=sealing.space or None,
            sealed=rfc3339(sealing.since),
            durable=sealing.durable,
            logged=sealing.logged,
        )
    )
