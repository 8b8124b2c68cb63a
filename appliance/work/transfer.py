"""Copies the files of a disk onto the one that replaces it, and reads all of them back.

Whoever may write to the old disk chooses what lies there, also while it is copied. So the new one
is empty when copying begins, root alone reaches it meanwhile, and no symbolic link is followed.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from appliance.run import Limits, Programs
from appliance.storage.file_systems import is_finished
from appliance.storage.luks import mapping
from appliance.work.bench import Bench
from kms.domain.disks import Disk
from kms.domain.ids import DiskId
from kms.errors import StateNotAllowed

_LONG = Limits(seconds=None, memory=1 << 30)
_PRIVATE = "new"
_BLOCK = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
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
    """Make a file system on an open disk and copy all files onto it; it is mounted nowhere
    afterwards. Until all was read back the file system says that it is unfinished, and is made anew
    if this is done again; a finished one is left alone.

    Raise StateNotAllowed if what is read back differs, ProgramFailed if it does not fit.
    """
    name = mapping(disk.disk)
    node = bench.luks.node_of(name)
    bench.mounts.unmount(name)  # left by a daemon that was killed
    if is_finished(node):
        return
    bench.systems.make(node, unfinished=True)
    with _mounted(bench, disk, read_only=False) as target:
        bench.told(70, "copying files")
        copy_files(bench.programs, source, target)
    with _mounted(bench, disk, read_only=True) as target:  # what the device itself gives back
        bench.told(85, "reading the copied files back")
        check_same(source, target, bench.programs.check)
    bench.systems.finish(node)


@contextmanager
def _mounted(bench: Bench, disk: Disk, *, read_only: bool) -> Iterator[Path]:
    """Have the disk mounted where root alone gets to, whatever the modes of its own folders."""
    private, name = bench.run / _PRIVATE, mapping(disk.disk)
    private.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = bench.mounts.below(private).mount(name, f"disk-{disk.disk[-12:]}", read_only=read_only)
    try:
        yield target
    finally:
        bench.mounts.unmount(name)
        with suppress(OSError):  # an empty folder does no harm
            target.rmdir()


def copy_files(programs: Programs, source: Path, target: Path) -> None:
    """Copy a tree with owners, times and attributes into an empty folder. Nothing is written
    through what lies there: a symbolic link of a file's name is replaced, not followed.
    """
    kept = ("--archive", "--no-dereference", "--remove-destination")
    words = (*kept, "--one-file-system", "--no-target-directory")
    programs.run(("cp", *words, "--", source, target), limits=_LONG)


def check_same(source: Path, target: Path, wanted: Callable[[], None] = lambda: None) -> None:
    """Raise StateNotAllowed unless every file of ``source`` is in ``target``, and is the same;
    whatever ``wanted``, asked before each block, raises when the device is wanted for more urgent.
    """
    device = source.lstat().st_dev
    try:
        for place, folders, files, one in os.fwalk(source, onerror=_raise):
            folders[:] = [name for name in folders if _stat(name, one).st_dev == device]
            with _below(target, Path(place).relative_to(source)) as other:
                for name in (*folders, *files):
                    wanted()
                    _check_one(name, one, other, wanted)
    except OSError as error:
        _raise(error)


def _check_one(name: str, one: int, other: int, wanted: Callable[[], None]) -> None:
    try:
        same = _facts(name, one, wanted) == _facts(name, other, wanted)
    except OSError:
        same = False
    if not same:
        raise StateNotAllowed("a copied file differs from its original", hint=_IN_USE)


@contextmanager
def _below(top: Path, place: Path) -> Iterator[int]:
    """Have a folder open that is reached without following any link."""
    descriptor = os.open(top, _FOLDER)
    try:
        for part in place.parts:
            following = os.open(part, _FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = following
        yield descriptor
    finally:
        os.close(descriptor)


def _raise(error: OSError) -> None:
    raise StateNotAllowed("a folder cannot be read", hint=_IN_USE) from error


def _stat(name: str, folder: int) -> os.stat_result:
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


def _facts(name: str, folder: int, wanted: Callable[[], None]) -> tuple[object, ...]:
    """Return what makes a file the same as another."""
    found = _stat(name, folder)
    if stat.S_ISLNK(found.st_mode):
        return (found.st_uid, found.st_gid, os.readlink(name, dir_fd=folder))
    kind = (found.st_mode, found.st_uid, found.st_gid, found.st_rdev)
    if not stat.S_ISREG(found.st_mode):
        return kind
    return (*kind, found.st_size, found.st_mtime_ns, _content(name, folder, wanted))


def _content(name: str, folder: int, wanted: Callable[[], None]) -> bytes:
    """Return a digest of a regular file's content; of holes, which may be terabytes, none is
    read.
    """
    content = hashlib.sha256()
    with os.fdopen(os.open(name, _FILE, dir_fd=folder), "rb", buffering=0) as file:
        place = 0
        while (place := _next_data(file.fileno(), place)) >= 0:
            wanted()
            block = os.pread(file.fileno(), _BLOCK, place)
            if block.strip(b"\0"):  # zeros may be a hole in the copy
                content.update(place.to_bytes(8) + block)
            place += _BLOCK
    return content.digest()


def _next_data(descriptor: int, place: int) -> int:
    """Return where the block begins in which the next data lie, -1 if none do."""
    try:
        found = os.lseek(descriptor, place, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return -1
        raise
    return found - found % _BLOCK
