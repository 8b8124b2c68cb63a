"""Roles that somebody has for a time: those that end soonest first, those to look at marked."""

from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.responses import Response

from kms.domain.ids import parse_request_id, parse_space
from kms.errors import InvalidInput
from kms.i18n import _
from kms.usecases.grants import (
    FORGOTTEN_SECONDS,
    NEVER_USED_SECONDS,
    Flag,
    GrantState,
    GrantView,
    list_grants,
    revoke_grant,
)
from kms.usecases.queries import living_spaces
from kms.web.roles import OFFICERS, OVERSEERS
from kms.web.visit import PAGE_ROWS, Kind, Page, Visit
from kms.web.words import duration

_STANDING = frozenset({GrantState.IN_FORCE, GrantState.SCHEDULED})
_SHOWN = ("standing", "flagged", "ended")


@dataclass(frozen=True, slots=True)
class Row:
    """A grant, and why people should look at it: each flag with what is odd."""

    view: GrantView
    why: tuple[tuple[str, str], ...]


async def _list(visit: Visit) -> Response:
    shown, space = visit.query("show") or _SHOWN[0], visit.query("space")
    if shown not in _SHOWN:
        raise InvalidInput(
            "{field} is one of: {values}", about={"field": "show", "values": tuple(_SHOWN)}
        )
    if space:
        parse_space(space)
    found, unknown = await list_grants(visit.services, visit.call("grant.list"))
    spaces = await living_spaces(visit.services, visit.call("space.list"))
    wanted = sorted((one for one in found if _fits(one, shown, space)), key=_end)
    if shown == "ended":
        wanted.reverse()
    after = visit.number("after", 0)
    rows = [_row(visit, one) for one in wanted[after : after + PAGE_ROWS]]
    query = {"show": shown, "space": space}
    more = after + PAGE_ROWS < len(wanted)
    return visit.show(
        "grants.html",
        rows=rows,
        unknown=unknown,
        spaces=[one.space for one in spaces],
        space=space,
        shown=shown,
        flagged=sum(bool(one.flags) for one in found),
        total=len(wanted),
        next_href=f"/grants?{urlencode({**query, 'after': after + PAGE_ROWS})}" if more else "",
        first_href=f"/grants?{urlencode(query)}" if after else "",
    )


def _fits(view: GrantView, shown: str, space: str) -> bool:
    if space and view.grant.space != space:
        return False
    if shown == "flagged":
        return bool(view.flags)
    return (view.state in _STANDING) is (shown == "standing")


def _end(view: GrantView) -> tuple[int, str]:
    return view.grant.revoked or view.grant.expires, view.grant.grant


def _row(visit: Visit, view: GrantView) -> Row:
    now = visit.services.seconds()
    return Row(view, tuple((flag.value, _why(view, flag, now)) for flag in view.flags))


def _why(view: GrantView, flag: Flag, now: int) -> str:
    if flag is Flag.UNUSED:
        if view.used:
            return _("not used for {time}").format(time=duration(now - view.used))
        return _("never used within {time}").format(time=duration(NEVER_USED_SECONDS))
    if now - view.grant.starts > FORGOTTEN_SECONDS:
        return _("in force for longer than {time}").format(time=duration(FORGOTTEN_SECONDS))
    return _("nobody of this name is configured any more")


async def _revoke(visit: Visit) -> Response:
    grant = parse_request_id(visit.path("grant"))
    await revoke_grant(visit.services, visit.call("grant.revoke"), grant)
    visit.tell(_("The grant has ended."))
    return visit.go("/grants")


PAGES = (
    Page("grants", "/grants", OVERSEERS, _list),
    Page("grant-revoke", "/grants/{grant}/revoke", OFFICERS, _revoke, Kind.ACT),
)
