"""Marker files: private, once; and what holds while the state directory cannot be written."""

import os
import sys
from pathlib import Path

import pytest

from kms.bootstrap import seal_marks
from kms.bootstrap.seal_marks import SealMarks
from kms.errors import StoreUnavailable
from kms.settings import Paths
from kms.statements.sealing import BOX, Mark, marker

MARK = Mark("officer", 7, "why")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    found = Paths(state=tmp_path / "state", run=tmp_path / "run")
    for path in (found.state, found.run):
        path.mkdir()
    return found


def break_state(monkeypatch: pytest.MonkeyPatch, paths: Paths) -> None:
    place = seal_marks._place

    def failing(root: Path, name: str, data: bytes) -> None:
        if root == paths.state:
            raise OSError(28, "No space left on device", str(root))
        place(root, name, data)

    monkeypatch.setattr(seal_marks, "_place", failing)


def test_a_marker_is_private_and_says_who_when_and_why(paths: Paths):
    marks = SealMarks(paths)
    assert marks.sealed() == frozenset()
    marks.place("treasury", MARK)
    path = paths.state / marker("treasury")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert marks.marks() == {"treasury": MARK}


def test_the_first_marker_stays(paths: Paths):
    marks = SealMarks(paths)
    marks.place("treasury", MARK)
    marks.place("treasury", Mark("another", 9, "later"))
    assert marks.read("treasury") == MARK


def test_the_box_is_no_space_of_that_name(paths: Paths):
    marks = SealMarks(paths)
    marks.place("site", MARK)
    assert marks.sealed() == {"site"}
    marks.place(BOX, MARK)
    assert marks.sealed() == {"site", BOX}
    assert marks.marks() == {"site": MARK, BOX: MARK}


def test_a_marker_that_cannot_be_read_seals_all_the_same(paths: Paths):
    path = paths.state / marker("treasury")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff")
    assert SealMarks(paths).sealed() == {"treasury"}
    mark = SealMarks(paths).read("treasury")
    assert (mark.by, mark.leaves) == ("unknown", sys.maxsize)


def test_a_draft_that_a_crash_left_is_no_marker(paths: Paths):
    path = paths.state / marker(".treasury.17")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    assert SealMarks(paths).sealed() == frozenset()


def test_a_full_disk_does_not_keep_the_supervisor_from_hearing(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
):
    marks = SealMarks(paths)
    with monkeypatch.context() as patched:
        break_state(patched, paths)
        with pytest.raises(StoreUnavailable):
            marks.place("treasury", MARK)
        assert marks.sealed() == {"treasury"}
        with pytest.raises(StoreUnavailable):
            marks.settle()
    marks.settle()
    assert (paths.state / marker("treasury")).exists()
    assert not (paths.run / marker("treasury")).exists()
    assert marks.marks() == {"treasury": MARK}


def test_a_state_directory_that_is_the_run_directory_keeps_its_markers(tmp_path: Path):
    marks = SealMarks(Paths(state=tmp_path, run=tmp_path))
    marks.place("treasury", MARK)
    marks.settle()
    assert marks.marks() == {"treasury": MARK}


def test_a_file_that_names_no_space_seals_nothing(paths: Paths):
    folder = paths.state / "sealed/spaces"
    folder.mkdir(parents=True)
    for name in (".hidden", "No Space", os.fsdecode(b"\xff")):
        (folder / name).touch()
    assert SealMarks(paths).marks() == {}


def test_what_a_marker_says_hides_nothing(paths: Paths):
    marks = SealMarks(paths)
    marks.place("treasury", Mark("officer", 7, "a\x00b\u202ec"))
    assert marks.read("treasury").reason == r"a\u0000b\u202ec"
