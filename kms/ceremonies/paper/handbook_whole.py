"""The whole handbook: what all ceremonies have in common, then a chapter for each kind."""

from collections.abc import Iterator, Mapping

from kms.ceremonies.ceremony import Ceremony
from kms.ceremonies.paper.handbook import CARRIES, DUTIES, chapter, needs, signing
from kms.ceremonies.paper.handbook_general import after, before, trouble
from kms.ceremonies.paper.sample import example_brief
from kms.documents.markdown import render_markdown
from kms.documents.paper import Block, Heading, Paper, Paragraph, Table
from kms.domain.people import CredentialKind
from kms.i18n import _


def whole_handbook(ceremonies: Mapping[str, Ceremony]) -> str:
    """Return the handbook of all kinds as Markdown in the present language."""
    chapters = [
        render_markdown(chapter(one, example_brief(one)), level=2) for one in ceremonies.values()
    ]
    return "\n".join([render_markdown(_general(ceremonies)), *chapters])


def _general(ceremonies: Mapping[str, Ceremony]) -> Paper:
    return Paper(_("Handbook of key ceremonies"), "", "", tuple(_blocks(ceremonies)))


def _blocks(ceremonies: Mapping[str, Ceremony]) -> Iterator[Block]:
    brief = example_brief(next(iter(ceremonies.values())))
    yield Paragraph(
        _(
            "For the people who take part. It is written from the scripts that the program does, "
            "so what it says is what happens. The handbook of one plan, with its people and its "
            "exact inputs, is printed by `conclave ceremony handbook PLAN --pdf FILE`. The names "
            "and plans below are examples."
        )
    )
    yield Heading(1, _("Kinds of ceremonies"))
    yield Table(
        (_("Kind"), _("Ceremony"), _("Approval")),
        tuple((f"`{one.name}`", _(one.title), needs(one)) for one in ceremonies.values()),
    )
    yield Heading(1, _("Who takes part"))
    yield Table(
        (_("Part"), _("Does"), _("Brings")),
        tuple((_(part.value), _(duty), _(CARRIES[part])) for part, duty in DUTIES.items()),
    )
    everybody = tuple(signing("NAME", "ID", CredentialKind.TOKEN))
    yield from before(brief, "PLAN", everybody, new_pins=False)
    yield from after(brief, everybody)
    yield from trouble(brief)
