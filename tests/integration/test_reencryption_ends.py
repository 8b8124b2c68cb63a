"""A reencryption killed when all data are done, but its header does not say so yet.

cryptsetup itself would encrypt everything a second time here, or never come to an end.
"""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.storage.header import Header, header_of
from appliance.storage.header_policy import check_header
from appliance.storage.metadata import HeaderRefused
from appliance.storage.reencrypted import ended, has_done_all
from tests.fixtures.luks import MIB, ImageDisk, image_disk, read_plain, volume_key, write_plain
from tests.scenarios.forged_headers import edited

CANARY = bytes(range(256)) * 4096
STEP_SECONDS = 0.001


def killed_once(disk: ImageDisk, is_time: Callable[[Header], bool]) -> Header:
    """Reencrypt, and kill cryptsetup as soon as the header is so; return the header."""
    for _ in range(20):
        attempt = disk.path.with_suffix(".attempt")
        shutil.copy(disk.path, attempt)
        if (found := _killed(disk, attempt, is_time)) is not None:
            attempt.replace(disk.path)
            return found
    raise AssertionError("the moment was always missed")


def _killed(disk: ImageDisk, image: Path, is_time: Callable[[Header], bool]) -> Header | None:
    """It runs in short steps, and the header is looked at between them."""
    words = ["--force-offline-reencrypt", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
    command = ["/usr/sbin/cryptsetup", "reencrypt", "-q", *words, str(image)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdin.write(b"".join(key + b"\n" for key in disk.keys))
    process.stdin.close()
    while process.poll() is None:
        process.send_signal(signal.SIGSTOP)
        if _is(image, is_time):
            process.kill()
        else:
            process.send_signal(signal.SIGCONT)
            time.sleep(STEP_SECONDS)
    return header_of(image) if _is(image, is_time) else None


def _is(image: Path, is_time: Callable[[Header], bool]) -> bool:
    try:
        header = header_of(image)
        return header.agree and is_time(header)
    except HeaderRefused:  # read while it was written
        return False


def old_slots_there(header: Header) -> bool:
    return has_done_all(header) and len(header.slots) == 4


def old_slots_gone(header: Header) -> bool:
    return has_done_all(header) and len(header.slots) == 2


MOMENTS = pytest.mark.parametrize("moment", [old_slots_there, old_slots_gone])


@pytest.fixture
def disk(tmp_path: Path) -> ImageDisk:
    made = image_disk(tmp_path)
    write_plain(made.path, made.key, CANARY)
    return made


@MOMENTS
def test_it_is_ended_with_the_data_as_they_were(disk: ImageDisk, moment) -> None:
    old = volume_key(disk.path, disk.key)
    killed_once(disk, moment)
    disk.luks.resume(disk.path, disk.key, lambda _: None)
    header = header_of(disk.path)
    assert not header.reencrypts
    check_header(header, disk.expected())
    assert len(header.slots) == 2
    for key in disk.keys:
        assert volume_key(disk.path, key) != old
        assert read_plain(disk.path, key, MIB) == CANARY


@MOMENTS
def test_nothing_of_the_old_key_s_slots_stays(disk: ImageDisk, moment) -> None:
    header = killed_once(disk, moment).metadata
    before = disk.path.read_bytes()
    final = next(n for n, one in header.segments.items() if "backup-final" in one.flags)
    new = next(one for one in header.digests.values() if final in one.segments)
    dropped = [one.area for name, one in header.keyslots.items() if name not in new.keyslots]
    disk.luks.resume(disk.path, disk.key, lambda _: None)
    after = disk.path.read_bytes()
    assert dropped
    for area in dropped:
        assert after[area.begin : area.end] != before[area.begin : area.end]
        assert any(after[area.begin : area.end])


def test_cryptsetup_opens_nothing_once_the_old_slots_are_gone(disk: ImageDisk) -> None:
    """So whoever looks for the key that opens the disk has to end it first."""
    killed_once(disk, old_slots_gone)
    assert disk.luks.opens(disk.path, disk.key) is None
    assert disk.luks.end_if_done(disk.path)
    assert disk.luks.opens(disk.path, disk.key) is not None
    assert not disk.luks.end_if_done(disk.path)


def test_what_has_not_begun_is_no_end(disk: ImageDisk) -> None:
    def begun(header: Header) -> bool:
        return header.reencrypts and not has_done_all(header)

    assert not has_done_all(header_of(disk.path))
    old = volume_key(disk.path, disk.key)
    killed_once(disk, begun)
    disk.luks.resume(disk.path, disk.key, lambda _: None)
    assert volume_key(disk.path, disk.key) != old
    assert read_plain(disk.path, disk.key, MIB) == CANARY


def test_a_cut_while_it_is_ended_leaves_it_to_be_ended_again(disk: ImageDisk) -> None:
    killed_once(disk, old_slots_there)
    region = disk.path.read_bytes()[: 4 * MIB]
    new = ended(region)
    for written in (0, 2 * 65536, 3 * 65536, 4 * MIB - 5 * 4096):
        half = region[: 2 * 65536] + new[2 * 65536 : 2 * 65536 + written]
        with disk.path.open("r+b") as file:
            file.write(half + region[len(half) :])
        disk.luks.resume(disk.path, disk.key, lambda _: None)
        assert read_plain(disk.path, disk.key, MIB) == CANARY


@pytest.mark.parametrize("place", [0, 2 * 65536 - 4096, 4 * MIB])
def test_a_slot_that_lies_elsewhere_is_refused(disk: ImageDisk, place: int) -> None:
    killed_once(disk, old_slots_there)
    edited(lambda found: found["keyslots"]["0"]["area"].update(offset=str(place)))(disk)
    before = disk.path.read_bytes()
    with pytest.raises(HeaderRefused):
        disk.luks.resume(disk.path, disk.key, lambda _: None)
    assert disk.path.read_bytes() == before
