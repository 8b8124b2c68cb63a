"""Copies of files are complete, or it is said that they are not."""

import os
from pathlib import Path

import pytest

from appliance.run import Programs
from appliance.work.transfer import check_same, copy_files
from kms.errors import StateNotAllowed


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
