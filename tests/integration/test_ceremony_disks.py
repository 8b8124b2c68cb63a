"""Ceremonies and encrypted disks, on real tokens: a recovery key out of escrow, and what becomes of
disks when generations are replaced, a site is restored or a space destroyed.
"""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from kms.audit.leaf import decode_leaf
from kms.bootstrap.files import StateFiles
from kms.ceremonies.steps.certificate import read_certificate
from kms.client.api import Client
from kms.domain.disks import Work
from kms.domain.ids import DiskId
from kms.errors import (
    ConclaveError,
    EnvelopeRefused,
    IntegrityFailure,
    InvalidInput,
    NotFound,
    StateNotAllowed,
)
from kms.practice import PracticeSite
from kms.settings import load
from kms.statements import archive
from kms.statements.canonical import b64u, unb64u
from kms.statements.diskkeys import DiskKeys, open_keys, unbind_recovery, work_proof
from kms.statements.keylist import verify_keylist
from kms.statements.recovered import RecoveredDisk, decode_recovered_disk
from kms.statements.release import DiskRelease, verify_release
from kms.store.sqlite import SqliteStore
from tests.fixtures.enrolled import DISK, SPACE, bare, enrol, escrowed, opened, put_disk
from tests.fixtures.escrow import OAEP_SHA1, recover_disk_escrow
from tests.fixtures.escrowed import OFFICERS, hold, kill_at, look, order, site_root
from tests.fixtures.softhsm import clone_site
from tests.fixtures.store import TestClock
from tests.practice.service import serving
from tests.scenarios.restoration import burn, restore_parameters

OTHER = DiskId("0193a5b0-7c3e-7000-8000-00000000d15d")


@pytest.fixture
def site(practice_master: PracticeSite) -> Iterator[PracticeSite]:
    with TemporaryDirectory(prefix="cv-") as folder:
        yield clone_site(practice_master, Path(folder, "s"))


def recovery(site: PracticeSite, disk: str = DISK, **changes: object) -> Path:
    appliance = load(site.config).disks.appliance_key
    parameters = (
        f'space = "{SPACE}"\ndisk = "{disk}"\nappliance = "{appliance}"\ntoken = "recovery"\n'
    )
    return order(site, "recover-disk", parameters, **changes)


def delivered(site: PracticeSite) -> list[RecoveredDisk]:
    files = (site.state / "recovered").rglob("*.json")
    return [decode_recovered_disk(path.read_bytes()) for path in files]


def details(site: PracticeSite, action: str) -> list[dict[str, object]]:
    store = SqliteStore.open(site.state / "conclave.db", TestClock())
    try:
        leaves = [decode_leaf(one) for one in store.leaves(0, 10_000)]
    finally:
        store.close()
    return [one.details for one in leaves if one.action == action]


# --- recover-disk --------------------------------------------------------------------------------


def test_the_recovery_key_comes_back_for_the_named_appliance_alone(site: PracticeSite) -> None:
    enrolled = enrol(site)
    facts = hold(site, recovery(site))
    (found,) = delivered(site)
    assert opened(site, found) == enrolled.key
    assert facts["order/disk"]["serial"] == enrolled.disk.serial
    assert facts["recover/erase"] == {"token": "recovery"}
    (told,) = details(site, "escrow.recover-disk")
    appliance = load(site.config).disks.appliance_key
    assert (told["disk"], told["appliance"], told["generations"]) == (DISK, appliance, [1])
    stranger = X25519PrivateKey.generate().private_bytes_raw()
    site.appliance_key.write_text(b64u(stranger))
    with pytest.raises(EnvelopeRefused):
        opened(site, found)


def test_a_recovered_disk_obliges_to_a_new_generation(site: PracticeSite) -> None:
    enrol(site)
    hold(site, recovery(site))
    with serving(site) as service:
        owing = look(service)
        assert owing.attention
        assert [one.generation for one in owing.obligations] == [1]


def test_the_first_recovery_key_counts_before_its_work_is_committed(site: PracticeSite) -> None:
    key = bytes(range(64))
    disk = bare()
    put_disk(site, replace(disk, next_recovery=escrowed(site, key, disk)))
    hold(site, recovery(site))
    assert [opened(site, one) for one in delivered(site)] == [key]


def test_a_key_that_escrow_holds_for_another_disk_is_not_delivered(site: PracticeSite) -> None:
    disk = bare()
    foreign = (
        bare(OTHER),
        replace(disk, serial="WD-2"),
        replace(disk, space="investment-banking"),
    )
    for number, bound_to in enumerate(foreign):
        put_disk(site, replace(disk, recovery=escrowed(site, bytes(64), bound_to)))
        facts = hold(site, recovery(site, name=f"recover-{number}"))
        assert "another disk's" in facts["recover/deliver"]["refused"]
    assert not delivered(site)


def test_a_disk_that_was_erased_after_an_interruption_is_not_recovered(site: PracticeSite) -> None:
    disk, plan = enrol(site).disk, recovery(site)
    kill_at(site, plan, "The empty token recovery")
    put_disk(site, disk.erase(5))
    assert "is erased" in hold(site, plan)["recover/deliver"]["refused"]
    assert not delivered(site)


def test_a_spoilt_private_half_is_put_back_and_the_recovery_ends(site: PracticeSite) -> None:
    enrolled, plan = enrol(site), recovery(site)
    blob = site.state / archive.DISK_ESCROW_BLOB.format(1)
    whole = blob.read_bytes()
    blob.write_bytes((site.state / archive.ESCROW_BLOB.format(1)).read_bytes())
    with pytest.raises(IntegrityFailure, match="disk escrow key"):
        hold(site, plan)
    blob.write_bytes(whole)
    hold(site, plan)
    assert [opened(site, one) for one in delivered(site)] == [enrolled.key]


def test_only_a_disk_that_escrow_can_open_is_recovered(site: PracticeSite) -> None:
    disk = bare()
    lost = replace(escrowed(site, bytes(64), disk), generation=7)
    cases = {
        "no recovery key yet": disk,
        "is erased": replace(disk, erased=5),
        "under escrow generation 7": replace(disk, recovery=lost),
    }
    with pytest.raises(NotFound):
        hold(site, recovery(site, name="unknown"))
    for number, (told, state) in enumerate(cases.items()):
        put_disk(site, state)
        with pytest.raises(StateNotAllowed, match=told):
            hold(site, recovery(site, name=f"order-{number}"))
    assert not details(site, "escrow.recover-disk")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"recovery"', '"space-treasury"'),
        ('appliance = "', 'appliance = "AAAA'),
        (f'"{DISK}"', '"0193a5b0-7c3e-4000-8000-00000000d15c"'),
        (f'"{SPACE}"', '"nobodys"'),
    ],
)
def test_an_order_that_cannot_be_carried_out_is_refused(
    practice_site: PracticeSite, old: str, new: str
) -> None:
    plan = recovery(practice_site)
    plan.write_text(plan.read_text().replace(old, new, 1))
    with pytest.raises(InvalidInput):
        hold(practice_site, plan)


def test_too_few_officers_recover_no_disk(site: PracticeSite) -> None:
    enrol(site)
    for name, officers in (("two-of-five", OFFICERS[1:]), ("one-of-three", OFFICERS[:-1])):
        with pytest.raises(ConclaveError, match="group"):
            hold(site, recovery(site, name=name, officers=officers))
    assert not delivered(site)


RECOVERING = (
    "The log tells which disk's",
    "gives share security/2 of the share wrapping key",
    "The empty token recovery",
    "The token decrypts the recovery key",
    "The token recovery is erased",
)


def test_a_recovery_that_was_killed_again_and_again_is_ended_by_the_next_run(
    site: PracticeSite,
) -> None:
    enrolled, plan = enrol(site), recovery(site)
    for sentence in RECOVERING:
        kill_at(site, plan, sentence)
    hold(site, plan)
    assert [opened(site, one) for one in delivered(site)] == [enrolled.key]
    assert len(details(site, "escrow.recover-disk")) == 1


def test_the_key_that_the_hsm_worker_made_comes_back_on_another_hsm(site: PracticeSite) -> None:
    given = _formatted(site)
    burn(site)
    hold(site, order(site, "restore-site", restore_parameters(site)))
    hold(site, recovery(site), root=2)
    assert [opened(site, one) for one in delivered(site)] == [given.next_recovery]
    site.site_root.write_bytes((site.state / "site-root-2.pem").read_bytes())
    with serving(site) as service, service.console() as daemon:
        with pytest.raises(StateNotAllowed, match="has no KEK 1"):
            daemon.disk_keys(DISK, bytes(16))
        daemon.begin_work(DISK, Work.RECOVER)
        assert _released(site, daemon, root=2).next_key not in {None, given.next_key}


def _formatted(site: PracticeSite) -> DiskKeys:
    """Let the service's worker make a disk's first keys; return them."""
    put_disk(site, replace(bare(), work=Work.FORMAT, enrolled=int(time.time())))
    with serving(site) as service, service.console() as daemon:
        daemon.begin_work(DISK, Work.FORMAT)
        given = _released(site, daemon)
        daemon.commit_work(DISK, _proof(site, daemon))
        header = b64u(bytes(32))
        daemon.finish_work(DISK, header, _proof(site, daemon, header))
    return given


def _proof(site: PracticeSite, daemon: Client, header: str = "") -> str:
    """Return the appliance's proof of how far a work is."""
    release, keys = _told(site, daemon)
    return work_proof(keys, site.site_id, DISK, release.version, header)


def _released(site: PracticeSite, daemon: Client, root: int = 1) -> DiskKeys:
    """Return the disk's keys as the appliance daemon opens them."""
    return _told(site, daemon, root)[1]


def _told(site: PracticeSite, daemon: Client, root: int = 1) -> tuple[DiskRelease, DiskKeys]:
    keys, nonce = verify_keylist(daemon.key_list().key_list, site_root(site, root)), os.urandom(16)
    release = verify_release(daemon.disk_keys(DISK, nonce).release, keys, DISK, nonce)
    private = X25519PrivateKey.from_private_bytes(unb64u(site.appliance_key.read_text()))
    return release, open_keys(unb64u(release.sealed), private, site.site_id, DISK, nonce)


# --- what other ceremonies do to disks ------------------------------------------------------------


def test_after_a_restoration_the_disk_opens_by_recover_disk(site: PracticeSite) -> None:
    enrolled = enrol(site)
    burn(site)
    facts = hold(site, order(site, "restore-site", restore_parameters(site)))
    assert facts["restore/disks"] == {"disks": [f"{SPACE}/{DISK}"]}
    hold(site, recovery(site), root=2)
    assert [opened(site, one) for one in delivered(site)] == [enrolled.key]


def test_a_burned_site_is_not_restored_under_another_disk_escrow_key(site: PracticeSite) -> None:
    names = [site.state / name.format(1) for name in archive.ESCROW_BLOBS]
    shutil.copyfile(*names)
    burn(site)
    with pytest.raises(IntegrityFailure, match="disk escrow key"):
        hold(site, order(site, "restore-site", restore_parameters(site)))


def test_a_new_generation_names_the_disks_that_it_leaves_behind(site: PracticeSite) -> None:
    _formatted(site)
    put_disk(site, replace(bare(OTHER, "WD-2"), erased=5))
    facts = hold(site, order(site, "new-generation", 'reason = "schedule"\n'))
    assert facts["replace/disks"] == {"disks": [f"{SPACE}/{DISK}"]}
    labels = {one["label"] for one in facts["replace/distrust/space-treasury"]["objects"]}
    assert "disk-escrow/2" in labels
    assert "disk-escrow/1" not in labels
    assert "disk-escrow/1" not in {one["label"] for one in facts["replace/forget"]["objects"]}
    assert not [name for name in archive.ESCROW_BLOBS if (site.state / name.format(1)).exists()]
    content = read_certificate(StateFiles(site.state), "new-generation").content
    assert "disk escrow private key, wrapped" in [one.what for one in content]
    with pytest.raises(StateNotAllowed, match="which generation 2 has replaced") as refused:
        hold(site, recovery(site))
    assert "connect it to the appliance" in (refused.value.hint or "")


def test_a_generation_that_alone_opens_a_disk_is_not_replaced(site: PracticeSite) -> None:
    disk = enrol(site).disk
    plan = order(site, "new-generation", 'reason = "distrust"\n')
    with pytest.raises(StateNotAllowed, match="by the present escrow generation alone") as refused:
        hold(site, plan)
    assert "recover-disk" in (refused.value.hint or "")
    assert (site.state / archive.DISK_ESCROW_BLOB.format(1)).exists()
    put_disk(site, disk.erase(5))
    assert hold(site, plan)["replace/disks"] == {"disks": []}


def test_a_drill_opens_the_disk_escrow_key_too(site: PracticeSite) -> None:
    plan = order(site, "drill", "generation = 1\n")
    blob = site.state / archive.DISK_ESCROW_BLOB.format(1)
    whole = blob.read_bytes()
    blob.write_bytes((site.state / archive.ESCROW_BLOB.format(1)).read_bytes())
    with pytest.raises(IntegrityFailure, match="disk escrow key"):
        hold(site, plan)
    blob.write_bytes(whole)
    assert hold(site, plan)["shares/disk-open"] == {"generation": 1}


def test_a_lost_private_half_for_disks_asks_for_attention(site: PracticeSite) -> None:
    (site.state / archive.DISK_ESCROW_BLOB.format(1)).unlink()
    with serving(site) as service:
        assert look(service).attention


def test_a_space_is_not_destroyed_over_a_disk_that_is_not_erased(site: PracticeSite) -> None:
    disk = enrol(site).disk
    hold(site, order(site, "retire-space", f'space = "{SPACE}"\n'))
    plan = order(site, "destroy-space", f'space = "{SPACE}"\n')
    with pytest.raises(StateNotAllowed, match=f"{DISK} among them") as refused:
        hold(site, plan)
    assert "disk.erase" in (refused.value.hint or "")
    put_disk(site, disk.erase(5))
    hold(site, plan)
    assert len(details(site, "space.destroy")) == 1


def test_a_disk_that_came_after_an_interruption_keeps_its_space(site: PracticeSite) -> None:
    hold(site, order(site, "retire-space", f'space = "{SPACE}"\n'))
    plan = order(site, "destroy-space", f'space = "{SPACE}"\n')
    kill_at(site, plan, "Every envelope of every meeting")
    enrol(site)
    with pytest.raises(StateNotAllowed, match="not erased"):
        hold(site, plan)


def test_the_shares_decrypt_what_is_under_escrow(site: PracticeSite) -> None:
    enrolled = enrol(site)
    assert enrolled.disk.recovery
    sealed = unb64u(enrolled.disk.recovery.escrowed)
    plain = recover_disk_escrow(site).decrypt(sealed, OAEP_SHA1)
    assert unbind_recovery(plain, site.site_id, enrolled.disk, 1) == enrolled.key
    with pytest.raises(IntegrityFailure):
        recover_disk_escrow(site, [("security", 1), ("security", 2), ("security", 3)])
