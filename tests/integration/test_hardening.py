"""A hardened process cannot be read by another of the same user, and leaves no core file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import kms.hardening
from tests.fixtures.softhsm import clone_site
from tests.practice.service import Service, serving

NOBODY = 65534
AS_ROOT = os.getuid() == 0
# Root may read everything, so both processes then run as nobody, who may reach neither our
# interpreter nor our files: the module is handed over as text.
PYTHON = "/usr/bin/python3" if AS_ROOT else sys.executable
MODULE = Path(kms.hardening.__file__).read_text()
WAIT = "import sys; print('ready', flush=True); sys.stdin.read()"
READ = "import sys; open('/proc/' + sys.argv[1] + '/mem', 'rb').close()"


def spawn(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [PYTHON, "-c", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        user=NOBODY if AS_ROOT else None,
        group=NOBODY if AS_ROOT else None,
        extra_groups=[] if AS_ROOT else None,
    )


def is_readable(first: str) -> bool:
    with spawn(f"{MODULE}\n{first}\n{WAIT}") as victim:
        assert victim.stdout
        assert victim.stdout.readline() == "ready\n"
        with spawn(READ, str(victim.pid)) as reader:
            reader.communicate()
        victim.communicate()
    return reader.returncode == 0


def test_the_same_user_cannot_read_a_hardened_process():
    if not is_readable("pass"):
        pytest.skip("this kernel keeps the same user out of every process already")
    assert not is_readable("harden()")


@pytest.fixture(scope="module")
def service(practice_master, tmp_path_factory):
    site = clone_site(practice_master, tmp_path_factory.mktemp("site") / "site")
    with serving(site) as running:
        yield running


def test_no_process_of_the_service_may_leave_a_core_file(service: Service):
    for name, pid in (service.pids() | {"supervisor": service.pid}).items():
        limits = Path(f"/proc/{pid}/limits").read_text()
        (line,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
        assert line.split()[4:6] == ["0", "0"], name
