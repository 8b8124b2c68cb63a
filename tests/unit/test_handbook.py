"""The handbook says everything that people do: it is the script itself, in words."""

import re
import string
from collections.abc import Iterator

import pytest

from kms.ceremonies.catalogue import CEREMONIES
from kms.ceremonies.ceremony import Ceremony
from kms.ceremonies.paper.handbook import handbook, render_markdown, render_pdf
from kms.ceremonies.paper.handbook_whole import whole_handbook
from kms.ceremonies.paper.sample import example_brief
from kms.ceremonies.room import Brief
from kms.ceremonies.step import Step
from kms.documents.markdown import render_markdown as markdown
from kms.documents.paper import Heading, Move, Paper, Paragraph, Source, Table, Typed
from kms.domain.people import Part
from kms.i18n import Language, _, speak

LINE = re.compile(r"^- ⌨ (\S+): (.*?)(?:: `([^`]*)`)?$", re.MULTILINE)
MADE = 1_790_000_000


@pytest.fixture(autouse=True, params=Language)
def language(request: pytest.FixtureRequest) -> Iterator[Language]:
    speak(request.param)
    yield request.param
    speak(Language.ZH)


@pytest.fixture(params=CEREMONIES.values(), ids=CEREMONIES)
def kind(request: pytest.FixtureRequest) -> Ceremony:
    return request.param


@pytest.fixture
def brief(kind: Ceremony) -> Brief:
    return example_brief(kind)


def steps(kind: Ceremony, brief: Brief) -> list[Step]:
    return [step for section in kind.script(brief) for step in section.steps]


def typed(text: str) -> list[tuple[str, str, str]]:
    """The lines with what is typed, as a reader or a program finds them."""
    return LINE.findall(text)


def test_every_section_and_step_stands_in_it_in_order(kind: Ceremony, brief: Brief) -> None:
    blocks = handbook(kind, brief).blocks
    moves = [block for block in blocks if isinstance(block, Move)]
    assert [one.text for one in moves] == [
        _(step.text).format_map(step.values) for step in steps(kind, brief)
    ]
    assert [one.number for one in moves] == [
        f"{number}.{count}"
        for number, section in enumerate(kind.script(brief), 1)
        for count, _step in enumerate(section.steps, 1)
    ]


def test_everything_that_is_typed_has_a_line_of_its_own(kind: Ceremony, brief: Brief) -> None:
    lines = typed(render_markdown(kind, brief))
    named = {
        Part.ADMINISTRATOR: brief.plan.file.administrator,
        Part.WITNESS: brief.plan.file.witness,
        Part.AUDITOR: brief.plan.file.auditor,
    }
    for step in steps(kind, brief):
        for ask in step.asks:
            what = _(ask.what).format_map(ask.values)
            assert (named.get(ask.who, ask.who), what, ask.exact) in lines, step.id
        if step.confirm:
            assert (brief.plan.file.administrator, _("to confirm"), step.confirm) in lines, step.id


def test_everybody_on_the_roster_finds_the_commands_that_they_type(
    kind: Ceremony, brief: Brief
) -> None:
    lines = typed(render_markdown(kind, brief, plan="/media/stick/plan.toml"))
    name = brief.plan.file.id
    for person in brief.plan.file.roster:
        command = f"conclave ceremony sign {name} --person {person} --token LABEL"
        assert [exact for who, _what, exact in lines if who == person].count(command) == 2
    run = [exact for _who, _what, exact in lines if exact.startswith("conclave ceremony run ")]
    assert len(run) == 1
    assert run[0].startswith("conclave ceremony run /media/stick/plan.toml")


def test_no_placeholder_is_left_open(kind: Ceremony, brief: Brief) -> None:
    paper = Paper("", "", "", tuple(
        block for block in handbook(kind, brief).blocks if not isinstance(block, Source)
    ))  # fmt: skip
    fields = [
        name for _text, name, _spec, _how in string.Formatter().parse(markdown(paper)) if name
    ]
    assert fields == []


def test_a_section_without_a_way_back_is_marked(kind: Ceremony, brief: Brief) -> None:
    grave = [
        one for one in handbook(kind, brief).blocks if isinstance(one, Paragraph) and one.grave
    ]
    assert len(grave) == sum(section.forward for section in kind.script(brief))


def test_only_who_makes_tokens_is_asked_where_their_pins_go(kind: Ceremony, brief: Brief) -> None:
    makes = kind.name in {"initialise-site", "create-space", "restore-site"}
    assert ("--new-pins FILE" in render_markdown(kind, brief)) == makes


def test_it_can_be_printed(kind: Ceremony, brief: Brief) -> None:
    assert render_pdf(kind, brief, MADE).startswith(b"%PDF-")


def test_the_whole_handbook_has_a_chapter_for_each_kind(language: Language) -> None:
    text = whole_handbook(CEREMONIES)
    for kind in CEREMONIES.values():
        assert f"\n## {_(kind.title)} (`{kind.name}`)\n" in text
    assert ("守则" in text) == (language is Language.ZH)


# --- Markdown ------------------------------------------------------------------------------------


def test_markdown_of_a_paper_keeps_what_is_typed_and_escapes_the_rest() -> None:
    paper = Paper(
        "A *title*", "", "",
        (
            Heading(1, "One"),
            Table(("a|b",), (("c\nd",),)),
            Typed("wang", "to confirm", "destroy_*_all"),
            Typed("wang", "the [words]"),
            Paragraph("See `x*y` <b>."),
        ),
    )  # fmt: skip
    assert markdown(paper) == (
        "# A \\*title\\*\n\n## One\n\n| a\\|b |\n| --- |\n| c d |\n\n"
        "- ⌨ wang: to confirm: `destroy_*_all`\n- ⌨ wang: the \\[words]\n\nSee `x*y` \\<b>.\n"
    )
