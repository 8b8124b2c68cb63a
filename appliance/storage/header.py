"""LUKS2 headers (on-disk format 1.1) read without cryptsetup: both binary copies and their JSON.

Reads what lies in the first 4 MiB of a device, which may be anything. Whether a header may be
used is decided in header_policy.
"""

import hashlib
import hmac
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.storage.device import read_at
from appliance.storage.metadata import HeaderRefused, Metadata, read_metadata
from kms.statements.canonical import digest

REGION_BYTES = 4 << 20
"""Headers and key slots; data begin behind them."""
COPY_BYTES = 64 << 10
"""One binary header with its JSON; the second copy follows the first."""
_COPIES = 2
_BINARY = struct.Struct(">6sHQQ48s32s64s40s48sQ")
_BINARY_BYTES = 4096
_CHECKSUM = slice(448, 512)
_FIRST, _SECOND = b"LUKS\xba\xbe", b"SKUL\xba\xbe"
_SECOND_PLACES = tuple(0x4000 << shift for shift in range(8))
"""Where cryptsetup looks for the second copy while the first is damaged; ours is at COPY_BYTES."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One intact copy of a header; the larger ``sequence`` is the newer one."""

    uuid: str
    label: str
    subsystem: str
    sequence: int
    text: bytes
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class Header:
    """A header region: its intact copies, at least one, and its SHA-256 in base64url."""

    copies: tuple[Copy, ...]
    digest: str

    @property
    def agree(self) -> bool:
        """Whether both copies are intact and say the same."""
        return len(self.copies) == _COPIES and self.copies[0] == self.copies[1]

    @property
    def metadata(self) -> Metadata:
        """What cryptsetup goes by: the newer copy, the first of two that are equally new."""
        return max(self.copies, key=lambda copy: copy.sequence).metadata

    @property
    def slots(self) -> set[int]:
        """Numbers of the slots that a passphrase opens."""
        found = self.metadata.keyslots.items()
        return {int(number) for number, slot in found if slot.type == "luks2"}

    @property
    def bound_slots(self) -> set[int]:
        """Numbers of the slots that hold the volume key of the first segment."""
        digests = self.metadata.digests.values()
        bound = {int(number) for one in digests if "0" in one.segments for number in one.keyslots}
        return self.slots & bound

    @property
    def reencrypts(self) -> bool:
        """Whether it says that a reencryption goes on."""
        return bool(self.metadata.config.requirements.mandatory)


def parse_region(region: bytes) -> Header:
    """Return the header in a header region (REGION_BYTES); raise HeaderRefused."""
    if len(region) != REGION_BYTES:
        raise HeaderRefused("size", "the device is smaller than a header")
    copies = [copy for place in (0, COPY_BYTES) if (copy := _copy(region, place)) is not None]
    if not copies:
        raise HeaderRefused("checksum", "no copy of the header is intact")
    others = [place for place in _SECOND_PLACES if place != COPY_BYTES]
    if any(region.startswith(_SECOND, place) for place in others):
        raise HeaderRefused("copies", "there are more copies of the header than two")
    return Header(tuple(copies), region_digest(region))


def header_of(target: Path) -> Header:
    """Return the header on a node, an image file or a copy; raise HeaderRefused, OSError."""
    return parse_region(region_of(target))


def region_of(target: Path) -> bytes:
    """Return the header region on a node, an image file or a copy; raise OSError."""
    descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return read_region(descriptor)
    finally:
        os.close(descriptor)


def claims_luks(region: bytes) -> bool:
    """Whether something on the device says that it is LUKS, true or not."""
    return region.startswith(_FIRST) or any(
        region.startswith(_SECOND, place) for place in _SECOND_PLACES
    )


def claimed_uuid(region: bytes) -> str:
    """Return the UUID that a header claims, unchecked, for people to be told; or none."""
    if not region.startswith(_FIRST) or len(region) < _BINARY_BYTES:
        return ""
    text = _BINARY.unpack_from(region)[7].partition(b"\0")[0]
    return "".join(chr(byte) for byte in text if chr(byte) in "0123456789abcdef-")


def region_digest(region: bytes) -> str:
    """Return the SHA-256 (base64url) by which a header region is registered."""
    return digest(region)


def read_region(descriptor: int) -> bytes:
    """Return a device's header region, shorter if the device is; raise OSError."""
    return read_at(descriptor, 0, REGION_BYTES)


@contextmanager
def copied(region: bytes, folder: Path) -> Iterator[Path]:
    """Have a header region as a file, for cryptsetup to use instead of the device's own: what was
    checked. ``folder`` is the daemon's own, in memory; raise OSError.
    """
    path = folder / f"{os.urandom(16).hex()}.header"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(region)
        yield path
    finally:
        path.unlink(missing_ok=True)


def _copy(region: bytes, place: int) -> Copy | None:
    """Return the copy at a place, None if it is damaged; raise HeaderRefused for one that is
    intact, but none that is written here.
    """
    magic, version, size, sequence, label, algorithm, _, uuid, subsystem, offset = (
        _BINARY.unpack_from(region, place)
    )
    if magic != (_SECOND if place else _FIRST):
        return None
    if (version, size, offset, _text(algorithm)) != (2, COPY_BYTES, place, "sha256"):
        raise HeaderRefused("binary", "the header has another version, size, place or checksum")
    whole = bytearray(region[place : place + COPY_BYTES])
    said = bytes(whole[_CHECKSUM])
    whole[_CHECKSUM] = bytes(64)
    if not hmac.compare_digest(said, hashlib.sha256(whole).digest().ljust(64, b"\0")):
        return None
    text = bytes(whole[_BINARY_BYTES:])
    return Copy(_text(uuid), _text(label), _text(subsystem), sequence, text, read_metadata(text))


def _text(field: bytes) -> str:
    """Return a NUL-filled text; raise HeaderRefused if anything hides behind it."""
    text, _, rest = field.partition(b"\0")
    if rest.strip(b"\0") or not text.isascii():
        raise HeaderRefused("binary", "something is hidden in the header")
    return text.decode("ascii")
