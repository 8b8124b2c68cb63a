"""Where reports lie: a folder each in the state directory, whole or not there, never overwritten.

Nothing in it is believed as it lies there: the statement's signature and digests say what a report
is, each time it is read.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kms.domain.reports import parse_report
from kms.errors import ConclaveError, IntegrityFailure, InvalidInput, NotFound, StoreUnavailable
from kms.policy.authorizer import NOT_THERE
from kms.reports.content import Content, decode
from kms.statements import jws
from kms.statements.canonical import b64u, decode_record, digest
from kms.statements.keylist import TYP, KeyList
from kms.statements.report import ReportStatement, verify_report

BUNDLE, FULL, MASKED, STATEMENT = "evidence.db", "full.json", "report.json", "report.jws"
_DRAFT = "."


@dataclass(frozen=True, slots=True)
class Kept:
    """A report that lies in its folder, and the statement (JWS) about it, which was verified."""

    folder: Path
    told: ReportStatement
    token: str

    @property
    def bundle(self) -> Path:
        """Where the evidence bundle lies."""
        return self.folder / BUNDLE


class ReportFolder:
    """The reports of one state directory; ``key_list`` is the site's (JWS)."""

    def __init__(self, state: Path, key_list: str) -> None:
        self._root = state / "reports"
        self._key_list = key_list

    def draft(self, report: str) -> Path:
        """Make the folder in which a report is put together, and remove what a crash left of
        others: one is made at a time. Raise StoreUnavailable.
        """
        folder = self._draft(report)
        try:
            self._root.mkdir(mode=0o700, exist_ok=True)
            for old in self._root.glob(f"{_DRAFT}*"):
                shutil.rmtree(old, ignore_errors=True)
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise StoreUnavailable(
                "{folder} cannot be made: {error}",
                about={"folder": folder, "error": error.strerror},
            ) from error
        return folder

    def finish(self, report: str, files: dict[str, bytes]) -> Kept:
        """Write a draft's last files, durably, and return it; raise StoreUnavailable."""
        folder = self._draft(report)
        try:
            for name, data in files.items():
                _write(folder / name, data)
            _sync(folder)
        except OSError as error:
            raise StoreUnavailable(
                "the report cannot be written: {error}", about={"error": error.strerror}
            ) from error
        return self._read(folder, report)

    def keep(self, report: str) -> None:
        """Give a finished draft its name, durably; raise StoreUnavailable."""
        try:
            self._draft(report).rename(self._root / report)
            _sync(self._root)
        except OSError as error:
            raise StoreUnavailable(
                "the report cannot be kept: {error}", about={"error": error.strerror}
            ) from error

    def drop(self, report: str) -> None:
        """Remove a draft that came to nothing."""
        shutil.rmtree(self._draft(report), ignore_errors=True)

    def names(self) -> list[str]:
        """Return the ids of the reports, the newest first."""
        if not self._root.is_dir():
            return []
        return sorted(
            (path.name for path in self._root.iterdir() if _is_report(path)), reverse=True
        )

    def all(self) -> Iterator[Kept]:
        """Yield the reports whose statements hold, the newest first."""
        for name in self.names():
            with suppress(IntegrityFailure):
                yield self.find(name)

    def altered(self) -> list[str]:
        """Return the ids of the others: what lies there is not what was signed."""
        held = {one.told.report for one in self.all()}
        return [name for name in self.names() if name not in held]

    def find(self, report: str) -> Kept:
        """Return a report; raise NotFound, IntegrityFailure if its statement does not hold."""
        folder = self._root / parse_report(report)
        if not folder.is_dir():
            raise NotFound(NOT_THERE)
        return self._read(folder, report)

    def _draft(self, report: str) -> Path:
        return self._root / f"{_DRAFT}{report}"

    def _read(self, folder: Path, report: str) -> Kept:
        try:
            keys = decode_record(jws.unverified_payload(self._key_list, typ=TYP), KeyList)
            token = (folder / STATEMENT).read_text("ascii").strip()
            told = verify_report(token, keys)
        except (OSError, UnicodeDecodeError, ConclaveError) as error:
            raise IntegrityFailure("the statement about a report does not hold") from error
        if told.report != report or told.paper:
            raise IntegrityFailure("the statement is about another report")
        return Kept(folder, told, token)


def read_content(kept: Kept, *, full: bool) -> tuple[Content, bytes]:
    """Return a report and its bytes, masked unless ``full``; raise IntegrityFailure."""
    try:
        data = (kept.folder / (FULL if full else MASKED)).read_bytes()
        content = decode(data)
    except (OSError, ConclaveError) as error:
        raise IntegrityFailure("a report cannot be read, or was altered") from error
    told = kept.told
    same = (content.report, content.bundle, content.size) == (told.report, told.bundle, told.size)
    signed = digest(data) == (told.full if full else told.figures)
    if not same or not signed or content.masked is full:
        raise IntegrityFailure("a report is not the one that its statement is about")
    return content, data


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in base64url."""
    with path.open("rb") as file:
        return b64u(hashlib.file_digest(file, "sha256").digest())


def _is_report(path: Path) -> bool:
    try:
        parse_report(path.name)
    except InvalidInput:
        return False
    return path.is_dir() and not path.is_symlink()


def _write(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
