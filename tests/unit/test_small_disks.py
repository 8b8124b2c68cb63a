"""What happens to tests that fill a small disk where none can be mounted."""

from pathlib import Path

import pytest

from tests.fixtures import disks


def as_user(patch: pytest.MonkeyPatch, _tmp_path: Path) -> None:
    patch.setattr(disks.os, "geteuid", lambda: 1000)


def without_mount(patch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    patch.setattr(disks.os, "geteuid", lambda: 0)
    patch.setenv("PATH", str(tmp_path))


def refused(patch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_mount(patch, tmp_path)
    program = tmp_path / "mount"
    program.write_text("#!/bin/sh\necho permission denied >&2\nexit 32\n")
    program.chmod(0o700)


CASES = pytest.mark.parametrize(
    ("missing", "reason"),
    [
        (as_user, "only root"),
        (without_mount, "apt-get install mount"),
        (refused, "permission denied"),
    ],
)


@CASES
def test_without_a_small_disk_a_test_is_skipped(
    missing, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing(monkeypatch, tmp_path)
    monkeypatch.delenv("CI", raising=False)
    with (
        pytest.raises(pytest.skip.Exception, match=reason),
        disks.small_disk(tmp_path, megabytes=1),
    ):
        pass


@CASES
def test_without_a_small_disk_continuous_integration_fails(
    missing, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing(monkeypatch, tmp_path)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(disks.DiskError, match=reason), disks.small_disk(tmp_path, megabytes=1):
        pass
