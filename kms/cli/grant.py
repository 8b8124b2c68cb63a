"""grant: roles for a time. They are made by an approved request and end by themselves."""

from typing import Annotated

import typer

from kms.cli.exits import Exit
from kms.cli.output import Column, word
from kms.cli.register import group, register
from kms.cli.session import Session
from kms.i18n import _

_GRANTS = (
    Column("Grant", "grant"),
    Column("Space", "space"),
    Column("Caller", "principal"),
    Column("Role", "role"),
    Column("State", "state", word),
    Column("Starts", "starts"),
    Column("Ends", "expires"),
    Column("Last used", "last_used"),
    Column("Look at it", "flags", lambda flags: ", ".join(map(word, flags)) or "-"),
    Column("Reason", "reason"),
)


def add(app: typer.Typer) -> None:
    """Add the commands."""
    grants = group("Roles for a time; conclave approval request grant.create asks for one.")
    register(grants, "list", list_grants)
    register(grants, "revoke", revoke)
    app.add_typer(grants, name="grant")


def list_grants(session: Session) -> None:
    """List time-bound grants; exit code 3 if one is unused or forgotten, or some are unknown."""
    with session.client() as client:
        found = client.grants()
    document = found.model_dump(mode="json")
    session.output.table(document, document["items"], _GRANTS)
    flagged = sum(bool(one.flags) for one in found.items)
    if flagged:
        text = _("{count} grants are unused or forgotten: revoke them, or say why they stay.")
        session.output.banner(text.format(count=flagged))
    for space in found.unknown:
        text = _("UNKNOWN: the grants of {space} could not be checked: its token cannot be asked")
        session.output.banner(text.format(space=space))
    if flagged or found.unknown:
        raise typer.Exit(Exit.ATTENTION)


def revoke(session: Session, grant: Annotated[str, typer.Argument(help="The grant's id.")]) -> None:
    """End a time-bound grant at once."""
    with session.client() as client:
        document = client.revoke_grant(grant).model_dump(mode="json")
    session.output.record(document, document, _GRANTS)
