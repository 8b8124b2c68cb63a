"""Active alerts for whoever may see them, and whether the service is ready, degraded or not."""

from dataclasses import dataclass

from kms.domain.alerts import ActiveAlert, Severity
from kms.domain.models import Principal, Role
from kms.errors import Sealed, Unavailable
from kms.policy.authorizer import Target
from kms.usecases.queries import check_writable, worker_health
from kms.usecases.services import Call, Services, authorize
from kms.usecases.watch.state import READY

DEGRADED = "degraded"
PEOPLE = frozenset({Role.OFFICER, Role.AUDITOR, Role.OPERATOR})


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether it serves, and why people have to do something."""

    status: str
    reasons: tuple[str, ...]


async def list_alerts(services: Services, call: Call) -> list[ActiveAlert]:
    """Return the active alerts that the caller may know of, the gravest first."""
    await authorize(services, call, Target(), "alerts")
    await services.watched.board.catch_up(services.store)
    return known_alerts(services, call.principal)


def known_alerts(services: Services, principal: Principal) -> list[ActiveAlert]:
    """Return the active alerts of the site and of the spaces that a caller reaches."""
    active = services.watched.board.active()
    return [one for one in active if may_see_alert(principal, one.space)]


def may_see_alert(principal: Principal, space: str) -> bool:
    """Whether a caller may know of alerts of a space (empty: the site): a meeting server does not
    hear that it was noticed.
    """
    return bool(principal.roles & PEOPLE) and (not space or principal.reaches(space))


async def readiness(services: Services, principal: Principal) -> Readiness:
    """Return whether key operations are possible, and what is amiss.

    Raise AuditUnavailable, StoreUnavailable; Sealed if all that the caller reaches is sealed;
    Unavailable if no space's token that it reaches works.
    """
    await check_writable(services)
    workers = await worker_health(services, principal)
    _check_some(services, workers)
    reasons = [f"token {label}: {state}" for label, state in workers.items() if state != READY]
    reasons += [f"alert {alert}" for alert in _critical(services, principal)]
    channels = services.watched.channels.items()
    reasons += [f"channel {name}" for name, one in channels if one.failing_since is not None]
    shown = tuple(dict.fromkeys(reasons)) if principal.roles & PEOPLE else ()
    return Readiness(DEGRADED if reasons else READY, shown)


def _critical(services: Services, principal: Principal) -> list[str]:
    """Return the critical alerts of the site and of the spaces that a caller reaches."""
    return [
        one.alert
        for one in services.watched.board.active()
        if one.severity is Severity.CRITICAL and (not one.space or principal.reaches(one.space))
    ]


def _check_some(services: Services, workers: dict[str, str]) -> None:
    """Raise Sealed or Unavailable unless one of the spaces' tokens works."""
    labels = [token.label for token in services.settings.space_tokens]
    states = {workers[label] for label in labels if label in workers}
    if not states or READY in states:
        return
    if states == {Sealed.code}:
        raise Sealed("every space is sealed", hint="people unseal it by the ceremony unseal")
    down = sorted(label for label in labels if workers.get(label, READY) != READY)
    raise Unavailable("HSM workers are down: {tokens}", about={"tokens": tuple(down)})
