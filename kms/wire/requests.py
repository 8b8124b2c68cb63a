"""What callers send."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kms.wire.base import (
    MAX_BATCH,
    EpochNumber,
    Jws,
    Meeting,
    Recipient,
    Recipients,
    Space,
    Text,
    Wire,
)

ASSERTION = "conclave-assertion"
"""The header that carries the assertion for one envelope of a confidential meeting."""


class RosterWish(Wire):
    """Who is to be on a roster.

    A signed ``statement`` (roster spaces) or registered ``recipients`` (trusted spaces).
    """

    statement: Jws | None = None
    recipients: Recipients | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.statement is None) == (self.recipients is None):
            raise ValueError("give either statement or recipients")
        return self


class OpenMeeting(RosterWish):
    """Open a meeting; in a roster space the caller has chosen its UUIDv7."""

    meeting: Meeting | None = None


class AmendRoster(Wire):
    """Recipients to add to a trusted meeting's roster, and to remove from it."""

    add: Recipients = ()
    remove: Recipients = ()

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.add and not self.remove:
            raise ValueError("name somebody to add or to remove")
        if set(self.add) & set(self.remove):
            raise ValueError("nobody is added and removed at once")
        return self


class Rotate(Wire):
    """Rotate by hand."""

    reason: Literal["manual", "suspicion"] = "manual"


class Seal(Wire):
    """Seal a space, or the whole box, at once."""

    reason: Annotated[Text, Field(min_length=1)]


class WantedEnvelope(Wire):
    """One envelope; without ``epoch`` the present one. A confidential meeting's wants an
    ``assertion``.
    """

    space: Space
    meeting: Meeting
    recipient: Recipient
    epoch: EpochNumber | None = None
    assertion: Annotated[Jws, Field(max_length=8192)] | None = None


class FetchBatch(Wire):
    """Envelopes to fetch or relay together."""

    envelopes: Annotated[tuple[WantedEnvelope, ...], Field(min_length=1, max_length=MAX_BATCH)]
