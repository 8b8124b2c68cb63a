"""audit search: asks the service's journal of the log, which knows where leaves stand."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from kms.cli.audit_list import COLUMNS, in_words
from kms.cli.session import Session
from kms.i18n import _

if TYPE_CHECKING:
    from kms.client.api import Client

_PAGE = 500
_LATE = 2000
"""So many of the newest leaves are looked at anyhow."""


def search_leaves(
    session: Session,
    actor: Annotated[str, typer.Option(help="Only what this caller or person did.")] = "",
    action: Annotated[
        str, typer.Option(help="Only this action, by its name, such as envelope.fetch.")
    ] = "",
    space: Annotated[str, typer.Option(help="Only of this space.")] = "",
    meeting: Annotated[
        str,
        typer.Option(help="Only of this meeting, by its id or the last 8 characters of it."),
    ] = "",
    outcome: Annotated[str, typer.Option(help="Only with this outcome, such as refused.")] = "",
    since: Annotated[
        str, typer.Option(help="Only from this time on, UTC, such as 2026-11-22T08:00.")
    ] = "",
    until: Annotated[str, typer.Option(help="Only before this time, UTC.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
) -> None:
    """Find what the log says by who, what, where and when, newest first.

    Nothing is verified: export and verify does that, and audit proof proves one leaf.
    """
    wanted = {
        "actor": actor,
        "action": action,
        "space": space,
        "meeting": meeting,
        "outcome": outcome,
        "since": since,
        "until": until,
    }
    with session.client() as client:
        found, behind = _found(client, {name: one for name, one in wanted.items() if one}, limit)
    items = [json.loads(text) for text in found]
    rows = [{**leaf, "what": in_words(leaf["action"])} for leaf in items]
    session.output.table(
        {"items": items, "behind": behind}, rows, COLUMNS, empty=_("The log says nothing of that.")
    )
    if behind > _LATE:
        session.output.note(
            _("The newest {count} leaves are not indexed yet.").format(count=behind)
        )


def _found(client: "Client", wanted: dict[str, str], limit: int) -> tuple[list[str], int]:
    """Return leaves, newest first, and by how many the index was behind the log."""
    found: list[str] = []
    before: int | None = None
    behind: int | None = None
    while len(found) < limit:
        page = client.search_leaves(before, min(_PAGE, limit - len(found)), **wanted)
        found += page.items
        behind = page.tree_size - page.indexed if behind is None else behind
        if (before := page.next) is None:
            break
    return found, behind or 0
