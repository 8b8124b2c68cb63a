"""The published envelope vectors: they hold, and their derivations agree with other code."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

from kms.client.keys import EnvelopeOpener, SiteTrust
from kms.client.sframe import FrameOpener, FrameSealer
from kms.errors import EnvelopeRefused
from kms.statements.canonical import unb64u

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "envelopes.json").read_text())
WHERE = {name: VECTORS[name] for name in ("space", "meeting", "epoch")}

every_case = pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda c: c["wrap_alg"])


def opener(case: dict[str, Any], reader: int) -> EnvelopeOpener:
    root = load_der_public_key(base64.b64decode(case["root"]))
    key = load_der_private_key(base64.b64decode(VECTORS["recipient_keys"][reader]), None)
    assert isinstance(root, ec.EllipticCurvePublicKey)
    assert isinstance(key, rsa.RSAPrivateKey)
    return EnvelopeOpener(SiteTrust(case["site"], root, case["key_list"]), key, case["wrap_alg"])


@every_case
@pytest.mark.parametrize("reader", [0, 1])
def test_every_blob_opens_to_the_base_key(case: dict[str, Any], reader: int) -> None:
    blob = base64.b64decode(case["blobs"][reader])
    opened = opener(case, reader).open(case["manifest"], blob, **WHERE)
    assert opened.base_key.hex() == case["base_key"]
    assert opened.sender == reader
    assert opened.kid(case["frame"]["sender"]) == case["frame"]["kid"]


@every_case
def test_the_frame_is_sealed_and_opened_as_published(case: dict[str, Any]) -> None:
    frame, base_key = case["frame"], bytes.fromhex(case["base_key"])
    plain, sealed = bytes.fromhex(frame["plaintext"]), bytes.fromhex(frame["sealed"])
    assert FrameSealer(base_key, frame["kid"], first=frame["ctr"]).seal(plain) == sealed
    assert FrameOpener(base_key, frame["kid"]).open(sealed) == plain


@every_case
def test_the_context_is_rfc_8785_of_what_the_manifest_says(case: dict[str, Any]) -> None:
    manifest = json.loads(unb64u(case["manifest"].split(".")[1]))
    context = {
        "iss": manifest["iss"],
        "sub": manifest["sub"],
        "release_class": manifest["release_class"],
        "suite": manifest["media"]["suite"],
        "kid": manifest["media"]["kid"],
    }
    assert rfc8785.dumps(context).decode() == case["commitment_context"]


@every_case
def test_the_base_key_is_one_hmac_over_label_and_context(case: dict[str, Any]) -> None:
    info = b"conclave sframe base key v1\n" + case["commitment_context"].encode()
    expected = hmac.new(bytes.fromhex(case["epoch_key"]), info + b"\1", hashlib.sha256)
    assert expected.hexdigest() == case["base_key"]


@every_case
def test_the_commitment_is_the_cmac_that_a_browser_builds_from_aes_cbc(
    case: dict[str, Any],
) -> None:
    key, context = bytes.fromhex(case["epoch_key"]), case["commitment_context"].encode()
    assert unb64u(case["commitment"]) == cmac_from_cbc(key, context)


def cmac_from_cbc(key: bytes, message: bytes) -> bytes:
    """AES-CMAC (RFC 4493) with nothing but AES-CBC, the last block padded and masked."""

    def cbc(data: bytes) -> bytes:
        return Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor().update(data)

    def double(block: int) -> int:
        return (block << 1) ^ (0x87 | 1 << 128 if block >> 127 else 0)

    subkey = double(int.from_bytes(cbc(bytes(16)), "big"))
    start = (len(message) - 1) // 16 * 16
    last = message[start:]
    if len(last) < 16:
        subkey = double(subkey)
        last = (last + b"\x80").ljust(16, b"\0")
    masked = (int.from_bytes(last, "big") ^ subkey).to_bytes(16, "big")
    return cbc(message[:start] + masked)[-16:]


@pytest.mark.parametrize(
    ("case", "refused"),
    [(case, refused) for case in VECTORS["cases"] for refused in case["refused"]],
    ids=lambda v: v.get("why", v.get("wrap_alg")),
)
def test_what_must_be_refused_is_refused(case: dict[str, Any], refused: dict[str, str]) -> None:
    with pytest.raises(EnvelopeRefused, match="the envelope does not open"):
        opener(case, 0).open(refused["manifest"], base64.b64decode(refused["blob"]), **WHERE)
