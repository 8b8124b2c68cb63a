"""Works on a disk's keys by the real cryptsetup on image files, interrupted wherever that is
possible: afterwards exactly the keys that kms has open the disk, and nothing on it is lost.
"""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.run import Programs, ProgramTooSlow, find_program
from appliance.storage.header import REGION_BYTES, header_of
from appliance.storage.reencrypted import has_done_all
from appliance.work import carry_out, go_on, look
from appliance.work.bench import passphrase
from kms.domain.disks import DiskState, OrderKind, Work
from tests.fixtures.disk_bench import (
    DISK,
    Box,
    Cuts,
    PowerCut,
    check_whole,
    cut_after,
    new_box,
    obey,
    order,
    plain,
    prepared,
)
from tests.fixtures.luks import MIB, plain_copy, volume_key
from tests.scenarios.forged_headers import metadata, write_text

_CHEAP = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")

_ORDERS = {
    Work.FORMAT: OrderKind.PREPARE,
    Work.ENCRYPT: OrderKind.PREPARE,
    Work.SLOT: OrderKind.ROTATE_SLOT,
    Work.RECOVERY: OrderKind.VERIFY_RECOVERY,
    Work.VOLUME: OrderKind.ROTATE_VOLUME,
    Work.RECOVER: OrderKind.RECOVER,
}
_CANARY = b"what nobody may lose\n" * 1000


def with_ext4(folder: Path) -> Box:
    """Return a device with a file system that is to be encrypted in place."""
    box = new_box(folder, megabytes=40, work=Work.ENCRYPT)
    box.content = "ext4"
    files = folder / "files"
    files.mkdir()
    (files / "canary").write_bytes(_CANARY)
    subprocess.run(
        [find_program("mke2fs"), "-q", "-t", "ext4", "-d", str(files), str(box.path)], check=True
    )
    return box


def waiting(folder: Path, work: Work) -> Box:
    """Return a device for which a work is about to be ordered."""
    if work is Work.FORMAT:
        return new_box(folder)
    if work is Work.ENCRYPT:
        return with_ext4(folder)
    box = prepared(folder)
    if work is Work.RECOVER:
        box.link.recovered_key = box.link.escrowed_key()
        box.link.lose_kek()
    return box


def canary(box: Box) -> bytes:
    """Return the file that lay on the device before it was encrypted."""
    copy = plain_copy(box.path, passphrase(box.link.slot_key()), box.folder / "plain")
    fsck = subprocess.run(
        [find_program("e2fsck"), "-f", "-n", str(copy)], check=False, capture_output=True
    )
    assert fsck.returncode == 0, fsck.stdout
    command = [find_program("debugfs"), "-R", "cat canary", str(copy)]
    return subprocess.run(command, capture_output=True, check=True).stdout


@pytest.mark.parametrize("work", _ORDERS)
def test_a_work_leaves_exactly_the_keys_that_kms_has(work: Work, tmp_path: Path) -> None:
    box = waiting(tmp_path / "box", work)
    before = set(box.link.every_key())
    outcome = obey(box, _ORDERS[work])
    assert outcome.state is DiskState.ENROLLED
    check_whole(box)
    now = {box.link.slot_key(), box.link.escrowed_key()}
    stays = {Work.SLOT: 1, Work.RECOVERY: 1}.get(work, 0)
    assert len(now & before) == stays


def _everywhere(work: Work, folder: Path) -> list[tuple[Box, Box, str]]:
    """Return the device as it was before the work, and as it is after each possible power cut."""
    start = waiting(folder / "start", work)
    whole, cuts = start.copy(folder / "whole"), Cuts()
    obey(whole, _ORDERS[work], cuts)
    found = []
    for at, what in enumerate(cuts.seen):
        box = start.copy(folder / f"cut-{at}")
        with pytest.raises(PowerCut):
            obey(box, _ORDERS[work], Cuts(at))
        found.append((start, box, what))
    return found


@pytest.mark.parametrize("work", _ORDERS)
def test_a_work_that_is_cut_off_anywhere_is_done_again(work: Work, tmp_path: Path) -> None:
    for start, box, what in _everywhere(work, tmp_path):
        if work not in {Work.FORMAT, Work.ENCRYPT}:
            known = [key for key in box.link.every_key() if box.opens(key)]
            assert known, f"after {what} no key opened the disk"
        obey(box, _ORDERS[work])
        check_whole(box)
        if work is Work.ENCRYPT:
            assert canary(box) == _CANARY, what
        elif work is not Work.FORMAT:
            assert plain(box) == plain(start) if work is not Work.RECOVER else True


@pytest.mark.parametrize("work", [Work.FORMAT, Work.SLOT, Work.RECOVERY, Work.VOLUME])
def test_a_begun_work_goes_on_without_its_order(work: Work, tmp_path: Path) -> None:
    box = waiting(tmp_path / "box", work)
    with pytest.raises(PowerCut):
        obey(box, _ORDERS[work], Cuts(2))
    assert look(box.bench(), box.ref, DISK).state is DiskState.ROTATING
    assert go_on(box.bench(), box.ref, DISK).state is DiskState.ENROLLED
    check_whole(box)
    steps = len(box.link.steps)
    go_on(box.bench(), box.ref, DISK)
    assert box.link.steps[steps:] == ["held"], "nothing is left to do"


def test_reencryption_that_is_killed_amid_writing_goes_on(tmp_path: Path) -> None:
    box = prepared(tmp_path / "box", megabytes=256)
    before, old = plain(box), volume_key(box.path, passphrase(box.link.slot_key()))
    with pytest.raises(ProgramTooSlow):
        carry_out(box.bench(programs=Killing(0.2)), box.ref, order(OrderKind.ROTATE_VOLUME))
    assert header_of(box.path).reencrypts, "it was killed too late: the image is too small"
    assert look(box.bench(), box.ref, DISK).state is DiskState.ROTATING
    go_on(box.bench(), box.ref, DISK)
    check_whole(box)
    assert plain(box) == before
    assert volume_key(box.path, passphrase(box.link.slot_key())) != old


class Killing(Programs):
    """Kills a reencryption after a while, whatever it is doing."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def run(self, argv, **options):
        if argv[1] == "reencrypt":
            options["limits"] = replace(options["limits"], seconds=self._seconds)
        return super().run(argv, **options)


def test_what_is_reencrypted_already_is_not_reencrypted_again(tmp_path: Path) -> None:
    box = prepared(tmp_path / "box")
    cut_after(box, OrderKind.ROTATE_VOLUME, "cryptsetup reencrypt")
    cuts = Cuts()
    go_on(box.bench(cuts), box.ref, DISK)
    assert "cryptsetup reencrypt" not in cuts.seen
    check_whole(box)


def test_a_header_that_says_it_was_done_with_the_old_key_is_not_believed(tmp_path: Path) -> None:
    """Who writes to the device meanwhile must not have the old volume key stay unnoticed."""
    box = prepared(tmp_path / "box")
    before = plain(box)
    cut_after(box, OrderKind.ROTATE_VOLUME, "kms commit")
    keys = [passphrase(key) for key in (box.link.slot_key(), box.link.escrowed_key())]
    luks, old = box.bench().luks, volume_key(box.path, keys[0])
    luks.kill_slots_but(box.path, keys)
    ordered = sorted(keys, key=lambda key: luks.opens(box.path, key))
    words = ("--init-only", "-q", "--force-offline-reencrypt", *_CHEAP)
    subprocess.run(
        [find_program("cryptsetup"), "reencrypt", *words, str(box.path)],
        input=b"".join(key + b"\n" for key in ordered),
        check=True,
    )
    found = metadata(box.path)
    final = next(
        n for n, one in found["segments"].items() if "backup-final" in one.get("flags", ())
    )
    first = next(one for one in found["digests"].values() if "0" in one["segments"])
    for one in found["digests"].values():
        one["segments"] = [name for name in one["segments"] if name != final]
    first["segments"].append(final)
    write_text(box.path, json.dumps(found, separators=(",", ":")).encode())
    assert has_done_all(header_of(box.path))
    go_on(box.bench(), box.ref, DISK)
    check_whole(box)
    assert volume_key(box.path, passphrase(box.link.slot_key())) != old
    assert plain(box) == before


def test_without_proof_that_it_was_done_it_is_reencrypted_again(tmp_path: Path) -> None:
    box = prepared(tmp_path / "box")
    cut_after(box, OrderKind.ROTATE_VOLUME, "cryptsetup reencrypt")
    box.bench().backups.forget(DISK)
    cuts = Cuts()
    go_on(box.bench(cuts), box.ref, DISK)
    assert cuts.seen.count("cryptsetup reencrypt") == 1
    check_whole(box)


@pytest.mark.parametrize("torn", [0, 64 << 10], ids=["first", "second"])
def test_a_copy_of_the_header_that_a_power_cut_tore_is_mended(torn: int, tmp_path: Path) -> None:
    box = prepared(tmp_path / "box")
    cut_after(box, OrderKind.ROTATE_SLOT, "cryptsetup luksAddKey")
    with box.path.open("r+b") as file:
        file.seek(torn + 4096)
        file.write(bytes(512))
    go_on(box.bench(), box.ref, DISK)
    check_whole(box)


@pytest.mark.parametrize("torn", ["untouched", "half written", "copy not kept", "header not whole"])
def test_the_beginning_of_an_encryption_in_place_is_mended(torn: str, tmp_path: Path) -> None:
    """What the disk in the middle of ``cryptsetup reencrypt --init-only`` may look like."""
    box = with_ext4(tmp_path / "box")
    cut_after(box, OrderKind.PREPARE, "cryptsetup reencrypt", nth=0)
    device = box.path.read_bytes()
    header, moved = device[:REGION_BYTES], device[-REGION_BYTES:]
    start = header[: 2 * MIB] + moved[2 * MIB :] if torn == "half written" else moved
    end = bytes(REGION_BYTES) if torn == "copy not kept" else moved
    box.path.write_bytes(start + device[REGION_BYTES:-REGION_BYTES] + end)
    left = box.folder / "state" / f"LUKS2-temp-{DISK}.new"
    left.write_bytes(header[:5000] if torn == "header not whole" else header)
    obey(box, OrderKind.PREPARE)
    check_whole(box)
    assert canary(box) == _CANARY
    assert not left.exists()
