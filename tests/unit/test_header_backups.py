"""Copies of header regions: the newest alone, whole or not at all."""

import os
from pathlib import Path

import pytest

from appliance.storage.backups import HeaderBackups
from appliance.storage.header import REGION_BYTES, region_digest
from kms.domain.ids import DiskId
from kms.errors import IntegrityFailure, InvalidInput, NotFound
from tests.fixtures.luks import DISK

FIRST, SECOND = os.urandom(64).ljust(REGION_BYTES, b"1"), b"2" * REGION_BYTES


@pytest.fixture
def backups(tmp_path: Path) -> HeaderBackups:
    return HeaderBackups(tmp_path / "headers")


def test_a_copy_comes_back_as_it_was(backups: HeaderBackups, tmp_path: Path) -> None:
    digest = backups.save(DISK, FIRST)
    assert digest == region_digest(FIRST) == backups.save(DISK, FIRST)
    assert backups.load(DISK, digest) == FIRST
    device = tmp_path / "device"
    device.write_bytes(b"x" * (REGION_BYTES + 4096))
    backups.restore(DISK, digest, device)
    assert device.read_bytes() == FIRST + b"x" * 4096
    assert (tmp_path / "headers" / DISK).stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "headers" / DISK / digest).stat().st_mode & 0o777 == 0o600


def test_only_the_newest_is_kept(backups: HeaderBackups, tmp_path: Path) -> None:
    old, new = backups.save(DISK, FIRST), backups.save(DISK, SECOND)
    assert [one.name for one in (tmp_path / "headers" / DISK).iterdir()] == [new]
    with pytest.raises(NotFound) as missing:
        backups.load(DISK, old)
    assert missing.value.hint


def test_a_damaged_copy_is_not_used(backups: HeaderBackups, tmp_path: Path) -> None:
    digest = backups.save(DISK, FIRST)
    (tmp_path / "headers" / DISK / digest).write_bytes(SECOND)
    device = tmp_path / "device"
    device.write_bytes(b"x" * REGION_BYTES)
    with pytest.raises(IntegrityFailure):
        backups.restore(DISK, digest, device)
    assert device.read_bytes() == b"x" * REGION_BYTES


def test_what_a_crash_left_is_replaced(backups: HeaderBackups, tmp_path: Path) -> None:
    place = tmp_path / "headers" / DISK
    place.mkdir(parents=True)
    digest = region_digest(FIRST)
    (place / f"{digest}.new").write_bytes(b"half")
    assert backups.save(DISK, FIRST) == digest
    assert [one.name for one in place.iterdir()] == [digest]


def test_an_erased_disk_has_none(backups: HeaderBackups) -> None:
    digest = backups.save(DISK, FIRST)
    backups.forget(DISK)
    backups.forget(DISK)
    with pytest.raises(NotFound):
        backups.load(DISK, digest)


@pytest.mark.parametrize("digest", ["", "..", "../../etc/passwd", "x" * 43, "/etc/passwd"])
def test_a_digest_is_a_name(backups: HeaderBackups, digest: str) -> None:
    with pytest.raises((InvalidInput, NotFound)):
        backups.load(DISK, digest)


def test_only_whole_regions_of_named_disks_are_kept(backups: HeaderBackups) -> None:
    with pytest.raises(InvalidInput):
        backups.save(DISK, FIRST[:-1])
    with pytest.raises(InvalidInput):
        backups.save(DiskId("../x"), FIRST)
