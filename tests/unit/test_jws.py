"""Our JWS against joserfc, an independent implementation, and against forgeries."""

import itertools
import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws as other_jws
from joserfc.jwk import ECKey

from kms.errors import VerificationFailed
from kms.statements import jws
from kms.statements.canonical import b64u, unb64u

TYP = "conclave-test+jws"
KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = KEY.public_key()
KID = jws.spki_id(PUBLIC)
SIGNER = jws.private_signer(KEY)
TOKEN = jws.sign(b'{"a":1}', typ=TYP, kid=KID, signer=SIGNER)


def pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


OTHER_KEY = ECKey.import_key(pem(KEY))


def signed_header(header):
    """Return a JWS with a correct signature over any header."""
    return jws_of(json.dumps(header, separators=(",", ":")).encode())


def jws_of(header, payload=b'{"a":1}'):
    whole = f"{b64u(header)}.{b64u(payload)}"
    from hashlib import sha256

    return f"{whole}.{b64u(SIGNER(sha256(whole.encode()).digest()))}"


@given(st.binary())
def test_joserfc_verifies_what_we_sign(payload):
    token = jws.sign(payload, typ=TYP, kid=KID, signer=SIGNER)
    found = other_jws.deserialize_compact(token, OTHER_KEY, algorithms=["ES256"])
    assert found.payload == payload
    assert found.headers() == {"alg": "ES256", "kid": KID, "typ": TYP}


@given(st.binary())
def test_we_verify_what_joserfc_signs(payload):
    header = {"alg": "ES256", "kid": KID, "typ": TYP}
    token = other_jws.serialize_compact(header, payload, OTHER_KEY, algorithms=["ES256"])
    assert jws.verify(token, typ=TYP, key=PUBLIC) == payload
    assert jws.key_id(token, typ=TYP) == KID
    assert jws.unverified_payload(token, typ=TYP) == payload


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "kid": KID, "typ": TYP},
        {"alg": "HS256", "kid": KID, "typ": TYP},
        {"alg": "es256", "kid": KID, "typ": TYP},
        {"alg": "ES256", "kid": KID, "typ": "JWT"},
        {"alg": "ES256", "kid": KID},
        {"alg": "ES256", "typ": TYP},
        {"alg": "ES256", "kid": KID, "typ": TYP, "x": 1},
        {"alg": "ES256", "jku": "https://evil.example", "kid": KID, "typ": TYP},
        {"alg": "ES256", "crit": ["b64"], "kid": KID, "typ": TYP},
        {"kid": KID, "alg": "ES256", "typ": TYP},
        {"alg": "ES256", "kid": KID + '","x":"', "typ": TYP},
        {"alg": "ES256", "kid": "", "typ": TYP},
        {"alg": "ES256", "kid": "ключ", "typ": TYP},
    ],
    ids=itertools.count(),  # the values differ from process to process
)
def test_any_other_header_is_refused_even_if_signed(header):
    with pytest.raises(VerificationFailed):
        jws.verify(signed_header(header), typ=TYP, key=PUBLIC)


@pytest.mark.parametrize("header", [b"", b"{}", b"[]", b"\xff\xfe", b'{"alg":"ES256","kid":"'])
def test_what_is_no_header_is_refused(header):
    with pytest.raises(VerificationFailed):
        jws.verify(jws_of(header), typ=TYP, key=PUBLIC)


def test_a_header_whose_kid_hides_bytes_beyond_ascii_is_refused():
    header = b'{"alg":"ES256","kid":"\xc3\xa9","typ":"' + TYP.encode() + b'"}'
    with pytest.raises(VerificationFailed):
        jws.key_id(jws_of(header), typ=TYP)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        TOKEN + ".",
        "." + TOKEN,
        TOKEN + "=",
        TOKEN + "\n",
        " " + TOKEN,
        TOKEN.rpartition(".")[0],
        TOKEN.rpartition(".")[0] + ".",
        TOKEN[:-2],
        TOKEN.replace(".", "..", 1),
        TOKEN[:10] + "é" + TOKEN[11:],
        TOKEN[:10] + "\ud800" + TOKEN[11:],
        TOKEN[:10] + "+" + TOKEN[11:],
        "A" * (1 << 20) + TOKEN,
    ],
    ids=itertools.count(),
)
def test_other_spellings_are_refused(token):
    with pytest.raises(VerificationFailed):
        jws.verify(token, typ=TYP, key=PUBLIC)


def test_a_signature_in_der_is_refused():
    head, _, raw = TOKEN.rpartition(".")
    der = b"\x30\x44\x02\x20" + unb64u(raw)[:32] + b"\x02\x20" + unb64u(raw)[32:]
    with pytest.raises(VerificationFailed):
        jws.verify(f"{head}.{b64u(der)}", typ=TYP, key=PUBLIC)


def test_non_canonical_base64_of_the_signature_is_refused():
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = TOKEN[:-1] + alphabet[alphabet.index(TOKEN[-1]) + 1]
    with pytest.raises(VerificationFailed):
        jws.verify(twin, typ=TYP, key=PUBLIC)


@pytest.mark.parametrize("value", [bytes(64), b"\xff" * 64, bytes(32) + b"\x01" * 32])
def test_degenerate_signatures_are_refused(value):
    with pytest.raises(VerificationFailed):
        jws.verify(f"{TOKEN.rpartition('.')[0]}.{b64u(value)}", typ=TYP, key=PUBLIC)


@given(st.data())
def test_any_changed_bit_of_payload_or_signature_is_refused(data):
    header, payload, signature = TOKEN.split(".")
    parts = [bytearray(unb64u(payload)), bytearray(unb64u(signature))]
    part = data.draw(st.sampled_from(parts))
    part[data.draw(st.integers(0, len(part) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    forged = ".".join([header, *(b64u(bytes(part)) for part in parts)])
    with pytest.raises(VerificationFailed):
        jws.verify(forged, typ=TYP, key=PUBLIC)


def test_another_keys_signature_under_our_kid_is_refused():
    stranger = jws.private_signer(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(VerificationFailed):
        jws.verify(jws.sign(b"x", typ=TYP, kid=KID, signer=stranger), typ=TYP, key=PUBLIC)


def test_a_statement_that_names_another_key_is_refused():
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(VerificationFailed):
        jws.verify(TOKEN, typ=TYP, key=stranger)


def test_the_id_of_a_key_is_the_hash_of_its_spki():
    assert len(unb64u(KID)) == 32
    assert jws.digest(jws.spki_der(PUBLIC)) == KID
