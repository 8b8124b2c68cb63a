"""Attacks on disk keys at the real worker on a real token: by a web process gone bad, by whoever
writes the store, by whoever has the user PIN of the space's token.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pkcs11 import Attribute, Mechanism, ObjectClass
from pkcs11.exceptions import PKCS11Error

from kms.domain.disks import Disk, DiskTarget, MountPolicy, Work, disk_of
from kms.domain.rows import SealedRow
from kms.errors import (
    ApprovalRequired,
    EnvelopeRefused,
    Forbidden,
    HsmUnavailable,
    IntegrityFailure,
    InvalidInput,
    QuorumNotMet,
    StateNotAllowed,
    VerificationFailed,
)
from kms.hsm import templates
from kms.hsm.attributes import Template
from kms.hsm.client import SpaceWorker
from kms.hsm.labels import Kind as LabelKind
from kms.hsm.labels import disk_kek, numbered
from kms.ports import BeginWork, CommitWork, DescribeDisk, DiskStep, FinishWork, RotateKek
from kms.statements.canonical import b64u, make_row, unb64u
from kms.statements.diskkeys import NONCE_BYTES, open_keys
from kms.statements.release import verify_release
from tests.fixtures.approvals import SECURITY, Board
from tests.fixtures.disk_worker import (
    DISK,
    HEADER,
    OTHER,
    SPACE,
    TOKEN,
    Treasury,
    disk_in,
    treasury_site,
    wish,
)
from tests.fixtures.envelopes import user
from tests.fixtures.hsm import (
    SITE,
    HsmSite,
    in_this_process,
    officer,
    software_keys,
    trusted_order,
)

A = Attribute
PROOF = b64u(bytes(32))
STEPS: tuple[DiskStep, ...] = (
    BeginWork(Work.SLOT),
    CommitWork(PROOF),
    FinishWork(HEADER, PROOF),
    DescribeDisk("x", MountPolicy()),
    RotateKek(),
)


@pytest.fixture
def treasury() -> Iterator[Treasury]:
    yield from treasury_site()


def sealed_by_the_pin(treasury: Treasury, disk: Disk, version: int = 9) -> SealedRow:
    """Return a row as whoever has the user PIN can MAC it, past the worker."""
    with in_this_process(treasury.site):
        return officer(TOKEN).seal_rows([make_row(disk, version)])[0]


def refuses_all(treasury: Treasury, row: SealedRow, error: Any) -> None:
    for step in STEPS:
        with pytest.raises(error):
            treasury.advance(row, step)
    with pytest.raises(error):
        treasury.ask(lambda hsm: hsm.open_disk(row, bytes(NONCE_BYTES)))
    with pytest.raises(error):
        treasury.ask(lambda hsm: hsm.drop_keks(row))


# --- a web process gone bad, or whoever writes the store -----------------------------------------


def test_a_row_that_the_worker_did_not_seal_gets_nothing(treasury: Treasury) -> None:
    rest = treasury.formatted()
    disk = disk_in(rest)
    other = make_row(replace(disk, serial="WD-9"), rest.row.version)
    for forged in (
        replace(rest, mac=bytes(32)),
        replace(rest, row=other),
        replace(rest, row=replace(rest.row, version=9)),
        SealedRow(make_row(replace(disk, work=Work.FORMAT, key=None), 1), rest.mac),
    ):
        refuses_all(treasury, forged, IntegrityFailure)


def test_a_row_of_something_else_is_no_disk(treasury: Treasury) -> None:
    with in_this_process(treasury.site):
        meeting = officer(TOKEN).seal_rows([make_row(trusted_order().meeting, 1)])[0]
    refuses_all(treasury, meeting, InvalidInput)


def test_no_disk_is_sealed_but_by_a_step_or_an_approved_request(treasury: Treasury) -> None:
    rest = treasury.formatted()
    disk = disk_in(rest)
    for wanted in (disk, replace(disk, erased=1), disk_of(disk.space, wish(OTHER), 1)):
        with pytest.raises(ApprovalRequired):
            treasury.ask(lambda hsm, one=wanted: hsm.seal_rows([make_row(one, 9)]))


def test_too_few_people_or_another_request_enrol_and_erase_nothing(treasury: Treasury) -> None:
    now = treasury.board.now
    made = disk_of(disk_in(treasury.enrol()).space, wish(OTHER, "WD-2"), now)
    good = treasury.approved("disk.enroll", wish(OTHER, "WD-2"), made, 1)
    asked = treasury.board.request("disk.enroll", wish(OTHER, "WD-2"), made.space)
    alone = treasury.board.executed(asked, SECURITY[:1], now)
    with pytest.raises(QuorumNotMet):
        treasury.ask(lambda hsm: hsm.seal_approved(replace(good, request=make_row(alone, 4))))
    for row in (
        make_row(replace(made, serial="WD-3"), 1),
        make_row(replace(made, work=Work.ENCRYPT), 1),
        make_row(made.erase(now), 1),
        make_row(made, 2),
    ):
        with pytest.raises(Forbidden):
            treasury.ask(lambda hsm, one=row: hsm.seal_approved(replace(good, rows=(one,))))


def test_no_work_that_is_only_begun_destroys_the_key_of_a_disk(treasury: Treasury) -> None:
    """Its first row, kept and begun with again, names the newest KEK alone."""
    first = treasury.enrol()
    rest = treasury.work(first, Work.FORMAT)
    keys = treasury.opened(rest)
    again = treasury.advance(first, BeginWork(Work.FORMAT))
    with pytest.raises(StateNotAllowed, match="not over"):
        treasury.ask(lambda hsm: hsm.drop_keks(again))
    with pytest.raises(VerificationFailed):
        treasury.advance(again, CommitWork(PROOF))
    assert treasury.opened(rest) == keys


@pytest.mark.parametrize("work", [Work.FORMAT, Work.ENCRYPT])
def test_a_first_row_that_was_kept_prepares_no_device_later(treasury: Treasury, work: Work) -> None:
    day, now = 86_400, int(time.time())
    made = replace(disk_of(SPACE, wish(), now), work=work)
    old = sealed_by_the_pin(treasury, replace(made, enrolled=now - 7 * day - 60), 1)
    with pytest.raises(StateNotAllowed, match="seven days") as refusal:
        treasury.advance(old, BeginWork(work))
    assert "enrol the device anew" in refusal.value.hint
    assert treasury.kek_labels() == set()
    other = replace(made, disk=OTHER, enrolled=now - 7 * day + 60)
    assert disk_in(treasury.advance(sealed_by_the_pin(treasury, other, 1), BeginWork(work))).keks


def test_an_erasure_takes_the_disk_as_it_stands(treasury: Treasury) -> None:
    """A certificate that denies escrow, or an erasure of a disk that the space never had."""
    rest = treasury.formatted()
    disk, now = disk_in(rest), int(time.time())
    gone, version = disk.erase(now), rest.row.version + 1
    target = DiskTarget(DISK)
    silent = replace(gone, recovery=None)
    stranger = replace(disk_of(SPACE, wish(), now), serial="ANOTHER-BOARD").erase(now)
    for row, number, before in (
        (silent, version, rest),
        (stranger, version, rest),
        (stranger, 7, None),
        (gone, version, None),
        (gone, version + 1, rest),
    ):
        approved = treasury.approved("disk.erase", target, row, number, before)
        with pytest.raises(Forbidden):
            treasury.ask(lambda hsm, one=approved: hsm.seal_approved(one))
    forged = SealedRow(make_row(replace(disk, recovery=None), rest.row.version), rest.mac)
    approved = treasury.approved("disk.erase", target, silent, version, forged)
    with pytest.raises(IntegrityFailure):
        treasury.ask(lambda hsm: hsm.seal_approved(approved))
    assert disk_in(treasury.erased(rest).disk).recovery


def test_an_older_row_goes_on_from_no_key_that_the_disk_lost(treasury: Treasury) -> None:
    """The store is rolled back behind a rotation of the KEK that was carried through."""
    rest = treasury.formatted()
    turned = treasury.advance(rest, RotateKek())
    treasury.ask(lambda hsm: hsm.drop_keks(turned))
    for act in (BeginWork(Work.SLOT), RotateKek()):
        with pytest.raises(StateNotAllowed, match="no KEK 1"):
            treasury.advance(rest, act)
    with pytest.raises(StateNotAllowed, match="no KEK 1"):
        treasury.opened(rest)


def test_a_release_opens_for_the_configured_appliance_and_its_own_question_alone(
    treasury: Treasury,
) -> None:
    rest, nonce = treasury.formatted(), os.urandom(NONCE_BYTES)
    token = treasury.ask(lambda hsm: hsm.open_disk(rest, nonce))
    sealed = unb64u(verify_release(token, treasury.keys, DISK, nonce).sealed)
    ours, stranger = software_keys().appliance, X25519PrivateKey.generate()
    assert open_keys(sealed, ours, SITE, DISK, nonce).key
    for key, site, disk, asked in (
        (stranger, SITE, DISK, nonce),
        (ours, "other.example", DISK, nonce),
        (ours, SITE, OTHER, nonce),
        (ours, SITE, DISK, os.urandom(NONCE_BYTES)),
    ):
        with pytest.raises(EnvelopeRefused):
            open_keys(sealed, key, site, disk, asked)
    for disk, asked in ((OTHER, nonce), (DISK, os.urandom(NONCE_BYTES))):
        with pytest.raises(VerificationFailed, match="another question"):
            verify_release(token, treasury.keys, disk, asked)


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_a_nonce_of_another_size_is_refused(treasury: Treasury, size: int) -> None:
    rest = treasury.enrol()
    with pytest.raises(InvalidInput, match="nonce"):
        treasury.ask(lambda hsm: hsm.open_disk(rest, bytes(size)))


def test_another_space_s_worker_and_the_site_s_give_nothing(treasury: Treasury) -> None:
    rest, site = treasury.formatted(), treasury.site
    for label, error in (("space-b", IntegrityFailure), ("site", InvalidInput)):
        site.start(label)
        with pytest.raises(error):
            asyncio.run(_release_at(site, label, rest))


async def _release_at(site: HsmSite, label: str, row: SealedRow) -> str:
    """Ask a worker for a release as if its token were the disk's space's."""
    worker = SpaceWorker(site.settings.paths.worker_socket(label), 5.0)
    try:
        return await worker.open_disk(row, bytes(NONCE_BYTES))
    finally:
        await worker.close()


def test_no_disk_is_erased_or_certified_but_by_its_own_approved_request(
    treasury: Treasury,
) -> None:
    rest, other = treasury.formatted(), treasury.formatted(OTHER, "WD-2")
    good, foreign = treasury.erased(rest), treasury.erased(other)
    forged = Board(SITE, treasury.board.now, root=ec.generate_private_key(ec.SECP256R1()))
    pending = treasury.board.record(
        treasury.board.request("disk.erase", DiskTarget(DISK), SPACE), SECURITY[:2]
    )
    (waiting,) = treasury.ask(lambda hsm: hsm.seal_rows([make_row(pending, 1)]))
    for order in (
        replace(good, request=waiting),
        replace(good, request=replace(good.request, mac=bytes(32))),
        replace(good, register=forged.token),
        replace(good, disk=rest),
        replace(good, disk=foreign.disk),
        replace(good, disk=replace(good.disk, mac=bytes(32))),
        replace(good, request=foreign.request),
    ):
        with pytest.raises((IntegrityFailure, Forbidden, VerificationFailed)):
            treasury.ask(lambda hsm, one=order: hsm.erase_disk(one))
        wanted = treasury.certificate(order)
        with pytest.raises((IntegrityFailure, Forbidden, VerificationFailed)):
            treasury.ask(lambda hsm, one=wanted: hsm.certify_erasure(one))
    assert len(treasury.kek_labels()) == 2


# --- whoever has the user PIN of the token --------------------------------------------------------


def test_what_is_stored_of_one_disk_opens_in_no_other_s_place(treasury: Treasury) -> None:
    """The AAD binds it to site, space, disk, serial, purpose and version; the MAC alone would not
    hold against whoever has the PIN.
    """
    rest = treasury.formatted()
    begun = treasury.advance(rest, BeginWork(Work.VOLUME))
    disk, other = disk_in(begun), disk_in(treasury.formatted(OTHER, "WD-2"))
    assert disk.key
    assert disk.next_recovery
    assert other.key
    as_slot = replace(disk.key, sealed=disk.next_recovery.sealed)
    cut = replace(disk.key, sealed=disk.key.sealed[:-8])
    flipped = replace(disk.key, sealed="A" + disk.key.sealed[1:])
    for forged in (
        replace(disk, key=other.key),
        replace(disk, key=as_slot),
        replace(disk, serial="WD-9"),
        replace(disk, key=cut),
        replace(disk, key=flipped),
        replace(disk, key=replace(disk.key, sealed="!")),
        replace(disk, key=replace(disk.key, sealed="AAAA")),
    ):
        row = sealed_by_the_pin(treasury, forged)
        with pytest.raises(IntegrityFailure):
            treasury.opened(row)
    assert treasury.opened(begun).key


def planted(value: bytes, **changes: Any) -> Template:
    """Return a KEK of the attacker's own value, under the label of the disk's."""
    kek = dict(templates.disk_kek(disk_kek(DISK, 1)).values)
    del kek[A.VALUE_LEN]
    return Template({**kek, A.VALUE: value, **{A[key]: one for key, one in changes.items()}})


@pytest.mark.parametrize(
    "changes",
    [{}, {"EXTRACTABLE": True}, {"SENSITIVE": False}, {"WRAP": True}, {"MODIFIABLE": True}],
    ids=str,
)
def test_a_kek_that_was_put_in_the_place_of_the_disk_s_encrypts_nothing(
    treasury: Treasury, changes: dict[str, bool]
) -> None:
    rest = treasury.formatted()
    with in_this_process(treasury.site), user(TOKEN) as token:
        for handle in token.labelled(ObjectClass.SECRET_KEY, disk_kek(DISK, 1)):
            token.destroy(handle)
        token.create(planted(os.urandom(32), **changes))
    for act in (BeginWork(Work.SLOT), BeginWork(Work.VOLUME), RotateKek()):
        with pytest.raises(IntegrityFailure, match="the token changed"):
            treasury.advance(rest, act)


def test_a_second_kek_of_the_same_label_is_never_chosen(treasury: Treasury) -> None:
    rest = treasury.formatted()
    with in_this_process(treasury.site), user(TOKEN) as token:
        token.create(planted(os.urandom(32)))
    for act in (BeginWork(Work.SLOT), RotateKek()):
        with pytest.raises(IntegrityFailure, match="more than one KEK"):
            treasury.advance(rest, act)


def test_a_kek_that_was_put_there_beforehand_is_passed_over(treasury: Treasury) -> None:
    new = treasury.enrol()
    with in_this_process(treasury.site), user(TOKEN) as token:
        token.create(planted(os.urandom(32)))
    begun = treasury.advance(new, BeginWork(Work.FORMAT))
    assert disk_in(begun).keks == 2
    assert treasury.opened(begun).next_key


def test_an_erasure_leaves_nothing_under_a_kek_s_label(treasury: Treasury) -> None:
    rest = treasury.formatted()
    with in_this_process(treasury.site), user(TOKEN) as token:
        token.create(planted(os.urandom(32)))
        token.create(planted(os.urandom(32)) | {A.LABEL: str(disk_kek(DISK, 77))})
    order = treasury.erased(rest)
    treasury.ask(lambda hsm: hsm.erase_disk(order))
    assert treasury.kek_labels() == set()


def test_a_kek_neither_leaves_nor_decrypts_without_its_tag(treasury: Treasury) -> None:
    treasury.formatted()
    with in_this_process(treasury.site), user(TOKEN) as token:
        (kek,) = token.labelled(ObjectClass.SECRET_KEY, disk_kek(DISK, 1))
        with pytest.raises(HsmUnavailable):
            token.read(kek, A.VALUE)
    for mechanism in (Mechanism.AES_CBC, Mechanism.AES_ECB, Mechanism.AES_CTR):
        with in_this_process(treasury.site), user(TOKEN) as token:
            (kek,) = token.labelled(ObjectClass.SECRET_KEY, disk_kek(DISK, 1))
            with pytest.raises((PKCS11Error, TypeError)):
                kek.decrypt(bytes(32), mechanism=mechanism, mechanism_param=bytes(16))
    with in_this_process(treasury.site), user(TOKEN) as token:
        (kek,) = token.labelled(ObjectClass.SECRET_KEY, disk_kek(DISK, 1))
        wrapping = token.create(templates.share_wrapping_key(bytes(32)))
        with pytest.raises(HsmUnavailable):
            token.wrap_padded(wrapping, kek)


def test_nobody_but_officers_makes_a_key_that_recovery_keys_go_to(treasury: Treasury) -> None:
    new = treasury.enrol()
    own = software_keys().server.public_key()
    label = numbered(LabelKind.DISK_ESCROW, 9)
    rogue = templates.disk_escrow_public(label, bytes(32), own)
    with in_this_process(treasury.site), user(TOKEN) as token:
        with pytest.raises(HsmUnavailable):
            token.create(rogue)
        token.create(rogue | {A.TRUSTED: False})
    begun = disk_in(treasury.advance(new, BeginWork(Work.FORMAT)))
    assert begun.next_recovery
    assert begun.next_recovery.generation == 1
