"""How a leaf of the log becomes a row of the journal, and many leaves tallies."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from kms.audit.actions import MINTING
from kms.audit.leaf import Outcome, Phase
from kms.ports.journal import meeting_of

Row = tuple[int, str, str, str, str, str, str | None, str, str, str, str]
"""In the order of the table's columns."""
_HOUR = 13
"""Characters of a time that name its hour."""


class _Told(msgspec.Struct, frozen=True):
    code: Any = ""
    recipient: Any = ""
    reason: Any = ""


class Brief(msgspec.Struct, frozen=True):
    """What of a leaf the journal keeps."""

    seq: int
    time: str
    action: str
    actor: str
    space: str
    resource: str
    phase: Phase
    outcome: Outcome
    details: _Told


_DECODER = msgspec.json.Decoder(Brief)


def brief(data: bytes) -> Brief:
    """Return what the journal keeps of a leaf; the log holds nothing that is none."""
    return _DECODER.decode(data)


def row_of(leaf: Brief) -> Row:
    """Return a leaf's row."""
    told = leaf.details
    return (
        leaf.seq, leaf.time, leaf.action, leaf.actor, leaf.space, leaf.resource,
        meeting_of(leaf.resource) or None, leaf.phase.value, leaf.outcome.value,
        _text(told.code), _text(told.recipient),
    )  # fmt: skip


def tallies(leaves: Iterable[Brief]) -> list[tuple[str, str, str, str, str, int]]:
    """Return how many leaves of which action, hour, space, outcome and reason; no intents: each
    has a result.
    """
    found = Counter(
        (leaf.action, leaf.time[:_HOUR], leaf.space, leaf.outcome.value, _reason(leaf))
        for leaf in leaves
        if leaf.phase is not Phase.INTENT
    )
    return [(*key, number) for key, number in found.items()]


def _reason(leaf: Brief) -> str:
    """Return why a key was made; the reasons of other actions are people's own words."""
    return _text(leaf.details.reason) if leaf.action in MINTING else ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
