"""Why the policies decide as they do: which of them decided, and what the others lacked.

It decides nothing itself: each condition of a permit is asked for alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import cedarpy

from kms.policy.source import Policy, policy_set

_PERMIT, _FORBID = "permit", "forbid"


class Lack(StrEnum):
    """What a permit wants that the question has not."""

    ROLE = "role"
    PRINCIPAL = "principal"
    RESOURCE = "resource"
    CONDITION = "condition"


@dataclass(frozen=True, slots=True)
class Missing:
    """What one permit wants: a role, a principal or type of resource by name, or the text of a
    condition.
    """

    lack: Lack
    wanted: str


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A permit for the operation that does not apply, and why."""

    policy: Policy
    missing: tuple[Missing, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision. ``deciding``: the permits that apply or, if any does, the forbids; nobody's if
    it is denied by default, and then ``near`` holds the permits that name the operation.
    ``errors``: why the policies could not decide, which denies.
    """

    permitted: bool
    deciding: tuple[Policy, ...]
    errors: tuple[str, ...]
    near: tuple[NearMiss, ...] = ()


@dataclass(frozen=True, slots=True)
class _Question:
    schema: cedarpy.Schema
    request: dict[str, Any]
    entities: str

    def ask(self, policies: Sequence[Policy]) -> cedarpy.AuthzResult:
        return cedarpy.is_authorized(self.request, policy_set(policies), self.entities, self.schema)

    def holds(self, policy: Policy) -> bool:
        """Whether a policy applies, as if it were a permit and the only one."""
        form = policy.form | {"effect": _PERMIT}
        return self.ask([replace(policy, form=form)]).allowed


def explain(
    policies: Sequence[Policy], schema: cedarpy.Schema, request: dict[str, Any], entities: str
) -> Explanation:
    """Return how the policies decide a question."""
    question = _Question(schema, request, entities)
    answer = question.ask(policies)
    errors = tuple(answer.diagnostics.errors)
    deciding = tuple(one for one in policies if one.id in set(answer.diagnostics.reasons))
    permitted = answer.allowed and not errors
    near = () if permitted or deciding or errors else tuple(_near(policies, question))
    return Explanation(permitted, deciding, errors, near)


def _near(policies: Sequence[Policy], question: _Question) -> Iterator[NearMiss]:
    action = question.request["action"]["id"]
    for policy in policies:
        if policy.effect == _PERMIT and action in _actions(policy.form["action"]):
            yield NearMiss(policy, tuple(_missing(policy, question)))


def _actions(scope: dict[str, Any]) -> list[str]:
    if scope["op"] == "All":
        return []
    entities = scope.get("entities") or [scope["entity"]]
    return [entity["id"] for entity in entities]


def _missing(policy: Policy, question: _Question) -> Iterator[Missing]:
    """Ask for each part of a permit alone."""
    for part, lack in (("principal", Lack.PRINCIPAL), ("resource", Lack.RESOURCE)):
        scope = policy.form[part]
        if not question.holds(_bare(policy, **{part: scope})):
            yield _of_scope(scope, lack)
    for condition in policy.form["conditions"]:
        for one in _conjuncts(condition):
            if not question.holds(asked := _bare(policy, conditions=[one])):
                yield Missing(Lack.CONDITION, _condition_text(asked))


def _of_scope(scope: dict[str, Any], lack: Lack) -> Missing:
    entity = scope.get("entity") or scope.get("in", {}).get("entity", {})
    if entity.get("type") == "Role":
        return Missing(Lack.ROLE, entity["id"])
    named = f'{entity["type"]}::"{entity["id"]}"' if entity else scope.get("entity_type", "")
    return Missing(lack, named)


def _bare(policy: Policy, **parts: Any) -> Policy:
    """Return a policy with these parts alone."""
    every = {"op": "All"}
    form = {
        "effect": _PERMIT, "principal": every, "action": every, "resource": every,
        "conditions": [], "annotations": {},
    }  # fmt: skip
    return replace(policy, form=form | parts)


def _conjuncts(condition: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Cut ``when { a && b }`` into its parts, as far as they stand at its top."""
    body = condition["body"]
    if condition["kind"] == "when" and "&&" in body:
        for side in ("left", "right"):
            yield from _conjuncts({"kind": "when", "body": body["&&"][side]})
    else:
        yield condition


def _condition_text(policy: Policy) -> str:
    """Return a bare policy's one condition, as Cedar writes it."""
    return policy.text.partition("resource) ")[2].strip().removesuffix(";")
