"""Credential cards: only whoever has the private key can present the public one."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from kms.domain.people import Credential, CredentialKind
from kms.errors import VerificationFailed
from kms.statements import jws
from kms.statements.canonical import b64u, canonical, digest
from kms.statements.card import (
    TYP,
    HeldCredential,
    credential_key,
    make_card,
    read_card,
)
from tests.fixtures.people import held


def card_of(spki: bytes, /, **changes: str) -> str:
    """Return a card over any bytes as key, signed by some other key under that key's id."""
    claim = {"kind": "token", "person": "wang", "spki": b64u(spki)} | changes
    return jws.sign(canonical(claim), typ=TYP, kid=digest(spki), signer=held("mallory").signer)


def compressed(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the SPKI with the compressed point: another spelling of the same key."""
    head = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
    form = serialization.PublicFormat.CompressedPoint
    return head + key.public_bytes(serialization.Encoding.X962, form)


def test_a_card_says_who_and_with_which_key() -> None:
    mine = held("wang")
    card = read_card(make_card("wang", mine))
    assert card.person == "wang"
    assert card.credential == mine.credential
    assert card.credential.kid == digest(jws.spki_der(credential_key(card.credential)))


@pytest.mark.parametrize("kind", list(CredentialKind))
def test_a_card_says_where_the_key_lies(kind: CredentialKind) -> None:
    assert read_card(make_card("wang", held("wang", kind))).credential.kind is kind


def test_a_card_over_somebody_elses_key_is_refused() -> None:
    stolen = HeldCredential(held("wang").credential, held("mallory").signer)
    with pytest.raises(VerificationFailed, match="signature"):
        read_card(make_card("mallory", stolen))


@given(st.data())
def test_no_changed_character_of_a_card_goes_unseen(data: st.DataObject) -> None:
    token = make_card("wang", held("wang"))
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("ABCxyz019-_.{"))
    if other != token[at]:
        with pytest.raises(VerificationFailed):
            read_card(token[:at] + other + token[at + 1 :])


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()).public_key(),
        ed25519.Ed25519PrivateKey.generate().public_key(),
        rsa.generate_private_key(65537, 2048).public_key(),
    ],
    ids=["p384", "ed25519", "rsa"],
)
def test_only_p256_keys_are_taken(key: ec.EllipticCurvePublicKey) -> None:
    with pytest.raises(VerificationFailed, match="P-256"):
        read_card(card_of(jws.spki_der(key)))


def test_another_spelling_of_a_key_is_no_other_key() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    spki = compressed(key.public_key())
    assert serialization.load_der_public_key(spki) == key.public_key()
    held_twice = HeldCredential(
        Credential(digest(spki), CredentialKind.TOKEN, b64u(spki)), jws.private_signer(key)
    )
    with pytest.raises(VerificationFailed, match="id is not that of its key"):
        read_card(make_card("wang", held_twice))


@pytest.mark.parametrize("token", ["", "a.b.c", "not a card", make_card("w", held("w"))[:-8]])
def test_what_is_no_card_is_refused(token: str) -> None:
    with pytest.raises(VerificationFailed):
        read_card(token)


@pytest.mark.parametrize("change", [{"more": "1"}, {"kind": "sticker"}, {"spki": "!"}])
def test_unknown_fields_and_values_are_refused(change: dict[str, str]) -> None:
    spki = jws.spki_der(credential_key(held("wang").credential))
    with pytest.raises(VerificationFailed):
        read_card(card_of(spki, **change))
