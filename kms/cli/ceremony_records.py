"""ceremony list, show, verify, print: what ceremonies have left. They change nothing."""

import time
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Annotated

import typer

from kms.cli.ceremony_plan import StateOption
from kms.cli.inputs import MAX_TEXT, read_root
from kms.cli.output import Column, word
from kms.cli.register import register
from kms.cli.session import Session
from kms.errors import TooLarge
from kms.i18n import language


def _hex(sha256: str) -> str:
    """Return a digest as the ceremony's terminal and its papers have it."""
    return urlsafe_b64decode(f"{sha256}=").hex()


_LIST = (
    Column("Ceremony", "id"),
    Column("Kind", "kind"),
    Column("State", "state", word),
    Column("Since", "time"),
    Column("SHA-256 of the transcript", "transcript", _hex),
)
_SHOW = (
    *_LIST,
    Column("Approved by", "approved", ", ".join),
    Column("Transcript signed by", "signed", ", ".join),
    Column("Steps done", "done"),
    Column("Exceptions", "said"),
)
_SAVED = (Column("Saved as", "file"),)

IdArgument = Annotated[str, typer.Argument(help="The ceremony's id, as its plan has it.")]
FileArgument = Annotated[Path, typer.Argument(help="The signed transcript (transcript.json).")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    register(app, "list", list_ceremonies)
    register(app, "show", show)
    register(app, "verify", verify)
    register(app, "print", print_document)


def list_ceremonies(session: Session, state: StateOption = None) -> None:
    """List all ceremonies with kind, state, time and digest of the transcript."""
    from kms.cli import records_view  # noqa: PLC0415 -- heavy

    rows = records_view.ceremonies(records_view.state_of(session, state), int(time.time()))
    session.output.table({"items": rows}, rows, _LIST)


def show(session: Session, ceremony: IdArgument, state: StateOption = None) -> None:
    """Show one ceremony: how far it is, who signed, what went otherwise."""
    from kms.ceremonies.record.folder import Folder  # noqa: PLC0415 -- heavy
    from kms.cli import records_view  # noqa: PLC0415 -- heavy

    folder = Folder(records_view.folder_of(session, ceremony, state))
    document = records_view.detail(folder, int(time.time()))
    done = [one["step"] for one in document["steps"] if one["outcome"] == "done"]
    said = [one["text"] for one in document["exceptions"]]
    row = {
        **document,
        "approved": document["approved"] or None,
        "signed": document["signed"] or None,
        "done": len(done),
        "said": "; ".join(said) or None,
    }
    session.output.record(document, row, _SHOW)


def verify(
    session: Session,
    file: FileArgument,
    site_root: Annotated[Path, typer.Option(help="The pinned public key of the site (PEM).")],
    previous: Annotated[
        Path | None, typer.Option(help="The transcript before it, to check that it follows.")
    ] = None,
) -> None:
    """Verify a transcript offline and say in plain words what was checked.

    Needs nothing but the file and the site root: register, approvals, script and signatures are
    all in it.
    """
    from kms.ceremonies.verification.verdict import TranscriptRefused  # noqa: PLC0415 -- heavy
    from kms.ceremonies.verification.verify import verify_transcript  # noqa: PLC0415 -- heavy
    from kms.cli import verdict_view  # noqa: PLC0415 -- heavy

    root, before = read_root(site_root), _read(previous) if previous else None
    try:
        found = verify_transcript(_read(file), root, before)
    except TranscriptRefused as error:
        text, document = verdict_view.refused(error)
        session.output.document(document, text)
        raise
    session.output.document(verdict_view.document(found), found.to_text(language()))


def print_document(
    session: Session,
    file: Annotated[
        Path, typer.Argument(help="A signed transcript, or a certificate of destruction.")
    ],
    out: Annotated[Path, typer.Option(help="New PDF file to write.")],
) -> None:
    """Set a transcript or a certificate as PDF for signing by hand and for the archive.

    It prints what the file says; whether that holds, conclave ceremony verify tells.
    """
    from kms.ceremonies.paper.papers import paper_of  # noqa: PLC0415 -- heavy
    from kms.ceremonies.record.durable import write_new  # noqa: PLC0415 -- for this command alone
    from kms.documents.pdf import render_pdf  # noqa: PLC0415 -- loads the typesetter

    paper, made = paper_of(_read(file))
    write_new(out.absolute(), render_pdf(paper, made))
    document = {"file": str(out)}
    session.output.record(document, document, _SAVED)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_TEXT + 1)
    if len(data) > MAX_TEXT:
        raise TooLarge(f"{path} is larger than {MAX_TEXT} bytes")
    return data
