"""Active alerts, and whether the service is ready."""

from starlette.responses import Response

from kms.api.context import Context
from kms.api.endpoints import Endpoint, json_reply
from kms.domain.alerts import ALERTS, ActiveAlert
from kms.policy.authorizer import Target
from kms.usecases.services import authorize
from kms.usecases.watch.health import list_alerts, readiness
from kms.wire.alerts import AlertList, AlertOut, Readiness


def endpoints() -> tuple[Endpoint, ...]:
    """Return the endpoints."""
    return (
        Endpoint("alert.list", _alerts, AlertList),
        Endpoint("health.ready", _ready, Readiness),
    )


async def _alerts(context: Context) -> Response:
    context.query()
    found = await list_alerts(context.services, context.call)
    return json_reply(AlertList(items=tuple(map(_alert, found))))


async def _ready(context: Context) -> Response:
    context.query()
    await authorize(context.services, context.call, Target(), "health")
    found = await readiness(context.services, context.principal)
    return json_reply(Readiness(status=found.status, reasons=found.reasons))


def _alert(active: ActiveAlert) -> AlertOut:
    known = ALERTS.get(active.alert)
    return AlertOut(
        alert=active.alert,
        severity=active.severity,
        space=active.space or None,
        subject=active.subject,
        number=active.number,
        text=active.text,
        since=active.since,
        seq=active.seq if active.seq >= 0 else None,
        meaning_en=known.en if known else active.alert,
        meaning_zh=known.zh if known else active.alert,
        todo_en=known.todo_en if known else "",
        todo_zh=known.todo_zh if known else "",
    )
