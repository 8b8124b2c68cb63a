"""The journal of one ceremony: ``journal.jsonl`` in its folder, a canonical line per entry, synced
before anything goes on. It is only ever added to; a last line that a crash tore is dropped.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from kms.ceremonies.record.durable import sync_folder, write_new
from kms.ceremonies.record.entries import Deviation, Entry, decode_entry, encode_entry
from kms.ceremonies.record.progress import Progress
from kms.ceremonies.room import Facts
from kms.errors import AlreadyExists, IntegrityFailure, InvalidInput, NotFound, StoreUnavailable
from kms.statements.approval import ApprovalRequest
from kms.statements.canonical import encode_record

PLAN = "plan.toml"
REQUEST = "request.json"
_JOURNAL = "journal.jsonl"
_LONGEST_TEXT = 2000


class Journal:
    """The entries so far, and what they come to.

    Several programs may have it open: each writes under a lock, after it has read what the others
    wrote. An entry's time is never before the one before it, though a clock be set back.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: list[Entry] = []
        self._size = 0
        self._broken = False
        self.progress = Progress()

    @classmethod
    def create(cls, folder: Path, plan: bytes, request: ApprovalRequest) -> "Journal":
        """Make the folder with plan, request and an empty journal, all at once; raise
        AlreadyExists.
        """
        draft = folder.with_name(f".{folder.name}.{os.getpid()}.{os.urandom(4).hex()}")
        draft.mkdir(mode=0o700, parents=True)
        write_new(draft / PLAN, plan)
        write_new(draft / REQUEST, encode_record(request))
        write_new(draft / _JOURNAL, b"")
        try:
            draft.rename(folder)
        except OSError as error:
            _remove(draft)
            raise AlreadyExists(f"there is a ceremony {folder.name} already") from error
        sync_folder(folder.parent)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> "Journal":
        """Read the journal of a folder; raise NotFound, IntegrityFailure."""
        journal = cls(folder / _JOURNAL)
        try:
            with _locked(journal._path) as file:
                journal._catch_up(file)
        except FileNotFoundError:
            raise NotFound(f"there is no ceremony {folder.name}") from None
        return journal

    def entries(self) -> tuple[Entry, ...]:
        """Return all entries in order."""
        return tuple(self._entries)

    def done_sections(self) -> tuple[str, ...]:
        """Return the ids of the sections done."""
        return self.progress.done()

    def facts(self) -> dict[str, Facts]:
        """Return the facts of every step that is done and not undone."""
        return self.progress.facts()

    def append(self, entry: Entry) -> None:
        """Make an entry durable; raise InvalidInput if it has no canonical form or does not
        follow, StoreUnavailable if it cannot be written: nothing is written after that.
        """
        # As it will be read again: what is in memory is what is in the file.
        entry = decode_entry(encode_entry(entry))
        if self._broken:
            raise StoreUnavailable("the ceremony's journal could not be written before")
        try:
            with _locked(self._path) as file:
                self._catch_up(file)
                self._write(file, entry)
        except OSError as error:
            self._broken = True
            raise StoreUnavailable(
                f"the ceremony's journal cannot be written: {error.strerror}",
                hint="make room on the disk, then run the ceremony again",
            ) from error

    def add_exception(self, text: str, time: int) -> None:
        """Put one line on the exception sheet; raise InvalidInput."""
        if not text.strip() or len(text) > _LONGEST_TEXT:
            raise InvalidInput(f"an exception is told in 1 to {_LONGEST_TEXT} characters")
        self.append(Deviation(time=time, text=text))

    def _write(self, file: BinaryIO, entry: Entry) -> None:
        entry = msgspec.structs.replace(entry, time=max(entry.time, self.progress.time))
        line = encode_entry(entry) + b"\n"
        self.progress.take(entry)
        self._entries.append(entry)
        self._size += len(line)
        file.write(line)
        file.flush()
        os.fsync(file.fileno())

    def _catch_up(self, file: BinaryIO) -> None:
        """Read what is new; drop a last line that a crash tore."""
        file.seek(self._size)
        data = file.read()
        lines = data.split(b"\n")
        try:
            for line in lines[:-1]:
                entry = decode_entry(line)
                self.progress.take(entry)
                self._entries.append(entry)
        except InvalidInput as error:
            raise IntegrityFailure(
                f"the ceremony's journal was altered: {error.message}"
            ) from error
        self._size += len(data) - len(lines[-1])
        if lines[-1]:
            file.truncate(self._size)
            os.fsync(file.fileno())


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    with path.open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _remove(draft: Path) -> None:
    for path in draft.iterdir():
        path.unlink()
    draft.rmdir()
