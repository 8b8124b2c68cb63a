"""vault: the keys that keep a space's keys, and the move of everything to the newest."""

from typing import Annotated, Any

import typer

from kms.cli.exits import Exit
from kms.cli.output import Column, say_unlisted, word, yes_no
from kms.cli.register import group, register
from kms.cli.session import Session
from kms.i18n import _

_VERSIONS = (
    Column("Space", "space"),
    Column("Version", "version"),
    Column("Made", "registered"),
    Column("Destroyed", "retired"),
    Column("Keeps epochs", "epochs"),
    Column("Next one due", "due"),
    Column("Paused", "paused", yes_no),
)
_STATE = (Column("Space", "space"), Column("Paused", "paused", yes_no))
Space = Annotated[str, typer.Argument(help="The space.", show_default=False)]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    vault = group("Vault keys: their versions, and the move of keys to the newest.")
    register(vault, "status", status)
    register(vault, "pause", pause)
    register(vault, "resume", resume)
    app.add_typer(vault, name="vault")


def status(session: Session) -> None:
    """Show every space's vault keys and what is left to move to the newest.

    Exit code 3 if the next vault key is due, if a key could not be moved, or if an older vault key
    can be destroyed.
    """
    with session.client() as client:
        found = client.vault_keys()
    document = found.model_dump(mode="json")
    rows = [
        {**version, **_shared(space, newest=version is space["versions"][-1])}
        for space in document["items"]
        for version in space["versions"]
    ]
    session.output.table(document, rows, _VERSIONS)
    say_unlisted(session.output, found.unknown)
    for space in document["items"]:
        _say(session, space)
    if any(one.attention for one in found.items):
        raise typer.Exit(Exit.ATTENTION)


def pause(session: Session, space: Space) -> None:
    """Pause the move of a space's keys to its newest vault key; it holds beyond a restart."""
    with session.client() as client:
        _show(session, client.pause_reseal(space).model_dump(mode="json"))


def resume(session: Session, space: Space) -> None:
    """Go on moving a space's keys, also those that could not be moved before."""
    with session.client() as client:
        _show(session, client.resume_reseal(space).model_dump(mode="json"))


def _show(session: Session, document: dict[str, Any]) -> None:
    session.output.record(document, document, _STATE)


def _shared(space: dict[str, Any], *, newest: bool) -> dict[str, Any]:
    """Return what a space's line shows of the space; when the next is due, of the newest alone."""
    return {
        "space": space["space"],
        "paused": space["paused"],
        "due": space["due"] if newest else None,
    }


def _say(session: Session, space: dict[str, Any]) -> None:
    name, total = space["space"], space["left"] + space["done"]
    if space["left"]:
        text = _("{space}: {done} of {total} keys moved, {rate} a second")
        told = text.format(space=name, done=space["done"], total=total, rate=space["per_second"])
        session.output.note(told)
    if space["overdue"]:
        text = _("OVERDUE: the next vault key of {space} since {due}; plan rotate-vault")
        session.output.banner(text.format(space=name, due=space["due"]))
    for one in space["versions"]:
        if one["retirable"]:
            text = _("CAN BE RETIRED: nothing depends on vault key {version} of {space}: {command}")
            command = (
                f"conclave approval request vault.retire --space {name} "
                f"--set version={one['version']}"
            )
            told = text.format(version=one["version"], space=name, command=command)
            session.output.banner(told)
    for one in space["failed"]:
        text = _("NOT MOVED: {epoch}: {reason}")
        session.output.banner(text.format(epoch=one["epoch"], reason=word(one["code"])))
