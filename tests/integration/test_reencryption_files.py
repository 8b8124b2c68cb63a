"""Reencryption and encryption in place on image files: interrupted, resumed, nothing lost."""

import hashlib
import subprocess
from pathlib import Path
from threading import Event, Timer

import pytest

from appliance.run import ProgramCancelled, Programs
from appliance.storage.file_systems import FileSystems
from appliance.storage.header import HeaderRefused, header_of
from appliance.storage.header_policy import Expected, check_header
from appliance.storage.luks import Luks
from kms.domain.disks import Work
from kms.errors import InvalidInput, StateNotAllowed
from tests.fixtures.luks import (
    DISK,
    MIB,
    ImageDisk,
    identifiers,
    image,
    image_disk,
    independent,
    need,
    passphrase,
    plain_copy,
    read_plain,
    volume_key,
    write_plain,
)

CANARY = hashlib.shake_256(b"what lies on the disk").digest(MIB)


def test_another_reader_agrees_on_what_is_written_here(tmp_path: Path) -> None:
    disk = image_disk(tmp_path)
    write_plain(disk.path, disk.key, CANARY)
    for key in disk.keys:
        assert read_plain(disk.path, key, MIB) == CANARY
    with (
        pytest.raises(ValueError, match="No valid keyslot"),
        independent(disk.path, passphrase()),
    ):
        pass
    assert CANARY[:4096] not in disk.path.read_bytes()


def test_another_volume_key_leaves_what_lies_on_the_disk(tmp_path: Path) -> None:
    disk = image_disk(tmp_path)
    write_plain(disk.path, disk.key, CANARY)
    old = volume_key(disk.path, disk.key)
    disk.luks.reencrypt(disk.path, disk.keys, lambda _: None)
    assert volume_key(disk.path, disk.recovery) != old
    assert read_plain(disk.path, disk.recovery, MIB) == CANARY


def kill_hard(disk: ImageDisk, seconds: float) -> bool:
    """Reencrypt with SIGKILL after a time; return whether it is not over."""
    slots = {disk.luks.opens(disk.path, key): key for key in disk.keys}
    lines = b"".join(slots[slot] + b"\n" for slot in sorted(slots))
    words = ["--resilience", "checksum", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
    running = subprocess.Popen(
        ["/usr/sbin/cryptsetup", "reencrypt", "-q", "--force-offline-reencrypt", *words, disk.path],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    running.stdin.write(lines)
    running.stdin.close()
    try:
        running.wait(seconds)
    except subprocess.TimeoutExpired:
        running.kill()
        running.wait()
    return header_of(disk.path).reencrypts


@pytest.mark.parametrize("seconds", [0.05, 0.1, 0.2, 0.3])
def test_reencryption_that_was_killed_goes_on(tmp_path: Path, seconds: float) -> None:
    disk = image_disk(tmp_path, megabytes=192)
    write_plain(disk.path, disk.key, CANARY)
    on = kill_hard(disk, seconds)
    check_header(header_of(disk.path), disk.expected(Work.VOLUME))
    if on:
        with pytest.raises(HeaderRefused):
            check_header(header_of(disk.path), disk.expected())
        with pytest.raises(StateNotAllowed):
            disk.luks.kill_slots_but(disk.path, disk.keys)
        with pytest.raises(StateNotAllowed):
            disk.luks.reencrypt(disk.path, disk.keys, lambda _: None)
        disk.luks.resume(disk.path, disk.recovery, lambda _: None)
    else:
        disk.luks.kill_slots_but(disk.path, disk.keys)
    check_header(header_of(disk.path), disk.expected())
    assert {read_plain(disk.path, key, MIB) for key in disk.keys} == {CANARY}


# --- encryption in place -------------------------------------------------------------------------


def ext4(folder: Path, megabytes: int = 32) -> Path:
    """Make an ext4 file system with a file on it."""
    need("cryptsetup", "prlimit", "mke2fs", "e2fsck", "resize2fs", "debugfs")
    path = image(folder / "old.img", megabytes)
    FileSystems(Programs()).make(path)
    (folder / "file").write_bytes(CANARY)
    debugfs(path, f"write {folder / 'file'} canary", write=True)
    return path


def debugfs(path: Path, command: str, *, write: bool = False) -> bytes:
    words = ["/usr/sbin/debugfs", *(["-w"] if write else []), "-R", command, str(path)]
    return subprocess.run(words, check=True, capture_output=True).stdout


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_file_system_is_encrypted_in_place(tmp_path: Path, interrupted: bool) -> None:
    path, luks, files = ext4(tmp_path, megabytes=96), Luks(Programs()), FileSystems(Programs())
    key, recovery = passphrase(), passphrase()
    expected = Expected(DISK, path.stat().st_size, identifiers(), Work.ENCRYPT)
    files.shrink(path)
    assert path.stat().st_size == expected.size
    luks.encrypt_init(path, DISK, key, tmp_path)
    check_header(header_of(path), expected)
    assert header_of(path).reencrypts
    if interrupted:
        cancel = Event()
        Timer(0.05, cancel.set).start()
        with pytest.raises(ProgramCancelled):
            Luks(Programs(cancel)).resume(path, key, lambda _: None)
    luks.resume(path, key, lambda _: None)
    luks.add_slot(path, key, recovery)
    luks.set_token(path, identifiers())
    disk = ImageDisk(path, key=key, recovery=recovery)
    check_header(header_of(path), disk.expected())
    plain = plain_copy(path, recovery, tmp_path / "plain.img")
    files.check(plain)
    files.grow(plain)
    files.check(plain)
    assert debugfs(plain, "cat canary") == CANARY
    assert CANARY[:4096] not in path.read_bytes()


def test_shrinking_twice_changes_nothing_more(tmp_path: Path) -> None:
    path, files = ext4(tmp_path), FileSystems(Programs())
    files.shrink(path)
    files.shrink(path)
    assert debugfs(path, "cat canary") == CANARY


def test_a_full_file_system_is_not_encrypted_in_place(tmp_path: Path) -> None:
    path = ext4(tmp_path, megabytes=24)
    (tmp_path / "file").write_bytes(CANARY * 15)
    debugfs(path, f"write {tmp_path / 'file'} more", write=True)
    with pytest.raises(StateNotAllowed, match="too full") as refused:
        FileSystems(Programs()).shrink(path)
    assert "free at least 8 MiB" in refused.value.hint


def test_what_is_no_file_system_is_not_encrypted_in_place(tmp_path: Path) -> None:
    need("e2fsck", "resize2fs")
    with pytest.raises(InvalidInput):
        FileSystems(Programs()).shrink(image(tmp_path / "blank.img", 32))
