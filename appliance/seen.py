"""What the appliance has seen of kms and does not let go back: the highest version of each disk's
row and of the site's key list, in one file of root's.

An older store, or whoever replays what it once said, is noticed by it also after a restart.
"""

import os
from pathlib import Path
from threading import Lock

import msgspec

from kms.errors import ConfigurationError, Unavailable, VerificationFailed


class _Versions(msgspec.Struct, forbid_unknown_fields=True):
    """The file: JSON. ``disks``: by UUID."""

    key_list: int = 0
    disks: dict[str, int] = {}


class Seen:
    """Versions in ``path``, which need not be there yet; any thread may use it."""

    def __init__(self, path: Path) -> None:
        """Raise ConfigurationError for a file that cannot be read."""
        self._path, self._lock = path, Lock()
        self._versions = _load(path)

    def key_list(self, version: int) -> None:
        """Remember a key list; raise VerificationFailed if a newer one was seen, Unavailable if
        this one cannot be kept.
        """
        with self._lock:
            if _is_newer(version, self._versions.key_list):
                self._keep(_Versions(version, self._versions.disks))

    def row(self, disk: str, version: int) -> None:
        """Remember a disk's row; raise as ``key_list`` does."""
        with self._lock:
            if _is_newer(version, self._versions.disks.get(disk, 0)):
                disks = {**self._versions.disks, disk: version}
                self._keep(_Versions(self._versions.key_list, disks))

    def _keep(self, versions: _Versions) -> None:
        """Put a new file in place of the old one, durably, before it is gone by."""
        new = self._path.with_suffix(".new")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
                file.write(msgspec.json.encode(versions, order="sorted"))
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self._path)  # noqa: PTH105 -- as the name says
            _sync(self._path.parent)
        except OSError as error:
            raise Unavailable(
                f"{self._path} cannot be written: {error.strerror}", hint="make room for it"
            ) from error
        self._versions = versions


def _is_newer(version: int, known: int) -> bool:
    if version < known:
        raise VerificationFailed(
            "kms tells of an older state than it did before",
            hint="after a site was restored, and only then: stop the appliance daemon, remove the"
            " file seen in its state folder, and start it again",
        )
    return version > known


def _load(path: Path) -> _Versions:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Versions)
    except FileNotFoundError:
        return _Versions()
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error}",
            hint="remove it if you know that nobody brought an older store back",
        ) from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
