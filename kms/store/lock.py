"""The writer's lock: one process writes a database, be it the service or a ceremony."""

import fcntl
import os
from pathlib import Path

from kms.errors import StoreUnavailable


class WriterBusy(StoreUnavailable):
    """Another process writes the database."""


class WriterLock:
    """Holds an exclusive lock (flock) on ``<database>.lock`` until released or the process ends.

    Raise WriterBusy when another holds it, StoreUnavailable when the file cannot be made.
    """

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + ".lock")
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailable(f"cannot make {self.path}: {error.strerror}") from error
        self._file = os.fdopen(fd, "rb+", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.release()
            raise WriterBusy(
                f"another process writes {database}",
                hint="the service and a ceremony never write at once: stop one of them",
            ) from error

    def release(self) -> None:
        """Let go of the lock; once is enough."""
        self._file.close()
