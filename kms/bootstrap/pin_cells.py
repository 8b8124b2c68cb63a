"""PINs in memory that can be wiped: each in a page of its own, never in a Python object.

A child process reads them and fills the pages, which it shares; so the process that keeps them has
no other copy, and wiping a page leaves nothing behind.
"""

import ctypes
import mmap
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from kms.errors import ConclaveError, PinError

_LENGTH = 2
_MOST = mmap.PAGESIZE - _LENGTH


class PinCell:
    """Keeps one PIN until it is wiped."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._page))
        # Refused under a low limit, as the rest of the process's memory then is.
        ctypes.CDLL(None).mlock(ctypes.c_void_p(address), ctypes.c_size_t(mmap.PAGESIZE))

    def __repr__(self) -> str:
        return "PinCell()"

    def fill(self, pin: str) -> None:
        """Keep a PIN; raise PinError for one that is empty or too long."""
        data = pin.encode()
        if not 0 < len(data) <= _MOST:
            raise PinError("a PIN is empty or too long")
        self._page[:_LENGTH] = len(data).to_bytes(_LENGTH)
        self._page[_LENGTH : _LENGTH + len(data)] = data

    def pour(self, descriptor: int) -> None:
        """Write the PIN to a descriptor, from the page itself; raise PinError once it is gone."""
        length = int.from_bytes(self._page[:_LENGTH])
        if not length:
            raise PinError("the PIN is not in memory any more")
        os.write(descriptor, memoryview(self._page)[_LENGTH : _LENGTH + length])

    def wipe(self) -> None:
        """Overwrite the PIN."""
        self._page[:] = bytes(mmap.PAGESIZE)


def take_pins(tokens: Sequence[str], read: Callable[[], Mapping[str, str]]) -> dict[str, PinCell]:
    """Return cells with the PINs of these tokens, which ``read`` returns in another process.

    Raise PinError, or what ``read`` refused.
    """
    cells = {token: PinCell() for token in tokens}
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        _fill(cells, read, theirs)
    os.close(theirs)
    with os.fdopen(ours, "rb") as answers:
        told = answers.read()
    _, status = os.waitpid(child, 0)
    if told:
        raise PinError(**msgspec.json.decode(told, type=dict[str, Any]))
    if status:
        raise PinError("the PINs could not be taken in")
    return cells


def _fill(cells: Mapping[str, PinCell], read: Callable[[], Mapping[str, str]], answer: int) -> None:
    """Do the child's work, and never return."""
    status = 1
    try:
        pins = read()
        for token, cell in cells.items():
            cell.fill(pins[token])
        status = 0
    except ConclaveError as error:
        os.write(answer, msgspec.json.encode({"message": error.message, "hint": error.hint}))
    finally:
        os._exit(status)
