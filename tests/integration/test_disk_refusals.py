"""What works on disks refuse, by the real cryptsetup on image files: then nothing is changed. And
what is done with no work: erasing, restoring headers, dry runs.
"""

import copy
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from appliance.run import ProgramCancelled, Programs, find_program
from appliance.storage.device import write_start
from appliance.storage.header import REGION_BYTES, header_of, region_digest
from appliance.storage.luks import NoDeviceMapper
from appliance.storage.metadata import HeaderRefused
from appliance.work import carry_out, close_at_once, look
from kms.domain.disks import DiskState, OrderKind, Work
from kms.errors import InvalidInput, NotFound, StateNotAllowed
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
from tests.fixtures.luks import MIB


def unchanged(box: Box, kind: OrderKind, refused: type[Exception], **options) -> Exception:
    before, row = box.path.read_bytes(), box.link.disk
    with pytest.raises(refused) as raised:
        obey(box, kind, **options)
    assert box.path.read_bytes() == before
    assert box.link.disk == row
    return raised.value


def test_a_device_of_another_size_is_no_disk(tmp_path: Path) -> None:
    box = prepared(tmp_path / "box")
    box.link.disk = replace(box.link.disk, size=box.link.disk.size + MIB)
    refused = unchanged(box, OrderKind.ROTATE_SLOT, HeaderRefused)
    assert refused.fault == "device"


@pytest.mark.parametrize("kind", [OrderKind.ROTATE_SLOT, OrderKind.UNLOCK, OrderKind.RELEASE])
def test_a_header_that_is_not_the_registered_one_is_refused(
    kind: OrderKind, tmp_path: Path
) -> None:
    box = prepared(tmp_path / "box")
    box.bench().luks.set_token(box.path, {"disk": DISK, "site": "another", "space": "board"})
    refused = unchanged(box, kind, HeaderRefused)
    assert refused.fault == "digest"


def test_nothing_is_formatted_over_another_disk(tmp_path: Path) -> None:
    box, other = new_box(tmp_path / "box"), prepared(tmp_path / "other")
    other.path.replace(box.path)
    refused = unchanged_but_begun(box, HeaderRefused)
    assert refused.fault == "taken"
    subprocess.run(
        [find_program("cryptsetup"), "luksUUID", "--batch-mode", str(box.path), "--uuid",
         "0198c0de-0000-7000-8000-000000000002"], check=True,
    )  # fmt: skip
    refused = unchanged_but_begun(box, HeaderRefused)
    assert refused.fault == "uuid"


def _boot_sector(content: bytearray) -> None:
    content[510:512] = b"\x55\xaa"


def _partition_table(content: bytearray) -> None:
    content[512:520] = b"EFI PART"


def _file_system(content: bytearray) -> None:
    content[1080:1082] = b"\x53\xef"


CONTENTS = {"dos": _boot_sector, "gpt": _partition_table, "ext4": _file_system}


@pytest.mark.parametrize("found", CONTENTS)
def test_nothing_is_formatted_of_whose_content_officers_did_not_know(
    found: str, tmp_path: Path
) -> None:
    box = new_box(tmp_path / "box")
    with_content(box, found)
    assert found in str(unchanged_but_begun(box, StateNotAllowed))
    box.path.write_bytes(bytes(box.ref.size))
    box.content = "xfs"
    assert "xfs" in str(unchanged_but_begun(box, StateNotAllowed))
    with_content(box, found)
    box.link.disk = replace(box.link.disk, overwrite=True)
    obey(box, OrderKind.PREPARE)
    check_whole(box)


def test_another_header_is_formatted_over_if_officers_said_so(tmp_path: Path) -> None:
    box, other = new_box(tmp_path / "box", overwrite=True), prepared(tmp_path / "other")
    subprocess.run(
        [find_program("cryptsetup"), "luksUUID", "--batch-mode", str(other.path), "--uuid",
         "0198c0de-0000-7000-8000-000000000002"], check=True,
    )  # fmt: skip
    other.path.replace(box.path)
    obey(box, OrderKind.PREPARE)
    check_whole(box)


def with_content(box: Box, found: str) -> None:
    content = bytearray(box.ref.size)
    CONTENTS[found](content)
    box.path.write_bytes(content)


def unchanged_but_begun(box: Box, refused: type[Exception]) -> Exception:
    before = box.path.read_bytes()
    with pytest.raises(refused) as raised:
        obey(box, OrderKind.PREPARE)
    assert box.path.read_bytes() == before
    return raised.value


def test_only_ext4_is_encrypted_in_place(tmp_path: Path) -> None:
    box = new_box(tmp_path / "box", work=Work.ENCRYPT)
    box.content = "xfs"
    assert "ext4" in str(unchanged_but_begun(box, StateNotAllowed))
    box.content = ""
    unchanged_but_begun(box, InvalidInput)


def test_a_recovered_key_of_another_time_is_refused(tmp_path: Path) -> None:
    box = prepared(tmp_path / "box")
    box.link.recovered_key = box.link.escrowed_key()
    obey(box, OrderKind.VERIFY_RECOVERY)
    lost = box.copy(tmp_path / "lost")
    lost.link.lose_kek()
    unchanged(lost, OrderKind.RECOVER, InvalidInput)
    assert lost.link.disk.work is Work.NONE, "nothing is begun before the key was tried"
    outcome = obey(box, OrderKind.RECOVER)
    assert "working key" in outcome.message
    box.link.disk = replace(box.link.disk, key=replace(box.link.disk.key, sealed="unknown"))
    unchanged(box, OrderKind.RECOVER, InvalidInput)


def test_a_disk_is_recovered_over_a_work_whose_keys_are_lost(tmp_path: Path) -> None:
    box = prepared(tmp_path / "box")
    cut_after(box, OrderKind.ROTATE_SLOT, "cryptsetup luksAddKey")
    box.link.recovered_key = box.link.escrowed_key()
    box.link.lose_kek()
    obey(box, OrderKind.RECOVER)
    check_whole(box)
    assert not box.opens(box.link.recovered_key)


def test_another_work_does_not_begin_before_the_one_under_way_is_over(tmp_path: Path) -> None:
    box = prepared(tmp_path / "box")
    cut_after(box, OrderKind.ROTATE_SLOT, "kms begin")
    unchanged(box, OrderKind.ROTATE_VOLUME, StateNotAllowed)


# --- erasing, headers, dry runs -------------------------------------------------------------------


def test_an_erased_disk_is_wiped_with_its_header_backups(tmp_path: Path) -> None:
    box = prepared(tmp_path / "box")
    keys = box.link.every_key()
    unchanged(box, OrderKind.ERASE, StateNotAllowed)
    box.link.erase()
    assert look(box.bench(), box.ref, DISK).state is DiskState.ERASING
    with pytest.raises(PowerCut):
        obey(box, OrderKind.ERASE, Cuts(0))
    write_start(box.path, b"\xff" * 512)  # torn while it was overwritten
    assert obey(box, OrderKind.ERASE).state is DiskState.UNKNOWN
    assert box.path.read_bytes()[:REGION_BYTES] == bytes(REGION_BYTES)
    assert not list((box.folder / "state").rglob("*"))
    for key in keys:
        with pytest.raises(HeaderRefused):
            box.opens(key)
    obey(box, OrderKind.ERASE)


def test_what_came_onto_the_device_since_is_not_erased(tmp_path: Path) -> None:
    box = prepared(tmp_path / "box")
    box.link.erase()
    subprocess.run(
        [find_program("cryptsetup"), "luksUUID", "--batch-mode", str(box.path), "--uuid",
         "0198c0de-0000-7000-8000-000000000002"], check=True,
    )  # fmt: skip
    assert unchanged(box, OrderKind.ERASE, HeaderRefused).fault == "uuid"
    box.path.write_bytes(bytes(box.ref.size))
    box.content = "ext4"
    assert unchanged(box, OrderKind.ERASE, HeaderRefused).fault == "content"
    box.content = ""
    for found in CONTENTS:
        with_content(box, found)
        assert unchanged(box, OrderKind.ERASE, HeaderRefused).fault == "content"


def test_a_disk_is_not_erased_on_the_word_of_another_space(tmp_path: Path) -> None:
    box = prepared(tmp_path / "box")
    box.link.erase()
    box.link.disk = replace(box.link.disk, space="intruder")
    assert unchanged(box, OrderKind.ERASE, HeaderRefused).fault == "token"


def test_a_damaged_header_is_restored_from_its_backup(tmp_path: Path) -> None:
    box = prepared(tmp_path / "box")
    before = plain(box)
    obey(box, OrderKind.BACK_UP_HEADER)
    write_start(box.path, os.urandom(200_000))
    with pytest.raises(HeaderRefused):
        look(box.bench(), box.ref, DISK)
    assert obey(box, OrderKind.RESTORE_HEADER).state is DiskState.ENROLLED
    check_whole(box)
    assert plain(box) == before
    box.bench().backups.forget(DISK)
    unchanged(box, OrderKind.RESTORE_HEADER, NotFound)


def test_no_header_is_restored_amid_a_work(tmp_path: Path) -> None:
    box = prepared(tmp_path / "box")
    cut_after(box, OrderKind.ROTATE_VOLUME, "kms commit")
    unchanged(box, OrderKind.RESTORE_HEADER, StateNotAllowed)


@pytest.mark.parametrize("cut", ["amid", "done"])
def test_no_header_of_another_volume_key_is_restored_by_an_older_kms(
    cut: str, tmp_path: Path
) -> None:
    """A store from before the volume key's rotation, as an operator brings it back."""
    box = prepared(tmp_path / "box", megabytes=64)
    older = copy.deepcopy(box.link)
    if cut == "amid":
        amid_reencryption(box)
    else:
        cut_after(box, OrderKind.ROTATE_VOLUME, "cryptsetup reencrypt")
    box.link, now = older, box.link
    assert "newest store" in unchanged(box, OrderKind.RESTORE_HEADER, StateNotAllowed).hint
    box.link = now
    obey(box, OrderKind.ROTATE_VOLUME)
    check_whole(box)


def amid_reencryption(box: Box) -> None:
    """Have its volume key's rotation be interrupted while data are encrypted anew."""
    cancel = Event()

    class Interrupted(Programs):
        def run(self, argv, **options):
            begins = argv[1] == "reencrypt"
            result = super().run((*argv, "--init-only") if begins else argv, **options)
            if begins:
                cancel.set()
            return result

    with pytest.raises(ProgramCancelled):
        carry_out(box.bench(programs=Interrupted(cancel)), box.ref, order(OrderKind.ROTATE_VOLUME))
    assert header_of(box.path).reencrypts


def test_what_a_restored_header_took_the_place_of_is_kept(tmp_path: Path) -> None:
    box = prepared(tmp_path / "box")
    write_start(box.path, os.urandom(200_000))
    damaged = box.path.read_bytes()[:REGION_BYTES]
    obey(box, OrderKind.RESTORE_HEADER)
    obey(box, OrderKind.BACK_UP_HEADER)
    kept = box.folder / "state" / DISK / f"{region_digest(damaged)}.replaced"
    assert kept.read_bytes() == damaged
    obey(box, OrderKind.ROTATE_SLOT)
    check_whole(box)
    assert not kept.exists(), "an older header might bring a retired key back"


@pytest.mark.parametrize("kind", sorted(set(OrderKind) - {OrderKind.PREPARE, OrderKind.UNLOCK}))
def test_a_dry_run_says_what_would_be_done_and_changes_nothing(
    kind: OrderKind, tmp_path: Path
) -> None:
    box = prepared(tmp_path / "box")
    before, row = box.path.read_bytes(), box.link.disk
    cuts = Cuts()
    outcome = obey(box, kind, cuts, dry_run=True)
    assert outcome.steps
    assert outcome.message == "\n".join(outcome.steps)
    assert cuts.seen == []
    assert (box.path.read_bytes(), box.link.disk) == (before, row)


def test_a_dry_run_of_preparing_a_device_changes_nothing(tmp_path: Path) -> None:
    box = new_box(tmp_path / "box")
    assert len(obey(box, OrderKind.PREPARE, dry_run=True).steps) > 3
    assert box.link.disk.next_key is None


def test_without_device_mapper_a_disk_is_prepared_but_not_unlocked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.storage.luks.CONTROL", tmp_path / "none")
    box = new_box(tmp_path / "box")
    assert "no file system" in obey(box, OrderKind.PREPARE).message
    for dry_run in (True, False):
        unchanged(box, OrderKind.UNLOCK, NoDeviceMapper, dry_run=dry_run)
    assert obey(box, OrderKind.LOCK).state is DiskState.LOCKED
    assert close_at_once(box.bench(), DISK).state is DiskState.LOCKED
    assert obey(box, OrderKind.QUARANTINE).state is DiskState.QUARANTINED
    assert obey(box, OrderKind.RELEASE).state is DiskState.ENROLLED


def test_a_disk_that_replaces_one_waits_for_it(tmp_path: Path) -> None:
    box = new_box(tmp_path / "box", replaces="0198c0de-0000-7000-8000-000000000002")
    assert "unlock it" in unchanged_but_begun(box, StateNotAllowed).hint
