"""Opening an envelope: what opens it, and that everything else gets one and the same refusal.

The epochs come from a fake issuer; end-to-end tests open those of a real token.
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import replace

import pytest

from kms.client.keys import EnvelopeOpener, EpochKey, SiteTrust
from kms.domain.models import ReleaseClass
from kms.errors import EnvelopeRefused, InvalidInput, VerificationFailed
from kms.statements.canonical import digest
from kms.statements.manifest import Manifest, media_of, subject
from tests.practice.issuer import MEETING, NOW, SPACE, Issued, Issuer, commit, device_key, wrap

ALICE, BOB, EVE = device_key(0), device_key(1), device_key(2)


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def issued(issuer: Issuer) -> Issued:
    return issuer.mint([ALICE, BOB], epoch=18)


def open_as_alice(issuer: Issuer, token: str, blob: bytes, epoch: int = 18) -> EpochKey:
    return issuer.opener(ALICE).open(token, blob, space=SPACE, meeting=MEETING, epoch=epoch)


def refuse(issuer: Issuer, token: str, blob: bytes) -> None:
    with pytest.raises(EnvelopeRefused) as caught:
        open_as_alice(issuer, token, blob)
    assert str(caught.value) == "the envelope does not open"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_both_readers_get_the_same_base_key_and_see_who_else_can_read(
    issuer: Issuer, issued: Issued
) -> None:
    where = {"space": SPACE, "meeting": MEETING, "epoch": 18}
    alice = issuer.opener(ALICE).open(issued.token, issued.blobs[0], **where)
    bob = issuer.opener(BOB).open(issued.token, issued.blobs[1], **where)
    assert alice.base_key == bob.base_key
    assert (alice.sender, bob.sender, alice.ring) == (0, 1, 2)
    assert alice.senders == {0: issuer.opener(ALICE).recipient, 1: issuer.opener(BOB).recipient}
    assert alice.kid(1) == 0b1_0010


def test_the_base_key_is_hkdf_expand_of_the_epoch_key_and_never_that_key(
    issuer: Issuer, issued: Issued
) -> None:
    context = issued.manifest.commitment_context()
    info = b"conclave sframe base key v1\n" + context + b"\x01"
    expected = hmac.new(issued.key, info, hashlib.sha256).digest()
    assert open_as_alice(issuer, issued.token, issued.blobs[0]).base_key == expected
    assert expected != issued.key


def test_no_key_stands_in_a_repr(issuer: Issuer, issued: Issued) -> None:
    opened = open_as_alice(issuer, issued.token, issued.blobs[0])
    for text in (repr(opened), repr(issuer.opener(ALICE))):
        assert "base_key" not in text
        assert "RSAPrivateKey" not in text


@pytest.mark.parametrize("wrap_alg", ["RSA-OAEP", "RSA-OAEP-256"])
def test_both_wrapping_algorithms_open(wrap_alg: str) -> None:
    issuer = Issuer(wrap_alg=wrap_alg)
    issued = issuer.mint([ALICE], epoch=18)
    assert open_as_alice(issuer, issued.token, issued.blobs[0]).epoch == 18


def test_a_downgrade_of_wrap_alg_is_refused_even_with_an_honest_signature() -> None:
    weak, strong = Issuer(wrap_alg="RSA-OAEP"), "RSA-OAEP-256"
    issued = weak.mint([ALICE], epoch=18)
    opener = EnvelopeOpener(weak.trust(), ALICE, strong)
    with pytest.raises(EnvelopeRefused, match="does not open"):
        opener.open(issued.token, issued.blobs[0], space=SPACE, meeting=MEETING, epoch=18)


def test_an_unknown_wrap_alg_cannot_be_expected(issuer: Issuer) -> None:
    with pytest.raises(InvalidInput):
        EnvelopeOpener(issuer.trust(), ALICE, "RSA1_5")


def test_anothers_blob_is_refused(issuer: Issuer, issued: Issued) -> None:
    refuse(issuer, issued.token, issued.blobs[1])


def test_a_fresh_wrap_of_the_same_key_is_refused_since_the_manifest_names_the_blob(
    issuer: Issuer, issued: Issued
) -> None:
    refuse(issuer, issued.token, wrap(issued.key, ALICE, "RSA-OAEP"))


def test_a_reader_whom_the_manifest_does_not_name_is_refused(
    issuer: Issuer, issued: Issued
) -> None:
    with pytest.raises(EnvelopeRefused, match="does not open"):
        issuer.opener(EVE).open(
            issued.token, issued.blobs[0], space=SPACE, meeting=MEETING, epoch=18
        )


@pytest.mark.parametrize(
    ("space", "meeting", "epoch"),
    [("treasury", MEETING, 18), (SPACE, MEETING[:-1] + "c", 18), (SPACE, MEETING, 17)],
)
def test_an_envelope_opens_only_where_it_belongs(
    issuer: Issuer, issued: Issued, space: str, meeting: str, epoch: int
) -> None:
    with pytest.raises(EnvelopeRefused, match="does not open"):
        issuer.opener(ALICE).open(
            issued.token, issued.blobs[0], space=space, meeting=meeting, epoch=epoch
        )


FORGERIES: dict[str, Callable[[Manifest], Manifest]] = {
    "issuer": lambda m: replace(m, iss="elsewhere.example"),
    "subject": lambda m: replace(m, sub=subject(SPACE, MEETING, 19)),
    "release class": lambda m: replace(m, release_class=ReleaseClass.TRUSTED),
    "algorithm": lambda m: replace(m, wrap_alg="RSA-OAEP-256"),
    "media": lambda m: replace(m, media=media_of(2)),
    "suite": lambda m: replace(m, media=replace(m.media, suite=4)),
    "commitment": lambda m: replace(m, commitment=commit(bytes(32), m.commitment_context())),
    "no commitment": lambda m: replace(m, commitment=""),
    "blob": lambda m: replace(
        m, recipients=(replace(m.recipients[0], blob_sha256=digest(b"")), m.recipients[1])
    ),
    "two senders with one index": lambda m: replace(
        m, recipients=(m.recipients[0], replace(m.recipients[1], sender=0))
    ),
}


@pytest.mark.parametrize("what", FORGERIES)
def test_a_manifest_that_says_something_else_is_refused_even_when_signed(
    issuer: Issuer, issued: Issued, what: str
) -> None:
    refuse(issuer, issuer.sign(FORGERIES[what](issued.manifest)), issued.blobs[0])


def test_a_key_that_is_not_the_committed_one_is_refused(issuer: Issuer, issued: Issued) -> None:
    blob = wrap(bytes(32), ALICE, "RSA-OAEP")
    entries = (replace(issued.manifest.recipients[0], blob_sha256=digest(blob)),)
    manifest = replace(issued.manifest, recipients=entries)
    refuse(issuer, issuer.sign(manifest), blob)


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33])
def test_a_key_of_another_size_is_refused(issuer: Issuer, issued: Issued, size: int) -> None:
    blob = wrap(bytes(size), ALICE, "RSA-OAEP")
    context = issued.manifest.commitment_context()
    commitment = commit(bytes(size), context) if size in {16, 24} else ""
    entries = (replace(issued.manifest.recipients[0], blob_sha256=digest(blob)),)
    manifest = replace(issued.manifest, recipients=entries, commitment=commitment)
    refuse(issuer, issuer.sign(manifest), blob)


def test_a_manifest_of_a_key_that_is_not_listed_is_refused(issuer: Issuer, issued: Issued) -> None:
    stranger = Issuer(root=issuer.root)
    refuse(issuer, stranger.sign(issued.manifest), issued.blobs[0])


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_manifest_changed_anywhere_is_refused(issuer: Issuer, issued: Issued, part: int) -> None:
    parts = issued.token.split(".")
    middle = len(parts[part]) // 2
    other = "A" if parts[part][middle] != "A" else "B"
    parts[part] = parts[part][:middle] + other + parts[part][middle + 1 :]
    refuse(issuer, ".".join(parts), issued.blobs[0])


@pytest.mark.parametrize("token", ["", "..", "a.b.c", "é.é.é", "x" * (1 << 21)])
def test_what_is_no_manifest_is_refused(issuer: Issuer, issued: Issued, token: str) -> None:
    refuse(issuer, token, issued.blobs[0])


def test_an_epoch_is_in_force_from_its_start_to_its_maximum_age(issuer: Issuer) -> None:
    issued = issuer.mint([ALICE], epoch=18, nbf=NOW + 3, exp=NOW + 10)
    key = open_as_alice(issuer, issued.token, issued.blobs[0])
    for now in (NOW + 3, NOW + 9.9):
        key.check_time(now)
    for now in (NOW + 2.9, NOW + 10):
        with pytest.raises(EnvelopeRefused, match="not in force"):
            key.check_time(now)
        key.check_time(now, leeway=1)


class TestKeyLists:
    def test_a_key_list_of_another_root_is_refused(self, issuer: Issuer) -> None:
        with pytest.raises(VerificationFailed):
            SiteTrust(issuer.site, issuer.root.public_key(), Issuer().key_list())

    def test_a_key_list_of_another_site_is_refused(self, issuer: Issuer) -> None:
        with pytest.raises(VerificationFailed, match="another site"):
            SiteTrust("elsewhere.example", issuer.root.public_key(), issuer.key_list())

    def test_the_version_never_goes_back(self, issuer: Issuer) -> None:
        trust = issuer.trust()
        trust.update(issuer.key_list(3))
        trust.update(issuer.key_list(3))
        for old in (issuer.key_list(2), issuer.key_list(3, keys=())):
            with pytest.raises(VerificationFailed, match="went back"):
                trust.update(old)
        assert trust.version == 3

    def test_a_key_taken_off_the_list_signs_no_more(self, issuer: Issuer, issued: Issued) -> None:
        opener = issuer.opener(ALICE)
        opener.trust.update(issuer.key_list(2, keys=()))
        with pytest.raises(EnvelopeRefused, match="does not open"):
            opener.open(issued.token, issued.blobs[0], space=SPACE, meeting=MEETING, epoch=18)

    def test_a_manifest_key_of_another_space_signs_nothing_here(self, issuer: Issuer) -> None:
        other = Issuer(root=issuer.root, manifest_key=issuer.manifest_key, space="treasury")
        trust = SiteTrust(issuer.site, issuer.root.public_key(), other.key_list())
        issued = issuer.mint([ALICE], epoch=18)
        with pytest.raises(EnvelopeRefused, match="does not open"):
            EnvelopeOpener(trust, ALICE, "RSA-OAEP").open(
                issued.token, issued.blobs[0], space=SPACE, meeting=MEETING, epoch=18
            )
