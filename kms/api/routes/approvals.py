"""Requests for what several people must approve: rules, inbox, hand in, sign, cancel, carry out."""

from collections.abc import Awaitable, Callable

from starlette.responses import Response

from kms.api.context import Context, etag
from kms.api.endpoints import Endpoint, json_reply, render, tagged
from kms.api.idempotency import Idempotency
from kms.api.routes.meetings import PAGING, Nothing
from kms.domain.approvals import Standing
from kms.domain.ids import parse_request_id, parse_space
from kms.domain.policies import GroupNeed
from kms.errors import InvalidInput
from kms.policy.authorizer import Target
from kms.statements.request import peek_request
from kms.usecases.approvals.execution import execute_request
from kms.usecases.approvals.requests import cancel_request, sign_request, submit_request
from kms.usecases.approvals.views import (
    RequestView,
    approval_rules,
    list_requests,
    read_request,
)
from kms.usecases.services import Call, Services
from kms.wire.approvals import (
    NeedOut,
    RequestOut,
    RequestPage,
    RuleOut,
    RulesOut,
    SignRequest,
    SubmitRequest,
)
from kms.wire.base import rfc3339

_SIDES = (
    ("space", "whose policy says who must approve; without it the default"),
    ("partner", "the other space, of what both must approve"),
)
_STATE = ("state", "pending (if not given), expired, executed or cancelled")


def endpoints(idempotency: Idempotency) -> tuple[Endpoint, ...]:
    """Return the endpoints of approvals."""

    async def submit(context: Context) -> Response:
        context.query()
        token = context.message(SubmitRequest).request

        async def make(call: Call) -> RequestView:
            return await submit_request(context.services, call, token)

        target = Target(space=_space_of(token))
        return await idempotency.create(context, target, make, lambda view: render(shown(view)))

    return (
        Endpoint("approval.rules", _rules, RulesOut, query=_SIDES),
        Endpoint("approval.list", _list, RequestPage, query=(_STATE, *PAGING)),
        Endpoint("approval.read", _read, RequestOut),
        Endpoint("approval.submit", submit, RequestOut, SubmitRequest, status=201),
        Endpoint("approval.sign", _sign, RequestOut, SignRequest),
        Endpoint("approval.cancel", _cancel, RequestOut, Nothing),
        Endpoint("approval.execute", _execute, RequestOut, Nothing),
    )


def shown(view: RequestView) -> RequestOut:
    """Show a request."""
    wanted, record = view.wanted, view.record
    return RequestOut(
        id=wanted.id,
        space=wanted.space or None,
        operation=wanted.operation,
        requester=wanted.requester,
        reason=wanted.reason,
        issued=rfc3339(wanted.issued),
        expires=rfc3339(wanted.expires),
        state=view.standing,
        ready=view.ready,
        ended=rfc3339(record.ended) if record.ended else None,
        digest=wanted.digest(),
        approved=view.people,
        missing=tuple(map(_need, view.missing)),
        lacks_credential=view.lacks_credential,
        request=record.request,
        approvals=record.approvals,
    )


def _space_of(token: str) -> str:
    """Return the space that a request names; what cannot be read is refused later on."""
    try:
        return peek_request(token).space
    except InvalidInput:
        return ""


def _need(need: GroupNeed) -> NeedOut:
    return NeedOut(group=need.group, count=need.count, space=need.space or None)


async def _rules(context: Context) -> Response:
    query = context.query(*(name for name, _ in _SIDES))
    space, partner = (query.text(name) and parse_space(query.text(name)) for name, _ in _SIDES)
    register, rules = await approval_rules(context.services, context.call, space, partner)
    items = tuple(
        RuleOut(
            operation=one.operation,
            needs=tuple(map(_need, one.needs)),
            both=one.rule.both,
            site=one.rule.site,
        )
        for one in rules
    )
    return json_reply(RulesOut(people=register.token, sha256=register.sha256, items=items))


async def _list(context: Context) -> Response:
    query = context.query("state", "after", "limit")
    limit, after = query.limit(), query.text("after")
    if after:
        parse_request_id(after)
    standing = _standing(query.text("state", Standing.PENDING.value))
    page, unknown = await list_requests(context.services, context.call, standing, after, limit)
    following = page[-1].wanted.id if len(page) == limit else None
    items = tuple(map(shown, page))
    return json_reply(RequestPage(items=items, next=following, unknown=tuple(unknown)))


def _standing(text: str) -> Standing:
    try:
        found = Standing(text)
    except ValueError:
        found = Standing.OUTDATED
    if found is Standing.OUTDATED:
        raise InvalidInput(f"state is {_STATE[1]}")
    return found


async def _read(context: Context) -> Response:
    context.query()
    view = await read_request(context.services, context.call, context.approval_request)
    return tagged(context, etag(view.version), shown(view))


async def _sign(context: Context) -> Response:
    context.query()
    token = context.message(SignRequest).approval
    request = context.approval_request
    return json_reply(shown(await sign_request(context.services, context.call, request, token)))


_End = Callable[[Services, Call, str], Awaitable[RequestView]]


async def _cancel(context: Context) -> Response:
    return await _end(context, cancel_request)


async def _execute(context: Context) -> Response:
    return await _end(context, execute_request)


async def _end(context: Context, end: _End) -> Response:
    context.query()
    context.message(Nothing)
    return json_reply(shown(await end(context.services, context.call, context.approval_request)))
