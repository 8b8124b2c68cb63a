"""Messages about a meeting's media cipher and its score."""

from typing import Annotated

from pydantic import Field, StringConstraints

from kms.domain.score import Cipher, EvidenceKind, Part
from kms.wire.base import EpochNumber, Meeting, Space, Text, Wire

Decimal = Annotated[str, StringConstraints(pattern=r"^[01](\.[0-9]{1,3})?$")]
"""A number from 0 to 1.999 as a text: fractions are no safe JSON."""


class ReportMedia(Wire):
    """Which SFrame suite (RFC 9605) the media were negotiated to; ``none``: not protected from end
    to end.
    """

    cipher: Cipher


class EvidenceOut(Wire):
    """Where to look a reason up: a leaf's number, an epoch, a grant's id, a vault key's version, an
    escrow generation.
    """

    kind: EvidenceKind
    value: Text


class ReasonOut(Wire):
    """One finding for a part of the vector, or against it, in both languages."""

    part: Part
    holds: bool
    en: Text
    zh: Text
    evidence: Annotated[tuple[EvidenceOut, ...], Field(max_length=10_000)] = ()


class ScoreOut(Wire):
    """A meeting's self-check reference score, never a verdict: the vector as three truths and as a
    text, its ``number`` from 0 to 1, ``ra`` and ``rk`` of the formula as decimals.
    """

    space: Space
    meeting: Meeting
    epoch: EpochNumber
    label_en: Text
    label_zh: Text
    d: bool
    a: bool
    k: bool
    vector: Text
    number: Decimal
    ra: Decimal
    rk: Decimal
    reasons: Annotated[tuple[ReasonOut, ...], Field(max_length=100)]
