"""ceremony run, abort, exception: the administrator's terminal.

Everything that happens is in the ceremony's folder and in the log; a run that ends early goes on
with the next one.
"""

import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kms.cli.ceremony_plan import PlanArgument, check_people
from kms.cli.output import Column, word
from kms.cli.register import register
from kms.cli.session import Session
from kms.errors import StateNotAllowed
from kms.i18n import _

if TYPE_CHECKING:
    from kms.ceremonies.plan import Plan
    from kms.ceremonies.sitting import Sitting
    from kms.cli.desk import Desk

PinFdOption = Annotated[
    int | None,
    typer.Option(
        help='File descriptor that holds a PIN document {"token": "PIN"} of tokens in use; '
        "without it each PIN is asked for when it is wanted."
    ),
]
NewPinsOption = Annotated[
    str | None,
    typer.Option(
        help="New file (0600), or number of a file descriptor, for the PINs of new tokens."
    ),
]
CardsOption = Annotated[
    Path | None,
    typer.Option(
        help="Printer's device, or folder in memory (tmpfs), for share cards; "
        "without it they are shown on the screen."
    ),
]
SwapOption = Annotated[
    bool,
    typer.Option(
        "--accept-swap", help="Hold it on a host that swaps: shares could reach its disk."
    ),
]
IdArgument = Annotated[str, typer.Argument(help="The ceremony's id, as its plan has it.")]

_DONE = (
    Column("Ceremony", "id"),
    Column("Result", "result", word),
    Column("Transcript", "file"),
    Column("SHA-256 of the transcript", "sha256"),
    Column("The same in words", "words", " ".join),
)


def add(app: typer.Typer) -> None:
    """Add the commands."""
    register(app, "run", run)
    register(app, "abort", abort)
    register(app, "exception", exception)


def run(
    session: Session,
    plan: PlanArgument,
    pin_fd: PinFdOption = None,
    new_pins: NewPinsOption = None,
    cards: CardsOption = None,
    accept_swap: SwapOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only do the checks, and print the steps.")
    ] = False,
) -> None:
    """Hold a ceremony: wait for the approvals, do the script, wait for the signatures.

    The service has to stand still meanwhile. Interrupted anywhere, the same command goes on: an
    unfinished section is undone and begun anew. Nothing old is retired before the end.
    """
    from kms.cli import desk, nobody, premises  # noqa: PLC0415 -- heavy

    read = premises.read_plan(plan)
    with nullcontext() if dry_run else desk.telling_of_refusal(session, read):
        place = desk.open_desk(
            session,
            read,
            pin_fd=pin_fd,
            new_pins=new_pins,
            cards=cards,
            accept_swap=accept_swap,
            makes_tokens=not dry_run,
            people=nobody.Nobody() if dry_run else None,
        )
        if not place.begun:
            check_people(place.ceremony, place.brief)
        if dry_run:
            place.check()
            return
        sitting = place.sit()
    try:
        _call(session, place, sitting, read)
        if not place.recorded:
            with place.room() as room:
                sitting.hold(room)
        _close(session, sitting, place)
    except KeyboardInterrupt:
        session.output.note(_("Interrupted. Nothing is lost: the same command goes on."))
        raise


def _call(session: Session, place: "Desk", sitting: "Sitting", plan: "Plan") -> None:
    """Show what is to be approved, and wait for it, unless that is over."""
    from kms.ceremonies.people.words import digest_words  # noqa: PLC0415 -- heavy
    from kms.cli import attendance, plan_view  # noqa: PLC0415 -- heavy

    document = plan_view.plan_document(plan, place.ceremony, place.brief.register)
    if place.begun:
        session.output.note(_("The ceremony goes on where it was interrupted."))
        return
    plan_view.note_plan(session.output, document)
    note = session.output.note
    note(_("To approve: SHA-256 {sha256}").format(sha256=sitting.sha256.hex()))
    note(_("The same in words: {words}").format(words=" ".join(digest_words(sitting.sha256))))
    note(_("Folder: {folder}").format(folder=sitting.folder))
    _say_how_to_sign(session, place)
    if place.busy():
        note(_("The service still runs: stop it before the last approval."))
    attendance.await_approvals(sitting, session.output)
    note(_("The quorum is met."))


def _say_how_to_sign(session: Session, place: "Desk") -> None:
    """Say what everybody types now, at their own terminal."""
    said = _("Everybody signs at their own terminal: {command}")
    command = f"conclave ceremony sign {place.brief.plan.file.id} --person NAME --token LABEL"
    session.output.note(said.format(command=command))
    if place.settings.ceremonies.software_credentials:
        session.output.note(_("With a key in a file: --key FILE in the place of --token LABEL."))


def _close(session: Session, sitting: "Sitting", place: "Desk") -> None:
    """Wait for the signatures of the transcript, and say where it lies."""
    from kms.ceremonies.people.words import digest_words  # noqa: PLC0415 -- heavy
    from kms.ceremonies.record.folder import Folder  # noqa: PLC0415 -- heavy
    from kms.cli import attendance  # noqa: PLC0415 -- heavy
    from kms.cli.records_view import payload_digest, transcript_of  # noqa: PLC0415 -- heavy

    folder = Folder(sitting.folder)
    sha256, transcript = payload_digest(folder), transcript_of(folder)
    note, words = session.output.note, list(digest_words(sha256))
    note(_("To sign: SHA-256 of the transcript {sha256}").format(sha256=sha256.hex()))
    note(_("The same in words: {words}").format(words=" ".join(words)))
    _say_how_to_sign(session, place)
    attendance.await_signatures(sitting.missing_signatures, session.output)
    document = {
        "id": sitting.request.ceremony,
        "result": transcript.result.value,
        "file": str(sitting.finish()),
        "sha256": sha256.hex(),
        "words": words,
    }
    session.output.record(document, document, _DONE)


def abort(
    session: Session,
    ceremony: IdArgument,
    pin_fd: PinFdOption = None,
    accept_swap: SwapOption = False,
) -> None:
    """Undo a ceremony that was interrupted, as long as no section without a way back has begun.

    The transcript says so, and everybody signs it as after any ceremony.
    """
    from kms.ceremonies.record.folder import Folder  # noqa: PLC0415 -- heavy
    from kms.cli import desk  # noqa: PLC0415 -- heavy
    from kms.cli.records_view import folder_of  # noqa: PLC0415 -- heavy

    plan = Folder(folder_of(session, ceremony)).plan()
    place = desk.open_desk(session, plan, pin_fd=pin_fd, accept_swap=accept_swap)
    sitting = place.sit()
    if not place.recorded:
        with place.room() as room:
            sitting.abort(room)
    _close(session, sitting, place)


def exception(
    session: Session,
    ceremony: IdArgument,
    text: Annotated[str, typer.Argument(help="What went otherwise than written, in a line.")],
) -> None:
    """Put a line on the exception sheet of a ceremony that goes on; the transcript has it."""
    from kms.ceremonies.record.journal import Journal  # noqa: PLC0415 -- heavy
    from kms.cli.records_view import folder_of  # noqa: PLC0415 -- heavy

    journal = Journal.open(folder_of(session, ceremony))
    if journal.progress.recorded:
        raise StateNotAllowed(
            f"the ceremony {ceremony} is over, its transcript is written",
            hint="write it on the printed transcript by hand, and sign it there",
        )
    journal.add_exception(text, int(time.time()))
    session.output.note(_("It stands on the exception sheet."))
