"""alert: what people have to do something about."""

import typer

from kms.cli.exits import Exit
from kms.cli.output import Column, word
from kms.cli.register import group, register
from kms.cli.session import Session
from kms.i18n import Language, _, language

_ALERTS = (
    Column("Severity", "severity", word),
    Column("Alert", "alert"),
    Column("Space", "space"),
    Column("Subject", "subject"),
    Column("Number", "number"),
    Column("Since", "since"),
    Column("Meaning", "meaning"),
    Column("What to do", "todo"),
)


def add(app: typer.Typer) -> None:
    """Add the commands."""
    alert = group("Alerts: what people have to do something about.")
    register(alert, "list", show)
    app.add_typer(alert, name="alert")


def show(session: Session) -> None:
    """List active alerts, the gravest first; exit code 3 if one is more than a notice."""
    with session.client() as client:
        document = client.alerts().model_dump(mode="json")
    tongue = "zh" if language() is Language.ZH else "en"
    rows = [
        {**one, "meaning": one[f"meaning_{tongue}"], "todo": one[f"todo_{tongue}"]}
        for one in document["items"]
    ]
    session.output.table(document, rows, _ALERTS, empty=_("There are no alerts."))
    if any(one["severity"] != "notice" for one in document["items"]):
        raise typer.Exit(Exit.ATTENTION)
