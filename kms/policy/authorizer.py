"""The one place where it is decided who may do what: Cedar policies, parsed and checked once.

It denies whatever the policies do not permit, and whatever they cannot decide.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import cedarpy

from kms.domain.models import EVERY_SPACE, Principal
from kms.errors import ConfigurationError, Forbidden, NotFound
from kms.operations import OPERATIONS

NOT_THERE = "there is no such thing"
_CACHED = 4096


@dataclass(frozen=True, slots=True)
class Target:
    """What an operation is about; ``space`` is empty for the site's own operations.

    ``on_roster``: the envelope's recipient is on the meeting's roster now. ``own_recipient``: it
    is the caller's own key. ``reason``: why a rotation is asked for.
    """

    space: str = ""
    release_class: str = ""
    on_roster: bool = False
    own_recipient: bool = False
    reason: str = ""


_Question = tuple[Principal, str, Target]


class Authorizer:
    """Asks the policies; remembers answers by everything that went into them."""

    def __init__(self, policies: cedarpy.PolicySet, schema: cedarpy.Schema) -> None:
        self._policies = policies
        self._schema = schema
        self._permitted: dict[_Question, bool] = {}

    @classmethod
    def load(cls, folder: Traversable | None = None) -> "Authorizer":
        """Return the authorizer of the policies in ``folder`` (default: the built-in ones).

        Raise ConfigurationError unless every policy fits the schema.
        """
        place = folder or resources.files("kms.policy")
        files = sorted(place.iterdir(), key=lambda file: file.name)
        try:
            text = _text(files, ".cedar")
            schema = cedarpy.Schema.from_str(_text(files, ".cedarschema"))
            policies = cedarpy.PolicySet.from_str(text)
            checked = cedarpy.validate_policies(text, schema)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"the policies cannot be read: {error}") from error
        if not checked.validation_passed:
            raise ConfigurationError(f"the policies do not fit their schema: {checked.errors}")
        return cls(policies, schema)

    def check(self, principal: Principal, operation_id: str, target: Target) -> None:
        """Raise NotFound if the space is none of the caller's, Forbidden if the policies say no."""
        if target.space and not principal.reaches(target.space):
            raise NotFound(NOT_THERE)
        question = (principal, operation_id, target)
        permitted = self._permitted.get(question)
        if permitted is None:
            permitted = self._remember(question)
        if not permitted:
            raise Forbidden(f"{operation_id} is not permitted", hint=_whose(operation_id))

    def _remember(self, question: _Question) -> bool:
        while len(self._permitted) >= _CACHED:
            del self._permitted[next(iter(self._permitted))]
        permitted = self._permitted[question] = self._ask(*question)
        return permitted

    def _ask(self, principal: Principal, operation_id: str, target: Target) -> bool:
        resource = _uid("Space", target.space) if target.space else _uid("Site", "site")
        request = {
            "principal": _uid("Caller", principal.name),
            "action": _uid("Action", operation_id),
            "resource": resource,
            "context": _context(operation_id, target),
        }
        entities = json.dumps(_entities(principal, target))
        try:
            answer = cedarpy.is_authorized(request, self._policies, entities, self._schema)
        except ValueError as error:
            raise Forbidden("the policies could not decide") from error
        return answer.allowed and not answer.diagnostics.errors


def _text(files: Sequence[Traversable], suffix: str) -> str:
    return "\n".join(file.read_text("utf-8") for file in files if file.name.endswith(suffix))


def _whose(operation_id: str) -> str:
    operation = OPERATIONS.get(operation_id)
    roles = ", ".join(sorted(operation.roles)) if operation else ""
    return f"it is for the role {roles}, within its space and its duties" if roles else ""


def _uid(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "id": name}


def _context(operation_id: str, target: Target) -> dict[str, Any]:
    if operation_id in ("envelope.fetch", "envelope.relay"):
        return {"on_roster": target.on_roster, "own_recipient": target.own_recipient}
    return {"reason": target.reason} if operation_id == "epoch.rotate" else {}


def _entities(principal: Principal, target: Target) -> list[dict[str, Any]]:
    spaces = sorted(principal.spaces - {EVERY_SPACE})
    caller = {
        "uid": _uid("Caller", principal.name),
        "attrs": {
            "every_space": EVERY_SPACE in principal.spaces,
            "spaces": [{"__entity": _uid("Space", space)} for space in spaces],
        },
        "parents": [_uid("Role", role.value) for role in sorted(principal.roles)],
    }
    space = {
        "uid": _uid("Space", target.space),
        "attrs": {"release_class": str(target.release_class)},
        "parents": [],
    }
    return [caller, space] if target.space else [caller]
