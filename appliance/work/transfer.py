"""Copies the files of a disk onto the one that replaces it, and reads all of them back."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from appliance.run import Limits, Programs
from appliance.storage.luks import mapping
from appliance.work.bench import Bench
from kms.domain.disks import Disk
from kms.domain.ids import DiskId
from kms.errors import StateNotAllowed

_LONG = Limits(seconds=None, memory=1 << 30)
_IN_USE = "lock it, or end what writes to it, unlock it again and let this be done again"


def source_of(bench: Bench, disk: Disk) -> Path | None:
    """Return where the disk that this one replaces is mounted, None if it replaces none; raise
    StateNotAllowed while it is not mounted.
    """
    if not disk.replaces:
        return None
    where = bench.mounted(DiskId(disk.replaces))
    if where is None:
        raise StateNotAllowed(
            f"the disk {disk.replaces}, whose files are to be taken over, is not mounted",
            hint="plug it in and unlock it; then order prepare for the new one",
        )
    return where


def take_over(bench: Bench, disk: Disk, source: Path) -> None:
    """Copy all files onto an open disk with a file system, which is mounted nowhere afterwards.

    Raise StateNotAllowed if what is read back differs, ProgramFailed if it does not fit.
    """
    name, place = mapping(disk.disk), f"new-{disk.disk[-12:]}"
    target = bench.mounts.mount(name, place)
    try:
        bench.told(70, "copying files")
        copy_files(bench.programs, source, target)
    finally:
        bench.mounts.unmount(name)
    target = bench.mounts.mount(name, place, read_only=True)  # what the device itself gives back
    try:
        bench.told(85, "reading the copied files back")
        check_same(source, target)
    finally:
        bench.mounts.unmount(name)
    with suppress(OSError):  # an empty folder does no harm
        target.rmdir()


def copy_files(programs: Programs, source: Path, target: Path) -> None:
    """Copy a tree with owners, times and attributes; what is there and newer is replaced too."""
    words = ("--archive", "--one-file-system", "--no-target-directory")
    programs.run(("cp", *words, "--", source, target), limits=_LONG)


def check_same(source: Path, target: Path) -> None:
    """Raise StateNotAllowed unless every file of ``source`` is in ``target``, and is the same."""
    for path in _tree(source):
        copy = target / path.relative_to(source)
        try:
            same = _facts(path) == _facts(copy)
        except OSError:
            same = False
        if not same:
            raise StateNotAllowed("a copied file differs from its original", hint=_IN_USE)


def _tree(top: Path) -> Iterator[Path]:
    device = top.lstat().st_dev
    for folder, folders, files in os.walk(top, onerror=_raise):
        place = Path(folder)
        folders[:] = [name for name in folders if (place / name).lstat().st_dev == device]
        yield from (place / name for name in (*folders, *files))


def _raise(error: OSError) -> None:
    raise StateNotAllowed("a folder cannot be read", hint=_IN_USE) from error


def _facts(path: Path) -> tuple[object, ...]:
    """Return what makes a file the same as another."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return (found.st_uid, found.st_gid, path.readlink())
    kind = (found.st_mode, found.st_uid, found.st_gid, found.st_rdev)
    if not stat.S_ISREG(found.st_mode):
        return kind
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").digest()
    return (*kind, found.st_size, found.st_mtime_ns, content)
