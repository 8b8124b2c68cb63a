"""How far a site's ceremonies are, as their folders tell: one after the other, by the time that
their people were asked.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kms.ceremonies.record.folder import CEREMONIES, TRANSCRIPT, Folder
from kms.ceremonies.record.journal import REQUEST, Journal
from kms.statements.canonical import digest


class Stage(StrEnum):
    """How far a ceremony is."""

    CALLED = "called"
    EXPIRED = "expired"
    BEGUN = "begun"
    TO_BE_SIGNED = "to-be-signed"
    DONE = "done"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Standing:
    """One ceremony: its stage, when that was reached, and its transcript's digest, if any."""

    folder: Folder
    stage: Stage
    time: int
    sha256: str


def folders(state: Path) -> list[Folder]:
    """Return the folder of every ceremony in the state directory, the newest request last; raise
    VerificationFailed.
    """
    found = [
        Folder(path)
        for path in sorted((state / CEREMONIES).glob("[!.]*/"))
        if (path / REQUEST).is_file()
    ]
    return sorted(found, key=lambda one: one.request().issued)


def standing(folder: Folder, now: int) -> Standing:
    """Return how a ceremony stands; raise IntegrityFailure, VerificationFailed."""
    progress, request = Journal.open(folder.path).progress, folder.request()
    payload = folder.payload()
    sha256 = digest(payload) if payload is not None and progress.recorded else ""
    if progress.started is None:
        stage = Stage.EXPIRED if now >= request.expires else Stage.CALLED
        return Standing(folder, stage, request.issued, "")
    if not progress.recorded:
        return Standing(folder, Stage.BEGUN, progress.time, "")
    if not (folder.path / TRANSCRIPT).is_file():
        return Standing(folder, Stage.TO_BE_SIGNED, progress.time, sha256)
    stage = Stage.ABORTED if progress.aborted else Stage.DONE
    return Standing(folder, stage, progress.time, sha256)
