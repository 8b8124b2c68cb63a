"""Shows ceremonies as their folders have them: how far they are, who signed, what was done."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kms.ceremonies.record.entries import Deviation, Started, StepDone, StepFailed
from kms.ceremonies.record.folder import CEREMONIES as FOLDER
from kms.ceremonies.record.folder import TRANSCRIPT, Folder
from kms.ceremonies.record.journal import REQUEST, Journal
from kms.ceremonies.record.standing import Standing, folders, standing
from kms.ceremonies.record.transcript import Transcript, decode_transcript
from kms.cli.output import Output, moment
from kms.cli.session import Session
from kms.domain.models import ReleaseClass
from kms.errors import IntegrityFailure, NotFound
from kms.i18n import _
from kms.statements.canonical import digest, unb64u


def release_classes(state: Path) -> dict[str, ReleaseClass]:
    """Return the release classes of spaces, as the plans that created them say."""
    plans = [Folder(path.parent).plan() for path in (state / FOLDER).glob(f"[!.]*/{TRANSCRIPT}")]
    parameters = [one.file.parameters for one in plans if one.file.ceremony == "create-space"]
    return {one["space"]: ReleaseClass(one["release_class"]) for one in parameters}


def state_of(session: Session, state: Path | None) -> Path:
    """Return the folder that was named, else the configured state directory."""
    return state or session.settings().paths.state


def folder_of(session: Session, ceremony: str, state: Path | None = None) -> Path:
    """Return the folder of a ceremony by its id; raise NotFound."""
    path = state_of(session, state) / FOLDER / ceremony
    if path.parent.name != FOLDER or not (path / REQUEST).is_file():
        raise NotFound(
            f"there is no ceremony {ceremony}", hint="conclave ceremony list shows them all"
        )
    return path


def ceremonies(state: Path, now: int) -> list[dict[str, Any]]:
    """Return a row for every ceremony in the state directory, the newest request last."""
    return [_row(standing(folder, now)) for folder in folders(state)]


def _row(found: Standing) -> dict[str, Any]:
    request = found.folder.request()
    return {
        "id": request.ceremony,
        "kind": request.kind,
        "state": found.stage.value,
        "time": moment(found.time),
        "transcript": found.sha256 or None,
    }


def payload_digest(folder: Folder) -> bytes:
    """Return the SHA-256 of the transcript that is to be signed; raise IntegrityFailure."""
    return unb64u(digest(_payload(folder)))


def transcript_of(folder: Folder) -> Transcript:
    """Return the transcript, not yet verified; raise IntegrityFailure, VerificationFailed."""
    return decode_transcript(_payload(folder))


def _payload(folder: Folder) -> bytes:
    payload = folder.payload()
    if payload is None:
        raise IntegrityFailure("the ceremony is over, but its transcript is gone")
    return payload


def detail(folder: Folder, now: int) -> dict[str, Any]:
    """Return everything that the folder tells of a ceremony as one JSON document."""
    found, entries = standing(folder, now), Journal.open(folder.path).entries()
    begun = next((one for one in entries if isinstance(one, Started)), None)
    return {
        **_row(found),
        "approved": sorted(begun.approvals if begun else folder.approvals()),
        "signed": sorted(folder.signatures()),
        "steps": [_step(one) for one in entries if isinstance(one, StepDone | StepFailed)],
        "exceptions": [
            {"time": moment(one.time), "text": one.text}
            for one in entries
            if isinstance(one, Deviation)
        ],
    }


def _step(entry: StepDone | StepFailed) -> dict[str, Any]:
    failed = isinstance(entry, StepFailed)
    return {
        "step": entry.step,
        "time": moment(entry.time),
        "outcome": "failed" if failed else "done",
        "reason": entry.message if isinstance(entry, StepFailed) else None,
    }


def note_outline(output: Output, folder: Folder) -> None:
    """Show what a transcript says was done, as remarks to whoever signs it."""
    for line in outline(transcript_of(folder)):
        output.note(line)


def outline(transcript: Transcript) -> Iterator[str]:
    """Yield a transcript in lines: result, steps, what went otherwise."""
    yield _("Result: {result}").format(result=_(transcript.result.value))
    for entry in transcript.entries:
        match entry:
            case StepDone():
                yield f"✓ {moment(entry.time)} {entry.step}"
            case StepFailed():
                yield f"✗ {moment(entry.time)} {entry.step}: {entry.message}"
            case Deviation():
                yield f"! {moment(entry.time)} {entry.text}"
            case _:
                pass
