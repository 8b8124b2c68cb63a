"""Escrow shares: SLIP-39 groups, all of them needed, every share proved before it counts."""

from itertools import product

import pytest

from kms.ceremonies.ports import Share, ShareGroup
from kms.ceremonies.shares import check_value, combine, distribute, share_digest, split
from kms.errors import IntegrityFailure

SWK = bytes(range(32))
CHECK = check_value(SWK)
GROUPS = (ShareGroup("security", 3, 5), ShareGroup("legal", 2, 3))


class Holders:
    """A fake of the share holders: a dictionary."""

    def __init__(self) -> None:
        self.words: dict[tuple[str, int], str] = {}

    def hand_over(self, share: Share) -> None:
        self.words[share.group, share.index] = share.words

    def read_back(self, group: str, index: int) -> str:
        return self.words[group, index]


@pytest.fixture(scope="module")
def shares() -> dict[tuple[str, int], str]:
    return {(share.group, share.index): share.words for share in split(SWK, GROUPS)}


def words(shares: dict[tuple[str, int], str], security: str, legal: str) -> list[str]:
    return [shares["security", int(i)] for i in security] + [shares["legal", int(i)] for i in legal]


def test_a_split_has_the_holders_of_every_group_and_33_words_each(
    shares: dict[tuple[str, int], str],
):
    holders = [*product(["security"], range(1, 6)), *product(["legal"], range(1, 4))]
    assert sorted(shares) == sorted(holders)
    assert {len(text.split()) for text in shares.values()} == {33}


@pytest.mark.parametrize(("security", "legal"), [("123", "12"), ("345", "23"), ("135", "13")])
def test_the_threshold_of_every_group_gives_the_key(
    shares: dict[tuple[str, int], str], security: str, legal: str
):
    assert combine(words(shares, security, legal), CHECK) == SWK


@pytest.mark.parametrize(
    ("security", "legal"), [("12", "12"), ("123", "1"), ("12345", ""), ("", "123"), ("", "")]
)
def test_fewer_give_nothing(shares: dict[tuple[str, int], str], security: str, legal: str):
    with pytest.raises(IntegrityFailure):
        combine(words(shares, security, legal), CHECK)


def test_shares_of_two_splits_do_not_mix(shares: dict[tuple[str, int], str]):
    other = {(one.group, one.index): one.words for one in split(SWK, GROUPS)}
    mixed = [*words(shares, "12", "12"), other["security", 3]]
    with pytest.raises(IntegrityFailure):
        combine(mixed, CHECK)


def test_a_wrong_word_is_found_and_never_quoted(shares: dict[tuple[str, int], str]):
    chosen = words(shares, "123", "12")
    spoiled = chosen[0].split()
    spoiled[10] = "academic" if spoiled[10] != "academic" else "acid"
    with pytest.raises(IntegrityFailure) as caught:
        combine([" ".join(spoiled), *chosen[1:]], CHECK)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert not set(spoiled) & set(str(caught.value).split())


def test_another_key_fails_the_check_value(shares: dict[tuple[str, int], str]):
    with pytest.raises(IntegrityFailure, match="another key"):
        combine(words(shares, "123", "12"), check_value(bytes(32)))


def test_distribution_hands_over_every_share_and_proves_them():
    holders, shares = Holders(), split(SWK, GROUPS)
    distribute(shares, GROUPS, CHECK, holders)
    assert {share_digest(text) for text in holders.words.values()} == {
        share_digest(share.words) for share in shares
    }


def test_a_share_that_reads_differently_is_named():
    class Careless(Holders):
        def read_back(self, group: str, index: int) -> str:
            text = super().read_back(group, index)
            return text.upper() if (group, index) == ("legal", 2) else text

    with pytest.raises(IntegrityFailure, match="share 2 of legal"):
        distribute(split(SWK, GROUPS), GROUPS, CHECK, Careless())


def test_shares_of_another_key_are_not_committed():
    with pytest.raises(IntegrityFailure, match="another key"):
        distribute(split(bytes(32), GROUPS), GROUPS, CHECK, Holders())


def test_a_share_does_not_show_its_words():
    share = split(SWK, GROUPS)[0]
    assert share.words not in repr(share)
