"""Time-bound grants: made by an approved request, used by authorization (access.py), ended by their
time or by any officer at once, and looked after: whoever forgets one is told.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from kms.audit.leaf import Outcome, Phase
from kms.domain.approvals import GrantWish, grant_of
from kms.domain.grants import Grant
from kms.domain.ids import SpaceName
from kms.domain.models import Principal, Role
from kms.domain.rows import RowKind
from kms.errors import HsmUnavailable, InvalidInput, NotFound, Sealed, StateNotAllowed
from kms.policy.authorizer import NOT_THERE, Target
from kms.settings import Caller
from kms.statements.canonical import make_row
from kms.statements.request import CheckedRequest
from kms.usecases import callers
from kms.usecases.access import use_mark
from kms.usecases.approvals.effect import Effect
from kms.usecases.queries import check_present, living_spaces
from kms.usecases.services import (
    Call,
    Services,
    authorize,
    log_refusal,
    store_rows,
    uninterrupted,
)

GRANTABLE = frozenset({Role.AUDITOR, Role.OFFICER})
"""A meeting server is a key that a ceremony registers, never a name; an operator does nothing in a
space. An officer's role only stops things, and what it starts needs the approval of others.
"""
_DAY = 24 * 3600
LONGEST_SECONDS = 90 * _DAY
"""How long after the request a grant may end at most."""
LATE_SECONDS = 600
"""How far in the past a grant may start when it is asked for."""
NEVER_USED_SECONDS = 7 * _DAY
UNUSED_SECONDS = 30 * _DAY
FORGOTTEN_SECONDS = 30 * _DAY
"""A grant in force is flagged: after the first if it was never used, after the second without a
use, after the third in any case.
"""


class GrantState(StrEnum):
    """Where a grant stands."""

    SCHEDULED = "scheduled"
    IN_FORCE = "in-force"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Flag(StrEnum):
    """Why people should look at a grant."""

    UNUSED = "unused"
    FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True)
class GrantView:
    """A grant, when it was last of use (0: never; to the hour), and what is odd about it."""

    grant: Grant
    state: GrantState
    used: int
    flags: tuple[Flag, ...]


async def prepare_grant(services: Services, call: Call, checked: CheckedRequest) -> Effect:
    """Return the grant that a request makes; raise InvalidInput, NotFound for no such space,
    StateNotAllowed if its time is over.
    """
    del call
    wanted, wish = checked.wanted, checked.parameters
    if not isinstance(wish, GrantWish) or not wanted.space:
        raise InvalidInput("a grant is for one space")
    space = SpaceName(wanted.space)
    check_wish(wish, space, wanted.issued, services.settings.caller)
    if (await services.cache.space(space)).destroyed:
        raise StateNotAllowed("the space is destroyed")
    if services.seconds() >= wish.expires:
        raise StateNotAllowed("the grant would have ended by now", hint="make a new request")
    grant = grant_of(space, wanted.id, wish, wanted.reason)
    details = {
        "grant": grant.grant,
        "principal": grant.principal,
        "role": grant.role.value,
        "expires": grant.expires,
    }
    return Effect(_path(grant), ((grant, 1),), details=details)


def check_wish(wish: GrantWish, space: SpaceName, issued: int, known: Iterable[Caller]) -> None:
    """Raise InvalidInput unless a grant asked for at ``issued`` gives somebody something, for a
    bounded time.
    """
    if wish.role not in GRANTABLE:
        raise InvalidInput(
            "{role} is not granted for a time, only: {roles}",
            about={"role": wish.role, "roles": _grantable()},
        )
    if not issued - LATE_SECONDS <= wish.starts < wish.expires <= issued + LONGEST_SECONDS:
        raise InvalidInput(
            "a grant starts now or later and ends within {days} days",
            about={"days": LONGEST_SECONDS // _DAY},
        )
    principal = _known(wish.principal, known)
    if principal is None:
        raise InvalidInput(
            "{principal} is no caller that the configuration names",
            hint="a grant goes to a caller of this machine, never to a name of the register",
            about={"principal": wish.principal},
        )
    if wish.role in principal.roles and principal.reaches(space):
        raise InvalidInput(
            "{principal} has the role {role} in {space} already",
            about={"principal": wish.principal, "role": wish.role, "space": space},
        )


@uninterrupted
async def revoke_grant(services: Services, call: Call, grant: str) -> GrantView:
    """End a grant at once; raise NotFound, StateNotAllowed if it has ended."""
    space = _space_of(services, grant)
    if space is None:
        error = NotFound(NOT_THERE)
        await log_refusal(services, call, "", "grants", error)
        raise error
    resource = f"spaces/{space}/grants/{grant}"
    await authorize(services, call, Target(space=space), resource)
    record, version = await services.cache.grant(space, grant)
    now = services.seconds()
    if _state(record, now) in (GrantState.EXPIRED, GrantState.REVOKED):
        raise StateNotAllowed("the grant has ended already")
    row = make_row(replace(record, revoked=now), version + 1)
    sealed = await services.workers.space(space).seal_rows([row])
    leaf = call.leaf(
        space,
        resource,
        Phase.EVENT,
        Outcome.SUCCEEDED,
        rows={row.key: row.version},
        details={"grant": grant},
    )
    await store_rows(services, sealed, (), leaf)
    return _view(services, replace(record, revoked=now))


async def list_grants(services: Services, call: Call) -> tuple[list[GrantView], list[str]]:
    """Return the grants of the spaces that the caller may know of, those in force first, then by
    their end, the latest first; and the spaces whose token cannot be asked.
    """
    await authorize(services, call, Target(), "grants")
    found: list[GrantView] = []
    unknown: list[str] = []
    for space in await living_spaces(services, call):
        try:
            check_present(services, space.space)
            found += await _views(services, space.space)
        except (HsmUnavailable, Sealed, NotFound):
            unknown.append(space.space)
    return sorted(found, key=_order), unknown


async def flagged_grants(services: Services, space: SpaceName) -> list[GrantView]:
    """Return a space's grants that people should look at; raise IntegrityFailure,
    HsmUnavailable.
    """
    return [view for view in await _views(services, space) if view.flags]


async def _views(services: Services, space: SpaceName) -> list[GrantView]:
    checked = [(await services.cache.admit(row)).record for row in services.store.grants(space)]
    return [_view(services, one) for one in checked if isinstance(one, Grant)]


def _view(services: Services, grant: Grant) -> GrantView:
    now, used = services.seconds(), _last_use(services, grant.grant)
    known = _known(grant.principal, services.settings.caller) is not None
    state = _state(grant, now)
    return GrantView(grant, state, used, tuple(_flags(grant, state, used, known, now)))


def _flags(grant: Grant, state: GrantState, used: int, known: bool, now: int) -> Iterable[Flag]:
    if state in (GrantState.EXPIRED, GrantState.REVOKED):
        return
    since = max(0, now - grant.starts)
    idle = now - used > UNUSED_SECONDS if used else since > NEVER_USED_SECONDS
    if state is GrantState.IN_FORCE and idle:
        yield Flag.UNUSED
    if since > FORGOTTEN_SECONDS or not known:
        yield Flag.FORGOTTEN


def _state(grant: Grant, now: int) -> GrantState:
    if grant.revoked:
        return GrantState.REVOKED
    if now >= grant.expires:
        return GrantState.EXPIRED
    return GrantState.IN_FORCE if now >= grant.starts else GrantState.SCHEDULED


def _last_use(services: Services, grant: str) -> int:
    """Return the later of what the log says and what was noted of reads."""
    logged = services.store.grant_used(grant)
    seconds = int(datetime.fromisoformat(logged).timestamp()) if logged else 0
    return max(seconds, services.store.mark(use_mark(grant), 0))


def _order(view: GrantView) -> tuple[bool, int, str]:
    return view.state is not GrantState.IN_FORCE, -view.grant.expires, view.grant.grant


def _known(name: str, known: Iterable[Caller]) -> Principal | None:
    return next((callers.local(one) for one in known if one.principal == name), None)


def _space_of(services: Services, grant: str) -> SpaceName | None:
    """Return whose grant it is, by the unverified rows; the row itself is checked afterwards."""
    for token in services.settings.space_tokens:
        if services.store.row(RowKind.GRANT, f"{RowKind.GRANT}/{token.space}/{grant}"):
            return SpaceName(token.space)
    return None


def _path(grant: Grant) -> str:
    return f"spaces/{grant.space}/grants/{grant.grant}"


def _grantable() -> str:
    return ", ".join(sorted(GRANTABLE))
