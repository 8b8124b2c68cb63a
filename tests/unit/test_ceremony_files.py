"""The state directory in a ceremony's hands: names, exclusive creation, nothing outside."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.bootstrap.files import StateFiles
from kms.errors import AlreadyExists, InvalidInput, NotFound


@pytest.fixture
def files(tmp_path: Path) -> StateFiles:
    return StateFiles(tmp_path)


def test_a_file_is_created_once_and_privately(files: StateFiles, tmp_path: Path) -> None:
    files.write_new("register-1.jws", b"one")
    with pytest.raises(AlreadyExists):
        files.write_new("register-1.jws", b"two")
    assert files.read("register-1.jws") == b"one"
    assert stat.S_IMODE((tmp_path / "register-1.jws").stat().st_mode) == 0o600


def test_folders_are_made_and_told_with_the_name(files: StateFiles, tmp_path: Path) -> None:
    files.write_new("certificates/c-1.json", b"{}")
    files.write_new("a.json", b"{}")
    assert files.names() == ("a.json", "certificates/c-1.json")
    assert stat.S_IMODE((tmp_path / "certificates").stat().st_mode) == 0o700


def test_a_file_is_removed_and_may_be_gone_already(files: StateFiles) -> None:
    files.write_new("a.json", b"{}")
    files.remove("a.json")
    files.remove("a.json")
    files.remove("no-folder/a.json")
    assert files.names() == ()
    with pytest.raises(NotFound):
        files.read("a.json")


def test_what_others_own_in_the_directory_is_not_there(files: StateFiles, tmp_path: Path) -> None:
    for name in ("conclave.db", "conclave.db-wal", "conclave.db.lock", ".draft.1"):
        (tmp_path / name).touch()
    (tmp_path / "ceremonies" / "one").mkdir(parents=True)
    (tmp_path / "ceremonies" / "one" / "plan.toml").touch()
    (tmp_path / "link.json").symlink_to("/etc/passwd")
    assert files.names() == ()
    for name in ("conclave.db", "conclave.db-wal", "ceremonies/one/plan.toml"):
        with pytest.raises(InvalidInput):
            files.read(name)
    with pytest.raises(NotFound):
        files.read("link.json")


def test_a_directory_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    assert StateFiles(tmp_path / "none").names() == ()


def test_a_folder_that_is_a_link_is_not_followed(files: StateFiles, tmp_path: Path) -> None:
    outside = tmp_path.parent / "outside"
    outside.mkdir()
    (tmp_path / "certificates").symlink_to(outside)
    with pytest.raises(InvalidInput):
        files.write_new("certificates/c-1.json", b"{}")
    assert files.names() == ()
    assert list(outside.iterdir()) == []


@given(
    st.sampled_from(["..", ".", "", "/", "a//b", "A", "ä", "a b", "a\n", "a\0", "~", ".a"])
    | st.text(max_size=4).map(lambda text: f"../{text}")
    | st.text(max_size=4).map(lambda text: f"a/../../{text}")
)
def test_no_name_leads_out_of_the_directory(name: str) -> None:
    files = StateFiles(Path("/nonexistent"))
    for act in (files.read, files.remove, lambda name: files.write_new(name, b"")):
        with pytest.raises(InvalidInput):
            act(name)
