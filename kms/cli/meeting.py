"""meeting: open, list, show, close, destroy."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kms.cli.inputs import (
    MeetingArgument,
    RecipientsOption,
    SpaceArgument,
    StatementOption,
    roster_wish,
)
from kms.cli.output import Column, reason, word
from kms.cli.register import group, register
from kms.cli.session import Session
from kms.errors import InvalidInput, StateNotAllowed
from kms.i18n import _

if TYPE_CHECKING:
    from kms.wire.replies import MeetingOut

_SUMMARY = (
    Column("Space", "space"),
    Column("Meeting", "meeting"),
    Column("State", "state", word),
    Column("Epoch", "current_epoch"),
    Column("Next epoch", "next_epoch"),
    Column("Roster version", "roster_version"),
    Column("Created", "created"),
)
_DETAIL = (
    *_SUMMARY,
    Column("Recipients on the roster", "recipients"),
    Column("Reason of the epoch", "reason", reason),
    Column("Active since", "activates"),
    Column("Retires", "retires"),
)
_DRY_RUN = (Column("Epochs to destroy", "epochs", lambda found: ", ".join(map(str, found))),)


def add(app: typer.Typer) -> None:
    """Add the commands."""
    meetings = group("Meetings: open, look at, end, destroy.")
    register(meetings, "open", open_meeting)
    register(meetings, "list", list_meetings)
    register(meetings, "show", show)
    register(meetings, "close", close)
    register(meetings, "destroy", destroy)
    app.add_typer(meetings, name="meeting")


def open_meeting(
    session: Session,
    space: SpaceArgument,
    meeting: Annotated[
        str | None, typer.Option(help="Id to use (UUIDv7); a roster space needs it chosen.")
    ] = None,
    recipient: RecipientsOption = None,
    statement: StatementOption = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="Repeating the command with the same key opens it once.")
    ] = None,
) -> None:
    """Open a meeting and mint its first epoch."""
    wish = roster_wish(recipient, statement)
    with session.client() as client:
        opened = client.open_meeting(space, wish, meeting=meeting, idempotency_key=idempotency_key)
    show_meeting(session, opened)


def list_meetings(session: Session, space: SpaceArgument) -> None:
    """List a space's meetings."""
    with session.client() as client:
        items = [one.model_dump(mode="json") for one in client.meetings(space)]
    session.output.table({"items": items}, items, _SUMMARY, empty=_("The space has no meetings."))


def show(session: Session, space: SpaceArgument, meeting: MeetingArgument) -> None:
    """Show a meeting with its roster and epochs."""
    with session.client() as client:
        show_meeting(session, client.meeting(space, meeting))


def close(session: Session, space: SpaceArgument, meeting: MeetingArgument) -> None:
    """End a meeting: its key is deactivated, nobody gets a new one."""
    with session.client() as client:
        show_meeting(session, client.close_meeting(space, meeting))


def destroy(
    session: Session,
    space: SpaceArgument,
    meeting: MeetingArgument,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be destroyed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for the meeting's id.")] = False,
) -> None:
    """Destroy every envelope of a closed meeting, vault's and escrow's included: no way back."""
    with session.client() as client:
        view = client.meeting(space, meeting)
        if view.state != "closed":
            raise StateNotAllowed(
                "only a closed meeting can be destroyed", hint="close the meeting first"
            )
        epochs = list(client.epochs(space, meeting))
        living = [one.epoch for one in epochs if one.state != "destroyed"]
        session.output.note(
            _("Meeting {meeting}: epochs whose keys would be gone for good: {count}.").format(
                meeting=meeting, count=len(living)
            )
        )
        if dry_run:
            document = {"space": space, "meeting": meeting, "epochs": living, "dry_run": True}
            session.output.record(document, document, _DRY_RUN)
            return
        if not yes:
            _confirm(meeting)
        show_meeting(session, client.destroy_meeting(space, meeting))


def _confirm(meeting: str) -> None:
    """Raise InvalidInput unless the meeting's id is typed back."""
    if not sys.stdin.isatty():
        raise InvalidInput(
            "destroying asks for a confirmation and there is no terminal to ask on",
            hint="check with --dry-run, then use --yes",
        )
    typed = typer.prompt(_("Type the meeting's id to destroy its keys"), err=True)
    if typed.strip() != meeting:
        raise InvalidInput("this is not the meeting's id; nothing was destroyed")


def show_meeting(session: Session, view: "MeetingOut") -> None:
    """Print a meeting."""
    document = view.model_dump(mode="json")
    current: dict[str, Any] = document["current"] or {}
    epoch = {name: current.get(name) for name in ("reason", "activates", "retires")}
    recipients = ", ".join(document["roster"]["recipients"])
    session.output.record(document, {**document, **epoch, "recipients": recipients}, _DETAIL)
