"""A site's ceremonies, one after the other: each transcript names the one before it, and none
begins while another is under way.
"""

from dataclasses import dataclass
from pathlib import Path

from kms.ceremonies.record.folder import Folder
from kms.ceremonies.record.journal import Journal
from kms.ceremonies.record.transcript import decode_transcript
from kms.errors import IntegrityFailure, StateNotAllowed, VerificationFailed
from kms.statements.canonical import digest


@dataclass(frozen=True, slots=True)
class Link:
    """A transcript's number, and the SHA-256 (base64url) of its payload; (0, empty) before the
    first.
    """

    sequence: int
    sha256: str


def newest_transcript(ceremonies: Path) -> Link:
    """Return the newest transcript in the folder of all ceremonies; raise IntegrityFailure."""
    return max(_links(ceremonies), key=lambda link: link.sequence, default=Link(0, ""))


def check_kept(ceremonies: Path, told: str) -> None:
    """Raise IntegrityFailure unless the transcript that the log names last (empty: none) is there:
    without it the next one would take its number.
    """
    if told and all(link.sha256 != told for link in _links(ceremonies)):
        raise IntegrityFailure(
            f"the transcript {told} that the log names last is gone",
            hint="bring the newest folder of ceremonies back",
        )


def check_alone(folder: Path) -> None:
    """Raise StateNotAllowed while anything is done of another ceremony of the site that is not
    over: what it made may still be undone, and would count as in force. One that was refused
    before it did anything, or whose every section is undone, stands in nobody's way.
    """
    for other in sorted(folder.parent.glob("[!.]*/")):
        if other.name == folder.name:
            continue
        progress = Journal.open(other).progress
        if progress.attempts and not progress.recorded:
            raise StateNotAllowed(
                f"the ceremony {other.name} has begun and is not over",
                hint="bring it to its end by conclave ceremony run, or abort it",
            )


def _links(ceremonies: Path) -> list[Link]:
    return [link for path in sorted(ceremonies.glob("[!.]*/")) if (link := _link(path))]


def _link(path: Path) -> Link | None:
    payload = Folder(path).payload()
    if payload is None:
        return None
    try:
        return Link(decode_transcript(payload).sequence, digest(payload))
    except VerificationFailed as error:
        raise IntegrityFailure(f"the transcript of {path.name} was altered") from error
