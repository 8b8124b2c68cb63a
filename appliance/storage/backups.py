"""Copies of header regions, for a header that gets damaged: the newest of each disk.

A copy opens nothing without a key of its time; none that is older than the registered header is
kept, since it might bring a retired key back; but for what a restored copy took the place of, until
the next one is registered.
"""

import os
import shutil
from pathlib import Path

from appliance.storage.device import write_start
from appliance.storage.header import REGION_BYTES, region_digest
from kms.domain.ids import DiskId, parse_disk
from kms.errors import IntegrityFailure, InvalidInput, NotFound
from kms.statements.canonical import unb64u

_DIGEST_BYTES = 32
_ASIDE = ".replaced"


class HeaderBackups:
    """Copies below ``folder``: ``<disk>/<digest>``. All methods raise OSError as files do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, disk: DiskId, region: bytes) -> str:
        """Keep a header region, durably, in place of older ones; return its digest."""
        if len(region) != REGION_BYTES:
            raise InvalidInput(f"a header region has {REGION_BYTES} bytes")
        digest = region_digest(region)
        place = self.folder / parse_disk(disk)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = (place / digest).exists()
        if not known:
            _write(place / f"{digest}.new", region)
            os.replace(place / f"{digest}.new", place / digest)  # noqa: PTH105 -- as the name says
            _sync(place)
        for other in place.iterdir():
            if other.name != digest and not (known and other.name.endswith(_ASIDE)):
                other.unlink()
        return digest

    def set_aside(self, disk: DiskId, region: bytes) -> None:
        """Keep a region that is about to be overwritten by a backup, durably, until the disk has
        another registered header or is erased: should that have been wrong.
        """
        place = self.folder / parse_disk(disk)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(place / f"{region_digest(region)}{_ASIDE}", region)
        _sync(place)

    def load(self, disk: DiskId, digest: str) -> bytes:
        """Return the header region with that digest; raise NotFound, IntegrityFailure."""
        if len(unb64u(digest)) != _DIGEST_BYTES:  # so it is a name, no path
            raise InvalidInput("a header is named by its SHA-256 in base64url")
        try:
            region = (self.folder / parse_disk(disk) / digest).read_bytes()
        except FileNotFoundError as error:
            raise NotFound(
                "there is no copy of the registered header",
                hint="only a disk that was open on this box since has one",
            ) from error
        if region_digest(region) != digest:
            raise IntegrityFailure("the copy of the header is damaged")
        return region

    def restore(self, disk: DiskId, digest: str, target: Path) -> None:
        """Put the copy of the registered header back onto its device."""
        write_start(target, self.load(disk, digest))

    def forget(self, disk: DiskId) -> None:
        """Remove the copies of an erased disk."""
        shutil.rmtree(self.folder / parse_disk(disk), ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
