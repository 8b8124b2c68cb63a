"""States of keys, legal holds, destruction certificates."""

from starlette.responses import Response

from kms.api import views
from kms.api.context import Context
from kms.api.endpoints import Endpoint, json_reply, render
from kms.api.idempotency import Idempotency
from kms.domain.grants import Hold
from kms.domain.ids import parse_request_id
from kms.policy.authorizer import Target
from kms.usecases.lifecycle.cascade import Cascade
from kms.usecases.lifecycle.certificates import read_certificate
from kms.usecases.lifecycle.compromise import Compromise, compromise, compromise_all
from kms.usecases.lifecycle.holds import list_holds, place
from kms.usecases.lifecycle.suspension import suspend
from kms.usecases.services import Call
from kms.usecases.veil import is_hidden
from kms.wire.base import rfc3339
from kms.wire.lifecycle import (
    Because,
    CascadeOut,
    CertificateOut,
    CompromiseOut,
    FetchedOut,
    HoldList,
    HoldOut,
    PlaceHold,
)
from kms.wire.replies import EpochOut


def endpoints(idempotency: Idempotency) -> tuple[Endpoint, ...]:
    """Return the endpoints."""

    async def hold(context: Context) -> Response:
        context.query()
        space, wish = context.space, context.message(PlaceHold)

        async def make(call: Call) -> Hold:
            return await place(context.services, call, space, wish.meeting or "", wish.reason)

        target = Target(space=space)
        return await idempotency.create(context, target, make, lambda made: render(_hold(made)))

    return (
        Endpoint("epoch.suspend", _suspend, EpochOut, Because),
        Endpoint("epoch.compromise", _compromise, CompromiseOut, Because),
        Endpoint("meeting.compromise", _compromise_all, CompromiseOut, Because),
        Endpoint("hold.place", hold, HoldOut, PlaceHold, status=201),
        Endpoint("hold.list", _holds, HoldList),
        Endpoint("certificate.read", _certificate, CertificateOut),
    )


async def _suspend(context: Context) -> Response:
    context.query()
    place_of = (context.space, context.meeting, context.epoch)
    reason = context.message(Because).reason
    return json_reply(views.epoch(await suspend(context.services, context.call, *place_of, reason)))


async def _compromise(context: Context) -> Response:
    context.query()
    place_of = (context.space, context.meeting, context.epoch)
    reason = context.message(Because).reason
    found = await compromise(context.services, context.call, *place_of, reason)
    return json_reply(_compromised(context, found))


async def _compromise_all(context: Context) -> Response:
    context.query()
    reason, place_of = context.message(Because).reason, (context.space, context.meeting)
    found = await compromise_all(context.services, context.call, *place_of, reason)
    return json_reply(_compromised(context, found))


async def _holds(context: Context) -> Response:
    context.query()
    services = context.services
    found = await list_holds(services, context.call, context.space)
    shown = [
        _hold(one)
        for one in found
        if not one.meeting
        or not await is_hidden(services, context.principal, one.space, one.meeting)
    ]
    return json_reply(HoldList(items=tuple(shown)))


async def _certificate(context: Context) -> Response:
    context.query()
    request = parse_request_id(context.request.path_params["request"])
    text = await read_certificate(context.services, context.call, request)
    return json_reply(CertificateOut(request=request, certificate=text))


def _hold(hold: Hold) -> HoldOut:
    return HoldOut(
        hold=hold.hold,
        space=hold.space,
        meeting=hold.meeting or None,
        reason=hold.reason,
        placed_by=hold.placed_by,
        placed=rfc3339(hold.placed),
        lifted=rfc3339(hold.lifted) if hold.lifted else None,
    )


def _compromised(context: Context, found: Compromise) -> CompromiseOut:
    return CompromiseOut(
        space=context.space,
        meeting=context.meeting,
        epochs=tuple(map(_cascade, found.cascades)),
        rotated=found.rotated,
    )


def _cascade(found: Cascade) -> CascadeOut:
    return CascadeOut(
        epoch=found.epoch,
        was=found.was,
        starts=rfc3339(found.starts),
        ends=rfc3339(found.ends) if found.ends else None,
        readers=found.readers,
        served=found.served,
        fetched=tuple(
            FetchedOut(
                actor=one.actor,
                recipient=one.recipient,
                count=one.count,
                first=one.first,
                last=one.last,
            )
            for one in found.fetched
        ),
    )
