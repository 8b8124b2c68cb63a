"""ext4: made on an opened disk, checked, and shrunk to make room for a header in front of it."""

import os
from pathlib import Path

from appliance.run import Limits, ProgramFailed, Programs
from appliance.storage.device import size_of
from appliance.storage.luks import REDUCTION
from kms.errors import InvalidInput, StateNotAllowed

_LONG = Limits(seconds=None, memory=4 << 30)
_CORRECTED = frozenset({0, 1})
"""e2fsck(8), exit codes: clean, or errors corrected."""
_BLOCK = 4096
"""As large as the largest sector of an encrypted disk."""
_SUPERBLOCK, _MAGIC = slice(1080, 1082), b"\x53\xef"
_LUKS, _GPT = b"LUKS\xba\xbe", b"EFI PART"
_BOOT, _BOOT_MAGIC = slice(510, 512), b"\x55\xaa"
HEAD_BYTES = 8192
_LABEL, _UNFINISHED = slice(1144, 1160), b"conclave-copying"


class FileSystems:
    """Runs e2fsprogs. Every method raises ProgramFailed where they refuse."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs

    def make(self, target: Path, *, unfinished: bool = False) -> None:
        """Make an ext4 file system; whatever lay there is lost. ``unfinished``: it says so itself
        until ``finish``.
        """
        words = ("-q", "-F", "-t", "ext4", "-b", str(_BLOCK), "-m", "0", "-E", "nodiscard")
        label = ("-L", _UNFINISHED.decode()) if unfinished else ()
        self._programs.run(("mke2fs", *words, *label, target), limits=_LONG)

    def finish(self, target: Path) -> None:
        """Have a file system, which is not mounted, no longer say that it is unfinished."""
        self._programs.run(("tune2fs", "-L", "", target))

    def check(self, target: Path) -> None:
        """Check a file system that is not mounted, and correct what is safe to correct."""
        self._programs.run(("e2fsck", "-f", "-p", target), limits=_LONG, ok=_CORRECTED)

    def shrink(self, target: Path) -> None:
        """Free the last REDUCTION bytes of a device, or more; nothing is done if they are free.

        Raise StateNotAllowed if its files need that room, InvalidInput if there is no ext4.
        """
        if not has_ext4(target):
            raise InvalidInput("there is no ext4 file system to encrypt in place")
        size = size_of(target)
        self.check(target)
        try:
            self._programs.run(
                ("resize2fs", target, f"{(size - REDUCTION) // 1024}K"), limits=_LONG
            )
        except ProgramFailed as error:
            raise StateNotAllowed(
                "the file system is too full to be encrypted in place",
                hint=f"free at least {REDUCTION >> 20} MiB, or format another disk and copy",
            ) from error
        finally:
            if target.is_file():  # an image file is cut off at the file system's new end
                os.truncate(target, size)

    def grow(self, target: Path) -> None:
        """Let a file system fill its device again."""
        self.check(target)
        self._programs.run(("resize2fs", target), limits=_LONG)


def content_of(head: bytes) -> str:
    """Return what a device that begins so says of itself, in udev's words (ID_FS_TYPE, else
    ID_PART_TABLE_TYPE); empty: nothing that is known here. HEAD_BYTES suffice.
    """
    if head.startswith(_LUKS):
        return "crypto_LUKS"
    if head[_SUPERBLOCK] == _MAGIC:
        return "ext4"
    if any(head.startswith(_GPT, sector) for sector in (512, 4096)):
        return "gpt"
    return "dos" if head[_BOOT] == _BOOT_MAGIC else ""


def has_ext4(target: Path) -> bool:
    """Whether the superblock of an ext file system is where it belongs; raise OSError."""
    return _head(target)[_SUPERBLOCK] == _MAGIC


def is_finished(target: Path) -> bool:
    """Whether there is an ext file system that does not say it is unfinished; raise OSError."""
    head = _head(target)
    return head[_SUPERBLOCK] == _MAGIC and head[_LABEL] != _UNFINISHED


def _head(target: Path) -> bytes:
    descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return os.pread(descriptor, _LABEL.stop, 0)
    finally:
        os.close(descriptor)
