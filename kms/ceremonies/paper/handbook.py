"""The handbook of one ceremony, from the script that the engine does: who, what, what is typed.

Whoever has read it needs nothing else: every line that somebody types is in it, letter by letter
where it can be known.
"""

from collections.abc import Iterator
from typing import assert_never

from kms.ceremonies.ceremony import Ceremony, Needs
from kms.ceremonies.paper.handbook_general import after, before, trouble
from kms.ceremonies.people.words import digest_words
from kms.ceremonies.room import Brief
from kms.ceremonies.step import Ask, Section, Step
from kms.documents.markdown import render_markdown as _markdown
from kms.documents.paper import Block, Heading, Move, Paper, Paragraph, Source, Table, Typed
from kms.documents.pdf import render_pdf as _pdf
from kms.domain.people import CredentialKind, Part, Person
from kms.i18n import _

DELIVERS = "/pin/"
"""In the id of a step that hands a new token's PIN over, which has to go somewhere."""

DUTIES = {
    Part.ADMINISTRATOR: "runs the script at the ceremony's terminal; holds no share",
    Part.WITNESS: "watches that everything is done as written; holds no share",
    Part.AUDITOR: "compares digests and keeps the transcript; holds no share",
    Part.OFFICER: "approves the plan with their own credential; gives a share where it is asked",
}
"""What each part does."""
CARRIES = {
    Part.ADMINISTRATOR: "own credential, the plan, this handbook, the PINs of the tokens",
    Part.WITNESS: "own credential, this handbook",
    Part.AUDITOR: "own credential, this handbook, the site root of the last transcript",
    Part.OFFICER: "own credential, the sealed bags with own share cards",
}
"""What each part brings."""


def handbook(ceremony: Ceremony, brief: Brief, *, plan: str = "") -> Paper:
    """Return the handbook of one ceremony in the present language; ``plan`` is the path of its
    plan as the administrator types it.
    """
    file = brief.plan.file
    new_pins = any(DELIVERS in step.id for one in ceremony.script(brief) for step in one.steps)
    return Paper(
        title=_(ceremony.title),
        kind=_("Handbook of a key ceremony: {kind}").format(kind=ceremony.name),
        footer=f"{file.site} · {file.id} · {brief.plan.sha256.hex()[:16]}",
        blocks=(
            *_opening(ceremony, brief),
            *before(brief, plan or f"{file.id}.toml", signing_lines(brief), new_pins=new_pins),
            *script(ceremony, brief),
            *after(brief, signing_lines(brief)),
            *trouble(brief),
        ),
    )


def chapter(ceremony: Ceremony, brief: Brief) -> Paper:
    """Return what is a ceremony's own, without what all have in common; its plan is an example."""
    example = brief.plan.raw.decode()
    blocks = (
        Paragraph(_(ceremony.purpose)),
        Paragraph(needs(ceremony)),
        Heading(1, _("An example of a plan")),
        Source(example, "toml"),
        *script(ceremony, brief),
    )
    return Paper(f"{_(ceremony.title)} (`{ceremony.name}`)", "", "", blocks)


def render_markdown(ceremony: Ceremony, brief: Brief, *, plan: str = "") -> str:
    """Return the handbook of one ceremony as Markdown."""
    return _markdown(handbook(ceremony, brief, plan=plan))


def render_pdf(ceremony: Ceremony, brief: Brief, made: int, *, plan: str = "") -> bytes:
    """Return the handbook of one ceremony as PDF, dated ``made``; raise ConfigurationError."""
    return _pdf(handbook(ceremony, brief, plan=plan), made)


def needs(ceremony: Ceremony) -> str:
    """Return whose approval a ceremony needs, as a sentence."""
    match ceremony.needs:
        case Needs.SECURITY:
            return _("It needs the approval of the first group of officers, the security officers.")
        case Needs.EVERY_GROUP:
            return _("It needs the approval of every group of officers.")
        case _:
            assert_never(ceremony.needs)


def script(ceremony: Ceremony, brief: Brief) -> Iterator[Block]:
    """Yield the script's sections and steps with what is typed in each."""
    yield Heading(1, _("The script"))
    for number, section in enumerate(ceremony.script(brief), 1):
        yield from _section(number, section, brief)


def _section(number: int, section: Section, brief: Brief) -> Iterator[Block]:
    yield Heading(2, f"{number}. {_(section.text).format_map(section.values)}")
    if section.forward:
        yield Paragraph(
            _(
                "From the first step of this section on there is no way back: it can only be "
                "brought to its end. If it is interrupted, run the ceremony again."
            ),
            grave=True,
        )
    for count, step in enumerate(section.steps, 1):
        yield _move(f"{number}.{count}", step, brief)


def _move(number: str, step: Step, brief: Brief) -> Move:
    typed = [_typed(ask, brief) for ask in step.asks]
    if step.confirm and step.confirm not in {one.exact for one in typed}:
        typed.insert(0, Typed(_name(Part.ADMINISTRATOR, brief), _("to confirm"), step.confirm))
    return Move(number, _who(step.who, brief), _(step.text).format_map(step.values), tuple(typed))


def _typed(ask: Ask, brief: Brief) -> Typed:
    return Typed(_name(ask.who, brief), _(ask.what).format_map(ask.values), ask.exact)


def _opening(ceremony: Ceremony, brief: Brief) -> Iterator[Block]:
    file, digest = brief.plan.file, brief.plan.sha256
    yield Paragraph(_(ceremony.purpose))
    yield Table(
        (),
        (
            (_("Site"), file.site),
            (_("Ceremony"), f"`{file.id}`"),
            (_("Purpose"), file.purpose),
            (_("To be done before"), file.expires.strftime("%Y-%m-%d %H:%MZ")),
            (_("SHA-256 of the plan"), f"`{digest.hex()}`"),
            (_("The same in words"), " ".join(digest_words(digest))),
        ),
        (1, 3),
    )
    yield Heading(1, _("Who takes part"))
    yield Paragraph(needs(ceremony))
    yield Table(
        (_("Person"), _("Part"), _("Does"), _("Brings")),
        tuple(_person_row(_person(name, brief)) for name in file.roster),
        (3, 2, 4, 4),
    )


def _person_row(person: Person) -> tuple[str, ...]:
    part = _(person.part.value)
    group = f"{part}, {person.group} {person.share}" if person.group else part
    if person.spaces:
        group = _("{part}; approves for {spaces} alone").format(
            part=group, spaces=", ".join(person.spaces)
        )
    return (f"{person.display} ({person.name})", group, _(DUTIES[person.part]),
            _(CARRIES[person.part]))  # fmt: skip


def signing_lines(brief: Brief) -> tuple[Typed, ...]:
    """Return what everybody types, each at their own terminal, to sign what is due."""
    people = [_person(name, brief) for name in brief.plan.file.roster]
    return tuple(
        typed
        for person in people
        for typed in signing(person.name, brief.plan.file.id, person.credentials[0].kind)
    )


def signing(person: str, ceremony: str, kind: CredentialKind) -> Iterator[Typed]:
    """Yield what one person types to sign what is due."""
    where = "--token LABEL" if kind is CredentialKind.TOKEN else "--key FILE"
    command = f"conclave ceremony sign {ceremony} --person {person} {where}"
    yield Typed(person, _("at their own terminal"), command)
    yield Typed(person, _("the last of the eight words, once all eight were compared"))
    secret = (
        _("the PIN of their own credential, which is not shown")
        if kind is CredentialKind.TOKEN
        else _("the password of their own key, if it has one, which is not shown")
    )
    yield Typed(person, secret)


def _person(name: str, brief: Brief) -> Person:
    return brief.register.person(name)


def _name(who: str, brief: Brief) -> str:
    """Return the name of the one person of a part, or of the person themselves."""
    file = brief.plan.file
    match who:
        case Part.ADMINISTRATOR:
            return file.administrator
        case Part.WITNESS:
            return file.witness
        case Part.AUDITOR:
            return file.auditor
        case _:
            return who


def _who(who: str, brief: Brief) -> str:
    name = _name(who, brief)
    known = {person.name: person.display for person in brief.register.people}
    return f"{known[name]} ({name})" if name in known else _(name)
