"""Audit leaves: what one line of the log says.

A leaf is canonical JSON (RFC 8785). An operation on keys writes an *intent* leaf, durable before
it starts, and a *result* leaf that names the intent; everything else writes one *event* leaf.
No secrets and no meeting content ever stand in a leaf.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from kms.errors import InvalidInput
from kms.statements.canonical import check_exact

GRANT = ";grant="
"""Stands in ``auth`` before the grant that let the caller do it, at its end."""


class Phase(StrEnum):
    """Where in an operation the leaf stands."""

    INTENT = "intent"
    RESULT = "result"
    EVENT = "event"


class Outcome(StrEnum):
    """What came of it. ``interrupted``: the service died before it knew."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class LeafDraft:
    """A leaf before the log gives it its sequence number and time.

    ``resource`` is a path such as ``spaces/treasury/meetings/<id>/epochs/3``; ``space`` is empty
    for the site's own. ``request`` is the SHA-256 of the request (base64url). ``rows`` maps the
    key of every row that the operation changed to its new version. ``details`` hold builtins only.
    """

    action: str
    actor: str
    auth: str
    space: str
    resource: str
    phase: Phase
    outcome: Outcome
    request: str = ""
    intent: int | None = None
    rows: dict[str, int] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


class Leaf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A leaf of the log. ``time`` is RFC 3339 UTC with microseconds."""

    v: int
    seq: int
    time: str
    action: str
    actor: str
    auth: str
    space: str
    resource: str
    phase: Phase
    outcome: Outcome
    request: str
    intent: int | None
    rows: dict[str, int]
    details: dict[str, Any]


_DECODER = msgspec.json.Decoder(Leaf)
_ENCODER = msgspec.json.Encoder(order="sorted")


def encode_leaf(draft: LeafDraft, seq: int, time: str) -> bytes:
    """Return the canonical bytes of a draft at its place in the log; raise InvalidInput.

    Only rows and details can hold what has no canonical form: all else is text or counted here.
    """
    check_exact(draft.rows)
    check_exact(draft.details)
    leaf = Leaf(
        v=1,
        seq=seq,
        time=time,
        action=draft.action,
        actor=draft.actor,
        auth=draft.auth,
        space=draft.space,
        resource=draft.resource,
        phase=draft.phase,
        outcome=draft.outcome,
        request=draft.request,
        intent=draft.intent,
        rows=draft.rows,
        details=draft.details,
    )
    try:
        return _ENCODER.encode(leaf)
    except UnicodeEncodeError as error:
        raise InvalidInput("text that is not Unicode has no canonical form") from error


def decode_leaf(data: bytes) -> Leaf:
    """Return the leaf; raise InvalidInput for anything that this version did not write."""
    try:
        return _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("not an audit leaf") from error


def seconds(time: str) -> int:
    """Return a leaf's time in whole seconds since 1970."""
    return int(datetime.fromisoformat(time).timestamp())


def decode_exact_leaf(data: bytes) -> Leaf:
    """Return the leaf if ``data`` is exactly its canonical form; raise InvalidInput.

    Of integers, rows and details are held to RFC 8785; the others follow from their place.
    """
    leaf = decode_leaf(data)
    try:
        check_exact(leaf.rows)
        check_exact(leaf.details)
    except RecursionError as error:
        raise InvalidInput("a leaf nested too deep") from error
    if _ENCODER.encode(leaf) != data:
        raise InvalidInput("not the canonical form of an audit leaf")
    return leaf
