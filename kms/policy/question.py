"""What a decision goes by, in the terms of the schema: who asks, for what, where."""

import json
from dataclasses import dataclass, field
from typing import Any

from kms.domain.models import EVERY_SPACE, Principal
from kms.domain.policies import Labels


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


@dataclass(frozen=True, slots=True)
class SpaceFacts:
    """What the policies know of a space, from its verified record and policy."""

    release_class: str = ""
    labels: Labels = field(default_factory=Labels)


def uid(kind: str, name: str) -> dict[str, str]:
    """Return an entity's name."""
    return {"type": kind, "id": name}


def request_of(principal: Principal, operation: str, target: Target) -> dict[str, Any]:
    """Return the question as the engine takes it."""
    resource = uid("Space", target.space) if target.space else uid("Site", "site")
    return {
        "principal": uid("Caller", principal.name),
        "action": uid("Action", operation),
        "resource": resource,
        "context": _context(operation, target),
    }


def entities_of(principal: Principal, target: Target, facts: SpaceFacts, age: int) -> str:
    """Return the entities that the question names, as JSON; ``age`` of the proof in seconds."""
    found = [_caller(principal, age)]
    if target.space:
        found.append(_space(target, facts))
    return json.dumps(found)


def _context(operation: str, target: Target) -> dict[str, Any]:
    if operation in ("envelope.fetch", "envelope.relay"):
        return {"on_roster": target.on_roster, "own_recipient": target.own_recipient}
    return {"reason": target.reason} if operation == "epoch.rotate" else {}


def _caller(principal: Principal, age: int) -> dict[str, Any]:
    spaces = sorted(principal.spaces - {EVERY_SPACE})
    labels = principal.labels
    return {
        "uid": uid("Caller", principal.name),
        "attrs": {
            "every_space": EVERY_SPACE in principal.spaces,
            "spaces": [{"__entity": uid("Space", space)} for space in spaces],
            "department": labels.department,
            "business_type": labels.business_type,
            "region": labels.region,
            "staff_number": labels.staff_number,
            "auth": {"strength": int(principal.strength), "age_seconds": age},
        },
        "parents": [uid("Role", role.value) for role in sorted(principal.roles)],
    }


def _space(target: Target, facts: SpaceFacts) -> dict[str, Any]:
    labels = facts.labels
    return {
        "uid": uid("Space", target.space),
        "attrs": {
            "release_class": str(target.release_class or facts.release_class),
            "department": labels.department,
            "business_type": labels.business_type,
            "region": labels.region,
            "customer_level": labels.customer_level,
            "classification": labels.classification,
        },
        "parents": [],
    }
