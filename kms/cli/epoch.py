"""epoch: the periods of a meeting's keys."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from kms.cli.inputs import MeetingArgument, ReasonOption, SpaceArgument
from kms.cli.meeting import show_meeting
from kms.cli.output import Column, reason, word
from kms.cli.register import group, register
from kms.cli.session import Session
from kms.errors import InvalidInput
from kms.i18n import _

_EPOCHS = (
    Column("Epoch", "epoch"),
    Column("State", "state", word),
    Column("Reason", "reason", reason),
    Column("Active since", "activates"),
    Column("Retires", "retires"),
    Column("Roster version", "roster_version"),
)
_CASCADE = (
    Column("Epoch", "epoch"),
    Column("State before", "was", word),
    Column("Active since", "starts"),
    Column("Until", "ends"),
    Column("Could open it", "readers"),
    Column("Envelopes served", "served"),
    Column("Fetched by", "fetched"),
)


class Reason(StrEnum):
    """Why a key is rotated by hand."""

    MANUAL = "manual"
    SUSPICION = "suspicion"


def add(app: typer.Typer) -> None:
    """Add the commands."""
    epochs = group("A meeting's epochs: one key each.")
    register(epochs, "list", list_epochs)
    register(epochs, "show", show)
    register(epochs, "rotate", rotate)
    register(epochs, "suspend", suspend)
    register(epochs, "compromise", compromise)
    app.add_typer(epochs, name="epoch")


def list_epochs(session: Session, space: SpaceArgument, meeting: MeetingArgument) -> None:
    """List a meeting's epochs."""
    with session.client() as client:
        items = [one.model_dump(mode="json") for one in client.epochs(space, meeting)]
    session.output.table({"items": items}, items, _EPOCHS)


def show(
    session: Session,
    space: SpaceArgument,
    meeting: MeetingArgument,
    epoch: Annotated[
        int | None, typer.Argument(help="The epoch's number; without it the present one.")
    ] = None,
) -> None:
    """Show an epoch; --json includes its signed manifest."""
    with session.client() as client:
        document = client.epoch(space, meeting, epoch).model_dump(mode="json")
    session.output.record(document, document, _EPOCHS)


def rotate(
    session: Session,
    space: SpaceArgument,
    meeting: MeetingArgument,
    reason: Annotated[Reason, typer.Option(help="suspicion takes effect at once.")] = Reason.MANUAL,
    idempotency_key: Annotated[
        str | None, typer.Option(help="Repeating the command with the same key rotates once.")
    ] = None,
) -> None:
    """Rotate a meeting's key by hand."""
    with session.client() as client:
        view = client.rotate(space, meeting, reason.value, idempotency_key=idempotency_key)
    show_meeting(session, view)


def suspend(
    session: Session, space: SpaceArgument, meeting: MeetingArgument, reason: ReasonOption
) -> None:
    """Suspend a meeting's present key, at once and alone: it is no longer served.

    Taking it into use again takes an approved request (epoch.resume); a new key ends it too.
    """
    with session.client() as client:
        document = client.suspend(space, meeting, reason).model_dump(mode="json")
    session.output.record(document, document, _EPOCHS)


def compromise(
    session: Session,
    space: SpaceArgument,
    meeting: MeetingArgument,
    reason: ReasonOption,
    epoch: Annotated[
        int | None, typer.Argument(help="The epoch's number; without it the present one.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every key of the meeting.")] = False,
) -> None:
    """Mark a key compromised, at once and alone; a meeting that uses it gets a new one.

    Shows how far it reaches: what the key protected, who could open it, who has fetched it.
    """
    if every and epoch is not None:
        raise InvalidInput("name either an epoch or --all")
    with session.client() as client:
        if every:
            found = client.compromise_all(space, meeting, reason)
        else:
            found = client.compromise(space, meeting, reason, epoch)
    document = found.model_dump(mode="json")
    if found.rotated is not None:
        session.output.note(_("The meeting now uses epoch {epoch}.").format(epoch=found.rotated))
    session.output.table(document, [_reach(one) for one in document["epochs"]], _CASCADE)


def _reach(epoch: dict[str, Any]) -> dict[str, Any]:
    fetched = [
        f"{one['actor']} ({one['count']}, {one['first']} – {one['last']})"
        for one in epoch["fetched"]
    ]
    return {**epoch, "readers": ", ".join(epoch["readers"]), "fetched": "; ".join(fetched) or None}
