"""seal: take a space, or the whole box, out of service at once."""

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from kms.cli.output import Column, yes_no
from kms.cli.register import register
from kms.cli.session import Session
from kms.domain.ids import parse_space
from kms.errors import InvalidInput, Unavailable
from kms.i18n import _
from kms.statements.sealing import BOX, marker

if TYPE_CHECKING:
    from kms.wire.replies import SealOut

_BOX = "site"
_SEALED = (
    Column("Sealed", "what"),
    Column("Since", "sealed"),
    Column("Stays after a reboot", "durable", yes_no),
    Column("In the log", "logged", yes_no),
)


def add(app: typer.Typer) -> None:
    """Add the command."""
    register(app, "seal", seal)


def seal(
    session: Session,
    reason: Annotated[str, typer.Option(help="Why, in a line; it goes into the log.")],
    space: Annotated[str | None, typer.Argument(help="The space.")] = None,
    site: Annotated[bool, typer.Option("--site", help="The whole box instead of a space.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Seal a space, or the whole box, at once: any officer may, alone.

    No key operation is possible any more; worker, HSM login and PIN are gone, and a reboot does not
    undo it. The ceremony unseal, held by a quorum, does.
    """
    if (space is None) is not site:
        raise InvalidInput("name either a space or --site")
    name = space or _BOX
    if not yes:
        _confirm(session, name, whole=space is None)
    done = _sealed(session, space, reason)
    document = done.model_dump(mode="json")
    session.output.record(document, {**document, "what": name}, _SEALED)
    if not (done.durable and done.logged):
        session.output.banner(
            _("Sealed, but not on the disk or in the log yet: the service goes on trying.")
        )
    hint = _("To unseal: {command}, hold it while the service stands still, then start it.")
    session.output.note(hint.format(command="conclave ceremony plan new unseal"))


def _sealed(session: Session, space: str | None, reason: str) -> "SealOut":
    """Return what the service did; if it does not answer, raise how to seal without it."""
    try:
        with session.client() as client:
            return client.seal_space(space, reason) if space else client.seal_site(reason)
    except Unavailable as error:
        if type(error) is not Unavailable or session.options.url is not None:
            raise
        raise Unavailable(error.message, hint=_by_hand(session, space or BOX)) from error


def _by_hand(session: Session, space: str) -> str:
    """Return how the service's user seals while the service does not answer."""
    path = parse_space(space) if space else space
    place = session.places().state / marker(path)
    text = _("it can be sealed without the service; as the service's user: {command}")
    return text.format(command=f"install -D -m 0600 /dev/null {shlex.quote(str(place))}")


def _confirm(session: Session, name: str, *, whole: bool) -> None:
    """Raise InvalidInput unless the name is typed back."""
    if not sys.stdin.isatty():
        raise InvalidInput(
            "sealing asks for a confirmation and there is no terminal to ask on",
            hint="use --yes",
        )
    session.output.note(
        _("All meetings of this box lose their keys' service until people unseal it by a ceremony.")
        if whole
        else _("Meetings of this space get no keys until people unseal it by a ceremony.")
    )
    typed = typer.prompt(_("Type {name} to seal it").format(name=name), err=True)
    if typed.strip() != name:
        raise InvalidInput("this is not the name; nothing was sealed")
