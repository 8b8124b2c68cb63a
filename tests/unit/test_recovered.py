"""A recovered envelope: what opens it, and that nothing else does. Epochs are a fake issuer's."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from kms.errors import EnvelopeRefused, InvalidInput
from kms.statements import jws
from kms.statements.canonical import b64u
from kms.statements.recovered import Recovered, decode_recovered, encode_recovered
from tests.fixtures.cli import Cli
from tests.practice.issuer import MEETING, SPACE, Issued, Issuer, device_key, wrap

ALICE, HEIR = device_key(0), device_key(1)


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def issued(issuer: Issuer) -> Issued:
    return issuer.mint([ALICE], epoch=18)


def recovered(issuer: Issuer, issued: Issued, key: rsa.RSAPrivateKey = HEIR) -> Recovered:
    """Return what a recovery would give to the heir, whom the manifest does not name."""
    blob = wrap(issued.key, key, issuer.wrap_alg)
    recipient = jws.spki_id(key.public_key())
    return Recovered("c-1", SPACE, MEETING, 18, 1, recipient, issued.token, (), b64u(blob))


def test_the_named_recipient_gets_the_same_base_key(issuer: Issuer, issued: Issued) -> None:
    opened = issuer.opener(HEIR).open_recovered(recovered(issuer, issued))
    where = {"space": SPACE, "meeting": MEETING, "epoch": 18}
    alice = issuer.opener(ALICE).open(issued.token, issued.blobs[0], **where)
    assert opened.base_key == alice.base_key
    assert (opened.sender, opened.senders) == (None, alice.senders)


def test_a_file_is_read_as_it_was_written(issuer: Issuer, issued: Issued) -> None:
    found = recovered(issuer, issued)
    assert decode_recovered(encode_recovered(found) + b"\n") == found
    for wrong in (b"{}", b"null", encode_recovered(found)[:-1] + b',"x":1}'):
        with pytest.raises(InvalidInput, match="not a recovered envelope"):
            decode_recovered(wrong)


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 19},
        {"space": "treasury"},
        {"meeting": MEETING.replace("a", "b")},
        {"recipient": "r" * 43},
        {"sealed": "AAAA"},
        {"sealed": "!"},
        {"manifest": "e30.e30.e30"},
    ],
    ids=str,
)
def test_what_is_not_this_epochs_key_is_refused(
    issuer: Issuer, issued: Issued, change: dict[str, object]
) -> None:
    found = replace(recovered(issuer, issued), **change)
    with pytest.raises(EnvelopeRefused, match="the envelope does not open"):
        issuer.opener(HEIR).open_recovered(found)


def test_another_key_under_this_manifest_is_refused(issuer: Issuer, issued: Issued) -> None:
    other = replace(issued, key=b"k" * 32)
    with pytest.raises(EnvelopeRefused):
        issuer.opener(HEIR).open_recovered(recovered(issuer, other))


def test_nobody_else_opens_it(issuer: Issuer, issued: Issued) -> None:
    with pytest.raises(EnvelopeRefused):
        issuer.opener(ALICE).open_recovered(recovered(issuer, issued))


def test_the_command_line_opens_it_offline(
    cli: Cli, tmp_path: Path, issuer: Issuer, issued: Issued
) -> None:
    files = {
        "envelope.json": encode_recovered(recovered(issuer, issued)),
        "list.jws": issuer.key_list().encode(),
        "root.pem": issuer.root.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        "key.pem": HEIR.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    options = [
        *("--key", tmp_path / "key.pem", "--key-list", tmp_path / "list.jws"),
        *("--site-root", tmp_path / "root.pem", "--wrap-alg", issuer.wrap_alg, "--json"),
    ]
    command = ("envelope", "open", "--recovered", tmp_path / "envelope.json", *options)
    ended = cli(*command)
    assert ended.code == 0, ended.err
    document = json.loads(ended.out)
    assert document["commitment_holds"] is True
    assert document["subject"] == f"{SPACE}/{MEETING}/18"
    assert b64u(issued.key) not in ended.out
