"""Policies, their explanation, and grants."""

from starlette.responses import Response

from kms.api.context import Context
from kms.api.endpoints import Endpoint, json_reply
from kms.api.routes.meetings import Nothing
from kms.policy.explanation import NearMiss
from kms.policy.source import Policy
from kms.statements.canonical import encode_record
from kms.usecases.explaining import Answer, Question, explain
from kms.usecases.grants import GrantView, list_grants, revoke_grant
from kms.usecases.policies import read_policy, read_site_policy
from kms.wire.base import rfc3339
from kms.wire.policies import (
    Explain,
    ExplanationOut,
    GrantList,
    GrantOut,
    MissingOut,
    NearMissOut,
    PolicyEntry,
    PolicyOut,
    SitePolicyOut,
    SpacePolicyOut,
)

_MOST = 10_000
_TEXT = 1024


def endpoints() -> tuple[Endpoint, ...]:
    """Return the endpoints."""
    return (
        Endpoint("policy.read", _policy, PolicyOut),
        Endpoint("site-policy.read", _site_policy, SitePolicyOut),
        Endpoint("policy.explain", _explain, ExplanationOut, Explain),
        Endpoint("grant.list", _grants, GrantList),
        Endpoint("grant.revoke", _revoke, GrantOut, Nothing),
    )


async def _policy(context: Context) -> Response:
    context.query()
    policy, version = await read_policy(context.services, context.call, context.space)
    shown = SpacePolicyOut.model_validate_json(encode_record(policy))
    return json_reply(PolicyOut(space=policy.space, version=version, policy=shown))


async def _site_policy(context: Context) -> Response:
    context.query()
    found = await read_site_policy(context.services, context.call)
    entries = tuple(_entry(policy) for policy in found.policies)
    return json_reply(SitePolicyOut(version=found.version, text=found.text, policies=entries))


async def _explain(context: Context) -> Response:
    context.query()
    asked = context.message(Explain)
    question = Question(
        asked.principal,
        asked.operation,
        asked.space or "",
        asked.on_roster,
        asked.own_recipient,
        asked.reason,
    )
    return json_reply(_answer(await explain(context.services, context.call, question)))


async def _grants(context: Context) -> Response:
    context.query()
    found, unknown = await list_grants(context.services, context.call)
    items = tuple(_grant(view) for view in found[:_MOST])
    return json_reply(GrantList(items=items, unknown=tuple(unknown)))


async def _revoke(context: Context) -> Response:
    context.query()
    context.message(Nothing)
    name: str = context.request.path_params["grant"]
    return json_reply(_grant(await revoke_grant(context.services, context.call, name)))


def _entry(policy: Policy) -> PolicyEntry:
    return PolicyEntry(id=policy.id, effect=policy.effect, source=policy.source)


def _answer(answer: Answer) -> ExplanationOut:
    found = answer.explanation
    return ExplanationOut(
        permitted=found.permitted,
        deciding=tuple(_entry(policy) for policy in found.deciding),
        near=tuple(_near(one) for one in found.near),
        errors=tuple(error[:_TEXT] for error in found.errors),
        grant=answer.grant or None,
    )


def _near(one: NearMiss) -> NearMissOut:
    missing = tuple(MissingOut(lack=each.lack.value, wanted=each.wanted) for each in one.missing)
    return NearMissOut(**dict(_entry(one.policy)), missing=missing)


def _grant(view: GrantView) -> GrantOut:
    grant = view.grant
    return GrantOut(
        grant=grant.grant,
        space=grant.space,
        principal=grant.principal,
        role=grant.role,
        starts=rfc3339(grant.starts),
        expires=rfc3339(grant.expires),
        reason=grant.reason,
        state=view.state.value,
        revoked=rfc3339(grant.revoked) if grant.revoked else None,
        last_used=rfc3339(view.used) if view.used else None,
        flags=tuple(flag.value for flag in view.flags),
    )
