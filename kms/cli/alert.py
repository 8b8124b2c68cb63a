"""alert: what people have to do something about."""

import re
from typing import Any

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

_FRACTION = re.compile(r"\.\d+(?=Z$)")


def add(app: typer.Typer) -> None:
    """Add the commands."""
    alert = group("Alerts: what people have to do something about.")
    register(alert, "list", show)
    app.add_typer(alert, name="alert")


def show(session: Session) -> None:
    """List active alerts, the gravest first; exit code 3 if one is more than a notice."""
    with session.client() as client:
        document = client.alerts().model_dump(mode="json")
    rows = list(map(row, document["items"]))
    session.output.table(document, rows, _ALERTS, empty=_("There are no alerts."))
    if any(one["severity"] != "notice" for one in document["items"]):
        raise typer.Exit(Exit.ATTENTION)


def row(alert: dict[str, Any]) -> dict[str, Any]:
    """Return an alert's fields in the present language, its time in whole seconds."""
    tongue = "zh" if language() is Language.ZH else "en"
    return {
        **alert,
        "since": _FRACTION.sub("", alert["since"]),
        "meaning": alert[f"meaning_{tongue}"],
        "todo": alert[f"todo_{tongue}"],
    }
