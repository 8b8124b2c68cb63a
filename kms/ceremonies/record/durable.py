"""Files of a ceremony's folder: whole or not there at all, and never overwritten."""

import errno
import os
from pathlib import Path

from kms.errors import AlreadyExists

_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK}
"""What a file system without hard links answers, such as that of a memory stick."""


def write_new(path: Path, data: bytes) -> None:
    """Create a file (0600) that appears with all its bytes, synced; raise AlreadyExists."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    _write(draft, data)
    try:
        _link(draft, path)
    except FileExistsError:
        raise AlreadyExists(f"{path.name} is there already and is not overwritten") from None
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def keep(path: Path, data: bytes) -> None:
    """Create the file, or find it with exactly these bytes; raise AlreadyExists."""
    try:
        write_new(path, data)
    except AlreadyExists:
        if path.read_bytes() != data:
            raise


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _link(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _write(path, draft.read_bytes())


def _write(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
