"""Marker files of the emergency seal: ``sealed/spaces/<space>`` and ``sealed/site``.

They lie in the state directory, so a reboot leaves them. Where that cannot be written, one in the
run directory tells the supervisor until it can. A marker that cannot be read seals all the same.
"""

import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import msgspec

from kms.ceremonies.record.durable import sync_folder, write_new
from kms.domain.ids import parse_space
from kms.domain.text import visible
from kms.errors import AlreadyExists, InvalidInput, StoreUnavailable
from kms.settings import Paths
from kms.statements.canonical import canonical
from kms.statements.sealing import BOX, SITE, SPACES, Mark, marker


class SealMarks:
    """``Marks`` over the directories of a configuration."""

    def __init__(self, paths: Paths) -> None:
        self._state, self._roots = paths.state, (paths.state, *_others(paths))

    def sealed(self) -> frozenset[str]:
        """Return the sealed spaces, and BOX if the box is. Raise StoreUnavailable if nobody can
        tell.
        """
        try:
            return frozenset(name for root in self._roots for name in _sealed(root))
        except OSError as error:
            raise StoreUnavailable(
                f"{error.filename}: {error.strerror}: nobody can tell what is sealed"
            ) from error

    def marks(self) -> dict[str, Mark]:
        """Return the markers of sealed spaces, and BOX's if the box is; raise StoreUnavailable if
        nobody can tell.
        """
        return {space: self.read(space) for space in self.sealed()}

    def read(self, space: str) -> Mark:
        """Return what a marker says; one that cannot be read was made by hand, and now."""
        for root in self._roots:
            try:
                mark = msgspec.json.decode((root / marker(space)).read_bytes(), type=Mark)
                return replace(mark, reason=visible(mark.reason))
            except (OSError, msgspec.MsgspecError):
                continue
        return Mark("unknown", 0, "the marker was made by hand", sys.maxsize)

    def place(self, space: str, mark: Mark) -> None:
        """Make a marker durable, once; raise StoreUnavailable if only the supervisor heard of it,
        or nobody.
        """
        data = canonical(asdict(mark))
        try:
            _place(self._state, marker(space), data)
        except OSError as error:
            self._tell(space, data)
            raise StoreUnavailable(
                f"{self._state / marker(space)} cannot be written: {error.strerror}"
            ) from error
        for root in self._roots[1:]:
            (root / marker(space)).unlink(missing_ok=True)

    def settle(self) -> None:
        """Bring markers that could not be made durable into the state directory; raise as
        ``place``.
        """
        for root in self._roots[1:]:
            for space in list(_sealed(root)):
                self.place(space, self.read(space))

    def _tell(self, space: str, data: bytes) -> None:
        for root in self._roots[1:]:
            try:
                _place(root, marker(space), data)
            except OSError as error:
                raise StoreUnavailable(
                    f"{root / marker(space)} cannot be written: {error.strerror}"
                ) from error


def _others(paths: Paths) -> tuple[Path, ...]:
    """Return the run directory, unless the configuration has both in one."""
    same = paths.run.exists() and paths.state.exists() and paths.run.samefile(paths.state)
    return () if same else (paths.run,)


def _sealed(root: Path) -> Iterator[str]:
    if (root / SITE).exists():
        yield BOX
    folder = root / SPACES
    if folder.is_dir():
        yield from (path.name for path in folder.iterdir() if _is_space(path.name))


def _is_space(name: str) -> bool:
    """Whether a space can have that name: another file seals nothing."""
    try:
        parse_space(name)
    except InvalidInput:
        return False
    return True


def _place(root: Path, name: str, data: bytes) -> None:
    """Create the file (0600) with its folders, synced; one that is there stays as it is."""
    path = root / name
    _make_folder(path.parent)
    try:
        write_new(path, data)
    except AlreadyExists:
        sync_folder(path.parent)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)
