"""What the site's ceremonies have left, read from their folders and verified before it is shown.

Use cases and ceremonies know nothing of each other, so it is authorised here as a use case does.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from kms.ceremonies.catalogue import CEREMONIES
from kms.ceremonies.paper.papers import paper_of
from kms.ceremonies.record.folder import TRANSCRIPT, Folder
from kms.ceremonies.record.standing import Standing, folders, standing
from kms.ceremonies.record.transcript import decode_transcript
from kms.ceremonies.verification.verdict import Check, TranscriptRefused, Verified
from kms.ceremonies.verification.verify import verify_transcript
from kms.documents.paper import Paper
from kms.documents.pdf import render_pdf
from kms.errors import IntegrityFailure, NotFound
from kms.policy.authorizer import NOT_THERE, Target
from kms.statements.canonical import digest
from kms.usecases.approvals.registers import site_roots
from kms.usecases.services import authorize
from kms.web.visit import Visit

_PRESS = "paper of ceremonies"
"""The lock under which paper is set."""


@dataclass(frozen=True, slots=True)
class Held:
    """A ceremony: its id, kind and title (a source text), when its people were called (whole
    seconds), who was asked and who approved.
    """

    id: str
    kind: str
    title: str
    called: int
    standing: Standing
    asked: tuple[str, ...]
    approved: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """A ceremony, and, once its transcript is signed by everybody: what the verifier says of it
    (``refused``: the check that failed, and why), and the transcript as people read it.
    """

    held: Held
    verified: Verified | None = None
    refused: TranscriptRefused | None = None
    paper: Paper | None = None

    @property
    def passed(self) -> tuple[Check, ...]:
        """The checks that hold."""
        if self.refused:
            return tuple(one for one in Check if one < self.refused.check)
        return self.verified.checks if self.verified else ()


async def list_ceremonies(visit: Visit, after: int, limit: int) -> tuple[list[Held], bool]:
    """Return a page of the ceremonies, the newest first, after so many; and whether there are more.
    Raise Forbidden, IntegrityFailure, VerificationFailed.
    """
    await _authorize(visit, "ceremonies")
    return await asyncio.to_thread(_page, _state(visit), visit.services.seconds(), after, limit)


async def read_ceremony(visit: Visit, name: str) -> Record:
    """Return one ceremony; raise Forbidden, NotFound, IntegrityFailure, VerificationFailed."""
    await _authorize(visit, f"ceremonies/{name}")
    return await asyncio.to_thread(_read, _state(visit), name, visit.services.seconds())


async def transcript_of(visit: Visit, name: str) -> bytes:
    """Return the signed transcript as it is verified offline; raise Forbidden, NotFound."""
    await _authorize(visit, f"ceremonies/{name}")
    return _signed(_find(_state(visit), name))


async def printed(visit: Visit, name: str) -> bytes:
    """Return the transcript as PDF in the present language, as ``conclave ceremony print`` does;
    raise Forbidden, NotFound, ConfigurationError. One is set at a time: it takes a core.
    """
    data = await transcript_of(visit, name)
    async with visit.services.locks.of(_PRESS):
        return await asyncio.to_thread(_set, data)


async def _authorize(visit: Visit, resource: str) -> None:
    await authorize(visit.services, visit.call("ceremony.read"), Target(), resource)


def _state(visit: Visit) -> Path:
    return visit.services.settings.paths.state


def _page(state: Path, now: int, after: int, limit: int) -> tuple[list[Held], bool]:
    newest = folders(state)[::-1]
    shown = [_held(folder, now) for folder in newest[after : after + limit]]
    return shown, len(newest) > after + limit


def _held(folder: Folder, now: int) -> Held:
    request = folder.request()
    known = CEREMONIES.get(request.kind)
    return Held(
        request.ceremony,
        request.kind,
        known.title if known else request.kind,
        request.issued,
        standing(folder, now),
        tuple(request.roster),
        tuple(sorted(folder.approvals())),
    )


def _find(state: Path, name: str) -> Folder:
    """Return a ceremony's folder, which is looked for by its name among those that are there."""
    for folder in folders(state):
        if folder.path.name == name:
            return folder
    raise NotFound(NOT_THERE)


def _signed(folder: Folder) -> bytes:
    try:
        return (folder.path / TRANSCRIPT).read_bytes()
    except FileNotFoundError:
        raise NotFound(
            "the transcript is not signed by everybody yet", hint="conclave ceremony sign"
        ) from None


def _set(envelope: bytes) -> bytes:
    return render_pdf(*paper_of(envelope))


def _read(state: Path, name: str, now: int) -> Record:
    folder = _find(state, name)
    held = _held(folder, now)
    if not (folder.path / TRANSCRIPT).is_file():
        return Record(held)
    envelope = _signed(folder)
    try:
        verified = _verify(state, envelope, _before(state, folder))
    except TranscriptRefused as error:
        return Record(held, refused=error)
    return Record(held, verified, paper=paper_of(envelope)[0])


def _before(state: Path, folder: Folder) -> bytes | None:
    """Return the signed transcript that this one says it follows, if it is there."""
    payload = folder.payload()
    previous = decode_transcript(payload).previous if payload else ""
    for other in folders(state) if previous else ():
        found = other.payload()
        if found is not None and digest(found) == previous:
            return _signed(other)
    return None


def _verify(state: Path, envelope: bytes, before: bytes | None) -> Verified:
    """Return the verdict by the site root that fits, of those that the state directory keeps; raise
    TranscriptRefused, IntegrityFailure.
    """
    refused: TranscriptRefused | None = None
    for root in site_roots(state):
        try:
            return verify_transcript(envelope, root, before)
        except TranscriptRefused as error:
            refused = refused if refused and refused.check > error.check else error
    if refused is None:
        raise IntegrityFailure("the site's root key is not kept")
    raise refused
