"""DSSE envelopes: the encoding that is signed is the standard's own."""

import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from kms.errors import VerificationFailed
from kms.statements.dsse import (
    check_signature,
    decode_envelope,
    encode_envelope,
    signing_digest,
)
from kms.statements.jws import private_signer

KEY = ec.generate_private_key(ec.SECP256R1())
TYPE = "http://example.com/HelloWorld"


def test_what_is_signed_is_the_standards_example():
    pae = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert signing_digest(b"hello world", TYPE) == hashlib.sha256(pae).digest()


def test_the_envelope_has_the_standards_fields():
    assert json.loads(encode_envelope(b"hello world", TYPE, {"kid": b"\x01" * 64})) == {
        "payload": "aGVsbG8gd29ybGQ=",
        "payloadType": TYPE,
        "signatures": [{"keyid": "kid", "sig": "AQEB" * 21 + "AQ=="}],
    }


@given(st.binary(), st.dictionaries(st.text("abc-_", min_size=1), st.binary(), max_size=4))
def test_an_envelope_is_read_as_it_was_written(payload, signatures):
    data = encode_envelope(payload, TYPE, signatures)
    assert decode_envelope(data, TYPE) == (payload, signatures)


def test_a_signature_holds_for_its_payload_type_and_key_alone():
    signature = private_signer(KEY)(signing_digest(b"hello", TYPE))
    check_signature(b"hello", TYPE, signature, KEY.public_key())
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    wrong = [
        (b"hallo", TYPE, signature, KEY.public_key()),
        (b"hello", "text/plain", signature, KEY.public_key()),
        (b"hello", TYPE, signature, other),
        (b"hello", TYPE, signature[:-1], KEY.public_key()),
        (b"hello", TYPE, bytes(64), KEY.public_key()),
        (b"hello", TYPE, b"\xff" * 64, KEY.public_key()),
    ]
    for arguments in wrong:
        with pytest.raises(VerificationFailed):
            check_signature(*arguments)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"payload":1,"payloadType":"x","signatures":[]}',
        b'{"payload":"","payloadType":"x","signatures":[1]}',
        b'{"payload":"","payloadType":"x","signatures":{}}',
        b'{"payload":"","payloadType":"x","signatures":[{"keyid":[],"sig":""}]}',
    ],
)
def test_what_is_no_envelope_is_refused(data):
    with pytest.raises(VerificationFailed):
        decode_envelope(data, "x")
