"""The journal of one ceremony: ``journal.jsonl`` in its folder, a canonical line per entry, synced
before anything goes on. It is only ever added to; a last line that a crash tore is dropped.
"""

import os
from pathlib import Path

from kms.ceremonies.durable import sync_folder, write_new
from kms.ceremonies.entries import Deviation, Entry, decode_entry, encode_entry
from kms.ceremonies.progress import Progress
from kms.ceremonies.step import Facts
from kms.errors import AlreadyExists, IntegrityFailure, InvalidInput, NotFound, StoreUnavailable
from kms.statements.approval import ApprovalRequest
from kms.statements.canonical import encode_record

PLAN = "plan.toml"
REQUEST = "request.json"
_JOURNAL = "journal.jsonl"
_LONGEST_TEXT = 2000


class Journal:
    """The entries so far, and what they come to."""

    def __init__(self, path: Path, entries: list[Entry], progress: Progress) -> None:
        self._path = path
        self._entries = entries
        self._broken = False
        self.progress = progress

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
        path = folder / _JOURNAL
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise NotFound(f"there is no ceremony {folder.name}") from None
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            _cut(path, len(whole))
        return cls(path, *_read(whole))

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
        line = encode_entry(entry)
        if self._broken:
            raise StoreUnavailable("the ceremony's journal could not be written before")
        # As it will be read again: what is in memory is what is in the file.
        entry = decode_entry(line)
        self.progress.take(entry)
        self._broken = True
        try:
            _write(self._path, line + b"\n")
        except OSError as error:
            raise StoreUnavailable(
                f"the ceremony's journal cannot be written: {error.strerror}",
                hint="make room on the disk, then run the ceremony again",
            ) from error
        self._broken = False
        self._entries.append(entry)

    def add_exception(self, text: str, time: int) -> None:
        """Put one line on the exception sheet; raise InvalidInput."""
        if not text.strip() or len(text) > _LONGEST_TEXT:
            raise InvalidInput(f"an exception is told in 1 to {_LONGEST_TEXT} characters")
        self.append(Deviation(time=self.clock(time), text=text))

    def clock(self, now: int) -> int:
        """Return ``now``, or the last entry's time if the clock was set back since."""
        return max(now, self.progress.time)


def _read(data: bytes) -> tuple[list[Entry], Progress]:
    entries, progress = [], Progress()
    try:
        for line in data.split(b"\n")[:-1]:
            entry = decode_entry(line)
            progress.take(entry)
            entries.append(entry)
    except InvalidInput as error:
        raise IntegrityFailure(f"the ceremony's journal was altered: {error.message}") from error
    return entries, progress


def _write(path: Path, line: bytes) -> None:
    with path.open("ab") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def _cut(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)
        os.fsync(file.fileno())


def _remove(draft: Path) -> None:
    for path in draft.iterdir():
        path.unlink()
    draft.rmdir()
