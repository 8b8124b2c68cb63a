"""The inbox of requests: what waits for whom, exactly what each would do, signing, carrying out.

An officer signs here with an approval passkey. What it signs is made when the page is made and kept
in the session, so that it is what the page showed; the worker checks the signature again.
"""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from kms.domain.approvals import Standing
from kms.domain.asked import IRREVOCABLE, summary_of
from kms.domain.ids import parse_request_id
from kms.domain.models import Role
from kms.errors import (
    ConclaveError,
    InvalidInput,
    StateNotAllowed,
)
from kms.i18n import _
from kms.statements.approval import TYP as APPROVAL
from kms.statements.approval import Approval
from kms.statements.canonical import digest, encode_record
from kms.statements.personal import peek_proof
from kms.statements.request import OperationRequest, peek_approval
from kms.usecases.approvals.execution import execute_request
from kms.usecases.approvals.requests import cancel_request, sign_request
from kms.usecases.approvals.views import list_requests, read_request
from kms.usecases.passkeys.statements import assemble, signing_options
from kms.web.beside import beside, place
from kms.web.requested import digest_shown, lines_of
from kms.web.roles import OFFICERS, OVERSEERS
from kms.web.views import asking
from kms.web.views.account import answer
from kms.web.visit import PAGE_ROWS, Kind, Page, Visit
from kms.web.voting import awaited, hindrance, lacking, register, row
from kms.web.words import said

_FILTERS = (Standing.PENDING, Standing.EXECUTED, Standing.EXPIRED, Standing.CANCELLED)
_SURE = "yes"


@dataclass(frozen=True, slots=True)
class Given:
    """An approval that was given: by whom, when (seconds), and whether with a passkey."""

    person: str
    signed: int
    passkey: bool


@dataclass(frozen=True, slots=True)
class Signing:
    """What an approval passkey is asked to sign: ``text`` exactly, and its digest."""

    options: str
    text: str
    sha256: str


async def _list(visit: Visit) -> Response:
    return visit.show("approvals.html", **await _listed(visit))


async def _listed_now(visit: Visit) -> Response:
    return visit.show("part-approvals.html", **await _listed(visit))


async def _listed(visit: Visit) -> dict[str, Any]:
    standing, after = _standing(visit), visit.query("after")
    if after:
        parse_request_id(after)
    found, unknown = await list_requests(
        visit.services,
        visit.call("approval.list"),
        standing,
        after,
        PAGE_ROWS,
        newest=standing is not Standing.PENDING,
    )
    known = await register(visit)
    rows = tuple(row(visit, known, one) for one in found)
    query = {"state": standing.value}
    last = found[-1].record.id if len(found) == PAGE_ROWS else ""
    return {
        "filters": [one.value for one in _FILTERS],
        "standing": standing.value,
        "rows": sorted(rows, key=lambda one: not one.mine),
        "unknown": unknown,
        "query_now": urlencode({**query, **({"after": after} if after else {})}),
        "next_href": f"/approvals?{urlencode({**query, 'after': last})}" if last else "",
        "first_href": f"/approvals?{urlencode(query)}" if after else "",
    }


def _standing(visit: Visit) -> Standing:
    text = visit.query("state") or Standing.PENDING.value
    if text not in {one.value for one in _FILTERS}:
        raise InvalidInput(
            "{field} is one of: {values}", about={"field": "state", "values": tuple(_FILTERS)}
        )
    return Standing(text)


async def _request(visit: Visit) -> Response:
    view = await read_request(visit.services, visit.call("approval.read"), visit.path("request"))
    wanted, officer = view.wanted, Role.OFFICER in visit.principal.roles
    known = await register(visit)
    against = hindrance(visit, known, view) if officer else None
    signing, unable = None, against
    if officer and against is None:
        signing, unable = _signing(visit, wanted)
    over = view.standing not in {Standing.PENDING, Standing.OUTDATED}
    return visit.show(
        "approval.html",
        view=view,
        summary=summary_of(wanted.operation),
        lines=lines_of(wanted),
        digest=digest_shown(wanted.digest()),
        missing=lacking(view),
        over=over,
        awaited=awaited(known, view, visit.services.seconds()),
        untold=visit.principal.name == wanted.requester and not _told(visit),
        given=tuple(map(_given, view.record.approvals)),
        beside=place(wanted) if over else await beside(visit, wanted),
        signing=signing,
        signed=digest_shown(signing.sha256) if signing else None,
        unable=said(unable) if unable else "",
        hint=_(unable.hint) if unable and unable.hint else "",
        lacks_passkey=officer and against is None and signing is None,
        officer=officer,
        irrevocable=wanted.operation in IRREVOCABLE,
    )


def _told(visit: Visit) -> bool:
    """Whether officers hear of a request by themselves."""
    return bool(visit.services.settings.notify.channels)


def _signing(visit: Visit, wanted: OperationRequest) -> tuple[Signing | None, ConclaveError | None]:
    """Return what is to be signed, and keep it; or why the person has no passkey for it."""
    person = visit.principal.name
    payload = encode_record(Approval(wanted.digest(), person, visit.services.seconds()))
    try:
        challenge = signing_options(visit.services, visit.principal, payload)
    except StateNotAllowed as error:
        return None, error
    visit.session.keep_draft(wanted.id, payload)
    return Signing(json.dumps(challenge.options), payload.decode(), digest(payload)), None


def _given(token: str) -> Given:
    approval = peek_approval(token)
    return Given(approval.person, approval.signed, bool(peek_proof(token, APPROVAL)))


async def _sign(visit: Visit) -> Response:
    request = parse_request_id(visit.path("request"))
    payload = visit.session.take_draft(request)
    if not isinstance(payload, bytes):
        raise StateNotAllowed("nothing waits for your signature", hint="load the page again")
    token = assemble(visit.services, visit.principal, APPROVAL, payload, answer(visit))
    view = await sign_request(visit.services, visit.call("approval.sign"), request, token)
    if view.ready:
        visit.tell(_("Approved by all who must: the request can be carried out now."))
    else:
        visit.tell(_("Your approval is recorded."))
    return visit.go(f"/approvals/{request}")


async def _execute(visit: Visit) -> Response:
    services, request = visit.services, visit.path("request")
    view = await read_request(services, visit.call("approval.read"), request)
    if view.wanted.operation in IRREVOCABLE and visit.form("sure") != _SURE:
        raise InvalidInput("nothing undoes this", hint="tick that you have read what will happen")
    await execute_request(services, visit.call("approval.execute"), request)
    visit.tell(_("The request was carried out."))
    return visit.go(f"/approvals/{request}")


async def _cancel(visit: Visit) -> Response:
    request = visit.path("request")
    await cancel_request(visit.services, visit.call("approval.cancel"), request)
    visit.tell(_("The request was cancelled."))
    return visit.go(f"/approvals/{request}")


_ONE = "/approvals/{request}"

PAGES = (
    Page("approvals", "/approvals", OVERSEERS, _list),
    Page("approvals-now", "/parts/approvals", OVERSEERS, _listed_now, Kind.FRAGMENT),
    *asking.PAGES,
    Page("approval", _ONE, OVERSEERS, _request),
    Page("approval-sign", f"{_ONE}/sign", OFFICERS, _sign, Kind.ACT),
    Page("approval-execute", f"{_ONE}/execute", OFFICERS, _execute, Kind.ACT, risky=True),
    Page("approval-cancel", f"{_ONE}/cancel", OFFICERS, _cancel, Kind.ACT),
)
