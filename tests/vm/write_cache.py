"""What a disk with a volatile write cache holds after its power was cut.

QEMU logs every write of the guest (blklogwrites, in the format of Linux's dm-log-writes). Whatever
was written before the last flush is there; of what came after, some has reached the medium and some
has not, each block of 4 KiB on its own account, as a seed says: drives write their physical sectors
whole, and ext4 relies on it. A LUKS header relies on nothing, and is torn at every 512 bytes.
"""

import random
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

_SECTOR, _BLOCK = 512, 4096
_MAGIC, _VERSION = 0x6A736677736872, 1
_SUPER = struct.Struct("<QQQI")
_ENTRY = struct.Struct("<QQQQ")
_FLUSH, _DISCARD = 1, 4
_LOG_BYTES = 16 << 30
"""The log is sparse: what is not written takes no room."""
_RARELY = 1 << 40
"""The log's head counts its entries at flushes alone."""


@dataclass(frozen=True)
class _Write:
    """Bytes at a place; ``flush``: all that came before is on the medium."""

    offset: int
    data: bytes
    flush: bool = False


class WriteCache:
    """The image of a disk, and the log of what the guest has written since power came on.

    ``torn``: how many bytes at its beginning are torn at every sector.
    """

    def __init__(self, image: Path, torn: int = 0) -> None:
        self.image = image
        self._torn = torn
        self._log = image.with_suffix(".writes")
        self._medium = image.with_suffix(".medium")

    def power_on(self) -> None:
        """Remember what the medium holds, and begin an empty log."""
        shutil.copyfile(self.image, self._medium)
        with self._log.open("wb") as file:
            file.truncate(_LOG_BYTES)

    def lose_power(self, seed: int, kept: float = 0.5) -> int:
        """Make the image what the medium holds now; return how many bytes were lost. ``kept``: the
        share of what was not flushed that has reached the medium nevertheless.
        """
        chance = random.Random(seed)
        durable, pending = _parted(self._log)
        pieces = [one for write in pending for one in self._pieces(write)]
        reached = [one for one in pieces if chance.random() < kept]
        with self._medium.open("r+b") as medium:
            for write in (*durable, *reached):
                medium.seek(write.offset)
                medium.write(write.data)
        self._medium.replace(self.image)
        self._log.unlink()
        return sum(len(one.data) for one in pieces) - sum(len(one.data) for one in reached)

    def node(self, name: str) -> dict[str, Any]:
        """Return the block device for QEMU's ``blockdev-add``."""
        return {
            "driver": "blklogwrites",
            "node-name": name,
            "file": {"driver": "raw", "file": _file(self.image)},
            "log": _file(self._log),
            "log-sector-size": _SECTOR,
            "log-super-update-interval": _RARELY,
        }

    def _pieces(self, write: _Write) -> Iterator[_Write]:
        """Yield the parts of a write that are each written whole or not at all."""
        at, data = write.offset, write.data
        while data:
            size = _SECTOR if at < self._torn else _BLOCK - at % _BLOCK
            yield _Write(at, data[:size])
            at, data = at + size, data[size:]


def _file(path: Path) -> dict[str, Any]:
    """A file that QEMU need not bring to the host's own medium: the host keeps its power."""
    return {"driver": "file", "filename": str(path), "cache": {"no-flush": True}}


def _parted(log: Path) -> tuple[list[_Write], list[_Write]]:
    """Return the writes before the last flush, and those after it."""
    durable: list[_Write] = []
    pending: list[_Write] = []
    with log.open("rb") as file:
        counted = _head(file)
        for write in _entries(file):
            counted -= 1
            if write.flush:
                durable, pending = durable + pending, []
            pending.append(write)
    if counted > 0:  # a flush was logged behind an entry that was still on its way
        durable, pending = durable + pending, []
    return durable, pending


def _head(file: BinaryIO) -> int:
    """Return how many entries there were at the last flush."""
    head = file.read(_SECTOR)
    if not any(head):
        return 0
    magic, version, counted, size = _SUPER.unpack(head[: _SUPER.size])
    assert (magic, version, size) == (_MAGIC, _VERSION, _SECTOR)
    return counted


def _entries(file: BinaryIO) -> Iterator[_Write]:
    while True:
        head = file.read(_SECTOR)
        if len(head) < _SECTOR or not any(head):
            return
        sector, count, flags, _ = _ENTRY.unpack(head[: _ENTRY.size])
        data = b"" if flags & _DISCARD else file.read(count * _SECTOR)
        yield _Write(sector * _SECTOR, data, bool(flags & _FLUSH))
