"""Messages about states of keys, legal holds and destruction certificates."""

from typing import Annotated

from pydantic import Field, StringConstraints

from kms.domain.states import KeyState
from kms.wire.base import Count, EpochNumber, Meeting, Recipients, Space, Text, Time, Wire

_MANY = 10_000
_JWS = r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"
_LINES = rf"^{_JWS}(\n{_JWS})*$"

Certificate = Annotated[str, StringConstraints(pattern=_LINES, max_length=64 << 20)]
"""A destruction certificate: one JWS, or one a line if it has parts."""


class Because(Wire):
    """Why; it stands in the log."""

    reason: Annotated[Text, Field(min_length=1)]


class PlaceHold(Because):
    """A hold on a meeting; without ``meeting`` on the whole space."""

    meeting: Meeting | None = None


class HoldOut(Wire):
    """A legal hold; ``meeting`` is null for the whole space. It stands until ``lifted``."""

    hold: Text
    space: Space
    meeting: Meeting | None
    reason: Text
    placed_by: Text
    placed: Time
    lifted: Time | None = None


class HoldList(Wire):
    """The holds of a space, lifted ones too."""

    items: Annotated[tuple[HoldOut, ...], Field(max_length=_MANY)]


class FetchedOut(Wire):
    """How often a caller was served a recipient's envelope."""

    actor: Text
    recipient: Text
    count: Count
    first: Time
    last: Time


class CascadeOut(Wire):
    """How far the compromise of one key reaches: what it protected from when until when (null:
    until now), who could open it beside vault and escrow, and what was served of it.
    """

    epoch: EpochNumber
    was: KeyState
    starts: Time
    ends: Time | None
    readers: Recipients
    served: Count
    fetched: Annotated[tuple[FetchedOut, ...], Field(max_length=_MANY)]


class CompromiseOut(Wire):
    """What was marked; ``rotated`` is the epoch that a forced rotation put in place."""

    space: Space
    meeting: Meeting
    epochs: Annotated[tuple[CascadeOut, ...], Field(max_length=_MANY)]
    rotated: EpochNumber | None


class CertificateOut(Wire):
    """A destruction certificate; ``conclave certificate verify`` checks it offline."""

    request: Text
    certificate: Certificate
