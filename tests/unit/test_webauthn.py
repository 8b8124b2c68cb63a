"""What is refused of an authenticator's answers, field by field."""

from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from fido2.cose import ES256, EdDSA
from fido2.webauthn import AttestationObject
from hypothesis import given
from hypothesis import strategies as st

from kms.errors import VerificationFailed
from kms.statements.canonical import b64u, unb64u
from kms.statements.webauthn import (
    Assertion,
    RelyingParty,
    assertion_of,
    check_assertion,
    check_registration,
    registration_of,
)
from tests.fixtures.authenticator import FLAG, GOOD, PARTY, Authenticator, Made

CHALLENGE = bytes(range(32))
DEVICE = Authenticator()
MADE = DEVICE.enrolled()
OPTIONS = {"publicKey": {"challenge": b64u(CHALLENGE), "rp": {"id": PARTY.id}}}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another challenge": ({"other": bytes(32)}, "another challenge"),
    "a registration": ({"type": "webauthn.create"}, "webauthn.get"),
    "another origin": ({"origin": "https://localhost:8443"}, "another origin"),
    "a frame": ({"cross": True}, "another site's page"),
    "a frame by any other truth": ({"cross": 1}, "another site's page"),
    "another site": ({"rp_id": "localhost.example"}, "another site"),
    "nobody there": ({"flags": FLAG.UV}, "nobody touched"),
    "not verified": ({"flags": FLAG.UP}, "did not verify"),
    "another key": ({"key": ec.generate_private_key(ec.SECP256R1())}, "signature"),
    "another hash": ({"hash": hashes.SHA384()}, "signature"),
}


def check(assertion: Assertion, made: Made = MADE, party: RelyingParty = PARTY) -> int:
    return check_assertion(assertion, key_spki=made.spki, party=party, challenge=CHALLENGE)


def registered(device: Authenticator | None = None, **wrong: Any) -> Any:
    answer = (device or DEVICE).create(OPTIONS, **wrong)
    return registration_of(answer, party=PARTY, challenge=CHALLENGE)


def test_an_honest_answer_counts_and_tells_its_counter() -> None:
    assert check(DEVICE.sign(MADE, CHALLENGE, counter=7)) == 7


@pytest.mark.parametrize("name", WRONG)
def test_an_answer_that_is_wrong_in_one_field_is_refused(name: str) -> None:
    wrong, said = WRONG[name]
    with pytest.raises(VerificationFailed, match=said):
        check(DEVICE.sign(MADE, CHALLENGE, **wrong))


@pytest.mark.parametrize("name", list(WRONG)[:-2])
def test_a_registration_that_is_wrong_in_one_field_is_refused(name: str) -> None:
    wrong, said = WRONG[name]
    if wrong.get("type"):
        wrong, said = {"type": "webauthn.get"}, "webauthn.create"
    with pytest.raises(VerificationFailed, match=said):
        registered(**wrong)


def test_a_registration_gives_the_key_that_signs_afterwards() -> None:
    device = Authenticator()
    found = registered(device)
    made = device.made[-1]
    assert (found.credential, found.spki, found.counter) == (made.credential, made.spki, 1)
    check(device.sign(made, CHALLENGE), made)


def test_only_es256_is_taken() -> None:
    other = EdDSA.from_cryptography_key(ed25519.Ed25519PrivateKey.generate().public_key())
    own = ES256.from_cryptography_key(MADE.key.public_key())
    off_curve = ES256({**own, -2: bytes(31) + b"\x01"})
    for cose in (other, ES256({**own, -1: 2}), ES256({**own, 4: [2]}), off_curve):
        with pytest.raises(VerificationFailed):
            registered(cose=cose)


def test_an_assertion_that_brings_a_key_is_refused() -> None:
    created = DEVICE.create(OPTIONS)
    data = AttestationObject(unb64u(created["response"]["attestationObject"])).auth_data
    taken = DEVICE.sign(MADE, CHALLENGE)
    with pytest.raises(VerificationFailed, match="no new key"):
        check(Assertion(taken.credential, b64u(data), taken.client_data, taken.signature))


def test_a_browser_cannot_name_another_passkey_than_its_authenticator() -> None:
    answer = DEVICE.create(OPTIONS)
    with pytest.raises(VerificationFailed, match="another passkey"):
        registration_of({**answer, "id": MADE.credential}, party=PARTY, challenge=CHALLENGE)


@pytest.mark.parametrize(
    "response",
    [
        {},
        {"type": "public-key"},
        {"type": "public-key", "id": "x", "response": []},
        {"type": "public-key", "id": 7, "response": {}},
        {"type": "password", "id": "x", "response": {}},
    ],
)
def test_what_is_no_answer_is_refused(response: dict[str, Any]) -> None:
    with pytest.raises(VerificationFailed):
        assertion_of(response)


@given(st.binary(max_size=300), st.sampled_from(["authenticator_data", "client_data", "signature"]))
def test_any_bytes_are_refused_as_such(data: bytes, name: str) -> None:
    fields = {
        "credential": MADE.credential,
        "authenticator_data": b64u(bytes(37)),
        "client_data": b64u(b"{}"),
        "signature": b64u(b"0"),
    }
    with pytest.raises(VerificationFailed):
        check(Assertion(**{**fields, name: b64u(data)}))


@given(st.binary(max_size=300))
def test_any_attestation_is_refused_as_such(data: bytes) -> None:
    answer = DEVICE.create(OPTIONS)["response"]
    with pytest.raises(VerificationFailed):
        check_registration(
            client_data=answer["clientDataJSON"],
            attestation=b64u(data),
            party=PARTY,
            challenge=CHALLENGE,
        )


def test_base64_has_one_spelling_here_too() -> None:
    good = DEVICE.sign(MADE, CHALLENGE)
    for text in (good.signature + "=", good.signature + "\n", good.signature[:-1] + "é"):
        with pytest.raises(VerificationFailed):
            check(Assertion(good.credential, good.authenticator_data, good.client_data, text))


def test_flags_that_mean_nothing_here_do_no_harm() -> None:
    check(DEVICE.sign(MADE, CHALLENGE, flags=GOOD | FLAG.BE | FLAG.BS))
