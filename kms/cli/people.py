"""people: show the register of people, verified: who is in office, and whose drill is overdue."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kms.cli.inputs import read_root, read_text
from kms.cli.output import Column, moment, word
from kms.cli.register import group, register
from kms.cli.session import Session
from kms.domain.people import Part, Person, Register
from kms.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable


_NAMED = (Column("Person", "name"), Column("Name", "display"), Column("Part", "part", word))
_APPROVES = Column("Approves for", "spaces", lambda names: " ".join(names) or "*")
_PLACED = (
    Column("Group", "group"),
    Column("Share", "share"),
    _APPROVES,
    Column("Term until", "term_until"),
    Column("Drill due", "drill_due"),
    Column("State", "state", word),
)
_HISTORY = (
    Column("Term from", "term_from"),
    Column("Removed", "removed"),
    Column("Replaced by", "replaced_by"),
    Column("Credentials", "keys"),
)

StateOption = Annotated[
    Path | None, typer.Option(help="Folder of the site's public files, else the configured one.")
]
RootOption = Annotated[
    Path | None,
    typer.Option(help="The pinned public key of the site (PEM), else the folder's newest."),
]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    people = group("The people of key ceremonies, as the site root signed them.")
    register(people, "list", list_people)
    register(people, "show", show)
    app.add_typer(people, name="people")


def list_people(session: Session, state: StateOption = None, site_root: RootOption = None) -> None:
    """List everybody in the register, those who were removed included."""
    now, known = int(time.time()), _register(session, state, site_root)
    rows = [_row(person, now) for person in known.people]
    document = {
        "site": known.site,
        "version": known.version,
        "issued": moment(known.issued),
        "ceremony": known.ceremony,
        "groups": [{"name": one.name, "threshold": one.threshold} for one in known.groups],
        "people": rows,
    }
    session.output.table(document, rows, (*_NAMED, *_PLACED))


def show(
    session: Session,
    name: Annotated[str, typer.Argument(help="The person's name in the register.")],
    state: StateOption = None,
    site_root: RootOption = None,
) -> None:
    """Show one person with credentials and history."""
    row = _row(_register(session, state, site_root).person(name), int(time.time()))
    keys = " ".join(f"{one['kind']}:{one['id']}" for one in row["credentials"])
    session.output.record(row, {**row, "keys": keys}, (*_NAMED, *_PLACED, *_HISTORY))


def _row(person: Person, now: int) -> dict[str, Any]:
    """Return a person as the document has them; what they do not have is null."""
    return {
        "name": person.name,
        "display": person.display,
        "part": person.part.value,
        "group": person.group or None,
        "share": person.share or None,
        "spaces": list(person.spaces) if person.part is Part.OFFICER else None,
        "term_from": moment(person.term_from),
        "term_until": moment(person.term_until),
        "drill_due": moment(person.drill_due) if person.drill_due else None,
        "removed": moment(person.removed) if person.removed else None,
        "replaced_by": person.replaced_by or None,
        "state": person.standing(now).value,
        "credentials": [{"id": one.kid, "kind": one.kind.value} for one in person.credentials],
    }


def _register(session: Session, state: Path | None, site_root: Path | None) -> Register:
    """Return the newest register; raise NotFound, VerificationFailed, ConfigurationError."""
    from kms.statements import archive  # noqa: PLC0415 -- help needs none of it
    from kms.statements.register import verify_register  # noqa: PLC0415 -- heavy

    folder = state or session.settings().paths.state
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    root = site_root or folder / _newest(names, archive.SITE_ROOT)
    return verify_register(read_text(folder / _newest(names, archive.REGISTER)), read_root(root))


def _newest(names: "Iterable[str]", pattern: str) -> str:
    from kms.statements.archive import newest  # noqa: PLC0415 -- help needs none of it

    number = newest(names, pattern)
    if not number:
        raise NotFound(
            f"the folder has no {pattern.format(1)}",
            hint="the site is founded by a ceremony: conclave ceremony plan new initialise-site",
        )
    return pattern.format(number)
