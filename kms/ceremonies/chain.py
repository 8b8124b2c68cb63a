"""The chain of a site's transcripts: each names the one before it."""

from dataclasses import dataclass
from pathlib import Path

from kms.ceremonies.folder import Folder
from kms.ceremonies.transcript import decode_transcript
from kms.errors import IntegrityFailure, VerificationFailed
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
    links = [link for path in sorted(ceremonies.glob("[!.]*/")) if (link := _link(path))]
    return max(links, key=lambda link: link.sequence, default=Link(0, ""))


def _link(path: Path) -> Link | None:
    payload = Folder(path).payload()
    if payload is None:
        return None
    try:
        return Link(decode_transcript(payload).sequence, digest(payload))
    except VerificationFailed as error:
        raise IntegrityFailure(f"the transcript of {path.name} was altered") from error
