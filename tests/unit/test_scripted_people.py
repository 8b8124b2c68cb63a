"""Scripted people: each types back the card that is asked for, from memory or from a folder."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from kms.ceremonies.ports import ShareCard, SharedSecret, ShareGroup
from kms.ceremonies.steps.shares import share_name
from kms.errors import NotFound
from kms.practice.people import CardBox, CardFolder, CardsInMemory, ScriptedPeople

CARD = ShareCard(
    site="hq.example",
    secret=SharedSecret.ESCROW,
    generation=1,
    split=1,
    group=ShareGroup("security", 3, 5),
    index=2,
    holder="sun-security",
    display="孙磊",
    fingerprint="0123abcd",
    words="acid acid academic",
)
CARDS = (
    CARD,
    replace(CARD, secret=SharedSecret.SO, words="so words"),
    replace(CARD, split=11, words="split words"),
    replace(CARD, generation=2, words="generation words"),
    replace(CARD, group=ShareGroup("legal-2", 2, 3), words="legal words"),
)


@pytest.fixture(params=["memory", "folder"])
def box(request: pytest.FixtureRequest, tmp_path: Path) -> CardBox:
    return CardsInMemory() if request.param == "memory" else CardFolder(tmp_path / "shares")


def asked(card: ShareCard) -> str:
    name = share_name(card.secret, f"{card.group.name}/{card.index}", card.generation, card.split)
    return f"Read {name} back from the card:"


def test_each_card_is_typed_back_when_it_is_asked_for(box: CardBox) -> None:
    people = ScriptedPeople(box)
    for card in CARDS:
        people.give_card(card)
    for card in CARDS:
        assert people.take_words(card.holder, asked(card)) == card.words


def test_a_card_of_another_attempt_takes_the_place_of_the_first(box: CardBox) -> None:
    people = ScriptedPeople(box)
    people.give_card(CARD)
    people.give_card(replace(CARD, words="newer words"))
    assert people.take_words("sun-security", asked(CARD)) == "newer words"


def test_nobody_types_a_card_that_was_never_given(box: CardBox) -> None:
    with pytest.raises(NotFound):
        ScriptedPeople(box).take_words("sun-security", asked(CARD))


def test_cards_in_a_folder_are_marked_private_and_outlive_the_process(tmp_path: Path) -> None:
    ScriptedPeople(CardFolder(tmp_path)).give_card(CARD)
    path = tmp_path / "escrow-1-1-security-2.txt"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text("utf-8")
    assert text.startswith("PRACTICE / 演练\n")
    assert "孙磊 (sun-security), 0123abcd" in text
    assert ScriptedPeople(CardFolder(tmp_path)).take_words("x", asked(CARD)) == CARD.words


def test_bags_are_numbered_and_everything_heard_is_kept() -> None:
    people = ScriptedPeople()
    people.say("Begin.")
    people.confirm("chen-admin", "treasury", "Go on?")
    bags = [people.ask("sun-security", "Number of the bag:") for _ in range(2)]
    assert bags == ["PRACTICE-0001", "PRACTICE-0002"]
    assert people.said == ["Begin."]
