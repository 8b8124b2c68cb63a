"""Copies of files are complete, or it is said that they are not."""

import os
import shutil
import time
from pathlib import Path
from threading import Event

import pytest

from appliance.run import ProgramCancelled, Programs
from appliance.storage.file_systems import FileSystems, is_finished
from appliance.work import transfer
from appliance.work.transfer import check_same, copy_files
from kms.domain.ids import parse_mount_name
from kms.errors import StateNotAllowed
from tests.fixtures.fake_kms import new_disk
from tests.fixtures.luks import image, need


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """A tree with what file systems hold, and its copy."""
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "folder" / "empty").mkdir(parents=True)
    target.mkdir()
    (source / "folder" / "file").write_bytes(b"x" * 100_000)
    (source / "-x ; newline\n").write_bytes(b"a name that no shell should see")
    (source / "link").symlink_to("/etc/passwd")
    (source / "dangling").symlink_to("nowhere")
    os.mkfifo(source / "pipe")
    (source / "folder" / "file").chmod(0o640)
    os.utime(source / "folder" / "file", ns=(10**18, 10**18 + 7))
    copy_files(Programs(), source, target)
    return source, target


def test_a_copy_is_the_same(trees: tuple[Path, Path]) -> None:
    check_same(*trees)
    assert (trees[1] / "link").is_symlink()
    copy_files(Programs(), *trees)
    check_same(*trees)


def _lost(target: Path) -> None:
    (target / "folder" / "file").unlink()


def _changed(target: Path) -> None:
    place = target / "folder" / "file"
    times = place.stat()
    place.write_bytes(b"x" * 99_999 + b"y")
    os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns))


def _open_to_all(target: Path) -> None:
    (target / "folder" / "file").chmod(0o666)


def _followed(target: Path) -> None:
    (target / "link").unlink()
    (target / "link").write_bytes(Path("/etc/passwd").read_bytes())


def _folder_lost(target: Path) -> None:
    (target / "folder" / "empty").rmdir()


@pytest.mark.parametrize("spoil", [_lost, _changed, _open_to_all, _followed, _folder_lost])
def test_a_copy_that_differs_is_told_of(trees: tuple[Path, Path], spoil) -> None:
    spoil(trees[1])
    with pytest.raises(StateNotAllowed) as refused:
        check_same(*trees)
    assert "unlock" in refused.value.hint


def test_nothing_is_written_through_a_link_that_an_earlier_copy_left(tmp_path: Path) -> None:
    """Who may write to the old disk puts a file where a link was copied before."""
    source, target, victim = (tmp_path / name for name in ("source", "target", "victim"))
    source.mkdir()
    target.mkdir()
    victim.write_text("root's own")
    victim.chmod(0o600)
    (target / "a").symlink_to(victim)
    (target / "gone").symlink_to(tmp_path / "made")
    for name in ("a", "gone"):
        (source / name).write_text("* * * * * root evil")
    copy_files(Programs(), source, target)
    assert (victim.read_text(), victim.stat().st_mode & 0o777) == ("root's own", 0o600)
    assert not (tmp_path / "made").exists()
    assert not (target / "a").is_symlink()
    check_same(source, target)


def test_no_link_is_followed_while_copies_are_compared(tmp_path: Path) -> None:
    source, target, outside = (tmp_path / name for name in ("source", "target", "outside"))
    for folder in (source / "folder", outside, target):
        folder.mkdir(parents=True)
    (source / "folder" / "file").write_text("the same")
    copy_files(Programs(), source / "folder", outside)
    os.utime(outside, ns=(1, 1))
    (target / "folder").symlink_to(outside)
    with pytest.raises(StateNotAllowed, match="differs"):
        check_same(source, target)
    with pytest.raises(StateNotAllowed, match="cannot be read"):
        check_same(source / "folder", target / "folder")


def test_reading_back_ends_at_the_next_block_once_the_device_is_wanted(tmp_path: Path) -> None:
    source, target, cancel = tmp_path / "source", tmp_path / "target", Event()
    source.mkdir()
    target.mkdir()
    (source / "file").write_bytes(b"x" * (8 << 20))
    programs, asked = Programs(cancel), []
    copy_files(programs, source, target)

    def wanted() -> None:
        asked.append(True)
        if len(asked) == 3:
            cancel.set()
        programs.check()

    with pytest.raises(ProgramCancelled):
        check_same(source, target, wanted)
    assert len(asked) == 3


def test_holes_are_not_read_and_are_the_same_as_zeros(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    with (source / "file").open("wb") as file:
        file.write(bytes(3 << 20))
        file.seek(1 << 40)
        file.write(b"the end")
    copy_files(Programs(), source, target)
    began = time.monotonic()
    check_same(source, target)
    assert time.monotonic() - began < 10
    times = (target / "file").stat()
    with (target / "file").open("r+b") as file:
        file.seek(1 << 39)
        file.write(b"x")
    os.utime(target / "file", ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(StateNotAllowed, match="differs"):
        check_same(source, target)


class NoDevice:
    """Stands in for device-mapper and mount(8), which there are none of here: what is "mounted" is
    a folder, emptied whenever a file system is made. The file system itself is real.
    """

    def __init__(self, folder: Path) -> None:
        self.node, self.content = image(folder / "node", 24), folder / "content"
        self.run, self.programs = folder / "run", Programs()
        self.systems, self.luks, self.mounts = self, self, self
        self.roots: list[tuple[int, bool]] = []
        self.made: list[bool] = []

    def node_of(self, _name: str) -> Path:
        return self.node

    def make(self, target: Path, *, unfinished: bool = False) -> None:
        FileSystems(self.programs).make(target, unfinished=unfinished)
        shutil.rmtree(self.content, ignore_errors=True)
        self.content.mkdir()
        self.made.append(unfinished)

    def finish(self, target: Path) -> None:
        FileSystems(self.programs).finish(target)

    def below(self, root: Path) -> "NoDevice":
        self.root = root
        return self

    def mount(self, _mapping: str, name: str, *, read_only: bool) -> Path:
        parse_mount_name(name)
        self.roots.append((self.root.stat().st_mode & 0o777, read_only))
        return self.content

    def unmount(self, _mapping: str) -> None:
        """It is a folder."""

    def told(self, _percent: int, _text: str) -> None:
        """Nobody asks."""


def test_an_interrupted_copy_begins_with_an_empty_file_system(tmp_path: Path, monkeypatch) -> None:
    need("mke2fs", "tune2fs", "prlimit")
    source, bench, disk = tmp_path / "source", NoDevice(tmp_path), new_disk("disk", 1 << 25)
    source.mkdir()
    (source / "file").write_text("content")

    def differs(*_: object) -> None:
        raise StateNotAllowed("a copied file differs from its original")

    with monkeypatch.context() as patch:
        patch.setattr(transfer, "check_same", differs)
        with pytest.raises(StateNotAllowed):
            transfer.take_over(bench, disk, source)
    (bench.content / "file").unlink()
    (bench.content / "file").symlink_to(tmp_path / "victim")
    (bench.content / "left").write_text("of the first attempt")
    transfer.take_over(bench, disk, source)
    assert bench.made == [True, True]
    assert [path.name for path in bench.content.iterdir()] == ["file"]
    assert not (tmp_path / "victim").exists()
    assert set(bench.roots) == {(0o700, False), (0o700, True)}
    assert is_finished(bench.node)
    (bench.content / "new").write_text("by people, since")
    transfer.take_over(bench, disk, source)
    assert (bench.content / "new").exists(), "what was taken over is never made anew"
