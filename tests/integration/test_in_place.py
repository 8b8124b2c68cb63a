"""The beginning of an encryption in place, cut off at every step: files or encrypted files, never
neither. The steps are those that cryptsetup was seen to take; the header is its own.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.run import Programs
from appliance.storage.file_systems import HEAD_BYTES, FileSystems, content_of
from appliance.storage.header import REGION_BYTES, header_of
from appliance.storage.in_place import mend_beginning
from appliance.storage.luks import Luks
from tests.fixtures.luks import DISK, image, need, passphrase, plain_copy

CANARY = b"what lies on the disk\n" * 1000


@dataclass
class Begun:
    """An image before (``files``), its header region after, and what is left in the folder."""

    path: Path
    folder: Path
    key: bytes
    files: bytes
    header: bytes

    @property
    def left(self) -> Path:
        """Where cryptsetup makes the header."""
        return self.folder / f"LUKS2-temp-{DISK}.new"

    def cut_off(self, *, left: bytes | None, copied: int, overwritten: int) -> None:
        """Have the image as after so many bytes copied to its end, then overwritten at its head."""
        end = len(self.files) - REGION_BYTES
        tail = self.files[:copied] + self.files[end + copied :]
        head = self.header[:overwritten] + self.files[overwritten:REGION_BYTES]
        self.path.write_bytes(head + self.files[REGION_BYTES:end] + tail)
        if left is not None:
            self.left.write_bytes(left)


@pytest.fixture
def begun(tmp_path: Path) -> Begun:
    need("cryptsetup", "mke2fs", "e2fsck", "resize2fs", "debugfs")
    path, files, luks = image(tmp_path / "old.img", 32), FileSystems(Programs()), Luks(Programs())
    files.make(path)
    (tmp_path / "file").write_bytes(CANARY)
    debugfs("-w", "-R", f"write {tmp_path / 'file'} canary", str(path))
    files.shrink(path)
    before, key = path.read_bytes(), passphrase()
    luks.encrypt_init(path, DISK, key, tmp_path)
    header = path.read_bytes()[:REGION_BYTES]
    assert not (tmp_path / f"LUKS2-temp-{DISK}.new").exists()
    return Begun(path, tmp_path, key, before, header)


def debugfs(*words: str) -> bytes:
    return subprocess.run(["/usr/sbin/debugfs", *words], check=True, capture_output=True).stdout


def test_before_anything_is_copied_the_files_stay(begun: Begun) -> None:
    for left in (None, b"", begun.header[:100_000], bytes(REGION_BYTES), begun.header):
        for copied in (0, 4096, REGION_BYTES // 2):
            begun.cut_off(left=left, copied=copied, overwritten=0)
            mend_beginning(begun.path, DISK, begun.folder)
            assert begun.path.read_bytes()[:REGION_BYTES] == begun.files[:REGION_BYTES]
            assert content_of(begun.path.read_bytes()[:HEAD_BYTES]) == "ext4"
            assert not begun.left.exists()


@pytest.mark.parametrize("overwritten", [0, 4096, 65536, 2_000_000, REGION_BYTES - 4096])
def test_once_all_is_copied_the_header_is_brought_to_its_place(
    begun: Begun, overwritten: int
) -> None:
    begun.cut_off(left=begun.header, copied=REGION_BYTES, overwritten=overwritten)
    mend_beginning(begun.path, DISK, begun.folder)
    assert header_of(begun.path).reencrypts
    assert not begun.left.exists()
    Luks(Programs()).resume(begun.path, begun.key, lambda _: None)
    plain = plain_copy(begun.path, begun.key, begun.folder / "plain.img")
    assert debugfs("-R", "cat canary", str(plain)) == CANARY


def test_a_device_that_holds_something_else_is_left_alone(begun: Begun) -> None:
    begun.cut_off(left=begun.header, copied=REGION_BYTES, overwritten=0)
    other = bytearray(begun.path.read_bytes())
    other[1_000_000] ^= 1
    begun.path.write_bytes(other)
    mend_beginning(begun.path, DISK, begun.folder)
    assert begun.path.read_bytes() == other
    assert not begun.left.exists()
