"""Shares: SLIP-39 groups, all of them needed; whose share given words are, or what is wrong."""

import random
from dataclasses import replace
from functools import cache
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shamir_mnemonic.wordlist import WORDLIST

from kms.ceremonies.ports import Share, SharedSecret, ShareGroup
from kms.ceremonies.steps.shares import (
    LENGTHS,
    Fault,
    ShareBook,
    check_value,
    combine,
    identify,
    normalise,
    place_of,
    share_digest,
    split,
)
from kms.errors import IntegrityFailure, ShareRefused
from kms.i18n import Language, speak

SWK, SO = bytes(range(32)), bytes(range(16))
GROUPS = (ShareGroup("security", 3, 5), ShareGroup("legal", 2, 3))
PLACES = [*product(["security"], range(1, 6)), *product(["legal"], range(1, 4))]


@pytest.fixture(autouse=True)
def _english():
    speak(Language.EN)
    yield
    speak(Language.ZH)


def made(
    secret: SharedSecret, generation: int = 1, number: int = 1
) -> tuple[ShareBook, dict[str, str]]:
    """Return a share book and the words by place."""
    so = secret is SharedSecret.SO
    value, groups = (SO, GROUPS[:1]) if so else (SWK, GROUPS)
    words = {place_of(one.group, one.index): one.words for one in split(value, groups)}
    book = ShareBook(
        secret,
        generation,
        number,
        "founding",
        groups,
        check_value(value),
        {place: share_digest(text) for place, text in words.items()},
        {place: f"holder-of-{place}" for place in words},
    )
    return book, words


@cache
def first() -> tuple[ShareBook, dict[str, str]]:
    return made(SharedSecret.ESCROW)


@cache
def older() -> tuple[ShareBook, dict[str, str]]:
    book, words = made(SharedSecret.ESCROW)
    return replace(book, generation=7, split=2), words


@cache
def officers() -> tuple[ShareBook, dict[str, str]]:
    return made(SharedSecret.SO)


def ask(text: str, place: str = "security/2", given: tuple[str, ...] = ()) -> str:
    book, _words = first()
    return identify(text, place, book, [book, older()[0], officers()[0]], given)


def refused(fault: Fault, text: str, *words: str, given: tuple[str, ...] = ()) -> str:
    """Return the sentence of a refusal that names all ``words`` and nothing of the share."""
    with pytest.raises(ShareRefused) as caught:
        ask(text, given=given)
    told = caught.value
    assert told.fault == fault
    assert all(word in told.message for word in words), told.message
    assert told.__suppress_context__
    own = set(text.lower().split()) & set(WORDLIST)
    assert not own & (set(told.message.lower().split()) - {"word", "wanted", "escrow", "station"})
    return told.message


def spoiled(text: str, place: int, word: str) -> str:
    words = text.split()
    words[place] = word if words[place] != word else "acid"
    return " ".join(words)


# --- splitting and combining ----------------------------------------------------------------------


@pytest.mark.parametrize("secret", SharedSecret)
def test_a_split_has_a_share_for_every_holder(secret: SharedSecret):
    _book, words = made(secret)
    places = PLACES if secret is SharedSecret.ESCROW else PLACES[:5]
    assert sorted(words) == sorted(place_of(*place) for place in places)
    assert {len(text.split()) for text in words.values()} == {LENGTHS[secret]}


def test_every_quorum_gives_the_secret():
    book, words = first()
    quorums = book.quorums(words)
    assert len(quorums) == 10 * 3
    assert {combine(chosen, book.check) for chosen in quorums} == {SWK}


def test_only_shares_that_suffice_make_quorums():
    book, words = first()
    some = {place: words[place] for place in ("security/1", "security/5", "legal/1", "legal/2")}
    assert book.quorums(some) == []
    assert len(book.quorums({**some, "security/2": words["security/2"]})) == 1


@pytest.mark.parametrize(("security", "legal"), [("12", "12"), ("123", "1"), ("12345", "123")])
def test_fewer_or_more_than_the_threshold_give_nothing(security: str, legal: str):
    book, words = first()
    chosen = [words[f"security/{i}"] for i in security] + [words[f"legal/{i}"] for i in legal]
    with pytest.raises(IntegrityFailure, match="do not combine"):
        combine(chosen, book.check)


def test_shares_of_two_splits_do_not_mix():
    _book, words = first()
    mixed = {**words, "security/3": older()[1]["security/3"]}
    with pytest.raises(IntegrityFailure):
        combine([mixed[f"security/{i}"] for i in "123"] + [mixed["legal/1"], mixed["legal/2"]], "")


def test_another_secret_fails_the_check_value():
    book, words = first()
    with pytest.raises(IntegrityFailure, match="another key"):
        combine(book.quorums(words)[0], check_value(bytes(32)))


def test_a_wrong_word_never_leaves_in_an_error():
    book, words = first()
    chosen = list(book.quorums(words)[0])
    chosen[0] = spoiled(chosen[0], 10, "academic")
    with pytest.raises(IntegrityFailure) as caught:
        combine(chosen, book.check)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert not set(chosen[0].split()) & set(str(caught.value).split())


def test_a_share_does_not_show_its_words():
    share = Share("security", 1, first()[1]["security/1"])
    assert share.words not in repr(share)


# --- typing -------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), place=st.sampled_from([place_of(*one) for one in PLACES]))
def test_case_spaces_lines_and_shortened_words_do_not_matter(seed: int, place: str):
    chance, (book, words) = random.Random(seed), first()
    typed = ""
    for word in words[place].split():
        shown = word[: chance.randint(4, len(word))]
        shown = "".join(chance.choice((letter.upper(), letter)) for letter in shown)
        typed += (
            chance.choice(("", " ", "\n")) + shown + chance.choice((" ", "\n", "\r\n", "\u3000\t"))
        )
    assert identify(typed, place, book, [book]) == words[place]


def test_full_width_letters_of_an_input_method_are_taken():
    text = first()[1]["security/2"]
    wide = "".join(chr(ord(one) + 0xFEE0) if one != " " else "\u3000" for one in text)
    assert ask(wide) == text


@settings(deadline=None)
@given(st.lists(st.sampled_from(WORDLIST), max_size=40))
def test_normalised_words_stay_as_they_are(words: list[str]):
    text = " ".join(words)
    assert normalise(text) == text
    assert normalise(" ".join(word[:4] for word in words)) == text


@settings(deadline=None, max_examples=40)
@given(st.text(max_size=200))
def test_whatever_is_typed_is_refused_with_a_fault(text: str):
    with pytest.raises(ShareRefused) as caught:
        ask(text)
    assert caught.value.fault in {Fault.WORD, Fault.LENGTH, Fault.CHECKSUM, Fault.FOREIGN}


# --- what is wrong --------------------------------------------------------------------------------


def test_a_word_of_another_list_is_named_by_its_place():
    text = spoiled(first()[1]["security/2"], 6, "xylophone")
    assert "xylophone" not in refused(Fault.WORD, text, "word 7")


@pytest.mark.parametrize("wrong", ["aca", "academics", "acad3mic"])
def test_too_short_too_long_and_misspelt_words_are_refused(wrong: str):
    refused(Fault.WORD, spoiled(first()[1]["security/2"], 0, wrong), "word 1")


def test_a_missing_word_is_told_by_the_count():
    refused(Fault.LENGTH, first()[1]["security/2"].rpartition(" ")[0], "32")
    refused(Fault.LENGTH, "", "0")


def test_a_misread_word_fails_the_checksum():
    refused(Fault.CHECKSUM, spoiled(first()[1]["security/2"], 20, "academic"), "checksum")


def test_another_holders_share_is_named_with_its_holder():
    text = first()[1]["legal/3"]
    refused(Fault.HOLDER, text, "legal/3", "holder-of-legal/3", "security/2")


def test_a_share_of_an_older_split_is_named_with_its_numbers():
    refused(Fault.SPLIT, older()[1]["security/2"], "generation 7, split 2", "generation 1, split 1")


def test_a_share_of_the_other_secret_is_named():
    refused(Fault.SECRET, officers()[1]["security/2"], "SO secret")
    book, words = officers()
    with pytest.raises(ShareRefused, match="a share of escrow") as caught:
        identify(first()[1]["security/2"], "security/2", book, [first()[0]])
    assert caught.value.fault == Fault.SECRET
    assert identify(words["security/2"], "security/2", book, []) == words["security/2"]


def test_a_foreign_share_is_called_foreign():
    _book, words = made(SharedSecret.ESCROW)
    refused(Fault.FOREIGN, words["security/2"], "no share")


def test_the_same_share_is_not_taken_twice():
    text = first()[1]["security/1"]
    refused(Fault.TWICE, text, "before", given=(share_digest(text),))
