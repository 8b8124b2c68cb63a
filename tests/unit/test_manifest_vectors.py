"""The published manifest, read with what other implementers have: a JWS library and a CMAC."""

import json
from pathlib import Path

import pytest
import rfc8785
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.serialization import load_der_public_key
from joserfc import jws as other_jws
from joserfc.jwk import ECKey

from kms.domain.models import ReleaseClass
from kms.errors import VerificationFailed
from kms.statements.canonical import b64u, unb64u
from kms.statements.manifest import commitment_context, media_of, verify_manifest

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "manifest.json").read_text())
KEY = load_der_public_key(unb64u(VECTOR["spki"]))


def test_our_reader_reads_the_published_manifest():
    manifest = verify_manifest(VECTOR["jws"], KEY)
    assert manifest.encode().decode() == VECTOR["payload"]
    assert manifest.commitment_context().decode() == VECTOR["context"]
    assert (manifest.commitment, manifest.media.ring) == (VECTOR["commitment"], VECTOR["ring"])


def test_a_foreign_reader_reads_the_published_manifest():
    found = other_jws.deserialize_compact(
        VECTOR["jws"], ECKey.import_key(unb64u(VECTOR["spki"])), algorithms=["ES256"]
    )
    assert found.payload.decode() == VECTOR["payload"]
    assert found.headers()["kid"] == VECTOR["kid"]


def test_the_commitment_is_the_epoch_keys_cmac_over_the_context():
    claims = json.loads(VECTOR["payload"])
    context = {
        "iss": claims["iss"],
        "kid": claims["media"]["kid"],
        "release_class": claims["release_class"],
        "sub": claims["sub"],
        "suite": claims["media"]["suite"],
    }
    assert rfc8785.dumps(context).decode() == VECTOR["context"]
    cmac = CMAC(AES(bytes.fromhex(VECTOR["epoch_key"])))
    cmac.update(VECTOR["context"].encode())
    assert b64u(cmac.finalize()) == VECTOR["commitment"] == claims["commitment"]


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "branch.bank.example"},
        {"sub": "investment-banking/01930000-0000-7000-8000-000000000002/17"},
        {"release_class": ReleaseClass.TRUSTED},
        {"media": media_of(18)},
    ],
    ids=str,
)
def test_every_part_of_the_context_is_bound(changed):
    manifest = verify_manifest(VECTOR["jws"], KEY)
    parts = {name: getattr(manifest, name) for name in ("iss", "sub", "release_class", "media")}
    assert commitment_context(**parts).decode() == VECTOR["context"]
    assert commitment_context(**(parts | changed)).decode() != VECTOR["context"]


def test_an_unnamed_recipient_is_not_in_the_manifest():
    with pytest.raises(VerificationFailed):
        verify_manifest(VECTOR["jws"], KEY).recipient("x" * 43)
