"""audit list: reads the log from its end backwards and shows what was asked for."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kms.cli.output import Column, word
from kms.cli.session import Session
from kms.errors import NotFound
from kms.i18n import Language, _, language

if TYPE_CHECKING:
    from kms.client.api import Client

COLUMNS = (
    Column("Leaf", "seq"),
    Column("Time", "time"),
    Column("Who", "actor"),
    Column("What", "what"),
    Column("Outcome", "outcome", word),
    Column("Where", "resource"),
)
_PAGE = 500


def list_leaves(
    session: Session,
    space: Annotated[str, typer.Option(help="Only of this space.")] = "",
    action: Annotated[
        str, typer.Option(help="Only this action, by its name, such as epoch.compromise.")
    ] = "",
    since: Annotated[
        str, typer.Option(help="Only from this time on, UTC, such as 2026-11-22T08:00.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
) -> None:
    """Show what the log says, oldest first; nothing is verified: export and verify does that."""
    found: list[dict[str, Any]] = []
    with session.client() as client:
        for leaf in backwards(client):
            if leaf["time"] < since or len(found) == limit:
                break
            if (not space or leaf["space"] == space) and (not action or leaf["action"] == action):
                found.append(leaf)
    found.reverse()
    rows = [{**leaf, "what": in_words(leaf["action"])} for leaf in found]
    session.output.table({"items": found}, rows, COLUMNS, empty=_("The log says nothing of that."))


def backwards(client: "Client") -> Iterator[dict[str, Any]]:
    """Yield the log's leaves, the newest first."""
    try:
        signed = client.checkpoint().size
    except NotFound:
        signed = 0
    tail = [json.loads(text) for text in client.leaves(signed)]
    yield from reversed(tail)
    end = signed
    while end > 0:
        start = max(0, end - _PAGE)
        page = client.some_leaves(start, end - start)
        yield from (json.loads(text) for text in reversed(page))
        end = start


def in_words(action: str) -> str:
    """Return what an action is called in the reader's language."""
    from kms.audit.actions import ACTIONS  # noqa: PLC0415 -- heavy

    known = ACTIONS.get(action)
    if known is None:
        return action
    return known.zh if language() is Language.ZH else known.en
