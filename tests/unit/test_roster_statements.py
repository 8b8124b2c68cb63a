"""Rosters and invitations as statements: one form each, and ordinary rosters keep theirs."""

import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from kms.errors import InvalidInput, VerificationFailed
from kms.statements import jws
from kms.statements.canonical import b64u, canonical
from kms.statements.invitation import (
    Invitation,
    host_id,
    host_key,
    host_spki,
    sign_invitation,
    verify_invitation,
)
from kms.statements.roster import TYP, RosterStatement, peek_roster, sign_roster, verify_roster

KEY, OTHER = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
HOST = host_spki(KEY.public_key())
ORDINARY = RosterStatement("treasury", "a-meeting", 1, 1_800_000_000, ("AAAA", "BBBB"))
CONFIDENTIAL = replace(ORDINARY, host=HOST, invitations=("a.b.c",))
INVITATION = Invitation("site", "treasury", "a-meeting", "d" * 43, 1, 2)
TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=4).map(tuple)


def signed(payload: bytes) -> str:
    kid = jws.spki_id(KEY.public_key())
    return jws.sign(payload, typ=TYP, kid=kid, signer=jws.private_signer(KEY))


def test_an_ordinary_roster_is_written_as_it_always_was() -> None:
    fields = {"space", "meeting", "version", "issued", "devices"}
    assert json.loads(ORDINARY.encode()).keys() == fields
    assert json.loads(CONFIDENTIAL.encode()).keys() == fields | {"host", "invitations"}


@given(TEXTS, st.sampled_from(["", HOST, "h"]), TEXTS, st.integers(0, 2**53 - 1))
def test_a_roster_comes_back_as_it_was_signed(
    devices: tuple[str, ...], host: str, invitations: tuple[str, ...], issued: int
) -> None:
    statement = replace(
        ORDINARY, devices=devices, host=host, invitations=invitations, issued=issued
    )
    if invitations and not host:
        with pytest.raises(InvalidInput):
            sign_roster(statement, KEY)
        return
    token = sign_roster(statement, KEY)
    assert verify_roster(token, KEY.public_key()) == peek_roster(token) == statement
    with pytest.raises(VerificationFailed):
        verify_roster(token, OTHER.public_key())


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "", "invitations": []},
        {"host": ""},
        {"invitations": []},
        {"invitations": ["a.b.c"]},
        {"host": HOST},
        {"extra": 1},
        {"host": 7, "invitations": []},
    ],
)
def test_another_form_of_a_roster_is_none(changes: dict[str, object]) -> None:
    payload = canonical({**json.loads(ORDINARY.encode()), **changes})
    for read in (peek_roster, lambda token: verify_roster(token, KEY.public_key())):
        with pytest.raises(VerificationFailed):
            read(signed(payload))


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"space":1}'])
def test_what_is_no_roster_is_refused(payload: bytes) -> None:
    with pytest.raises(VerificationFailed):
        peek_roster(signed(payload))


def test_an_invitation_counts_by_the_hosts_key_alone_and_is_no_other_statement() -> None:
    token = sign_invitation(INVITATION, KEY)
    assert verify_invitation(token, KEY.public_key()) == INVITATION
    with pytest.raises(VerificationFailed):
        verify_invitation(token, OTHER.public_key())
    with pytest.raises(VerificationFailed):
        verify_invitation(sign_roster(ORDINARY, KEY), KEY.public_key())
    with pytest.raises(VerificationFailed):
        verify_roster(token, KEY.public_key())


def test_the_hosts_id_is_that_of_its_key() -> None:
    assert host_id(HOST) == jws.spki_id(KEY.public_key())
    assert host_id("") == ""
    assert host_spki(host_key(HOST)) == HOST


P384 = ec.generate_private_key(ec.SECP384R1()).public_key()


@pytest.mark.parametrize(
    "spki",
    ["x", "AAAA", HOST + "=", HOST + "AAAA", HOST[:-4], host_spki(P384), b64u(b"\x30\x00"), "é"],
)
def test_a_hosts_key_that_is_none_is_refused(spki: str) -> None:
    with pytest.raises(VerificationFailed):
        host_id(spki)
