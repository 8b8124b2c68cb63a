"""The PKCS#11 calls of the hot path, one call each, on an open session.

python-pkcs11 asks for a length before each result (SoftHSM then wraps twice) and reads ten
attributes after each creation; on a network HSM every one is a round trip. Here the sizes are
known. Templates were type-checked and packed before (attributes.py). PKCS#11 2.40, section 5.
"""

import ctypes
from typing import Any

from pkcs11 import MGF, Attribute, Mechanism, exceptions
from pkcs11.exceptions import PKCS11Error

from kms.hsm.attributes import Template
from kms.hsm.cryptoki import GET_ATTRIBUTE_VALUE, CkAttribute, Cryptoki
from kms.hsm.profile import OaepHash

_ULONG = ctypes.c_ulong
_POINTER = ctypes.c_void_p
_REFERENCE = ctypes.POINTER(_ULONG)

# Places in CK_FUNCTION_LIST (section 3.6) after the version.
_CREATE_OBJECT, _DESTROY_OBJECT = 20, 22
_SIGN_INIT, _SIGN, _GENERATE_KEY, _WRAP_KEY, _UNWRAP_KEY = 42, 43, 58, 60, 61

_DATA_SPECIFIED = 1
_OAEP_HASHES = {
    OaepHash.SHA1: (Mechanism.SHA_1, MGF.SHA1),
    OaepHash.SHA256: (Mechanism.SHA256, MGF.SHA256),
}
_RESULT_BYTES = {Mechanism.AES_CMAC: 16, Mechanism.SHA256_HMAC: 32, Mechanism.ECDSA: 64}

_ERRORS: dict[int, type[PKCS11Error]] = {
    0x02: exceptions.HostMemory,
    0x05: exceptions.GeneralError,
    0x06: exceptions.FunctionFailed,
    0x30: exceptions.DeviceError,
    0x31: exceptions.DeviceMemory,
    0x32: exceptions.DeviceRemoved,
    0x60: exceptions.KeyHandleInvalid,
    0x69: exceptions.KeyNotWrappable,
    0x82: exceptions.ObjectHandleInvalid,
    0x90: exceptions.OperationActive,
    0xB0: exceptions.SessionClosed,
    0xB1: exceptions.SessionCount,
    0xB3: exceptions.SessionHandleInvalid,
    0xE0: exceptions.TokenNotPresent,
    0xE1: exceptions.TokenNotRecognised,
    0x101: exceptions.UserNotLoggedIn,
    0x113: exceptions.WrappingKeyHandleInvalid,
}
"""The CK_RVs that a profile may have a rule for; all others are a plain PKCS11Error."""


class _CkMechanism(ctypes.Structure):
    _fields_ = (("mechanism", _ULONG), ("pParameter", _POINTER), ("ulParameterLen", _ULONG))


class _CkOaepParams(ctypes.Structure):
    _fields_ = (
        ("hashAlg", _ULONG),
        ("mgf", _ULONG),
        ("source", _ULONG),
        ("pSourceData", _POINTER),
        ("ulSourceDataLen", _ULONG),
    )


class PackedTemplate:
    """A template as an array of CK_ATTRIBUTE, made once and used for many calls."""

    __slots__ = ("_buffers", "count", "rows")

    def __init__(self, template: Template) -> None:
        packed = template.packed
        self.count = len(packed)
        self.rows = (CkAttribute * self.count)()
        self._buffers = [ctypes.create_string_buffer(v, len(v)) for v in packed.values()]
        for row, key, buffer in zip(self.rows, packed, self._buffers, strict=True):
            row.type, row.ulValueLen = int(key), len(buffer)
            row.pValue = ctypes.cast(buffer, _POINTER)


class DirectCalls:
    """Calls on one session; objects are raw handles. Every failure raises PKCS11Error, after
    which the session is to be dropped.
    """

    def __init__(self, cryptoki: Cryptoki, session: int, oaep: OaepHash) -> None:
        self._session = session
        template = (_POINTER, _ULONG)
        self._create = cryptoki.function(_CREATE_OBJECT, _ULONG, *template, _REFERENCE)
        self._destroy = cryptoki.function(_DESTROY_OBJECT, _ULONG, _ULONG)
        self._attributes = cryptoki.function(GET_ATTRIBUTE_VALUE, _ULONG, _ULONG, *template)
        self._sign_init = cryptoki.function(_SIGN_INIT, _ULONG, _POINTER, _ULONG)
        self._sign = cryptoki.function(_SIGN, _ULONG, ctypes.c_char_p, _ULONG, _POINTER, _REFERENCE)
        self._generate = cryptoki.function(_GENERATE_KEY, _ULONG, _POINTER, *template, _REFERENCE)
        self._wrap = cryptoki.function(
            _WRAP_KEY, _ULONG, _POINTER, _ULONG, _ULONG, _POINTER, _REFERENCE
        )
        self._unwrap = cryptoki.function(
            _UNWRAP_KEY,
            *(_ULONG, _POINTER, _ULONG, ctypes.c_char_p, _ULONG, *template, _REFERENCE),
        )
        self._oaep_params = _CkOaepParams(*_OAEP_HASHES[oaep], _DATA_SPECIFIED, None, 0)
        self._oaep = _mechanism(Mechanism.RSA_PKCS_OAEP, self._oaep_params)
        self._aes_key_gen = _mechanism(Mechanism.AES_KEY_GEN)
        self._signing = {mechanism: _mechanism(mechanism) for mechanism in _RESULT_BYTES}

    def generate_aes(self, template: PackedTemplate) -> int:
        """Generate an AES key (C_GenerateKey) and return its handle."""
        handle = _ULONG()
        mechanism = ctypes.byref(self._aes_key_gen)
        out = ctypes.byref(handle)
        _check(self._generate(self._session, mechanism, template.rows, template.count, out))
        return handle.value

    def create(self, template: PackedTemplate) -> int:
        """Create an object (C_CreateObject) and return its handle."""
        handle = _ULONG()
        _check(self._create(self._session, template.rows, template.count, ctypes.byref(handle)))
        return handle.value

    def destroy(self, handle: int) -> None:
        """Destroy an object (C_DestroyObject)."""
        _check(self._destroy(self._session, handle))

    def wrap_oaep(self, wrapping_key: int, key: int, size: int) -> bytes:
        """Wrap ``key`` by RSA-OAEP (C_WrapKey); ``size`` is the modulus' length in bytes."""
        buffer = ctypes.create_string_buffer(size)
        length = _ULONG(size)
        mechanism, out = ctypes.byref(self._oaep), ctypes.byref(length)
        _check(self._wrap(self._session, mechanism, wrapping_key, key, buffer, out))
        return buffer.raw[: length.value]

    def unwrap_oaep(self, unwrapping_key: int, blob: bytes, template: PackedTemplate) -> int:
        """Open a blob of RSA-OAEP inside the token (C_UnwrapKey); return the key's handle."""
        handle = _ULONG()
        mechanism, out = ctypes.byref(self._oaep), ctypes.byref(handle)
        new = (template.rows, template.count, out)
        _check(self._unwrap(self._session, mechanism, unwrapping_key, blob, len(blob), *new))
        return handle.value

    def sign(self, key: int, mechanism: Mechanism, data: bytes) -> bytes:
        """Sign or MAC ``data`` in one part (C_SignInit, C_Sign): AES-CMAC (16 bytes),
        HMAC-SHA256 (32), or ECDSA on P-256 over a digest (64: r || s).
        """
        _check(self._sign_init(self._session, ctypes.byref(self._signing[mechanism]), key))
        size = _RESULT_BYTES[mechanism]
        buffer = ctypes.create_string_buffer(size)
        length = _ULONG(size)
        _check(self._sign(self._session, data, len(data), buffer, ctypes.byref(length)))
        return buffer.raw[: length.value]

    def is_trusted(self, handle: int) -> bool:
        """Whether the token still holds the object and calls it TRUSTED (C_GetAttributeValue)."""
        value = ctypes.c_ubyte()
        pointer = ctypes.cast(ctypes.byref(value), _POINTER)
        row = CkAttribute(int(Attribute.TRUSTED), pointer, 1)
        rv = self._attributes(self._session, handle, ctypes.byref(row), 1)
        return rv == 0 and value.value == 1


def _mechanism(mechanism: Mechanism, parameter: Any = None) -> _CkMechanism:
    if parameter is None:
        return _CkMechanism(int(mechanism), None, 0)
    pointer = ctypes.cast(ctypes.byref(parameter), _POINTER)
    return _CkMechanism(int(mechanism), pointer, ctypes.sizeof(parameter))


def _check(rv: int) -> None:
    if rv:
        raise _ERRORS.get(rv, PKCS11Error)(f"CK_RV 0x{rv:x}")
