"""hold: legal holds, under which nothing is destroyed."""

from typing import Annotated

import typer

from kms.cli.inputs import ReasonOption, SpaceArgument
from kms.cli.output import Column
from kms.cli.register import group, register
from kms.cli.session import Session
from kms.i18n import _

_HOLDS = (
    Column("Hold", "hold"),
    Column("Protects", "protects"),
    Column("Reason", "reason"),
    Column("Placed by", "placed_by"),
    Column("Placed", "placed"),
    Column("Lifted", "lifted"),
)


def add(app: typer.Typer) -> None:
    """Add the commands."""
    holds = group("Legal holds: what they protect is not destroyed.")
    register(holds, "place", place)
    register(holds, "list", list_holds)
    app.add_typer(holds, name="hold")


def place(
    session: Session,
    space: SpaceArgument,
    reason: ReasonOption,
    meeting: Annotated[
        str | None, typer.Option(help="The meeting to protect; without it the whole space.")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="Repeating the command with the same key places it once.")
    ] = None,
) -> None:
    """Place a legal hold, at once and alone; lifting it takes an approved request."""
    with session.client() as client:
        hold = client.place_hold(space, reason, meeting, idempotency_key)
    document = hold.model_dump(mode="json")
    session.output.record(document, _row(document), _HOLDS)


def list_holds(session: Session, space: SpaceArgument) -> None:
    """List a space's legal holds, lifted ones too."""
    with session.client() as client:
        document = client.holds(space).model_dump(mode="json")
    rows = [_row(one) for one in document["items"]]
    session.output.table(document, rows, _HOLDS, empty=_("There is no legal hold."))


def _row(hold: dict[str, str | None]) -> dict[str, str | None]:
    return {**hold, "protects": hold["meeting"] or _("the whole space")}
