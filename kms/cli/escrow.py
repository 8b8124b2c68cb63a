"""escrow: whether every key could be recovered, and what people owe."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from kms.cli.exits import Exit
from kms.cli.output import Column, word, yes_no
from kms.cli.register import group, register
from kms.cli.session import Session
from kms.i18n import _

if TYPE_CHECKING:
    from kms.wire.replies import EscrowOut

_GENERATIONS = (
    Column("Generation", "generation"),
    Column("Made", "made"),
    Column("Destroyed", "destroyed"),
    Column("Private half kept", "blob", yes_no),
    Column("Covers epochs", "epochs"),
)


def add(app: typer.Typer) -> None:
    """Add the commands."""
    escrow = group("Escrow: how keys are recovered when an HSM is lost.")
    register(escrow, "status", status)
    app.add_typer(escrow, name="escrow")


def status(session: Session) -> None:
    """Show whether every key could be recovered; exit code 3 if people have to act."""
    with session.client() as client:
        found = client.escrow()
    document = found.model_dump(mode="json")
    session.output.table(document, document["generations"], _GENERATIONS)
    text = _("{covered} of {epochs} keys could be recovered; last drill: {drill}")
    drill = found.last_drill or "-"
    session.output.note(text.format(covered=found.covered, epochs=found.epochs, drill=drill))
    _say(session.output.banner, found)
    if found.attention:
        raise typer.Exit(Exit.ATTENTION)


def _say(say: Callable[[str], None], found: "EscrowOut") -> None:
    """Tell what people have to do, a line each."""
    for gap in found.gaps:
        say(
            _("NOT COVERED: epoch {epoch} of {space}/{meeting}: {reason}").format(
                epoch="-" if gap.epoch is None else gap.epoch,
                space=gap.space,
                meeting=gap.meeting or "-",
                reason=word(gap.reason),
            )
        )
    if found.gap_count > len(found.gaps):
        say(_("and {count} more").format(count=found.gap_count - len(found.gaps)))
    for space in found.unknown:
        text = _("UNKNOWN: the keys of {space} could not be looked at: its token cannot be asked")
        say(text.format(space=space))
    for one in found.generations:
        if not one.blob and one.destroyed is None:
            say(_("MISSING: the private half of generation {number}").format(number=one.generation))
    for owed in found.obligations:
        text = _(
            "OWED: generation {number} must be replaced, since ceremony {ceremony}; plan "
            "new-generation"
        )
        say(text.format(number=owed.generation, ceremony=owed.ceremony))
    for holder in (one for one in found.holders if one.overdue):
        text = _("OVERDUE: the drill of {person} since {due}")
        say(text.format(person=holder.person, due=holder.due))
