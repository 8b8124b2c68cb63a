"""meeting: open, list, show, close, destroy."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kms.cli import score
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
from kms.errors import StateNotAllowed
from kms.i18n import _

if TYPE_CHECKING:
    from kms.client.api import Client
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
    Column("Host", "host"),
    Column("Shared with", "partner"),
    Column("Media cipher", "media"),
    Column("Recipients on the roster", "recipients"),
    Column("Reason of the epoch", "reason", reason),
    Column("Active since", "activates"),
    Column("Retires", "retires"),
)
_DAY = 24 * 3600
_DRY_RUN = (Column("Epochs to destroy", "epochs", lambda found: ", ".join(map(str, found))),)


def add(app: typer.Typer) -> None:
    """Add the commands."""
    meetings = group("Meetings: open, look at, end, destroy.")
    register(meetings, "open", open_meeting)
    register(meetings, "list", list_meetings)
    register(meetings, "show", show)
    register(meetings, "close", close)
    register(meetings, "destroy", destroy)
    score.add(meetings)
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


def destroy(session: Session, space: SpaceArgument, meeting: MeetingArgument) -> None:
    """Say which keys an approved destruction of a closed meeting would erase; erases nothing.

    Names the legal holds and the retention that stand against it. Several people approve it:
    conclave approval request meeting.destroy.
    """
    with session.client() as client:
        view = client.meeting(space, meeting)
        if view.state != "closed":
            raise StateNotAllowed(
                "only a closed meeting can be destroyed", hint="close the meeting first"
            )
        epochs = list(client.epochs(space, meeting))
        obstacles = list(_obstacles(client, space, meeting))
    living = [one.epoch for one in epochs if one.state != "destroyed"]
    session.output.note(
        _("Meeting {meeting}: epochs whose keys would be gone for good: {count}.").format(
            meeting=meeting, count=len(living)
        )
    )
    for told in obstacles:
        session.output.banner(told)
    session.output.note(
        _("Nothing was destroyed. To ask for it: {command}").format(
            command=f"conclave approval request meeting.destroy --space {space}"
            f" --set meeting={meeting}"
        )
    )
    document = {"space": space, "meeting": meeting, "epochs": living}
    session.output.record(document, document, _DRY_RUN)


def _obstacles(client: "Client", space: str, meeting: str) -> Iterator[str]:
    """Yield what forbids to destroy a meeting's keys, or may; raise Forbidden."""
    for hold in client.holds(space).items:
        if hold.lifted is None and hold.meeting in {None, meeting}:
            text = _("The legal hold {hold} forbids it: {reason}")
            yield text.format(hold=hold.hold, reason=hold.reason)
    days = client.policy(space).policy.retention_seconds / _DAY
    if days:
        text = _("By the space's policy keys are kept for {days} days after a meeting's end.")
        yield text.format(days=f"{days:g}")


def show_meeting(session: Session, view: "MeetingOut") -> None:
    """Print a meeting."""
    document = view.model_dump(mode="json")
    current: dict[str, Any] = document["current"] or {}
    epoch = {name: current.get(name) for name in ("reason", "activates", "retires")}
    recipients = ", ".join(document["roster"]["recipients"])
    session.output.record(document, {**document, **epoch, "recipients": recipients}, _DETAIL)
