"""Makes envelopes.json anew: python -m tests.vectors.make_envelopes. Its keys are for tests only.

Signatures and OAEP are randomised, so a new run gives other values that mean the same.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kms.client.keys import base_key
from kms.client.sframe import FrameSealer
from kms.statements import jws
from kms.statements.canonical import digest
from kms.statements.manifest import RING_BITS
from tests.practice.issuer import MEETING, SPACE, Issuer, b64, commit, wrap

FILE = Path(__file__).with_name("envelopes.json")
EPOCH, COUNTER, SENDER = 18, 0x0102030405060708, 1
EPOCH_KEY = bytes(range(0x40, 0x60))
FRAME = b"a frame of media"


def main() -> None:
    readers = [rsa.generate_private_key(65537, 3072) for _ in range(2)]
    cases = [case(Issuer(wrap_alg=alg), readers) for alg in ("RSA-OAEP", "RSA-OAEP-256")]
    document = {
        "note": "Test keys. Epoch key in hex; keys (SPKI, PKCS#8 DER) and blobs in base64.",
        "space": SPACE,
        "meeting": MEETING,
        "epoch": EPOCH,
        "recipient_keys": [private(reader) for reader in readers],
        "cases": cases,
    }
    FILE.write_text(json.dumps(document, indent=2) + "\n")


def case(issuer: Issuer, readers: list[rsa.RSAPrivateKey]) -> dict[str, Any]:
    issued = issuer.mint(readers, EPOCH, key=EPOCH_KEY)
    context = issued.manifest.commitment_context()
    derived = base_key(EPOCH_KEY, context)
    kid = SENDER << RING_BITS | issued.manifest.media.ring
    foreign = wrap(bytes(32), readers[0], issuer.wrap_alg)
    entries = issued.manifest.recipients
    uncommitted = (replace(entries[0], blob_sha256=digest(foreign)), *entries[1:])
    return {
        "site": issuer.site,
        "root": b64(jws.spki_der(issuer.root.public_key())),
        "key_list": issuer.key_list(),
        "wrap_alg": issuer.wrap_alg,
        "epoch_key": EPOCH_KEY.hex(),
        "commitment_context": context.decode("ascii"),
        "commitment": commit(EPOCH_KEY, context),
        "base_key": derived.hex(),
        "manifest": issued.token,
        "blobs": [b64(blob) for blob in issued.blobs],
        "frame": {
            "sender": SENDER,
            "kid": kid,
            "ctr": COUNTER,
            "plaintext": FRAME.hex(),
            "metadata": "",
            "sealed": FrameSealer(derived, kid, first=COUNTER).seal(FRAME).hex(),
        },
        "refused": [
            {"why": "the blob is another recipient's", "manifest": issued.token,
             "blob": b64(issued.blobs[1])},
            {"why": "the manifest is of another epoch",
             "manifest": (other := issuer.mint(readers, EPOCH + 1, key=EPOCH_KEY)).token,
             "blob": b64(other.blobs[0])},
            {"why": "the key is not the committed one",
             "manifest": issuer.sign(replace(issued.manifest, recipients=uncommitted)),
             "blob": b64(foreign)},
            {"why": "the signer is not on the key list",
             "manifest": Issuer(root=issuer.root).sign(issued.manifest),
             "blob": b64(issued.blobs[0])},
        ],
    }  # fmt: skip


def private(key: rsa.RSAPrivateKey) -> str:
    return b64(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


if __name__ == "__main__":
    main()
