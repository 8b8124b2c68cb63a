"""Block devices and image files: told apart by what the kernel says, never by what lies on them.

A device is pinned while something is done to it: the open descriptor keeps the kernel from giving
its number, and so its node, to another one.
"""

import errno
import fcntl
import hashlib
import os
import re
import stat
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kms.domain.ids import parse_serial
from kms.errors import ConclaveError, InvalidInput

_BLKGETSIZE64 = 0x80081272
_BLKGETDISKSEQ = 0x80081280
_SECTOR = 512
"""The kernel's unit of sizes in sysfs, whatever the device's sectors are."""
_NODE = re.compile(r"/dev/[a-z0-9]{1,32}", re.ASCII)
_CONTENT = re.compile(r"[A-Za-z0-9_.+-]{1,32}", re.ASCII)
_NO_WORD = re.compile(r"[^\x20-\x7e]")
_MODEL_CHARACTERS = 64
_UNNAMED = "unnamed-"


class DeviceChanged(ConclaveError):  # noqa: N818 -- named as in kms/errors.py
    """The device is gone, or at its place is another one."""

    code = "device_changed"


@dataclass(frozen=True, slots=True)
class DeviceRef:
    """A device as it was when it appeared; ``size`` in bytes.

    ``identity``: of a block device its number (st_rdev) and the kernel's DISKSEQ, of which no two
    devices since boot have the same (0: a kernel without); of an image file st_dev and st_ino.
    ``sysfs``: None of an image file. ``content`` as udev says (``crypto_LUKS``, ``ext4``,
    ``gpt``, empty).
    """

    serial: str
    node: Path
    size: int
    model: str
    content: str
    identity: tuple[int, int]
    sysfs: Path | None = None

    @property
    def named(self) -> bool:
        """Whether it has a serial number that is a name; without one it is never enrolled."""
        return not self.serial.startswith(_UNNAMED)


@dataclass(frozen=True, slots=True)
class Pinned:
    """A device that is held open (for reading): it cannot become another one meanwhile."""

    ref: DeviceRef
    descriptor: int

    @property
    def path(self) -> Path:
        """What programs are given."""
        return self.ref.node

    @property
    def is_block(self) -> bool:
        """Whether it is a block device, rather than an image file."""
        return self.ref.sysfs is not None

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes of the device, fewer at its end; raise OSError."""
        return read_at(self.descriptor, offset, size)

    def check(self) -> None:
        """Raise DeviceChanged unless node and descriptor are still the device."""
        try:
            there = self.ref.node.lstat()
        except OSError as error:
            raise DeviceChanged(f"the device {self.ref.serial} is gone") from error
        held = os.fstat(self.descriptor)
        if (there.st_dev, there.st_ino, there.st_rdev) != (held.st_dev, held.st_ino, held.st_rdev):
            raise DeviceChanged(f"at the place of {self.ref.serial} is another device")
        _compare(self.ref, self.descriptor)


@contextmanager
def pin(ref: DeviceRef) -> Iterator[Pinned]:
    """Hold a device open; raise DeviceChanged unless it is the one that appeared."""
    try:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(ref.node, flags)
    except OSError as error:
        raise DeviceChanged(
            f"the device {ref.serial} cannot be opened: {error.strerror}"
        ) from error
    try:
        _compare(ref, descriptor)
        yield Pinned(ref, descriptor)
    finally:
        os.close(descriptor)


def read_at(descriptor: int, offset: int, size: int) -> bytes:
    """Return bytes from an offset, fewer at the end; raise OSError."""
    parts = []
    while size and (part := os.pread(descriptor, size, offset)):
        parts.append(part)
        offset, size = offset + len(part), size - len(part)
    return b"".join(parts)


def size_of(target: Path) -> int:
    """Return the size of a node or image file in bytes; raise OSError."""
    descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return _size(descriptor)
    finally:
        os.close(descriptor)


def write_start(target: Path, content: bytes) -> None:
    """Put content at a device's beginning, durably; raise OSError."""
    write_at(target, 0, content)


def write_at(target: Path, offset: int, content: bytes) -> None:
    """Put content onto a device, durably; raise OSError."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        written = 0
        while written < len(content):
            written += os.pwrite(descriptor, content[written:], offset + written)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def udev_device(properties: Mapping[str, str], sysfs: Path) -> DeviceRef:
    """Return the disk that a udev event tells of; raise DeviceChanged if it is gone already, and
    InvalidInput for a node that is none of a whole disk. It is not opened: that can wait long for
    a device that does not answer. It is compared again when it is pinned.
    """
    node = properties.get("DEVNAME", "")
    if not _NODE.fullmatch(node):
        raise InvalidInput("a disk's node is /dev/ and letters and digits")
    raw = properties.get("ID_SERIAL_SHORT") or properties.get("ID_SERIAL") or sysfs_serial(sysfs)
    identity, size = _kernel_says(sysfs)
    if _node_number(node) != identity[0]:
        raise DeviceChanged(f"at {node} is another device")
    return DeviceRef(
        serial=_name(raw, str(sysfs)),
        node=Path(node),
        size=size,
        model=shown(properties.get("ID_MODEL", "")),
        content=_content(properties.get("ID_FS_TYPE") or properties.get("ID_PART_TABLE_TYPE", "")),
        identity=identity,
        sysfs=sysfs,
    )


def image_device(path: Path, content: str = "") -> DeviceRef:
    """Return an image file as a device; its serial number is its name without the ending. Raise
    DeviceChanged unless it is a regular file.
    """
    try:
        found = path.lstat()
    except OSError as error:
        raise DeviceChanged("the image file is gone") from error
    if not stat.S_ISREG(found.st_mode):
        raise DeviceChanged("an image is a regular file")
    return DeviceRef(
        serial=_name(path.stem, str(path)),
        node=path.absolute(),
        size=found.st_size,
        model="image",
        content=_content(content),
        identity=(found.st_dev, found.st_ino),
    )


def sysfs_serial(sysfs: Path) -> str:
    """Return the serial number that the kernel itself knows of a disk (virtio, NVMe), or none."""
    for name in ("serial", "device/serial"):
        try:
            return (sysfs / name).read_bytes()[:256].decode("ascii", "replace").strip()
        except OSError:
            continue
    return ""


def shown(text: str) -> str:
    """Return what a device says of itself, fit to be shown."""
    return _NO_WORD.sub("?", text)[:_MODEL_CHARACTERS].strip()


def _name(raw: str, place: str) -> str:
    try:
        if not raw.startswith(_UNNAMED):
            return parse_serial(raw)
    except InvalidInput:
        pass
    digest = hashlib.sha256((raw or place).encode("utf-8", "surrogateescape")).hexdigest()
    return _UNNAMED + digest[:16]


def _content(text: str) -> str:
    return text if _CONTENT.fullmatch(text) else "unknown" if text else ""


def _compare(ref: DeviceRef, descriptor: int) -> None:
    try:
        same = _identity(descriptor) == ref.identity and _size(descriptor) == ref.size
        if ref.sysfs is not None:
            same = same and _sysfs(ref.identity[0]) == ref.sysfs.resolve()
    except OSError as error:
        raise DeviceChanged(f"the device {ref.serial} is gone") from error
    if not same:
        raise DeviceChanged(f"at the place of {ref.serial} is another device")


def _kernel_says(sysfs: Path) -> tuple[tuple[int, int], int]:
    """Return a disk's identity and size as the kernel knows them, without asking the device."""
    try:
        major, minor = (sysfs / "dev").read_text().strip().split(":")
        size = int((sysfs / "size").read_text()) * _SECTOR
        number = os.makedev(int(major), int(minor))
    except (OSError, ValueError) as error:
        raise DeviceChanged(f"the device at {sysfs} is gone") from error
    try:
        return (number, int((sysfs / "diskseq").read_text())), size
    except (OSError, ValueError):  # a kernel without
        return (number, 0), size


def _node_number(node: str) -> int:
    try:
        return Path(node).lstat().st_rdev
    except OSError as error:
        raise DeviceChanged(f"the device at {node} is gone") from error


def _sysfs(number: int) -> Path:
    return Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()


def _identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode):
        return found.st_dev, found.st_ino
    if not stat.S_ISBLK(found.st_mode):
        raise DeviceChanged("it is no block device")
    return found.st_rdev, _number(descriptor, _BLKGETDISKSEQ)


def _size(descriptor: int) -> int:
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode):
        return found.st_size
    return _number(descriptor, _BLKGETSIZE64)


def _number(descriptor: int, request: int) -> int:
    try:
        answer = fcntl.ioctl(descriptor, request, bytes(8))
    except OSError as error:
        if error.errno == errno.ENOTTY and request == _BLKGETDISKSEQ:
            return 0
        raise
    number: int = struct.unpack("=Q", answer)[0]
    return number
