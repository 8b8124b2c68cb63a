"""Addenda: further keepers beside a manifest. The keys are software ones, of a fake issuer."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.domain.models import RecipientKind
from kms.errors import InvalidInput, VerificationFailed
from kms.statements import jws
from kms.statements.addendum import TYP, Addendum, keeper, sign_addendum, verify_addendum
from kms.statements.canonical import digest, encode_record
from tests.practice.issuer import MEETING, SPACE, Issued, Issuer, device_key, sign

ESCROW = "e" * 43


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def issued(issuer: Issuer) -> Issued:
    return issuer.mint([device_key(0)])


def told(issued: Issued) -> Addendum:
    entry = keeper(ESCROW, RecipientKind.ESCROW, 2, b"blob")
    manifest = digest(issued.token.encode())
    return Addendum(issued.manifest.iss, issued.manifest.sub, manifest, 1_800_000_000, entry)


def signed(issuer: Issuer, addendum: Addendum) -> str:
    key = issuer.manifest_key
    return sign_addendum(addendum, jws.spki_id(key.public_key()), jws.private_signer(key))


def test_what_is_signed_is_read_back(issuer: Issuer, issued: Issued) -> None:
    addendum = told(issued)
    token = signed(issuer, addendum)
    assert verify_addendum(token, issuer.manifest_key.public_key()) == addendum


def test_a_client_sees_the_manifests_readers_and_the_addendas(
    issuer: Issuer, issued: Issued
) -> None:
    token = signed(issuer, told(issued))
    found = issuer.trust().readers(issued.token, [token], SPACE)
    assert [one.id for one in found] == [issued.manifest.recipients[0].id, ESCROW]


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "another.example"},
        {"sub": f"{SPACE}/{MEETING}/1"},
        {"manifest": digest(b"another")},
    ],
    ids=str,
)
def test_an_addendum_to_another_manifest_is_refused(
    issuer: Issuer, issued: Issued, change: dict[str, str]
) -> None:
    token = signed(issuer, replace(told(issued), **change))
    with pytest.raises(VerificationFailed, match="another epoch's manifest"):
        issuer.trust().readers(issued.token, [token], SPACE)


def test_an_addendum_by_a_key_that_is_not_listed_is_refused(issuer: Issuer, issued: Issued) -> None:
    token = signed(Issuer(), told(issued))
    with pytest.raises(VerificationFailed):
        issuer.trust().readers(issued.token, [token], SPACE)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": RecipientKind.SERVER},
        {"kind": RecipientKind.RECORDER},
        {"kind": RecipientKind.DEVICE},
        {"sender": 0},
        {"version": 0},
    ],
    ids=str,
)
def test_nobody_but_a_keeper_comes_in_by_an_addendum(
    issuer: Issuer, issued: Issued, change: dict[str, object]
) -> None:
    addendum = told(issued)
    ghost = replace(addendum, recipient=replace(addendum.recipient, **change))
    with pytest.raises(InvalidInput, match="nobody else"):
        signed(issuer, ghost)
    forged = sign(encode_record(ghost), TYP, issuer.manifest_key)
    with pytest.raises(VerificationFailed, match="nobody else"):
        verify_addendum(forged, issuer.manifest_key.public_key())


def test_a_manifest_is_not_taken_for_an_addendum(issuer: Issuer, issued: Issued) -> None:
    with pytest.raises(VerificationFailed):
        verify_addendum(issued.token, issuer.manifest_key.public_key())


_ISSUER = Issuer()
_TOKEN = signed(_ISSUER, told(_ISSUER.mint([device_key(0)])))


@given(st.integers(0, len(_TOKEN) - 1), st.sampled_from("Aa0_-.{"))
def test_no_changed_character_goes_unseen(place: int, other: str) -> None:
    changed = _TOKEN[:place] + other + _TOKEN[place + 1 :]
    if changed == _TOKEN:
        return
    with pytest.raises(VerificationFailed):
        verify_addendum(changed, _ISSUER.manifest_key.public_key())
