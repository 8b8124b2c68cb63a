"""Checkpoints: C2SP signed notes, byte for byte, and every way to forge one."""

import base64
import hashlib
import itertools
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from kms.audit.note import (
    Checkpoint,
    key_hash,
    sign_checkpoint,
    unverified_checkpoint,
    verify_checkpoint,
)
from kms.errors import InvalidInput, VerificationFailed
from kms.statements import jws

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "checkpoint.json").read_text())
ORIGIN = "hq.bank.example"
KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = KEY.public_key()
STRANGER = ec.generate_private_key(ec.SECP256R1())
HEAD = Checkpoint(ORIGIN, 42, hashlib.sha256(b"root").digest())
NOTE = sign_checkpoint(HEAD, PUBLIC, jws.private_signer(KEY))
TEXT, SIGNATURE = NOTE.split("\n\n")


def resigned(text, key=KEY, name=ORIGIN, key_id=None):
    """Return a note with a correct signature over any text."""
    blob = key_hash(key.public_key()) if key_id is None else key_id
    blob += key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
    return f"{text}\n— {name} {base64.b64encode(blob).decode()}\n"


def check(note, keys=(PUBLIC,)):
    return verify_checkpoint(note, origin=ORIGIN, keys=list(keys))


def test_the_published_note_verifies():
    key = load_der_public_key(base64.b64decode(VECTOR["spki"]))
    found = verify_checkpoint(VECTOR["note"], origin=VECTOR["origin"], keys=[key])
    assert (found.size, found.root.hex()) == (VECTOR["size"], VECTOR["root"])
    assert key_hash(key).hex() == VECTOR["key_id"]


def test_a_note_has_the_form_that_c2sp_specifies():
    root = base64.b64encode(HEAD.root).decode()
    assert f"{TEXT}\n" == f"{ORIGIN}\n42\n{root}\n"
    dash, name, blob = SIGNATURE.removesuffix("\n").split(" ")
    assert (dash, name) == ("\u2014", ORIGIN)
    raw = base64.b64decode(blob)
    assert raw[:4] == hashlib.sha256(jws.spki_der(PUBLIC)).digest()[:4]
    PUBLIC.verify(raw[4:], f"{TEXT}\n".encode(), ec.ECDSA(hashes.SHA256()))


def test_a_signed_checkpoint_comes_back():
    assert check(NOTE) == HEAD
    assert check(resigned(HEAD.text())) == HEAD
    assert unverified_checkpoint(NOTE) == HEAD


def test_the_empty_tree_has_a_checkpoint():
    empty = Checkpoint(ORIGIN, 0, bytes(32))
    assert check(sign_checkpoint(empty, PUBLIC, jws.private_signer(KEY))) == empty


def test_signatures_of_witnesses_are_passed_over():
    witness = resigned(HEAD.text(), STRANGER, "witness.example").split("\n\n")[1]
    assert check(f"{NOTE}{witness}") == HEAD
    assert check(f"{TEXT}\n\n{witness}{SIGNATURE}") == HEAD


def test_any_of_the_listed_keys_may_have_signed():
    assert check(NOTE, [STRANGER.public_key(), PUBLIC]) == HEAD


@pytest.mark.parametrize(
    "note",
    [
        resigned(HEAD.text(), STRANGER),
        resigned(HEAD.text(), name="other.example"),
        resigned(HEAD.text(), STRANGER, key_id=key_hash(PUBLIC)),
        NOTE.replace("\n42\n", "\n43\n"),
        NOTE + resigned(HEAD.text(), STRANGER, key_id=key_hash(PUBLIC)).split("\n\n")[1],
        f"{TEXT}\n\n",
        f"{TEXT}\n\n— {ORIGIN} AAAA\n",
    ],
    ids=[
        "a stranger's key",
        "another name",
        "a stranger under our key id",
        "an edited size",
        "one good and one bad signature",
        "no signature",
        "a signature of three bytes",
    ],
)
def test_a_note_without_our_good_signature_is_refused(note):
    with pytest.raises(VerificationFailed):
        check(note)


def test_a_checkpoint_of_another_log_is_refused():
    other = Checkpoint("other.example", 42, HEAD.root)
    with pytest.raises(VerificationFailed):
        check(resigned(other.text()))


def test_no_keys_means_no_checkpoint():
    with pytest.raises(VerificationFailed):
        check(NOTE, [])


ROOT = base64.b64encode(HEAD.root).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n042\n{ROOT}\n",
        f"{ORIGIN}\n+42\n{ROOT}\n",
        f"{ORIGIN}\n-1\n{ROOT}\n",
        f"{ORIGIN}\n4٢\n{ROOT}\n",
        f"{ORIGIN}\n99999999999999999\n{ROOT}\n",
        f"{ORIGIN}\n9999999999999999\n{ROOT}\n",
        f"{ORIGIN}\n42\n{ROOT[:-1]}\n",
        f"{ORIGIN}\n42\n{ROOT.replace('=', '')}\n",
        f"{ORIGIN}\n42\n{ROOT[:-2]}{chr(ord(ROOT[-2]) + 1)}=\n",
        f"{ORIGIN}\n42\n{base64.b64encode(bytes(31)).decode()}\n",
        f"{ORIGIN}\n42\n{ROOT}\nextension\n",
        f"{ORIGIN}\n42\n",
        f"\n42\n{ROOT}\n",
        f"{ORIGIN}\r\n42\n{ROOT}\n",
        f"{ORIGIN}\n42\t\n{ROOT}\n",
        f"{ORIGIN} \n42\n{ROOT}\n",
        f"{ORIGIN}+\n42\n{ROOT}\n",
    ],
    ids=repr,
)
def test_any_other_spelling_of_a_checkpoint_is_refused_even_if_signed(text):
    with pytest.raises(VerificationFailed):
        check(resigned(text))


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n\n",
        TEXT,
        NOTE.removesuffix("\n"),
        NOTE + "\n",
        NOTE + "x\n",
        NOTE.replace("—", "-"),
        NOTE.replace("— ", "—  "),
        NOTE.replace("\n", "\r\n"),
        f"{TEXT}\n{SIGNATURE}",
        NOTE.removesuffix("\n") + "=\n",
        NOTE.removesuffix("\n") + " x\n",
        NOTE + SIGNATURE * 700,
        f"{TEXT}\n\n" + f"— {ORIGIN} AAAAAAA=\n" * 65,
        NOTE + f"— a+b {SIGNATURE.split()[2]}\n",
        NOTE + f"—  {SIGNATURE.split()[2]}\n",
        NOTE + "\x00",
        NOTE + "— w \ud800\n",
    ],
    ids=itertools.count(),  # signatures differ from process to process
)
def test_what_is_no_signed_note_is_refused(note):
    with pytest.raises(VerificationFailed):
        check(note)


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint("", 1, bytes(32)),
        Checkpoint("two words", 1, bytes(32)),
        Checkpoint("a+b", 1, bytes(32)),
        Checkpoint("a\nb", 1, bytes(32)),
        Checkpoint("总部", 1, bytes(32)),
        Checkpoint(ORIGIN, -1, bytes(32)),
        Checkpoint(ORIGIN, 2**53, bytes(32)),
        Checkpoint(ORIGIN, 1, bytes(31)),
    ],
    ids=repr,
)
def test_what_cannot_be_a_checkpoint_is_never_signed(checkpoint):
    with pytest.raises(InvalidInput):
        sign_checkpoint(checkpoint, PUBLIC, jws.private_signer(KEY))
