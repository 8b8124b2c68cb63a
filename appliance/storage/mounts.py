"""Where open disks are mounted: directly below one folder, always nosuid, nodev, noexec, ext4 only.

What is mounted is read from the kernel's table, never remembered.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from appliance.run import Limits, ProgramFailed, Programs
from kms.domain.ids import parse_mount_name
from kms.errors import ConclaveError, ConfigurationError

_BUSY = 32
"""umount(8): the only code for a failed unmount."""
_OTHERS_WRITE = 0o022
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SYNC = Limits(seconds=2.0)
_MOUNT = Limits(seconds=60.0)
"""ext4 may have a journal to replay."""
_ESCAPE = re.compile(r"\\([0-7]{3})")
_TABLE = Path("/proc/self/mountinfo")
_SHOWN = 5


class DiskBusy(ConclaveError):  # noqa: N818 -- named as in kms/errors.py
    """Somebody still uses what lies on the disk."""

    code = "disk_busy"


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system; ``number`` is its device's, as ``major:minor``."""

    number: str
    source: str
    point: Path
    kind: str
    options: frozenset[str]


class Mounts:
    """Mounts below ``root``, which root alone may write to."""

    def __init__(self, programs: Programs, root: Path, mapper: Path = Path("/dev/mapper")) -> None:
        self._programs, self._root, self._mapper = programs, root, mapper

    def below(self, root: Path) -> "Mounts":
        """Return the same below another folder."""
        return Mounts(self._programs, root, self._mapper)

    def mount(self, mapping: str, name: str, *, read_only: bool = False) -> Path:
        """Mount an open disk and return where. Nothing is done if it is mounted there already.

        Raise InvalidInput for a name that is a path, ConfigurationError if the folder is not
        ours alone, DiskBusy if another disk is mounted there.
        """
        point = self._point(name)
        there = self.at(point)
        if there is not None:
            if there not in self.of(mapping):
                raise DiskBusy(f"another disk is mounted at {point}")
            return point
        options = ("nosuid", "nodev", "noexec", *(("ro",) if read_only else ()))
        words = ("-i", "-t", "ext4", "-o", ",".join(options), "--source", self._mapper / mapping)
        self._programs.run(("mount", *words, "--target", point), limits=_MOUNT)
        return point

    def unmount(self, mapping: str) -> None:
        """Unmount an open disk, wherever it is mounted; raise DiskBusy while it is used."""
        for one in self.of(mapping):
            try:
                self._programs.run(("umount", "-i", one.point), limits=_MOUNT)
            except ProgramFailed as error:
                if error.status != _BUSY:
                    raise
                held = ", ".join(holders(one.point)[:_SHOWN]) or "by somebody"
                raise DiskBusy(
                    f"what is mounted at {one.point} is in use: {held}",
                    hint="end what uses it, and order the disk to be locked again",
                ) from error

    def detach(self, mapping: str) -> None:
        """Write out what can be within two seconds, then take the disk out of sight at once; who
        has a file of it open keeps that file until the disk is suspended or closed.
        """
        for one in self.of(mapping):
            with suppress(ProgramFailed):
                self._programs.run(("sync", "-f", one.point), limits=_SYNC)
            self._programs.run(("umount", "-i", "-l", one.point))

    def at(self, point: Path) -> Mount | None:
        """Return what is mounted at a place, the uppermost if several are."""
        found = [one for one in _mounted() if one.point == point]
        return found[-1] if found else None

    def of(self, mapping: str) -> tuple[Mount, ...]:
        """Return where an open disk is mounted, the uppermost first."""
        try:
            device = (self._mapper / mapping).stat().st_rdev
        except FileNotFoundError:
            return ()
        number = f"{os.major(device)}:{os.minor(device)}"
        return tuple(one for one in reversed(tuple(_mounted())) if one.number == number)

    def _point(self, name: str) -> Path:
        """Return the mount point of a name, made if it is not there."""
        parse_mount_name(name)
        try:
            root = os.open(self._root, _FOLDER)
        except OSError as error:
            raise ConfigurationError(f"{self._root} is no folder to mount below") from error
        try:
            _check_own(root, self._root)
            with suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=root)
            try:
                os.close(os.open(name, _FOLDER, dir_fd=root))
            except OSError as error:
                raise ConfigurationError(f"{self._root / name} is no folder") from error
        finally:
            os.close(root)
        return self._root / name


def mounted_numbers() -> frozenset[str]:
    """Return the numbers (``major:minor``) of all devices that something is mounted from."""
    return frozenset(one.number for one in _mounted())


def holders(point: Path, proc: Path = Path("/proc")) -> tuple[str, ...]:
    """Return which processes have something below a place open, as ``name (pid)``."""
    found = []
    for process in proc.glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile, or not ours to look into
            links = [process / "cwd", process / "root", *(process / "fd").iterdir()]
            if any(_is_below(link, point) for link in links):
                found.append(f"{_name(process)} ({process.name})")
    return tuple(sorted(found))


def _name(process: Path) -> str:
    """Return what a process calls itself, which may be any bytes, fit to be shown."""
    said = (process / "comm").read_text("utf-8", "replace").strip()
    return "".join(char if char.isprintable() else "?" for char in said)


def _is_below(link: Path, point: Path) -> bool:
    try:
        return Path(os.readlink(link)).is_relative_to(point)  # noqa: PTH115 -- not to be resolved
    except OSError:
        return False


def check_own(place: Path) -> None:
    """Raise ConfigurationError unless a folder is there into which nobody else puts anything."""
    try:
        descriptor = os.open(place, _FOLDER)
    except OSError as error:
        raise ConfigurationError(f"{place} is no folder") from error
    try:
        _check_own(descriptor, place)
    finally:
        os.close(descriptor)


def _check_own(descriptor: int, place: Path) -> None:
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid() or found.st_mode & _OTHERS_WRITE:
        raise ConfigurationError(
            f"others may write to {place}", hint="chown it to root and chmod it to 0755"
        )


def _mounted(table: Path = _TABLE) -> Iterator[Mount]:
    for line in table.read_text(errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, source, *_) = before.split(" "), after.split(" ")
        options = frozenset(fields[5].split(","))
        yield Mount(fields[2], _plain(source), Path(_plain(fields[4])), kind, options)


def _plain(text: str) -> str:
    """Return a field of the kernel's table without its escapes (proc_pid_mountinfo(5))."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), text)
