"""The score of a meeting: the assessment's formula, and which facts tip which part."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.domain.score import (
    LABEL_EN,
    LABEL_ZH,
    STRENGTH,
    Cipher,
    Evidence,
    EvidenceKind,
    Facts,
    Part,
    number,
    score,
)
from kms.domain.states import KeyState

SOUND = Facts(
    cipher=Cipher.AES_256_GCM_SHA512_128.value,
    reported=17,
    epoch=4,
    state=KeyState.ACTIVE,
    closed=False,
    overdue=False,
    escrow=(2,),
    covered=True,
    flagged=(),
    vault=3,
    vault_overdue=False,
)
FACTS = st.builds(
    Facts,
    cipher=st.sampled_from(["", *(one.value for one in Cipher)]),
    reported=st.none() | st.integers(0, 2**40),
    epoch=st.integers(0, 2**20),
    state=st.sampled_from(KeyState),
    closed=st.booleans(),
    overdue=st.booleans(),
    escrow=st.lists(st.integers(1, 9), max_size=1).map(tuple),
    covered=st.booleans(),
    flagged=st.lists(st.text("ab", min_size=1), max_size=3).map(tuple),
    vault=st.integers(1, 9),
    vault_overdue=st.booleans(),
)
RA = st.sampled_from(sorted({*STRENGTH.values()}))


@pytest.mark.parametrize(
    ("d", "a", "k", "ra", "rk", "expected"),
    [
        (True, True, True, 0.2, 1.0, 1.0),
        (True, False, True, 1.0, 1.0, 0.5),
        (True, False, True, 0.5, 1.0, 0.25),
        (True, False, True, 0.2, 1.5, 0.1),
        (True, True, False, 0.2, 1.0, 0.5),
        (True, True, False, 0.2, 1.5, 0.75),
        (True, False, False, 1.0, 1.0, 0.25),
        (True, False, False, 0.5, 1.2, 0.15),
        (False, True, True, 1.0, 1.0, 0.0),
    ],
)
def test_the_number_follows_the_assessments_formula(
    d: bool, a: bool, k: bool, ra: float, rk: float, expected: float
) -> None:
    assert number(d=d, a=a, k=k, ra=ra, rk=rk) == pytest.approx(expected)


@given(st.booleans(), st.booleans(), st.booleans(), RA)
def test_nothing_that_fails_makes_it_more(d: bool, a: bool, k: bool, ra: float) -> None:
    found = number(d=d, a=a, k=k, ra=ra, rk=1.0)
    assert 0 <= found <= 1
    for worse in ((False, a, k), (d, False, k), (d, a, False)):
        assert number(d=worse[0], a=worse[1], k=worse[2], ra=ra, rk=1.0) <= found


def test_aes_256_with_healthy_keys_is_strong_but_not_compliant() -> None:
    found = score(SOUND)
    assert (found.vector, found.number, found.ra, found.rk) == ("D1/A0/K1", 0.5, 1.0, 1.0)
    against = [one for one in found.reasons if not one.holds]
    assert [one.part for one in against] == [Part.A]
    assert "SM4" in against[0].en
    assert against[0].evidence == (Evidence(EvidenceKind.LEAF, "17"),)


@pytest.mark.parametrize(
    ("cipher", "vector", "ra"),
    [
        (Cipher.AES_128_GCM_SHA256_128, "D1/A0/K1", 0.5),
        (Cipher.AES_128_CTR_HMAC_SHA256_32, "D1/A0/K1", 0.2),
        (Cipher.NONE, "D0/A0/K1", 0.2),
    ],
)
def test_a_weaker_cipher_lowers_ra_and_none_fails(cipher: Cipher, vector: str, ra: float) -> None:
    found = score(replace(SOUND, cipher=cipher.value))
    assert (found.vector, found.ra) == (vector, ra)


def test_what_was_not_reported_is_not_shown() -> None:
    found = score(replace(SOUND, cipher="", reported=None))
    assert (found.vector, found.number) == ("D0/A0/K1", 0.0)
    assert found.reasons[0].en.startswith("Not shown")
    assert found.reasons[0].evidence == ()


@pytest.mark.parametrize(
    ("changes", "evidence"),
    [
        ({"state": KeyState.SUSPENDED}, Evidence(EvidenceKind.EPOCH, "4")),
        ({"state": KeyState.COMPROMISED}, Evidence(EvidenceKind.EPOCH, "4")),
        ({"closed": True}, Evidence(EvidenceKind.EPOCH, "4")),
        ({"overdue": True}, Evidence(EvidenceKind.EPOCH, "4")),
        ({"covered": False, "escrow": ()}, Evidence(EvidenceKind.EPOCH, "4")),
        ({"flagged": ("g1", "g2")}, Evidence(EvidenceKind.GRANT, "g1")),
        ({"vault_overdue": True}, Evidence(EvidenceKind.VAULT, "3")),
    ],
)
def test_each_fault_of_key_management_fails_k_and_says_where(
    changes: dict[str, object], evidence: Evidence
) -> None:
    found = score(replace(SOUND, **changes))
    assert (found.vector, found.number) == ("D1/A0/K0", 0.25)
    (against,) = [one for one in found.reasons if one.part is Part.K and not one.holds]
    assert evidence in against.evidence


def test_a_closed_meetings_last_key_is_out_of_use() -> None:
    assert score(replace(SOUND, closed=True, state=KeyState.DEACTIVATED)).k


@given(FACTS)
def test_every_part_is_told_in_both_languages_and_agrees_with_its_reasons(facts: Facts) -> None:
    found = score(facts)
    for part, holds in ((Part.D, found.d), (Part.A, found.a), (Part.K, found.k)):
        own = [one.holds for one in found.reasons if one.part is part]
        assert own
        assert all(own) is holds
    for one in found.reasons:
        assert one.en.isascii()
        assert any("\u4e00" <= letter <= "\u9fff" for letter in one.zh)
        assert "pass" not in one.en
    assert 0 <= found.number <= 1
    assert found.d or not found.number


def test_the_label_says_that_it_is_no_verdict() -> None:
    assert (LABEL_ZH, LABEL_EN) == ("自查参考分", "self-check reference score")
