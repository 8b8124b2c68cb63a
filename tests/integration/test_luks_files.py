"""LUKS2 on image files by the real cryptsetup: slots, tokens, reencryption, erasure."""

import subprocess
from pathlib import Path

import pytest

from appliance.run import ProgramFailed, Programs
from appliance.storage.header import REGION_BYTES, HeaderRefused, copied, header_of
from appliance.storage.header_policy import check_header
from appliance.storage.luks import Luks, NoDeviceMapper, mapping
from kms.domain.disks import Work
from kms.errors import StateNotAllowed
from tests.fixtures.luks import ImageDisk, identifiers, image_disk, passphrase

PBKDF = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")


@pytest.fixture
def disk(tmp_path: Path) -> ImageDisk:
    return image_disk(tmp_path)


def test_a_disk_that_is_made_here_passes_the_policy(disk: ImageDisk) -> None:
    check_header(header_of(disk.path), disk.expected())
    assert {disk.luks.opens(disk.path, key) for key in disk.keys} == {0, 1}
    assert disk.luks.opens(disk.path, passphrase()) is None


def test_a_copy_of_the_header_opens_as_the_disk_does(disk: ImageDisk, tmp_path: Path) -> None:
    region = disk.path.read_bytes()[:REGION_BYTES]
    with copied(region, tmp_path) as copy:
        assert copy.stat().st_mode & 0o777 == 0o600
        assert disk.luks.opens(copy, disk.recovery) == 1
    assert not copy.exists()


def test_a_slot_of_a_volume_key_that_is_not_in_use_does_not_open(disk: ImageDisk) -> None:
    """As cryptsetup leaves it when it is killed while it begins a reencryption."""
    unused = passphrase()
    subprocess.run(
        [
            "/usr/sbin/cryptsetup",
            "luksAddKey",
            "-q",
            "--unbound",
            "--key-size",
            "512",
            *PBKDF,
            disk.path,
        ],
        input=unused,
        check=True,
    )
    assert header_of(disk.path).slots - header_of(disk.path).bound_slots == {2}
    check_header(header_of(disk.path), disk.expected(Work.VOLUME))
    assert disk.luks.opens(disk.path, unused) is None
    assert disk.luks.kill_slots_but(disk.path, disk.keys) == 1
    check_header(header_of(disk.path), disk.expected())


def test_one_slot_is_killed_by_another(disk: ImageDisk) -> None:
    disk.luks.kill_slot(disk.path, disk.key, disk.recovery)
    assert disk.luks.opens(disk.path, disk.key) is None
    assert header_of(disk.path).slots == {1}


def test_the_last_slot_is_never_killed(disk: ImageDisk) -> None:
    for passphrases in ((disk.key, disk.key), (disk.key, passphrase())):
        with pytest.raises(StateNotAllowed):
            disk.luks.kill_slot(disk.path, *passphrases)
    assert header_of(disk.path).slots == {0, 1}


def test_slots_are_added_and_all_others_killed(disk: ImageDisk) -> None:
    new = passphrase()
    disk.luks.add_slot(disk.path, disk.key, new)
    check_header(header_of(disk.path), disk.expected(Work.SLOT))
    assert disk.luks.kill_slots_but(disk.path, [new, disk.recovery]) == 1
    assert disk.luks.kill_slots_but(disk.path, [new, disk.recovery]) == 0
    check_header(header_of(disk.path), disk.expected())
    assert disk.luks.opens(disk.path, disk.key) is None
    assert disk.luks.opens(disk.path, new) is not None


@pytest.mark.parametrize("kept", ["none", "stranger", "twice"])
def test_no_slot_is_killed_unless_each_passphrase_keeps_one(disk: ImageDisk, kept: str) -> None:
    keep = {"none": [], "stranger": [disk.key, passphrase()], "twice": [disk.key, disk.key]}[kept]
    before = header_of(disk.path).digest
    with pytest.raises(StateNotAllowed):
        disk.luks.kill_slots_but(disk.path, keep)
    assert header_of(disk.path).digest == before


def test_a_slot_is_added_only_by_a_passphrase_that_opens(disk: ImageDisk) -> None:
    with pytest.raises(ProgramFailed) as refused:
        disk.luks.add_slot(disk.path, passphrase(), passphrase())
    assert refused.value.status == 2


def test_the_token_is_one_whatever_was_there(disk: ImageDisk) -> None:
    digest = header_of(disk.path).digest
    disk.luks.set_token(disk.path, identifiers())
    assert header_of(disk.path).digest == digest, "a right token is not written again"
    disk.luks.set_token(disk.path, {"disk": "another"})
    tokens = header_of(disk.path).metadata.tokens
    assert tokens == {"0": {"type": "conclave", "keyslots": [], "disk": "another"}}


def test_another_volume_key_keeps_both_passphrases_and_the_token(disk: ImageDisk) -> None:
    heard: list[int] = []
    disk.luks.reencrypt(disk.path, list(reversed(disk.keys)), heard.append)
    check_header(header_of(disk.path), disk.expected())
    assert all(disk.luks.opens(disk.path, key) is not None for key in disk.keys)
    assert heard
    assert heard[-1] == 100


def test_reencryption_wants_the_passphrases_of_all_slots(disk: ImageDisk) -> None:
    before = header_of(disk.path).digest
    for some in ([disk.key], [disk.key, passphrase()], []):
        with pytest.raises(StateNotAllowed):
            disk.luks.reencrypt(disk.path, some, lambda _: None)
    assert header_of(disk.path).digest == before


def test_an_erased_disk_opens_by_nothing(disk: ImageDisk) -> None:
    disk.luks.erase(disk.path)
    assert disk.path.read_bytes()[:REGION_BYTES] == bytes(REGION_BYTES)
    with pytest.raises(HeaderRefused):
        disk.luks.opens(disk.path, disk.key)
    disk.luks.erase(disk.path)


def test_without_device_mapper_opening_says_so(
    disk: ImageDisk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("appliance.storage.luks.CONTROL", tmp_path / "control")
    with pytest.raises(NoDeviceMapper, match="no device-mapper"):
        disk.luks.open(disk.path, disk.path, mapping(disk.disk), disk.key)


def test_open_disks_are_those_that_the_kernel_lists(tmp_path: Path) -> None:
    for number, name in enumerate(["conclave-b", "vg0-root", "conclave-a"]):
        place = tmp_path / f"dm-{number}" / "dm"
        place.mkdir(parents=True)
        (place / "name").write_text(f"{name}\n")
        (place / "suspended").write_text(f"{int(name == 'conclave-b')}\n")
    (tmp_path / "sda").mkdir()
    luks = Luks(Programs(), sysfs=tmp_path)
    assert luks.active() == ("conclave-a", "conclave-b")
    assert luks.is_open("conclave-a")
    assert not luks.is_open("vg0-root")
    assert [luks.is_suspended(name) for name in ("conclave-a", "conclave-b")] == [False, True]
