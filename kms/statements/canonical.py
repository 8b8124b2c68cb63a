"""Canonical JSON (RFC 8785) of records without floats, and base64url without padding.

msgspec's deterministic order equals RFC 8785 for strings, booleans, null, ASCII keys and integers
within 2**53; everything else is refused, so the fast path is exact (tests hold it against the
rfc8785 package).
"""

import base64
import binascii
import hashlib
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import msgspec

from kms.domain.rows import RECORD_TYPES, Record, Row, RowKind, row_key
from kms.errors import InvalidInput

_MAX_SAFE = 2**53 - 1
_ENCODER = msgspec.json.Encoder(order="deterministic")
_READ: WeakKeyDictionary[Row, Record] = WeakKeyDictionary()
"""The records of rows still in use: a row is read once, however many look at it."""
_T = TypeVar("_T")


def canonical(value: Any) -> bytes:
    """Return the RFC 8785 form of builtins; raise InvalidInput for what has no exact form."""
    check_exact(value)
    try:
        return _ENCODER.encode(value)
    except (UnicodeEncodeError, ValueError) as error:
        raise InvalidInput("text that is not Unicode has no canonical form") from error


def check_exact(value: Any) -> None:
    """Raise InvalidInput unless ``value`` is made of builtins that have one canonical form."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return
    if kind is int:
        if not -_MAX_SAFE <= value <= _MAX_SAFE:
            raise InvalidInput("an integer beyond 2**53 has no canonical form")
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str or not key.isascii():
                raise InvalidInput("canonical keys are ASCII strings")
            if type(item) is not str:
                check_exact(item)
    elif kind is list or kind is tuple:
        for item in value:
            check_exact(item)
    else:
        raise InvalidInput(f"{kind.__name__} has no canonical form")


def encode_record(record: Any) -> bytes:
    """Return the canonical JSON of a dataclass of strings, integers, enums and tuples.

    Fields that its class names in ``LEFT_OUT`` stand in it only when they say something: so a field
    can be added without another form of what was signed before.
    """
    fields = msgspec.to_builtins(record)
    for name in getattr(record, "LEFT_OUT", ()):
        if not fields[name]:
            del fields[name]
    return canonical(fields)


def decode_record(data: bytes, kind: type[_T]) -> _T:
    """Return the record; raise InvalidInput unless ``data`` is exactly its canonical form."""
    try:
        record = msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"not a {kind.__name__}") from error
    if encode_record(record) != data:
        raise InvalidInput(f"not the canonical form of a {kind.__name__}")
    return record


def make_row(record: Record, version: int) -> Row:
    """Return the row that stores this version of the record."""
    kind = RowKind(row_key(record).partition("/")[0])
    return Row(kind, row_key(record), version, encode_record(record))


def read_row(row: Row) -> Record:
    """Return a row's record; raise InvalidInput if kind, key and body do not belong together."""
    record = _READ.get(row)
    if record is None:
        record = decode_record(row.body, RECORD_TYPES[row.kind])
        if row_key(record) != row.key:
            raise InvalidInput("the row's body belongs to another key")
        _READ[row] = record
    return record


def mac_input(row: Row) -> bytes:
    """Return the bytes that a row's MAC covers: length-free, since JSON delimits itself."""
    head = canonical({"key": row.key, "kind": row.kind.value, "version": row.version})
    return b"conclave-row-v1\n" + head + b"\n" + row.body


def b64u(data: bytes) -> str:
    """Return base64url without padding (RFC 4648, section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def unb64u(text: str) -> bytes:
    """Return the bytes of unpadded base64url; raise InvalidInput for any other spelling."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("not base64url") from error
    if b64u(data) != text:
        raise InvalidInput("not canonical base64url")
    return data


def digest(data: bytes) -> str:
    """Return SHA-256 in base64url, the form in which statements name what they cover."""
    return b64u(hashlib.sha256(data).digest())
