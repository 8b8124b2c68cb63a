"""space, recipient: what ceremonies have made, to look at."""

import typer

from kms.cli.output import Column, word
from kms.cli.register import group, register
from kms.cli.session import Session

_SPACES = (
    Column("Space", "space"),
    Column("Release class", "release_class", word),
    Column("Token", "token"),
    Column("Created", "created"),
    Column("Retired", "retired"),
    Column("Destroyed", "destroyed"),
    Column("Sealed", "sealed"),
)
_RECIPIENTS = (
    Column("Space", "space"),
    Column("Kind", "kind", word),
    Column("Name", "name"),
    Column("Version", "version"),
    Column("Recipient", "recipient"),
    Column("Registered", "registered"),
)


def add(app: typer.Typer) -> None:
    """Add the commands."""
    spaces = group("Departments' key spaces.")
    register(spaces, "list", list_spaces)
    app.add_typer(spaces, name="space")
    recipients = group("Registered public keys that may receive meeting keys.")
    register(recipients, "list", list_recipients)
    app.add_typer(recipients, name="recipient")


def list_spaces(session: Session) -> None:
    """List the spaces that you may know of."""
    with session.client() as client:
        document = client.spaces().model_dump(mode="json")
    session.output.table(document, document["items"], _SPACES)


def list_recipients(session: Session) -> None:
    """List the registered recipients of those spaces."""
    with session.client() as client:
        document = client.recipients().model_dump(mode="json")
    session.output.table(document, document["items"], _RECIPIENTS)
