"""What a ceremony's journal may say, line by line. Times are whole seconds."""

from typing import TypeAlias

import msgspec

from kms.ceremonies.room import Facts
from kms.errors import InvalidInput
from kms.statements.canonical import canonical


class _Entry(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="event"
):
    time: int


class Started(_Entry, frozen=True, tag="started"):
    """The quorum was met. ``approvals`` maps each person who approved to their JWS."""

    approvals: dict[str, str]


class Refused(_Entry, frozen=True, tag="refused"):
    """An approval did not count. ``approval`` is the SHA-256 (base64url) of what was handed in."""

    person: str
    approval: str
    reason: str


class SectionBegun(_Entry, frozen=True, tag="section-begun"):
    """From here on the section is to be undone, or, if ``forward``, to be ended."""

    section: str
    forward: bool


class StepBegun(_Entry, frozen=True, tag="step-begun"):
    """The act of a step may have taken place in part."""

    step: str


class StepDone(_Entry, frozen=True, tag="step-done"):
    """The step was done and read back."""

    step: str
    facts: Facts


class StepFailed(_Entry, frozen=True, tag="step-failed"):
    """The step failed: an error's stable code and its text."""

    step: str
    code: str
    message: str


class UndoFailed(_Entry, frozen=True, tag="undo-failed"):
    """The step could not be undone; the next run tries again."""

    step: str
    code: str
    message: str


class SectionUndone(_Entry, frozen=True, tag="section-undone"):
    """Everything that the section did is undone."""

    section: str


class SectionDone(_Entry, frozen=True, tag="section-done"):
    """Everything that the section did is durable."""

    section: str


class Resumed(_Entry, frozen=True, tag="resumed"):
    """Another run of the ceremony goes on from here."""


class Deviation(_Entry, frozen=True, tag="exception"):
    """The exception sheet: what went otherwise than the script says, in somebody's words."""

    text: str


class Aborted(_Entry, frozen=True, tag="aborted"):
    """Every section is undone: the ceremony never took place."""


class Recorded(_Entry, frozen=True, tag="recorded"):
    """The log has the outcome. ``transcript`` is the SHA-256 (base64url) of its payload."""

    transcript: str


Entry: TypeAlias = (
    Started
    | Refused
    | SectionBegun
    | StepBegun
    | StepDone
    | StepFailed
    | UndoFailed
    | SectionUndone
    | SectionDone
    | Resumed
    | Deviation
    | Aborted
    | Recorded
)

_DECODER: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


def encode_entry(entry: Entry) -> bytes:
    """Return the entry's one line, without its end; raise InvalidInput for facts that have no
    canonical form.
    """
    return canonical(msgspec.to_builtins(entry))


def decode_entry(line: bytes) -> Entry:
    """Return the entry; raise InvalidInput unless the line is exactly its canonical form."""
    try:
        entry = _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("not an entry of a ceremony's journal") from error
    if encode_entry(entry) != line:
        raise InvalidInput("not the canonical form of an entry of a ceremony's journal")
    return entry
