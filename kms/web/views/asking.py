"""Asking for what several people must approve: choose, fill in, look at what would be signed, sign.

The request is frozen anew whenever it is shown, and kept in the session: signed is what was shown.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import replace

from starlette.responses import Response
from uuid_utils import uuid7

from kms.domain.approvals import RULES
from kms.domain.asked import needs_in_words, summary_of
from kms.errors import (
    ConclaveError,
    Conflict,
    InvalidInput,
    NotFound,
    StateNotAllowed,
    Unavailable,
    VerificationFailed,
)
from kms.i18n import _
from kms.statements.canonical import b64u, encode_record
from kms.statements.request import NONCE_BYTES, TYP, OperationRequest
from kms.usecases.approvals.requests import check_unsigned, submit_request
from kms.usecases.approvals.views import approval_rules
from kms.usecases.grants import GRANTABLE
from kms.usecases.passkeys.statements import assemble, signing_options
from kms.usecases.queries import living_spaces
from kms.web.beside import beside
from kms.web.choices import choices
from kms.web.drafts import FIELDS, LASTS, OPEN, OPERATIONS, Draft, draft_of, exact
from kms.web.requested import digest_shown, lines_of
from kms.web.roles import OFFICERS
from kms.web.views.account import answer
from kms.web.visit import Kind, Page, Visit
from kms.web.words import said
from kms.wire.statuses import STATUS

_ABOUT = "request"
_MENDABLE = (Conflict, InvalidInput, NotFound, Unavailable, VerificationFailed)
"""What the form comes back for."""


async def _form(visit: Visit) -> Response:
    draft = visit.session.draft(_ABOUT)
    if visit.query("again") and isinstance(draft, Draft):
        return await _filled(visit, draft.typed)
    typed = {name: visit.query(name) for name in FIELDS}
    if typed["operation"] and typed["operation"] not in OPERATIONS:
        raise NotFound(
            "this is not asked for at the board", hint="conclave approval request asks for it"
        )
    return await _filled(visit, typed)


async def _filled(
    visit: Visit, typed: Mapping[str, str], error: ConclaveError | None = None
) -> Response:
    """Return the form with what was ``typed``, and why that cannot be asked for."""
    spaces = [one.space for one in await living_spaces(visit.services, visit.call("space.list"))]
    operation = typed["operation"] if typed["operation"] in OPERATIONS else ""
    site_wide = bool(operation) and RULES[operation].site
    ready = bool(operation) and (site_wide or typed["space"] in spaces)
    return visit.show(
        "approval-new.html",
        200 if error is None else STATUS[error.code],
        error=error,
        said=said(error) if error else "",
        operations=[(one, summary_of(one)) for one in OPERATIONS],
        operation=operation,
        summary=summary_of(operation),
        site_wide=site_wide,
        spaces=spaces,
        ready=ready,
        given=typed,
        choices=await choices(visit, typed) if ready else {},
        roles_granted=sorted(one.value for one in GRANTABLE),
        lasts=LASTS,
        open_for=OPEN,
    )


async def _fill(visit: Visit) -> Response:
    """Take the form, unless what it asks for could not be carried out: nobody signs that."""
    typed = {name: visit.form(name) for name in FIELDS}
    try:
        draft = draft_of(typed)
        await _frozen(visit, draft)
    except _MENDABLE as error:
        return await _filled(visit, typed, error)
    visit.session.keep_draft(_ABOUT, draft)
    return visit.go("/approvals/new/check")


async def _check(visit: Visit) -> Response:
    draft = visit.session.draft(_ABOUT)
    if not isinstance(draft, Draft):
        return visit.go("/approvals/new")
    try:
        wanted = await _frozen(visit, draft)
    except _MENDABLE as error:
        return await _filled(visit, draft.typed, error)
    visit.session.keep_draft(_ABOUT, replace(draft, wanted=wanted))
    return visit.show(
        "approval-check.html",
        summary=summary_of(wanted.operation),
        lines=lines_of(wanted),
        digest=digest_shown(wanted.digest()),
        beside=await beside(visit, wanted),
        needs=needs_in_words(wanted.quorum),
        options=_options(visit, wanted),
    )


def _options(visit: Visit, wanted: OperationRequest) -> str:
    """Return what asks the person's approval passkey to sign; empty: no such passkey counts."""
    try:
        found = signing_options(visit.services, visit.principal, encode_record(wanted))
    except StateNotAllowed:
        return ""
    return json.dumps(found.options)


async def _frozen(visit: Visit, draft: Draft) -> OperationRequest:
    """Return the request as it would be signed now; raise whatever would be refused of it then."""
    services, now = visit.services, visit.services.seconds()
    call = visit.call("approval.rules")
    present, found = await approval_rules(services, call, draft.space, "")
    needs = next(one.needs for one in found if one.operation == draft.operation)
    wanted = OperationRequest(
        site=present.register.site,
        space=draft.space,
        id=str(uuid7()),
        operation=draft.operation,
        parameters=exact(draft, now),
        reason=draft.reason,
        requester=visit.principal.name,
        register=present.sha256,
        quorum=needs,
        nonce=b64u(secrets.token_bytes(NONCE_BYTES)),
        issued=now,
        expires=now + draft.open_seconds,
    )
    requester = present.register.person(wanted.requester)
    await check_unsigned(services, visit.call("approval.submit"), wanted, requester)
    return wanted


async def _submit(visit: Visit) -> Response:
    wanted = _shown(visit)
    token = assemble(visit.services, visit.principal, TYP, encode_record(wanted), answer(visit))
    view = await submit_request(visit.services, visit.call("approval.submit"), token)
    visit.session.take_draft(_ABOUT)
    visit.tell(_("The request was handed in. Others approve it now."))
    return visit.go(f"/approvals/{view.record.id}")


def _shown(visit: Visit) -> OperationRequest:
    """Return the request that was shown, once; the form that it came from is kept."""
    draft = visit.session.take_draft(_ABOUT)
    if isinstance(draft, Draft):
        visit.session.keep_draft(_ABOUT, replace(draft, wanted=None))
        if draft.wanted is not None:
            return draft.wanted
    raise StateNotAllowed("nothing waits for your signature", hint="load the page again")


PAGES = (
    Page("approval-new", "/approvals/new", OFFICERS, _form),
    Page("approval-fill", "/approvals/new", OFFICERS, _fill, Kind.ACT),
    Page("approval-check", "/approvals/new/check", OFFICERS, _check),
    Page("approval-submit", "/approvals/new/check", OFFICERS, _submit, Kind.ACT),
)
