"""Every kind's example is a plan that can be held: it checks, its script is whole, and what people
type stands in it.
"""

from dataclasses import replace
from string import Formatter

import pytest

from kms.ceremonies.catalogue import CEREMONIES, read_brief
from kms.ceremonies.ceremony import Ceremony
from kms.ceremonies.engine import check_script
from kms.ceremonies.plan import Plan, parse_plan
from kms.ceremonies.room import Brief, SiteBinding
from kms.ceremonies.step import Step
from kms.domain.people import Part, Register
from kms.errors import InvalidInput, StateNotAllowed

SITE = "practice.conclave.example"
BINDING = SiteBinding(
    SITE,
    {"": "site", "treasury": "space-treasury", "investment-banking": "space-investment-banking"},
    3600,
    software_credentials=False,
    offline_image=True,
)
KINDS = pytest.mark.parametrize("kind", CEREMONIES.values(), ids=lambda kind: kind.name)


def plan_of(kind: str, *changes: tuple[str, str]) -> Plan:
    text = CEREMONIES[kind].example
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return parse_plan(text.encode())


def founding() -> Register:
    return read_brief(plan_of("initialise-site"), None, "", BINDING).register


def brief_of(kind: str, *changes: tuple[str, str]) -> Brief:
    return read_brief(plan_of(kind, *changes), founding(), "token", BINDING)


def steps_of(kind: Ceremony) -> list[Step]:
    return [step for section in kind.script(brief_of(kind.name)) for step in section.steps]


@KINDS
def test_an_example_is_a_valid_plan_of_its_kind(kind: Ceremony):
    brief = brief_of(kind.name)
    assert brief.plan.file.ceremony == kind.name
    assert isinstance(brief.parameters, kind.parameters)


@KINDS
def test_a_script_is_whole_and_the_same_whenever_it_is_written(kind: Ceremony):
    script = kind.script(brief_of(kind.name))
    check_script(script)
    assert [section.id for section in kind.script(brief_of(kind.name))] == [
        section.id for section in script
    ]


@KINDS
def test_a_script_goes_forward_only_at_its_end_and_after_a_confirmation(kind: Ceremony):
    script = kind.script(brief_of(kind.name))
    forward = [section.forward for section in script]
    assert forward == sorted(forward)
    assert forward[-1]
    first = next(section for section in script if section.forward)
    assert first.steps[0].confirm


@KINDS
def test_every_text_has_the_values_that_it_names(kind: Ceremony):
    for section in kind.script(brief_of(kind.name)):
        for text, values in [
            (section.text, section.values),
            *((step.text, step.values) for step in section.steps),
            *((ask.what, ask.values) for step in section.steps for ask in step.asks),
        ]:
            assert text
            named = {name for _text, name, _spec, _how in Formatter().parse(text) if name}
            assert named <= values.keys()


@KINDS
def test_whoever_acts_is_a_part_or_on_the_register(kind: Ceremony):
    brief = brief_of(kind.name)
    names = {person.name for person in brief.register.people} | {"he-security"}
    for step in steps_of(kind):
        assert step.who in set(Part) | names
        assert {ask.who for ask in step.asks} <= set(Part) | names


def test_whoever_gives_a_share_is_asked_for_its_words():
    steps = [step for kind in CEREMONIES.values() for step in steps_of(kind)]
    giving = [step for step in steps if "-share/" in step.id or "-card/" in step.id]
    assert giving
    for step in giving:
        assert any("words of" in ask.what for ask in step.asks)


@KINDS
def test_a_handbook_tells_new_cards_from_those_that_holders_bring(kind: Ceremony):
    for step in steps_of(kind):
        cards = [ask.what for ask in step.asks if "words of" in ask.what]
        from_new = _FROM_NEW_CARDS.get(kind.name, ())
        new = "-card/" in step.id or step.id.startswith(from_new)
        end = "from the new card" if new else "from the card that {person} brought"
        assert all(card.endswith(end) for card in cards), step.id


_FROM_NEW_CARDS = {
    "initialise-site": ("site/so-share", "escrow/so-share"),
    "new-generation": ("pins/new/so-share",),
    "restore-site": ("restore/so-share", "tokens/so-share"),
}
"""Where tokens are opened by shares that the same ceremony has given out."""


def test_the_threshold_of_the_first_group_opens_the_tokens():
    shares = [step.who for step in steps_of(CEREMONIES["create-space"]) if "so-share" in step.id]
    assert shares == ["wang-security", "sun-security", "zhou-security"]


def test_a_replacement_asks_old_holders_and_gives_cards_to_new_ones():
    steps = steps_of(CEREMONIES["replace-officer"])
    cards = [step.who for step in steps if "escrow-card" in step.id]
    assert "he-security" in cards
    assert "wu-security" not in cards
    assert len(cards) == 8


def test_a_drill_asks_everybody_named_for_every_share_that_they_hold():
    ids = [step.id for step in steps_of(CEREMONIES["drill"])]
    assert sum("so-share/" in name for name in ids) == 5
    assert sum("escrow-share/" in name for name in ids) == 8


# --- what a plan may not say ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "old", "new", "told"),
    [
        ("create-space", '"treasury"\n', '"Treasury"\n', "slug"),
        ("create-space", '"treasury"\n', '"lending"\n', "names no token"),
        ("create-space", '"trusted"', '"public"', "parameters"),
        ("create-space", '"wang-security", ', "", "too few officers"),
        ("register-recipient", 'kind = "server"', 'kind = "device"', "parameters"),
        ("register-recipient", 'kind = "server"', 'kind = "roster-authority"', "P-256"),
        ("register-recipient", 'kind = "server"', 'kind = "device-anchor"', "PEM"),
        ("register-recipient", 'name = "ms-1"', 'name = "MS 1"', "a-z"),
        ("register-recipient", 'tls_key = "q', 'tls_key = "', "recipient"),
        ("register-recipient", 'kind = "server"', 'kind = "partner"', "names no token"),
        ("drill", "generation = 1", "generation = 0", "from 1"),
        ("replace-officer", 'remove = ["wu', 'remove = ["mao', "mao-security"),
        ("replace-officer", "share = 4", "share = 6", "share"),
        ("initialise-site", ', "han-legal"]', "]", "lack han-legal"),
    ],
)
def test_a_plan_that_cannot_be_held_is_refused(kind: str, old: str, new: str, told: str):
    with pytest.raises(InvalidInput, match=told):
        CEREMONIES[kind].script(brief_of(kind, (old, new)))


def test_a_plan_of_another_site_is_refused():
    with pytest.raises(InvalidInput, match="another"):
        read_brief(plan_of("drill"), founding(), "token", replace(BINDING, site="another.example"))


def test_an_unknown_kind_is_refused():
    with pytest.raises(InvalidInput, match="no ceremony"):
        brief_of("drill", ('ceremony = "drill"', 'ceremony = "party"'))


def test_only_the_first_ceremony_does_without_a_register():
    with pytest.raises(StateNotAllowed, match="no register"):
        read_brief(plan_of("drill"), None, "", BINDING)
