"""The shipped systemd units: systemd reads them, and they leave no more open than they have to."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "image/units"
FILES = sorted(path for path in UNITS.iterdir() if path.is_file())
SERVICES = [path for path in FILES if path.suffix == ".service"]
EXPOSURE = {"conclave.service": 15, "conclave-appliance.service": 44}
"""The most, in tenths of what systemd-analyze counts (0 to 10). The appliance mounts what everybody
is to see, so it has no mount namespace: that alone counts for 2.
"""
NAMESPACES = re.compile(
    r"^(ProtectSystem|ProtectHome|PrivateTmp|PrivateDevices|PrivateMounts|PrivateNetwork|ProtectProc"
    r"|ProcSubset|ProtectKernel\w+|ProtectControlGroups|ReadWritePaths|ReadOnlyPaths|BindPaths)=",
    re.MULTILINE,
)


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        if os.environ.get("CI"):
            raise AssertionError("systemd-analyze is missing: sudo apt-get install systemd")
        pytest.skip("systemd-analyze is missing: sudo apt-get install systemd")
    return subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A root with systemd's own units and programs to start."""
    shutil.copytree("/usr/lib/systemd/system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    for program in ("conclave", "conclave-appliance"):
        path = tmp_path / "usr/local/bin" / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    for path in FILES:
        shutil.copy(path, units)
    return tmp_path


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_systemd_reads_a_unit_without_a_complaint(machine: Path, path: Path) -> None:
    found = analyze("verify", f"--root={machine}", path.name)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_systemd_would_complain_of_a_fault(machine: Path) -> None:
    unit = machine / "etc/systemd/system/conclave.service"
    unit.write_text(unit.read_text().replace("UMask=0077", "Umask=0077"))
    assert "Unknown key" in analyze("verify", f"--root={machine}", "conclave.service").stderr


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_a_unit_leaves_no_more_open_than_is_allowed(path: Path) -> None:
    most = EXPOSURE[path.name]
    found = analyze("security", "--offline=true", f"--threshold={most}", "--no-pager", path)
    assert found.returncode == 0, found.stdout[-200:]


def test_what_the_appliance_mounts_is_seen_by_the_whole_machine() -> None:
    """Each of these settings would give it a mount namespace, which hides its mounts, or a network
    namespace, in which it hears nothing of udev (systemd.exec(5)).
    """
    assert not NAMESPACES.search((UNITS / "conclave-appliance.service").read_text())


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_keys_stay_in_memory_and_no_privilege_is_gained(path: Path) -> None:
    lines = path.read_text().splitlines()
    for line in ("LimitCORE=0", "LimitMEMLOCK=infinity", "MemorySwapMax=0", "NoNewPrivileges=yes"):
        assert line in lines
    assert "RestartPreventExitStatus=78" in lines


def test_every_capability_of_the_appliance_is_justified() -> None:
    text = (UNITS / "conclave-appliance.service").read_text()
    found = re.search(r"((?:^#.*\n)+)^CapabilityBoundingSet=(.*)$", text, re.MULTILINE)
    assert found is not None
    for name in found[2].split():
        assert name.removeprefix("CAP_") in found[1]


def test_the_appliance_can_copy_setgid_folders(tmp_path: Path) -> None:
    """Any user of a disk can make one; with RestrictSUIDSGID= or without CAP_FSETID its copy would
    fail or differ, and the disk could never be replaced.
    """
    text = (UNITS / "conclave-appliance.service").read_text()
    assert "\nRestrictSUIDSGID=" not in text
    found = re.search(r"^CapabilityBoundingSet=(.*)$", text, re.MULTILINE)
    assert found is not None
    if os.geteuid() != 0:
        pytest.skip("capabilities are root's to give up")
    shared = tmp_path / "old/shared"
    shared.mkdir(parents=True)
    os.chown(shared, 1000, 1000)
    shared.chmod(0o2775)
    kept = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in found[1].split())
    bounds = ["setpriv", "--inh-caps=-all", f"--bounding-set=-all,{kept}", "--clear-groups"]
    subprocess.run([*bounds, "cp", "--archive", tmp_path / "old", tmp_path / "new"], check=True)
    copied = (tmp_path / "new/shared").stat()
    assert (copied.st_mode, copied.st_uid, copied.st_gid) == (0o42775, 1000, 1000)
