"""Initialises an empty token, and erases one: C_InitToken, C_InitPIN and C_SetPIN (PKCS#11 2.40,
sections 5.5 and 5.6).

python-pkcs11 has no C_InitToken, and softhsm2-util would take the PINs on its command line. Runs
in a process of its own (isolated.py). Initialising refuses a label that is in use and takes no
token that was initialised before.
"""

import ctypes
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from kms.errors import AlreadyExists, HsmUnavailable, PinError
from kms.hardening import harden
from kms.hsm.cryptoki import (
    CLOSE_ALL_SESSIONS,
    FINALIZE,
    GET_SLOT_LIST,
    GET_TOKEN_INFO,
    INIT_PIN,
    INIT_TOKEN,
    INITIALIZE,
    LOGIN,
    OPEN_SESSION,
    SET_PIN,
    Cryptoki,
    check,
)
from kms.hsm.profile import Profile

ERASED = "erased-"
_ERASED_BYTES, _ERASED_PIN_BYTES = 8, 16

_ULONG = ctypes.c_ulong
_POINTER = ctypes.c_void_p
_PIN = ctypes.c_char_p
_LABEL_BYTES = 32
_TOKEN_INITIALIZED = 0x400
_RW_SERIAL_SESSION = 0x2 | 0x4
_CKU_SO = 0


class _TokenInfo(ctypes.Structure):
    _fields_ = (
        ("label", ctypes.c_char * _LABEL_BYTES),
        ("maker_model_serial", ctypes.c_char * 64),
        ("flags", _ULONG),
        ("counts", _ULONG * 10),
        ("versions_time", ctypes.c_char * 20),
    )


def init_token(profile: Profile, label: str, so_pin: str, user_pin: str) -> None:
    """Initialise the first empty token and set both PINs.

    Raise AlreadyExists if a token has the label, PinError for a PIN of wrong length,
    HsmUnavailable if there is no empty token or the module refuses.
    """
    check_pin(profile, so_pin)
    check_pin(profile, user_pin)
    with _loaded(profile) as module:
        slots = {slot: _info(module, slot) for slot in _slots(module)}
        if label in (_label(info) for info in slots.values()):
            raise AlreadyExists(f"a token labelled {label} is there")
        empty = [slot for slot, info in slots.items() if not info.flags & _TOKEN_INITIALIZED]
        if not empty:
            raise HsmUnavailable(
                "the HSM has no empty token or partition left",
                hint=f"its administrator empties one; those labelled {ERASED}* hold nothing",
            )
        _init(module, empty[0], label, so_pin.encode())
        _set_user_pin(module, _slot_of(module, label), so_pin.encode(), user_pin.encode())


def erase_token(profile: Profile, label: str, so_pin: str) -> None:
    """Initialise a token that is there: its objects and its user's PIN are gone, its label becomes
    ``erased-`` and 16 hex digits, its SO PIN is random and forgotten.

    Only the HSM's administrator can empty it for another use (SoftHSM: ``softhsm2-util
    --delete-token``). Raise PinError, HsmUnavailable.
    """
    erased = ERASED + secrets.token_hex(_ERASED_BYTES)
    forgotten = secrets.token_hex(_ERASED_PIN_BYTES)[: profile.pin.max_length]
    with _loaded(profile) as module:
        _init(module, _slot_of(module, label), erased, so_pin.encode())
        _set_so_pin(module, _slot_of(module, erased), so_pin.encode(), forgotten.encode())


def check_pin(profile: Profile, pin: str) -> None:
    """Raise PinError unless a PIN has a length that the HSM takes."""
    if not profile.pin.min_length <= len(pin) <= profile.pin.max_length:
        raise PinError("a PIN has not the length that this HSM takes")


@contextmanager
def _loaded(profile: Profile) -> Iterator[Cryptoki]:
    """Load the module; a started process does not inherit what keeps its parent's memory to itself,
    and this one has PINs.
    """
    harden()
    module = Cryptoki(profile.module)
    check("C_Initialize", module.function(INITIALIZE, _POINTER)(None))
    try:
        yield module
    finally:
        module.function(FINALIZE, _POINTER)(None)


def _init(module: Cryptoki, slot: int, label: str, so_pin: bytes) -> None:
    """Initialise a slot; one that was before needs the SO PIN that it has."""
    padded = label.encode().ljust(_LABEL_BYTES)
    call = module.function(INIT_TOKEN, _ULONG, _PIN, _ULONG, ctypes.c_char_p)
    check("C_InitToken", call(slot, so_pin, len(so_pin), padded))


def _set_user_pin(module: Cryptoki, slot: int, so_pin: bytes, user_pin: bytes) -> None:
    with _officer(module, slot, so_pin) as session:
        init_pin = module.function(INIT_PIN, _ULONG, _PIN, _ULONG)
        check("C_InitPIN", init_pin(session, user_pin, len(user_pin)))


def _set_so_pin(module: Cryptoki, slot: int, so_pin: bytes, new: bytes) -> None:
    with _officer(module, slot, so_pin) as session:
        set_pin = module.function(SET_PIN, _ULONG, _PIN, _ULONG, _PIN, _ULONG)
        check("C_SetPIN", set_pin(session, so_pin, len(so_pin), new, len(new)))


@contextmanager
def _officer(module: Cryptoki, slot: int, so_pin: bytes) -> Iterator[int]:
    session = _ULONG()
    opening = module.function(OPEN_SESSION, _ULONG, _ULONG, _POINTER, _POINTER, _POINTER)
    opened = opening(slot, _RW_SERIAL_SESSION, None, None, ctypes.byref(session))
    check("C_OpenSession", opened)
    try:
        login = module.function(LOGIN, _ULONG, _ULONG, _PIN, _ULONG)
        check("C_Login", login(session, _CKU_SO, so_pin, len(so_pin)))
        yield session.value
    finally:
        module.function(CLOSE_ALL_SESSIONS, _ULONG)(slot)


def _slot_of(module: Cryptoki, label: str) -> int:
    """Look again: some modules give a token another slot once it has a name."""
    for slot in _slots(module):
        if _label(_info(module, slot)) == label:
            return slot
    raise HsmUnavailable(f"there is no token {label}")


def _slots(module: Cryptoki) -> list[int]:
    count = _ULONG()
    call = module.function(GET_SLOT_LIST, ctypes.c_ubyte, _POINTER, _POINTER)
    check("C_GetSlotList", call(1, None, ctypes.byref(count)))
    slots = (_ULONG * count.value)()
    check("C_GetSlotList", call(1, ctypes.byref(slots), ctypes.byref(count)))
    return list(slots[: count.value])


def _info(module: Cryptoki, slot: int) -> _TokenInfo:
    info = _TokenInfo()
    call = module.function(GET_TOKEN_INFO, _ULONG, _POINTER)
    check("C_GetTokenInfo", call(slot, ctypes.byref(info)))
    return info


def _label(info: _TokenInfo) -> str:
    if not info.flags & _TOKEN_INITIALIZED:
        return ""
    label: bytes = info.label
    return label.decode("utf-8", "replace").rstrip()
