"""Labels: one spelling for each, and no other is ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.domain.models import ReleaseClass
from kms.errors import InvalidInput
from kms.hsm.labels import (
    NAMED,
    Kind,
    Label,
    disk_kek,
    named,
    numbered,
    parse_label,
    partner,
    vault_public,
)

NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True)
NUMBERS = st.integers(1, 999_999_999)
NUMBERED = sorted(set(Kind) - NAMED - {Kind.CHECKPOINT_STATE, Kind.DISK_KEK, Kind.PARTNER})
DISK = "0193a5b0-7c3e-7000-8000-0123456789ab"
LABELS = st.one_of(
    st.builds(named, st.sampled_from(sorted(NAMED)), NAMES),
    st.builds(numbered, st.sampled_from(NUMBERED), NUMBERS),
    st.builds(vault_public, NUMBERS, st.sampled_from(ReleaseClass)),
    st.builds(partner, NAMES, NUMBERS),
    st.builds(disk_kek, st.just(DISK), NUMBERS),
    st.just(Label(Kind.CHECKPOINT_STATE)),
)


@given(LABELS)
def test_a_label_reads_back_as_itself(label: Label):
    assert parse_label(str(label)) == label


def test_labels_are_spelled_as_documented():
    assert str(vault_public(1, ReleaseClass.TRUSTED)) == "vault/1/trusted"
    assert str(numbered(Kind.VAULT, 12)) == "vault/12"
    assert str(partner("treasury", 2)) == "partner/treasury/2"
    assert str(disk_kek(DISK, 3)) == f"disk-kek/{DISK}/3"
    assert str(numbered(Kind.DISK_ESCROW, 2)) == "disk-escrow/2"
    assert str(named(Kind.ROSTER_AUTHORITY, "ms-1")) == "roster-authority/ms-1"
    assert str(Label(Kind.CHECKPOINT_STATE)) == "checkpoint-state"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "vault",
        "vault/",
        "vault/0",
        "vault/01",
        "vault/+1",
        "vault/1 ",
        "vault/１",
        "vault/1/",
        "vault/1/everyone",
        "vault/1/trusted/x",
        "escrow/1/trusted",
        "escrow/-1",
        "escrow/1_0",
        "server",
        "server/",
        "server/A",
        "server/a/b",
        "server/-a",
        "partner/treasury",
        "partner/1",
        "partner/treasury/0",
        "partner/treasury/1/trusted",
        "server/" + "a" * 33,
        "disk-kek",
        "disk-kek/1",
        f"disk-kek/{DISK}",
        f"disk-kek/{DISK}/0",
        f"disk-kek/{DISK}/01",
        f"disk-kek/{DISK.upper()}/1",
        "disk-kek/../1",
        "disk-kek/treasury/1",
        "disk-escrow/one",
        "checkpoint-state/1",
        "Vault/1",
        "vault/1\n",
        "unknown/1",
    ],
)
def test_any_other_spelling_is_not_ours(text: str):
    with pytest.raises(InvalidInput):
        parse_label(text)
