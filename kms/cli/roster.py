"""roster: show and replace who may receive a meeting's keys."""

from typing import Annotated

import typer

from kms.cli.inputs import (
    MeetingArgument,
    RecipientsOption,
    SpaceArgument,
    StatementOption,
    roster_wish,
)
from kms.cli.meeting import show_meeting
from kms.cli.output import Column
from kms.cli.register import group, register
from kms.cli.session import Session

_COLUMNS = (Column("Roster version", "version"), Column("Recipient", "recipient"))


def add(app: typer.Typer) -> None:
    """Add the commands."""
    rosters = group("Who may receive a meeting's keys.")
    register(rosters, "show", show)
    register(rosters, "set", set_roster)
    app.add_typer(rosters, name="roster")


def show(session: Session, space: SpaceArgument, meeting: MeetingArgument) -> None:
    """Show a meeting's roster."""
    with session.client() as client:
        document = client.roster(space, meeting).model_dump(mode="json")
    rows = [{"version": document["version"], "recipient": one} for one in document["recipients"]]
    session.output.table(document, rows, _COLUMNS)


def set_roster(
    session: Session,
    space: SpaceArgument,
    meeting: MeetingArgument,
    recipient: RecipientsOption = None,
    statement: StatementOption = None,
    if_version: Annotated[
        int | None, typer.Option(help="Only if the roster still has this version.")
    ] = None,
) -> None:
    """Replace a meeting's roster; whoever joins or leaves brings a new key."""
    wish = roster_wish(recipient, statement)
    with session.client() as client:
        show_meeting(session, client.set_roster(space, meeting, wish, if_version=if_version))
