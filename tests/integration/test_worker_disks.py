"""Disk keys by the real worker on a real token: what it makes, releases, rotates and destroys."""

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from kms.domain.approvals import Request
from kms.domain.disks import MountPolicy, Work
from kms.errors import (
    Forbidden,
    IntegrityFailure,
    InvalidInput,
    StateNotAllowed,
    VerificationFailed,
)
from kms.ports import BeginWork, CommitWork, DescribeDisk, DiskStep, FinishWork, RotateKek
from kms.statements.canonical import b64u, read_row, unb64u
from kms.statements.diskkeys import KEY_BYTES, DiskKeys, unbind_recovery, work_proof
from kms.statements.erasure import METHOD, Slots, check_erases, verify_erasure
from kms.statements.jws import spki_der
from kms.statements.request import peek_request
from tests.fixtures.approvals import ADMIN, SECURITY
from tests.fixtures.disk_worker import (
    DISK,
    HEADER,
    OTHER,
    TOKEN,
    Proved,
    Treasury,
    commit,
    disk_in,
    finish,
    recovered,
    treasury_site,
)
from tests.fixtures.escrow import OAEP_SHA1
from tests.fixtures.hsm import SITE

SEALED_BYTES = 12 + KEY_BYTES + 16


@pytest.fixture
def treasury() -> Iterator[Treasury]:
    yield from treasury_site()


def kek(version: int, disk: str = DISK) -> str:
    return f"disk-kek/{disk}/{version}"


# --- the life of a disk --------------------------------------------------------------------------


def test_a_new_disk_has_no_keys_and_gets_its_first_by_the_work_that_people_approved(
    treasury: Treasury,
) -> None:
    first = treasury.enrol()
    assert treasury.opened(first) == DiskKeys()
    begun = treasury.advance(first, BeginWork(Work.FORMAT))
    disk, keys = disk_in(begun), treasury.opened(begun)
    assert (begun.row.version, disk.work, disk.key, disk.recovery) == (2, Work.FORMAT, None, None)
    assert (disk.keks, treasury.kek_labels()) == (1, {kek(1)})
    assert keys.key is keys.recovery is None
    assert keys.next_key != keys.next_recovery
    assert [len(one or b"") for one in (keys.next_key, keys.next_recovery)] == [KEY_BYTES] * 2
    assert disk.next_key
    assert len(unb64u(disk.next_key.sealed)) == SEALED_BYTES


def test_keys_become_the_disk_s_by_the_commit_and_the_recovery_key_is_then_under_escrow_alone(
    treasury: Treasury,
) -> None:
    begun = treasury.advance(treasury.enrol(), BeginWork(Work.FORMAT))
    before = treasury.opened(begun)
    committed = treasury.advance(begun, commit)
    assert treasury.opened(committed) == DiskKeys(before.next_key, None, before.next_recovery)
    done = treasury.advance(committed, finish)
    disk = disk_in(done)
    assert treasury.opened(done) == DiskKeys(before.next_key)
    assert (disk.work, disk.header, disk.volume, done.row.version) == (Work.NONE, HEADER, 1, 4)
    assert disk.recovery
    assert (disk.recovery.sealed, disk.recovery.tested) == ("", disk.recovery.made)
    assert recovered(disk) == before.next_recovery


@pytest.mark.parametrize(
    ("work", "makes"),
    [
        (Work.SLOT, {"next_key"}),
        (Work.RECOVERY, {"next_recovery"}),
        (Work.VOLUME, {"next_key", "next_recovery"}),
    ],
)
def test_a_work_brings_other_keys_beside_those_that_open_the_disk(
    treasury: Treasury, work: Work, makes: set[str]
) -> None:
    rest = treasury.formatted()
    old = treasury.opened(rest)
    begun = treasury.advance(rest, BeginWork(work))
    keys = treasury.opened(begun)
    assert keys.key == old.key
    assert {name for name in ("next_key", "next_recovery") if getattr(keys, name)} == makes
    done = treasury.advance(begun, commit, finish)
    assert treasury.opened(done) == DiskKeys(keys.next_key or old.key)
    if keys.next_recovery:
        assert recovered(disk_in(done)) == keys.next_recovery
    assert treasury.kek_labels() == {kek(1)}
    assert disk_in(done).volume == 1 + (work is Work.VOLUME)


def test_another_kek_keeps_the_key_and_the_older_ones_go_when_the_row_is_stored(
    treasury: Treasury,
) -> None:
    rest = treasury.formatted()
    turned = treasury.advance(rest, RotateKek())
    disk = disk_in(turned)
    assert (disk.keks, disk.key and disk.key.kek) == (2, 2)
    assert treasury.opened(turned) == treasury.opened(rest)
    assert treasury.kek_labels() == {kek(1), kek(2)}
    for _ in range(2):
        treasury.ask(lambda hsm: hsm.drop_keks(turned))
    assert treasury.kek_labels() == {kek(2)}
    with pytest.raises(StateNotAllowed, match="no KEK 1"):
        treasury.opened(rest)
    assert treasury.opened(turned).key


def test_a_kek_whose_row_was_never_stored_is_passed_over_and_goes_later(
    treasury: Treasury,
) -> None:
    """The worker's answer was lost: the service goes on from the row that it has."""
    rest = treasury.formatted()
    treasury.advance(rest, RotateKek())
    turned = treasury.advance(rest, RotateKek())
    assert disk_in(turned).keks == 3
    treasury.ask(lambda hsm: hsm.drop_keks(turned))
    assert treasury.kek_labels() == {kek(3)}


def test_no_kek_goes_that_a_row_still_names(treasury: Treasury) -> None:
    turned = treasury.advance(treasury.formatted(), RotateKek())
    begun = treasury.advance(turned, BeginWork(Work.RECOVER))
    with pytest.raises(StateNotAllowed, match="not over"):
        treasury.ask(lambda hsm: hsm.drop_keks(begun))
    assert treasury.kek_labels() == {kek(1), kek(2), kek(3)}
    done = treasury.advance(begun, commit, finish)
    treasury.ask(lambda hsm: hsm.drop_keks(done))
    assert treasury.kek_labels() == {kek(3)}


def test_a_recovery_that_was_only_begun_takes_no_key_away(treasury: Treasury) -> None:
    rest = treasury.formatted()
    old = treasury.opened(rest)
    begun = treasury.advance(rest, BeginWork(Work.RECOVER))
    keys = treasury.opened(begun)
    assert keys.key == old.key
    assert keys.next_key not in {None, old.key}
    treasury.site.as_officer(TOKEN, "destroy", kek(1))
    assert treasury.opened(begun) == replace(keys, key=None)
    done = treasury.advance(begun, commit, finish)
    assert treasury.opened(done) == DiskKeys(keys.next_key)


def test_a_disk_whose_kek_is_gone_gets_others_by_a_recovery(treasury: Treasury) -> None:
    """As after a restoration: the row is there, the token is another one."""
    rest = treasury.formatted()
    lost = treasury.advance(rest, BeginWork(Work.SLOT))
    treasury.site.as_officer(TOKEN, "destroy", kek(1))
    for row in (rest, lost):
        with pytest.raises(StateNotAllowed, match="no KEK 1") as refusal:
            treasury.opened(row)
        assert "recover-disk" in refusal.value.hint
        begun = treasury.advance(row, BeginWork(Work.RECOVER))
        keys = treasury.opened(begun)
        assert keys.next_key
        assert keys.next_recovery
        assert (keys.key, keys.recovery) == (None, None)
        done = treasury.advance(begun, commit, finish)
        assert treasury.opened(done) == DiskKeys(keys.next_key)
        assert recovered(disk_in(done)) == keys.next_recovery


def test_a_disk_is_described_anew_with_its_keys_as_they_are(treasury: Treasury) -> None:
    rest = treasury.formatted()
    mount = MountPolicy("archive", automatic=False, read_only=True)
    told = treasury.advance(rest, DescribeDisk("archive", mount))
    assert disk_in(told) == replace(disk_in(rest), label="archive", mount=mount)
    for label, place in (("../x", MountPolicy()), ("ok", MountPolicy("a/b")), ("", mount)):
        with pytest.raises(InvalidInput):
            treasury.advance(rest, DescribeDisk(label, place))


def test_no_two_keys_are_the_same_and_none_is_sealed_twice_alike(treasury: Treasury) -> None:
    rest, other = treasury.formatted(), treasury.formatted(OTHER, "WD-2")
    rows = [rest, other, treasury.work(rest, Work.VOLUME), treasury.work(other, Work.SLOT)]
    keys = [treasury.opened(row).key for row in rows]
    assert len(set(keys)) == len(keys)
    turned = [treasury.advance(rest, RotateKek()) for _ in range(2)]
    assert treasury.opened(turned[0]) == treasury.opened(turned[1])
    first, second = (disk_in(one).key for one in turned)
    assert first
    assert second
    assert first.sealed != second.sealed


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("work", [Work.SLOT, Work.RECOVERY, Work.VOLUME, Work.RECOVER])
def test_keys_are_committed_and_works_end_on_the_word_of_who_has_the_keys_alone(
    treasury: Treasury, work: Work
) -> None:
    """Else a web process gone bad destroys the only keys of a disk with steps that are its own."""
    rest = treasury.formatted()
    begun = treasury.advance(rest, BeginWork(work))
    right, keys, other = treasury.proof(begun), treasury.opened(begun), b64u(os.urandom(32))
    older = work_proof(keys, SITE, DISK, rest.row.version)
    elsewhere = work_proof(keys, SITE, OTHER, begun.row.version)
    guessed = work_proof(DiskKeys(), SITE, DISK, begun.row.version)
    for proof in ("", "\u00e9", other, right[:-1], older, elsewhere, guessed):
        with pytest.raises(VerificationFailed, match="appliance"):
            treasury.advance(begun, CommitWork(proof))
    committed = treasury.advance(begun, CommitWork(right))
    right = treasury.proof(committed, HEADER)
    early = work_proof(keys, SITE, DISK, begun.row.version, HEADER)
    for header, proof in ((HEADER, ""), (HEADER, early), (other, right)):
        with pytest.raises(VerificationFailed, match="appliance"):
            treasury.advance(committed, FinishWork(header, proof))
    with pytest.raises(VerificationFailed, match="appliance"):
        treasury.advance(committed, FinishWork(HEADER, treasury.proof(committed)))
    assert disk_in(treasury.advance(committed, FinishWork(HEADER, right))).work is Work.NONE


def test_steps_come_in_their_order_alone(treasury: Treasury) -> None:
    new = treasury.enrol()
    begun = treasury.advance(new, BeginWork(Work.FORMAT))
    committed = treasury.advance(begun, commit)
    rest = treasury.advance(committed, finish)
    steps: dict[str, DiskStep | Proved] = {
        "format": BeginWork(Work.FORMAT),
        "encrypt": BeginWork(Work.ENCRYPT),
        "slot": BeginWork(Work.SLOT),
        "none": BeginWork(Work.NONE),
        "erase": BeginWork(Work.ERASE),
        "commit": commit,
        "finish": finish,
        "describe": DescribeDisk("x", MountPolicy()),
        "rotate": RotateKek(),
    }
    allowed = [
        (new, {"format"}),
        (begun, {"commit"}),
        (committed, {"finish"}),
        (rest, {"slot", "describe", "rotate"}),
    ]
    for row, good in allowed:
        for name in steps.keys() - good:
            with pytest.raises(StateNotAllowed):
                treasury.advance(row, steps[name])


@pytest.mark.parametrize("header", ["", "x", "../header", HEADER + "A", "A" * 42])
def test_a_header_is_named_by_its_digest_alone(treasury: Treasury, header: str) -> None:
    committed = treasury.advance(treasury.enrol(), BeginWork(Work.FORMAT), commit)
    with pytest.raises(InvalidInput):
        treasury.advance(committed, FinishWork(header, treasury.proof(committed, header)))


def test_without_an_appliance_no_key_leaves(treasury: Treasury) -> None:
    rest = treasury.formatted()
    treasury.site.configure(appliance="")
    treasury.site.restart(TOKEN)
    with pytest.raises(StateNotAllowed, match="no appliance") as refusal:
        treasury.opened(rest)
    assert "appliance_key" in refusal.value.hint
    turned = treasury.advance(rest, RotateKek())
    assert disk_in(turned).keks == 2


def test_a_worker_with_a_key_that_is_none_does_not_start(treasury: Treasury) -> None:
    treasury.site.configure(appliance="AAAA")
    assert treasury.site.restart(TOKEN).wait() == 78
    assert "appliance key" in treasury.site.log(TOKEN)


def test_without_a_disk_escrow_key_no_recovery_key_is_made(treasury: Treasury) -> None:
    """A disk whose recovery key nobody can open must not come about; slots still rotate."""
    rest, new = treasury.formatted(), treasury.enrol(OTHER, "WD-2")
    treasury.site.as_officer(TOKEN, "revoke", "disk-escrow/1")
    for row, work in ((rest, Work.RECOVERY), (rest, Work.VOLUME), (new, Work.FORMAT)):
        with pytest.raises(StateNotAllowed, match="no disk escrow key"):
            treasury.advance(row, BeginWork(work))
    assert treasury.kek_labels() == {kek(1)}
    treasury.work(rest, Work.SLOT)


def test_recovery_keys_go_to_the_newest_generation_that_officers_trust(
    treasury: Treasury,
) -> None:
    rest = treasury.formatted()
    newer = rsa.generate_private_key(65537, 4096)
    treasury.site.as_officer(TOKEN, "trust_disk_escrow", 2, spki_der(newer.public_key()))
    assert disk_in(treasury.work(rest, Work.RECOVERY)).recovery != disk_in(rest).recovery
    treasury.site.restart(TOKEN)
    begun = treasury.advance(rest, BeginWork(Work.RECOVERY))
    keys, disk = treasury.opened(begun), disk_in(treasury.advance(begun, commit))
    assert disk.recovery
    assert disk.recovery.generation == 2
    plain = newer.decrypt(unb64u(disk.recovery.escrowed), OAEP_SHA1)
    assert unbind_recovery(plain, SITE, disk, 2) == keys.next_recovery
    with pytest.raises(IntegrityFailure):
        unbind_recovery(plain, SITE, replace(disk, serial="WD-2"), 2)


# --- the end of a disk ---------------------------------------------------------------------------


def test_an_erased_disk_has_no_kek_and_its_certificate_says_by_whose_word(
    treasury: Treasury,
) -> None:
    other = treasury.formatted(OTHER, "WD-2")
    turned = treasury.advance(treasury.formatted(), RotateKek())
    order = treasury.erased(turned)
    with pytest.raises(StateNotAllowed, match="still has a KEK"):
        treasury.ask(lambda hsm: hsm.certify_erasure(treasury.certificate(order)))
    for _ in range(2):
        treasury.ask(lambda hsm: hsm.erase_disk(order))
    assert treasury.kek_labels() == {kek(1, OTHER)}
    token = treasury.ask(lambda hsm: hsm.certify_erasure(treasury.certificate(order)))
    found, request = verify_erasure(token, treasury.keys), read_row(order.request.row)
    assert isinstance(request, Request)
    check_erases(found, peek_request(request.request))
    assert (found.method, found.slots, found.keks, found.escrow) == (METHOD, Slots.ERASED, 2, 1)
    assert (found.disk, found.serial, found.executor) == (DISK, "WD-1", ADMIN)
    assert (found.requester, found.supervisors) == (ADMIN, tuple(sorted(SECURITY[:2])))
    assert (found.erased, found.issued) == (disk_in(order.disk).erased, request.ended + 1)
    assert treasury.opened(other).key


def test_no_row_of_an_erased_disk_releases_a_key_and_its_last_one_proves_the_end(
    treasury: Treasury,
) -> None:
    begun = treasury.advance(treasury.enrol(), BeginWork(Work.FORMAT))
    committed = treasury.advance(begun, commit)
    rest = treasury.advance(committed, finish)
    order = treasury.erased(rest)
    treasury.ask(lambda hsm: hsm.erase_disk(order))
    for row in (begun, committed, rest):
        with pytest.raises(StateNotAllowed, match="no KEK 1"):
            treasury.opened(row)
    assert treasury.opened(order.disk) == DiskKeys()
    for step in (
        *map(BeginWork, Work),
        commit,
        finish,
        RotateKek(),
        DescribeDisk("x", MountPolicy()),
    ):
        with pytest.raises(StateNotAllowed):
            treasury.advance(order.disk, step)


def test_a_disk_without_keys_is_erased_too(treasury: Treasury) -> None:
    order = treasury.erased(treasury.enrol(), absent=True)
    treasury.ask(lambda hsm: hsm.erase_disk(order))
    wanted = treasury.certificate(order, "absent")
    found = verify_erasure(treasury.ask(lambda hsm: hsm.certify_erasure(wanted)), treasury.keys)
    assert (found.keks, found.escrow, found.slots) == (0, 0, Slots.ABSENT)


def test_a_certificate_tells_no_more_than_the_request_and_the_appliance_said(
    treasury: Treasury,
) -> None:
    order = treasury.erased(treasury.formatted(), absent=True)
    treasury.ask(lambda hsm: hsm.erase_disk(order))
    absent = treasury.certificate(order, "absent")
    for wrong in (
        replace(absent, slots="erased"),
        replace(absent, slots="burnt"),
        replace(absent, now=absent.now - 60),
    ):
        with pytest.raises((Forbidden, InvalidInput)):
            treasury.ask(lambda hsm, one=wrong: hsm.certify_erasure(one))
