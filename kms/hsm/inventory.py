"""What a token holds, for transcripts: every object of the service, every attribute that it gives.

Canonical builtins. Asks for no attribute that could be a secret: a value only of certificates and
of data, a check value (bits of an encryption under the key) never.
"""

import hashlib
import struct
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

from pkcs11 import Attribute, CertificateType, KeyType, Mechanism, ObjectClass

from kms.errors import IntegrityFailure
from kms.hsm.attributes import BOOLEANS
from kms.hsm.cryptoki import UNAVAILABLE
from kms.hsm.token import Found, Token
from kms.statements.canonical import canonical

A = Attribute

_LONGEST = 32
"""Bytes that are shown themselves; of longer values the SHA-256 is."""
_NUMBER = struct.Struct("@L")
_ENUMS: Mapping[Attribute, type[IntEnum]] = {
    A.CLASS: ObjectClass,
    A.KEY_TYPE: KeyType,
    A.CERTIFICATE_TYPE: CertificateType,
    A.KEY_GEN_MECHANISM: Mechanism,
}
_NUMBERS = frozenset({A.MODULUS_BITS, A.VALUE_LEN})
_TEXTS = frozenset({A.LABEL, A.APPLICATION})
_BYTES = frozenset(
    {A.ID, A.MODULUS, A.PUBLIC_EXPONENT, A.EC_PARAMS, A.EC_POINT}
    | {A.SUBJECT, A.ISSUER, A.SERIAL_NUMBER, A.START_DATE, A.END_DATE}
)
_ASKED = BOOLEANS | _ENUMS.keys() | _NUMBERS | _TEXTS | _BYTES | {A.ALLOWED_MECHANISMS}
_TEMPLATES = (A.WRAP_TEMPLATE, A.UNWRAP_TEMPLATE)
_WITH_PUBLIC_VALUE = frozenset({ObjectClass.CERTIFICATE, ObjectClass.DATA})


def dump(token: Token, label: str = "") -> list[dict[str, Any]]:
    """Return every object of the service, or those of a label, as attributes by PKCS#11 name
    (``label``), sorted.

    Byte strings are hex, those above 32 bytes ``sha256:`` and hex; enumerations are names, the
    names of mechanisms those of PKCS#11 without ``CKM_``. Empty attributes are left out.
    """
    wanted = (item for item in token.objects() if label in {"", str(item.label)})
    return sorted((_object(token, item) for item in wanted), key=_order)


def _order(shown: dict[str, Any]) -> tuple[str, str, bytes]:
    return shown["label"], shown["class"], canonical(shown)


def _object(token: Token, item: Found) -> dict[str, Any]:
    session, handle = token.session.handle, item.handle.handle
    asked = _ASKED | ({A.VALUE} if item.object_class in _WITH_PUBLIC_VALUE else set())
    raw = {key: token.cryptoki.read(session, handle, key) for key in asked}
    shown = _shown({key: value for key, value in raw.items() if value})
    for key in _TEMPLATES:
        inner = token.cryptoki.read_template(session, handle, key)
        if inner:
            named = {Attribute(name): value for name, value in inner.items()}
            shown[_name(key)] = _shown(named)
    if shown.get("label") != str(item.label):
        raise IntegrityFailure(f"the token does not describe {item.label}")
    return dict(sorted(shown.items()))


def _shown(raw: Mapping[Attribute, bytes]) -> dict[str, Any]:
    return {name: _decoder(key)(raw[key]) for name, key in sorted((_name(key), key) for key in raw)}


def _name(key: Attribute) -> str:
    return key.name.lower()


def _decoder(key: Attribute) -> Callable[[bytes], Any]:
    if key in BOOLEANS:
        return lambda value: value != b"\0"
    if key in _ENUMS:
        return lambda value: _enum(_ENUMS[key], _NUMBER.unpack(value)[0])
    if key in _NUMBERS:
        return lambda value: _NUMBER.unpack(value)[0]
    if key in _TEXTS:
        return bytes.decode
    if key is A.ALLOWED_MECHANISMS:
        return lambda value: sorted(_enum(Mechanism, n) for (n,) in _NUMBER.iter_unpack(value))
    return _bytes


def _enum(kind: type[IntEnum], number: int) -> str:
    if number == UNAVAILABLE:
        return "unavailable"
    try:
        return kind(number).name
    except ValueError:
        return f"0x{number:x}"


def _bytes(value: bytes) -> str:
    if len(value) <= _LONGEST:
        return value.hex()
    return f"sha256:{hashlib.sha256(value).hexdigest()}"
