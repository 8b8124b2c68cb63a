"""Who reads an epoch, as its manifest and addenda tell where the row's MAC vouches for them."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kms.domain.models import RecipientKind, ReleaseClass
from kms.errors import IntegrityFailure
from kms.statements import jws
from kms.statements.addendum import addendum_to, keeper, sign_addendum
from kms.statements.canonical import digest
from kms.statements.manifest import TYP, Manifest, ManifestRecipient, media_of
from kms.statements.readers import peek_readers

VAULT, NEXT, SERVER = "v" * 43, "n" * 43, "s" * 43
OLD, NEW = b"old blob", b"new blob"
MANIFEST = Manifest(
    "hq.example", "treasury/m/0", 1, 1, 2, ReleaseClass.TRUSTED, 1, "RSA-OAEP", "c", media_of(0),
    (
        ManifestRecipient(VAULT, RecipientKind.VAULT, 1, -1, digest(OLD)),
        ManifestRecipient(SERVER, RecipientKind.SERVER, 0, 0, digest(b"its own")),
    ),
)  # fmt: skip
SIGNER = jws.private_signer(ec.generate_private_key(ec.SECP256R1()))


def signed(manifest: Manifest = MANIFEST) -> str:
    return jws.sign(manifest.encode(), typ=TYP, kid="k", signer=SIGNER)


def extra(token: str, manifest: Manifest = MANIFEST) -> str:
    entry = keeper(NEXT, RecipientKind.VAULT, 2, NEW)
    return sign_addendum(addendum_to(token, manifest, 9, entry), "k", SIGNER)


def test_an_addendum_adds_a_reader_and_takes_none_away() -> None:
    token = signed()
    readers = peek_readers(token, [extra(token)])
    assert [one.id for one in readers.of_kind(RecipientKind.VAULT)] == [VAULT, NEXT]
    assert readers.check_blob(NEXT, NEW) == NEW
    assert readers.check_blob(VAULT, OLD) == OLD


@pytest.mark.parametrize(
    ("recipient", "blob"), [(VAULT, NEW), (VAULT, None), (NEXT, NEW), ("", OLD), (SERVER, OLD)]
)
def test_a_blob_that_is_not_named_for_its_recipient_is_refused(
    recipient: str, blob: bytes | None
) -> None:
    with pytest.raises(IntegrityFailure, match="no sound envelope"):
        peek_readers(signed(), []).check_blob(recipient, blob)


def test_another_epochs_addendum_is_refused() -> None:
    other = replace(MANIFEST, sub="treasury/m/1")
    with pytest.raises(IntegrityFailure):
        peek_readers(signed(), [extra(signed(other), other)])


@pytest.mark.parametrize("token", ["", "e30.e30.e30", "not a statement"])
def test_what_cannot_be_read_is_refused(token: str) -> None:
    with pytest.raises(IntegrityFailure):
        peek_readers(token, [])
