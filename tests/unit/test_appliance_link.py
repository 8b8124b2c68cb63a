"""What the appliance believes of kms, and what not."""

import secrets
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.link import Link
from appliance.seen import Seen
from kms.domain.disks import Disk, RecoveryKey, SlotKey, Work
from kms.errors import (
    ConfigurationError,
    EnvelopeRefused,
    InvalidInput,
    Unavailable,
    VerificationFailed,
)
from kms.statements import jws
from kms.statements.canonical import b64u
from kms.statements.diskkeys import DiskKeys, seal_keys, seal_recovery, work_proof
from kms.statements.keylist import TYP, KeyList, KeyUse, ListedKey, encode_keylist
from kms.statements.release import DiskRelease, sign_release
from tests.fixtures.fake_kms import DISK, new_disk

SITE, OTHER = "test-site", "0198c0de-0000-7000-8000-000000000002"
KEYS = DiskKeys(key=secrets.token_bytes(64))


class Kms:
    """A client of a kms that is none; each attribute is what a test may spoil."""

    def __init__(self, folder: Path) -> None:
        self.seen = folder / "seen"
        self.told: list[tuple[str, ...]] = []
        self.root, self.manifest = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self.appliance = X25519PrivateKey.generate()
        self.to, self.signer = self.appliance.public_key(), self.manifest
        self.disk, self.version = new_disk("disk", 1 << 25), 3
        self.site, self.key_space, self.listed = SITE, "board", 1
        self.nonce: bytes | None = None
        self.keys = KEYS
        self.closed = 0

    def link(self) -> Link:
        """Return a link as after a start of the daemon."""
        return Link(lambda: self, self.appliance, SITE, self.root.public_key(), Seen(self.seen))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed += 1

    def key_list(self) -> SimpleNamespace:
        public = self.manifest.public_key()
        spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        kid = jws.spki_id(public)
        keys = (ListedKey(kid, KeyUse.MANIFEST, self.key_space, b64u(spki), 1),)
        payload = encode_keylist(KeyList(self.site, self.listed, 1, keys))
        signer = jws.private_signer(self.root)
        kid = jws.spki_id(self.root.public_key())
        return SimpleNamespace(key_list=jws.sign(payload, typ=TYP, kid=kid, signer=signer))

    def disk_keys(self, disk: str, nonce: bytes) -> SimpleNamespace:
        nonce = self.nonce or nonce
        sealed = seal_keys(self.keys, self.to, SITE, disk, nonce)
        release = DiskRelease(SITE, self.disk, self.version, b64u(nonce), 1, b64u(sealed))
        kid = jws.spki_id(self.manifest.public_key())
        return SimpleNamespace(release=sign_release(release, kid, jws.private_signer(self.signer)))

    def commit_work(self, *told: str) -> None:
        self.told.append(told)

    def finish_work(self, *told: str) -> None:
        self.told.append(told)


@pytest.fixture
def kms(tmp_path: Path) -> Kms:
    return Kms(tmp_path)


def test_a_disk_and_its_keys_are_what_the_worker_released(kms: Kms) -> None:
    held = kms.link().held(DISK)
    assert (held.disk, held.version, held.keys) == (kms.disk, 3, KEYS)
    assert kms.closed == 1
    assert b64u(KEYS.key or b"") not in repr(held)
    assert str(KEYS.key) not in repr(held)


def _signed_by_somebody(kms: Kms) -> None:
    kms.signer = ec.generate_private_key(ec.SECP256R1())


def _listed_by_somebody(kms: Kms) -> None:
    kms.root = ec.generate_private_key(ec.SECP256R1())


def _of_another_site(kms: Kms) -> None:
    kms.site = "another-site"


def _of_another_space(kms: Kms) -> None:
    kms.key_space = "sales"


def _of_another_disk(kms: Kms) -> None:
    kms.disk = replace(kms.disk, disk=OTHER)


def _to_another_question(kms: Kms) -> None:
    kms.nonce = bytes(16)


@pytest.mark.parametrize(
    "spoil",
    [
        _signed_by_somebody,
        _listed_by_somebody,
        _of_another_site,
        _of_another_space,
        _of_another_disk,
        _to_another_question,
    ],
)
def test_a_release_that_is_not_the_workers_answer_is_refused(kms: Kms, spoil) -> None:
    link = kms.link()
    spoil(kms)
    with pytest.raises(VerificationFailed):
        link.held(DISK)


def test_keys_for_another_appliance_do_not_open(kms: Kms) -> None:
    kms.to = X25519PrivateKey.generate().public_key()
    with pytest.raises(EnvelopeRefused):
        kms.link().held(DISK)


@pytest.mark.parametrize("older", ["version", "listed"])
def test_what_was_seen_never_goes_back_also_after_a_restart(kms: Kms, older: str) -> None:
    link = kms.link()
    kms.listed = 2
    link.held(DISK)
    link.held(DISK)
    setattr(kms, older, 1)
    for later in (link, kms.link()):
        with pytest.raises(VerificationFailed) as refused:
            later.held(DISK)
        assert "remove the file seen" in refused.value.hint
    kms.seen.unlink()
    assert kms.link().held(DISK).version == kms.version


def test_what_was_seen_is_kept_whole_or_nothing_is_believed(
    kms: Kms, monkeypatch: pytest.MonkeyPatch
) -> None:
    kms.link().held(DISK)
    assert kms.seen.stat().st_mode & 0o777 == 0o600
    before, kms.version = kms.seen.read_bytes(), 4

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("appliance.seen.os.replace", full)
        with pytest.raises(Unavailable, match="No space"):
            kms.link().held(DISK)
    assert kms.seen.read_bytes() == before
    kms.seen.write_bytes(before[:-1])
    with pytest.raises(ConfigurationError, match="cannot be read"):
        kms.link()


def test_a_work_is_told_of_with_proof_of_its_keys_alone(kms: Kms) -> None:
    link = kms.link()
    held = link.held(DISK)
    link.commit(held)
    link.finish(held, "header")
    assert kms.told == [
        (DISK, work_proof(KEYS, SITE, DISK, 3)),
        (DISK, "header", work_proof(KEYS, SITE, DISK, 3, "header")),
    ]


def test_a_recovered_key_is_opened_for_its_disk_alone(kms: Kms) -> None:
    key = secrets.token_bytes(64)
    sealed = b64u(seal_recovery(key, kms.to, SITE, DISK))
    assert kms.link().recovered(DISK, sealed) == key
    for disk, text, refused in (
        (OTHER, sealed, EnvelopeRefused),
        (DISK, b64u(bytes(120)), EnvelopeRefused),
        (DISK, "?", InvalidInput),
    ):
        with pytest.raises(refused):
            kms.link().recovered(disk, text)


def test_after_a_commit_the_next_keys_are_the_keys(kms: Kms) -> None:
    one, other, third = (secrets.token_bytes(64) for _ in range(3))
    row = SlotKey(1, "sealed", 1)
    recovery = RecoveryKey(1, "escrowed", 1, 1, "sealed")
    kms.disk = replace(
        Disk(**{name: getattr(kms.disk, name) for name in kms.disk.__slots__}),
        work=Work.RECOVERY,
        key=row,
        recovery=recovery,
        next_recovery=recovery,
    )
    kms.keys = DiskKeys(key=one, recovery=other, next_recovery=third)
    held = kms.link().held(DISK).committed()
    assert held.keys == DiskKeys(key=one, recovery=third)
    assert (held.version, held.disk.committed) == (4, True)
