"""rotation: how the keys of open meetings stand, once or as it changes."""

import threading
import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from kms.cli.exits import Exit
from kms.cli.output import Column, reason, say_unlisted, word, yes_no
from kms.cli.register import group, register
from kms.cli.session import Session
from kms.errors import ConclaveError
from kms.i18n import _

_COLUMNS = (
    Column("Space", "space"),
    Column("Meeting", "meeting"),
    Column("Epoch", "epoch"),
    Column("State", "state", word),
    Column("Reason", "reason", reason),
    Column("Active since", "activated"),
    Column("Next is due", "due"),
    Column("Retires", "retires"),
    Column("Overdue", "overdue", yes_no),
    Column("Uses", "used"),
    Column("Next epoch", "next_epoch"),
    Column("Starts", "next_activates"),
    Column("People", "people"),
)
_LEAST_SECONDS, _MOST_SECONDS = 1.0, 10.0
"""Between two looks: changes in a burst are shown together, and time itself changes something."""


def add(app: typer.Typer) -> None:
    """Add the commands."""
    rotation = group("Rotation of all open meetings.")
    register(rotation, "status", status)
    app.add_typer(rotation, name="rotation")


def status(
    session: Session,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on, and show it again whenever it changes.")
    ] = False,
) -> None:
    """Show every open meeting's key, what comes next, which is overdue; exit code 3 if one is."""
    items = _items(session)
    with session.client() as client:
        unknown = client.unlisted_spaces()
    _show(session, items, unknown)
    if watch:
        _watch(session, items)
    if any(one["overdue"] for one in items):
        raise typer.Exit(Exit.ATTENTION)


def _items(session: Session) -> list[dict[str, Any]]:
    with session.client() as client:
        return [one.model_dump(mode="json") for one in client.rotation()]


def _show(session: Session, items: list[dict[str, Any]], unknown: Sequence[str] = ()) -> None:
    rows = [{**one, "used": _used(one)} for one in items]
    document = {"items": items, "unknown": list(unknown)}
    session.output.table(document, rows, _COLUMNS, empty=_("No meeting is open."))
    say_unlisted(session.output, unknown)


def _used(item: dict[str, Any]) -> str:
    return f"{item['uses']} / {item['maximum_uses']}" if item["maximum_uses"] else str(item["uses"])


def _watch(session: Session, shown: list[dict[str, Any]]) -> None:
    """Show what has changed, until somebody interrupts."""
    changed = threading.Event()
    threading.Thread(target=_follow, args=(session, changed), daemon=True).start()
    while True:
        changed.wait(_MOST_SECONDS)
        changed.clear()
        items = _items(session)
        if items != shown:
            shown = items
            _show(session, items)
        time.sleep(_LEAST_SECONDS)


def _follow(session: Session, changed: threading.Event) -> None:
    """Tell of every event; without events, such as for operators, the looks go on alone."""
    try:
        with session.client() as client:
            for _event in client.events():
                changed.set()
    except ConclaveError:
        return
