"""The JSON of a LUKS2 header (on-disk format 1.1, section 3), read strictly into frozen types.

Unknown fields, duplicate keys, floats and any number that is not spelt as cryptsetup spells it are
refused: what was checked here is what cryptsetup reads.
"""

import json
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from kms.errors import ConclaveError

_MOST = 64
"""More slots, segments, digests or tokens than cryptsetup itself ever writes."""

Word = Annotated[str, Meta(max_length=64, pattern=r"^[\x21-\x7e]+$")]
Name = Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]?)$")]
"""The number of a slot, segment, digest or token."""
Number = Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]{0,17})$")]
"""A count of bytes or sectors, as a string."""
Small = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Base64 = Annotated[str, Meta(max_length=1024, pattern=r"^[A-Za-z0-9+/]+={0,2}$")]
Names = Annotated[tuple[Name, ...], Meta(max_length=_MOST)]
Words = Annotated[tuple[Word, ...], Meta(max_length=_MOST)]
_Map = Meta(max_length=_MOST)


class HeaderRefused(ConclaveError):  # noqa: N818 -- named as in kms/errors.py
    """A header is not one that may be used; ``fault`` says in one word which check failed."""

    code = "header_refused"

    def __init__(self, fault: str, message: str) -> None:
        super().__init__(
            message, hint="the disk is left as it is; look at it before you release it"
        )
        self.fault = fault


class _Strict(Struct, frozen=True, forbid_unknown_fields=True):
    """What nothing unknown may be hidden in."""


class Area(_Strict, frozen=True):
    """Where a slot's material lies, in bytes from the device's beginning, and how it is kept."""

    type: Word
    offset: Number
    size: Number
    encryption: Word | None = None
    key_size: Small | None = None
    hash: Word | None = None
    sector_size: Small | None = None
    shift_size: Number | None = None

    @property
    def begin(self) -> int:
        """Its first byte."""
        return int(self.offset)

    @property
    def end(self) -> int:
        """The byte behind its last one."""
        return int(self.offset) + int(self.size)


class Splitter(_Strict, frozen=True):
    """The anti-forensic splitter of a slot."""

    type: Word
    stripes: Small
    hash: Word


class Kdf(_Strict, frozen=True):
    """How a slot's key is derived from a passphrase."""

    type: Word
    salt: Base64
    hash: Word | None = None
    iterations: Small | None = None
    time: Small | None = None
    memory: Small | None = None
    cpus: Small | None = None


class Slot(_Strict, frozen=True):
    """A key slot; of type ``reencrypt``: where a reencryption keeps what it works at."""

    type: Literal["luks2", "reencrypt"]
    key_size: Small
    area: Area
    af: Splitter | None = None
    kdf: Kdf | None = None
    priority: Small | None = None
    mode: Word | None = None
    direction: Word | None = None


class Segment(_Strict, frozen=True):
    """A stretch of the device; ``size`` in bytes or ``dynamic``: to the end."""

    type: Literal["crypt", "linear"]
    offset: Number
    size: Annotated[str, Meta(pattern=r"^(dynamic|[1-9][0-9]{0,17})$")]
    iv_tweak: Number | None = None
    encryption: Word | None = None
    sector_size: Small | None = None
    flags: Words = ()


class KeyDigest(_Strict, frozen=True):
    """By which a volume key is known to be right; for which slots and segments."""

    type: Word
    keyslots: Names
    segments: Names
    hash: Word
    iterations: Small
    salt: Base64
    digest: Base64


class Requirements(_Strict, frozen=True):
    """What a program has to understand to touch the device."""

    mandatory: Words = ()


class Config(_Strict, frozen=True):
    """Sizes of the areas, and flags."""

    json_size: Number
    keyslots_size: Number
    flags: Words = ()
    requirements: Requirements = Requirements()


class Metadata(_Strict, frozen=True):
    """All of it. What a token holds is its type's own affair: any JSON object."""

    keyslots: Annotated[dict[Name, Slot], _Map]
    tokens: Annotated[dict[Name, dict[str, Any]], _Map]
    segments: Annotated[dict[Name, Segment], _Map]
    digests: Annotated[dict[Name, KeyDigest], _Map]
    config: Config


def read_metadata(text: bytes) -> Metadata:
    """Return the metadata that a JSON area (NUL-terminated, NUL-filled) holds; raise HeaderRefused
    (``json``).
    """
    body, _, rest = text.partition(b"\0")
    if rest.strip(b"\0"):
        raise HeaderRefused("json", "something is hidden behind the header's JSON")
    try:
        found = json.loads(
            body.decode("ascii"),
            object_pairs_hook=_object,
            parse_float=_refused,
            parse_constant=_refused,
        )
        return msgspec.convert(found, Metadata)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise HeaderRefused("json", "the header's JSON is not one that is written here") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _refused(text: str) -> None:
    raise ValueError(f"{text} is no integer")
