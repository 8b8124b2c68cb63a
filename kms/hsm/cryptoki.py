"""The few PKCS#11 functions that python-pkcs11 lacks or does unsafely, called through ctypes.

C_InitToken and C_InitPIN do not exist there; reading an attribute that is itself a template needs
buffers inside the buffer. Structures follow PKCS#11 2.40, section 3 (native alignment, as on every
Unix). One module handle is shared with python-pkcs11: dlopen returns the same library.
"""

import ctypes
from collections.abc import Callable

from kms.errors import HsmUnavailable, PinError

_ULONG = ctypes.c_ulong
_POINTER = ctypes.c_void_p
UNAVAILABLE = _ULONG(-1).value
"""CK_UNAVAILABLE_INFORMATION."""

# Places in CK_FUNCTION_LIST (section 3.6) after the version.
INITIALIZE, FINALIZE = 0, 1
GET_SLOT_LIST, GET_TOKEN_INFO, INIT_TOKEN, INIT_PIN, SET_PIN = 4, 6, 9, 10, 11
OPEN_SESSION, CLOSE_ALL_SESSIONS, LOGIN, GET_ATTRIBUTE_VALUE = 12, 14, 18, 24
_FUNCTIONS = 68

_NOT_GIVEN = frozenset({0x11, 0x12})
"""CKR_ATTRIBUTE_SENSITIVE, CKR_ATTRIBUTE_TYPE_INVALID: the object does not give the attribute."""
_PIN_REFUSED = range(0xA0, 0xA5)
"""CKR_PIN_INCORRECT to CKR_PIN_LOCKED."""


class CkAttribute(ctypes.Structure):
    """CK_ATTRIBUTE."""

    _fields_ = (("type", _ULONG), ("pValue", _POINTER), ("ulValueLen", _ULONG))


class _FunctionList(ctypes.Structure):
    _fields_ = (("version", ctypes.c_ubyte * 2), ("functions", _POINTER * _FUNCTIONS))


class Cryptoki:
    """A loaded module's function list. Loading does not initialise it."""

    def __init__(self, module: str) -> None:
        try:
            library = ctypes.CDLL(module)
        except OSError as error:
            raise HsmUnavailable(f"cannot load the PKCS#11 module {module}") from error
        table = ctypes.POINTER(_FunctionList)()
        get = library.C_GetFunctionList
        get.restype = _ULONG
        check("C_GetFunctionList", get(ctypes.byref(table)))
        self._functions = table.contents.functions

    def function(self, place: int, *argtypes: type) -> Callable[..., int]:
        """Return one function by its place in the list; it returns a CK_RV."""
        address = self._functions[place]
        if not address:
            raise HsmUnavailable("the PKCS#11 module lacks a function that is needed")
        return ctypes.CFUNCTYPE(_ULONG, *argtypes)(address)

    def close_all_sessions(self, slot: int) -> None:
        """Close every session of this process on a slot, which also logs out; never raises."""
        self.function(CLOSE_ALL_SESSIONS, _ULONG)(slot)

    def read(self, session: int, handle: int, attribute: int) -> bytes | None:
        """Return one attribute's raw value, None where the token does not give it; raise
        HsmUnavailable.
        """
        row = CkAttribute(attribute, None, 0)
        if not self._fetch(session, handle, row):
            return None
        buffer = ctypes.create_string_buffer(row.ulValueLen)
        row.pValue = ctypes.cast(buffer, _POINTER)
        return buffer.raw[: row.ulValueLen] if self._fetch(session, handle, row) else None

    def read_template(self, session: int, handle: int, attribute: int) -> dict[int, bytes] | None:
        """Return an attribute that is a template (CKF_ARRAY_ATTRIBUTE), as raw values by type.

        Three calls (section 4.2): the array's size, its types and lengths, its values.
        """
        row = CkAttribute(attribute, None, 0)
        if not self._fetch(session, handle, row):
            return None
        count = row.ulValueLen // ctypes.sizeof(CkAttribute)
        inner = (CkAttribute * count)()
        row.pValue = ctypes.cast(inner, _POINTER)
        if not self._fetch(session, handle, row):
            return None
        buffers = [ctypes.create_string_buffer(item.ulValueLen) for item in inner]
        for item, buffer in zip(inner, buffers, strict=True):
            item.pValue = ctypes.cast(buffer, _POINTER)
        if not self._fetch(session, handle, row):
            return None
        return {item.type: buffer.raw for item, buffer in zip(inner, buffers, strict=True)}

    def _fetch(self, session: int, handle: int, row: CkAttribute) -> bool:
        get = self.function(GET_ATTRIBUTE_VALUE, _ULONG, _ULONG, _POINTER, _ULONG)
        code = get(session, handle, ctypes.byref(row), 1)
        if code in _NOT_GIVEN:
            return False
        check("C_GetAttributeValue", code)
        return bool(row.ulValueLen != UNAVAILABLE)


def check(name: str, code: int) -> None:
    """Raise HsmUnavailable or PinError, with function and CK_RV, unless the call succeeded."""
    if code in _PIN_REFUSED:
        raise PinError(f"{name} did not take the PIN (CK_RV 0x{code:x})")
    if code:
        raise HsmUnavailable(f"{name} failed with CK_RV 0x{code:x}")
