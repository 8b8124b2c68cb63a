"""Templates as the module gets them: every value type-checked and packed before any call.

python-pkcs11 frees uninitialised memory when packing fails inside a call, and its defaults grant
what nobody asked for. So a Template is packed when it is made, refuses unknown attributes and
wrong types, and Mapper adds nothing of its own.
"""

import ctypes
import struct
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, TypeAlias

from pkcs11 import Attribute, CertificateType, KeyType, Mechanism, ObjectClass
from pkcs11.attributes import AttributeMapper

from kms.hsm.cryptoki import CkAttribute

A = Attribute
Value: TypeAlias = "bool | int | bytes | str | IntEnum | tuple[Mechanism, ...] | Template"

_ULONG = struct.Struct("@L")
_BOOL = {True: b"\1", False: b"\0"}

BOOLEANS = frozenset(
    {A.TOKEN, A.PRIVATE, A.MODIFIABLE, A.COPYABLE, A.DESTROYABLE, A.TRUSTED}
    | {A.SENSITIVE, A.EXTRACTABLE, A.WRAP_WITH_TRUSTED, A.ALWAYS_AUTHENTICATE}
    | {A.ENCRYPT, A.DECRYPT, A.SIGN, A.SIGN_RECOVER, A.VERIFY, A.VERIFY_RECOVER}
    | {A.WRAP, A.UNWRAP, A.DERIVE, A.LOCAL, A.ALWAYS_SENSITIVE, A.NEVER_EXTRACTABLE}
)
_BYTES = frozenset(
    {A.ID, A.MODULUS, A.PUBLIC_EXPONENT, A.EC_PARAMS, A.EC_POINT, A.VALUE}
    | {A.SUBJECT, A.ISSUER, A.SERIAL_NUMBER}
)
_TEXTS = frozenset({A.LABEL, A.APPLICATION})
_NUMBERS = frozenset({A.MODULUS_BITS, A.VALUE_LEN})
_ENUMS: dict[Attribute, type[IntEnum]] = {
    A.CLASS: ObjectClass,
    A.KEY_TYPE: KeyType,
    A.CERTIFICATE_TYPE: CertificateType,
}


class Template:
    """An immutable template: ``values`` as written, ``packed`` as PKCS#11 wants them.

    Raises TypeError for a value of the wrong type and for an attribute that is not known here.
    """

    __slots__ = ("_buffers", "packed", "values")

    def __init__(self, values: Mapping[Attribute, Value]) -> None:
        self.values = dict(values)
        self._buffers: list[Any] = []
        self.packed = {key: self._pack(key, value) for key, value in self.values.items()}

    def __or__(self, other: Mapping[Attribute, Value]) -> "Template":
        return Template({**self.values, **other})

    def __repr__(self) -> str:
        return f"Template({', '.join(key.name for key in self.values)})"

    def _pack(self, key: Attribute, value: Value) -> bytes:
        if key is A.UNWRAP_TEMPLATE and isinstance(value, Template):
            return self._pack_nested(value)
        packed = _pack_plain(key, value)
        if packed is None:
            raise TypeError(f"{key!r} does not take a {type(value).__name__}")
        return packed

    def _pack_nested(self, inner: "Template") -> bytes:
        """Pack an array of CK_ATTRIBUTE; what it points to lives as long as this template."""
        rows = (CkAttribute * len(inner.packed))()
        for row, (key, packed) in zip(rows, inner.packed.items(), strict=True):
            buffer = ctypes.create_string_buffer(packed, len(packed))
            self._buffers.append(buffer)
            row.type, row.ulValueLen = int(key), len(packed)
            row.pValue = ctypes.cast(buffer, ctypes.c_void_p)
        self._buffers.append(inner)
        return bytes(rows)


def _pack_plain(key: Attribute, value: Value) -> bytes | None:
    packed: bytes | None = None
    if type(value) is bool and key in BOOLEANS:
        packed = _BOOL[value]
    elif type(value) is bytes and key in _BYTES:
        packed = value
    elif type(value) is str and key in _TEXTS:
        packed = value.encode()
    elif type(value) is int and key in _NUMBERS and value > 0:
        packed = _ULONG.pack(value)
    elif isinstance(value, IntEnum) and type(value) is _ENUMS.get(key):
        packed = _ULONG.pack(int(value))
    elif isinstance(value, tuple) and key is A.ALLOWED_MECHANISMS and value:
        packed = _pack_mechanisms(value)
    return packed


def _pack_mechanisms(value: tuple[Mechanism, ...]) -> bytes | None:
    if any(type(item) is not Mechanism for item in value):
        return None
    return b"".join(_ULONG.pack(int(item)) for item in value)


class Mapper(AttributeMapper):
    """Hands packed values through and adds no capabilities: a template says everything."""

    def pack_attribute(self, key: Attribute, value: Any) -> bytes:
        """Return a packed value as it is; pack the few plain ones that python-pkcs11 adds."""
        return value if type(value) is bytes else super().pack_attribute(key, value)

    @staticmethod
    def _nothing(*_: Any, **__: Any) -> dict[Attribute, Any]:
        return {}

    public_key_template: Callable[..., dict[Attribute, Any]] = _nothing
    private_key_template: Callable[..., dict[Attribute, Any]] = _nothing
    secret_key_template: Callable[..., dict[Attribute, Any]] = _nothing
    generic_key_template: Callable[..., dict[Attribute, Any]] = _nothing
