"""The state directory in a ceremony's hands: numbered public files, certificates. What others own
there (the database, the ceremonies' own folders) does not exist for it, nor does anything outside.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from kms.ceremonies.record.durable import sync_folder, write_new
from kms.errors import InvalidInput, NotFound, StoreUnavailable

_PART = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}", re.ASCII)
_DEPTH = 3
_OTHERS = ("ceremonies", "conclave.db", "reports")
"""Beginnings of names that are not a ceremony's files."""


class StateFiles:
    """``Files`` over one directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write_new(self, name: str, data: bytes) -> None:
        """Create a file (0600) with its folders, synced; raise AlreadyExists, StoreUnavailable."""
        path = self._path(name)
        try:
            self._make_folder(path.parent)
            write_new(path, data)
        except OSError as error:
            raise StoreUnavailable(f"{path} cannot be written: {error.strerror}") from error

    def read(self, name: str) -> bytes:
        """Return a file's bytes; raise NotFound."""
        path = self._path(name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise NotFound(f"the state directory has no readable {name}") from error
        with os.fdopen(descriptor, "rb") as file:
            return file.read()

    def names(self) -> tuple[str, ...]:
        """Return the names of all files, sorted; those in folders with their folder."""
        if not self._root.is_dir():
            return ()
        return tuple(sorted(self._names(self._root, "", _DEPTH)))

    def remove(self, name: str) -> None:
        """Remove a file, synced; one that is not there is as good as removed."""
        path = self._path(name)
        try:
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                sync_folder(path.parent)
        except OSError as error:
            raise StoreUnavailable(f"{path} cannot be removed: {error.strerror}") from error

    def _names(self, folder: Path, prefix: str, depth: int) -> Iterator[str]:
        for entry in os.scandir(folder):
            name = prefix + entry.name
            if not _PART.fullmatch(entry.name) or name.startswith(_OTHERS):
                continue
            if entry.is_file(follow_symlinks=False):
                yield name
            elif depth > 1 and entry.is_dir(follow_symlinks=False):
                yield from self._names(Path(entry), f"{name}/", depth - 1)

    def _path(self, name: str) -> Path:
        parts = name.split("/")
        if len(parts) > _DEPTH or not all(_PART.fullmatch(part) for part in parts):
            raise InvalidInput("a file of the state directory is named by slugs, such as a-1.json")
        if name.startswith(_OTHERS):
            raise InvalidInput(f"{name} is no file of ceremonies")
        path = self._root
        for part in parts[:-1]:
            path /= part
            if path.is_symlink():
                raise InvalidInput(f"{path} leads elsewhere: folders of the state are no links")
        return path / parts[-1]

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            self._make_folder(folder.parent)
            folder.mkdir(mode=0o700)
            sync_folder(folder.parent)
