"""Plan files: everything that a ceremony will do, in one strict TOML file that officers sign.

Where things lie (module, tokens, PINs, folders) stands in the site's configuration, outside the
plan, so that the plan that was rehearsed is the one that runs, byte for byte.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeVar

import msgspec

from kms.domain.text import visible
from kms.errors import InvalidInput
from kms.statements.canonical import b64u

MAX_BYTES = 256 << 10
_DEEPEST, _QUOTED, _PEM = 6, 80, "-----BEGIN "
SLUG = re.compile(r"[a-z][a-z0-9-]{1,47}", re.ASCII)

_T = TypeVar("_T")
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a kind of ceremony wants to know; each kind has its own."""


class PlanFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file. People are named as in the register of people."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    ceremony: str
    id: str
    site: str
    purpose: Text
    administrator: str
    witness: str
    auditor: str
    officers: tuple[str, ...]
    expires: datetime
    parameters: dict[str, Any]

    @property
    def roster(self) -> tuple[str, ...]:
        """Everybody who takes part."""
        return (self.administrator, self.witness, self.auditor, *self.officers)


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan that was read: its exact bytes and what they say."""

    raw: bytes
    file: PlanFile

    @property
    def sha256(self) -> bytes:
        """The digest that officers compare and sign."""
        return hashlib.sha256(self.raw).digest()

    @property
    def digest(self) -> str:
        """The digest as statements name it (base64url)."""
        return b64u(self.sha256)


def parse_plan(raw: bytes) -> Plan:
    """Return the plan of a file's bytes; raise InvalidInput naming the field. Kinds check their
    own parameters (``parse_parameters``).
    """
    if len(raw) > MAX_BYTES:
        raise InvalidInput(f"a plan has at most {MAX_BYTES} bytes")
    try:
        file = msgspec.toml.decode(raw, type=PlanFile)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the plan is not valid: {error}") from error
    for text in _texts(msgspec.structs.asdict(file), 0):
        _refuse_hidden(text)
    if not SLUG.fullmatch(file.id):
        raise InvalidInput("a ceremony's id is a slug: a letter, then 1 to 47 of a-z, 0-9, -")
    if file.expires.utcoffset() != timedelta(0):
        raise InvalidInput("the plan's expiry is not in UTC: end it with Z")
    if len(set(file.roster)) != len(file.roster):
        raise InvalidInput("the plan names a person twice: each takes part once")
    return Plan(raw, file)


def _texts(value: object, depth: int) -> Iterator[str]:
    """Yield every text of a plan, names of fields included; raise InvalidInput."""
    if depth > _DEEPEST:
        raise InvalidInput("the plan is nested too deep")
    match value:
        case str():
            yield value
        case dict():
            for one in (*value.keys(), *value.values()):
                yield from _texts(one, depth + 1)
        case list() | tuple():
            for one in value:
                yield from _texts(one, depth + 1)


def _refuse_hidden(text: str) -> None:
    """Refuse what a screen would obey, such as a new line that begins like one of the program's;
    only a key or certificate in PEM has lines.
    """
    shown = text.replace("\n", "") if text.startswith(_PEM) else text
    if visible(shown) != shown:
        raise InvalidInput(f"the plan has hidden characters: {visible(text[:_QUOTED])}")


def parse_parameters(plan: Plan, kind: type[_T]) -> _T:
    """Return the plan's [parameters] as a kind's own; raise InvalidInput naming the field."""
    try:
        return msgspec.convert(plan.file.parameters, kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"[parameters] are not valid: {error}") from error
