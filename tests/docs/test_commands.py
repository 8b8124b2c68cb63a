"""What the documents tell people to type works, in the order in which they say it."""

import os
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, commands
from tests.practice.service import CONCLAVE, Service

WITH_COMMANDS = [
    ROOT / "README.md",
    *(DOCS / f"{name}.md" for name in ("cli", "operations", "api", "policy", "life-cycle")),
    DOCS / "approvals.md",
    DOCS / "disks.md",
    DOCS / "monitoring.md",
    DOCS / "rotation.md",
]

NOT_RUN = {
    "a test of its own": 4,
    "continuous integration does": 1,
    "it seals": 2,
    "needs curl": 1,
    "needs root": 4,
    "needs systemd and a TPM": 4,
    "people hold ceremonies": 5,
    "the box is sealed": 1,
}
"""Every reason for which a block is not run here, and how many blocks it excuses."""

_SHIM = """\
#!/bin/sh
exec '{conclave}' --config '{config}' "$@"
"""
_DEV = """\
#!/bin/sh
[ "$1" = conclave ] || exit 64
shift
exec '{conclave}' "$@"
"""


@pytest.fixture(scope="module")
def desk(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the documents' reader has it: ./dev, .practice, the site root, conclave."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / ".practice").symlink_to(service.site.directory)
    shutil.copy(service.site.site_root, folder / "site-root.pem")
    places = {"conclave": CONCLAVE, "config": service.site.config}
    for name, text in (("bin/conclave", _SHIM), ("dev", _DEV)):
        script = folder / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(text.format(**places))
        script.chmod(0o755)
    _await_checkpoint(service)
    return folder


def _await_checkpoint(service: Service) -> None:
    deadline = time.monotonic() + 20
    with service.console() as console:
        while console.status().checkpoint_size == 0:
            assert time.monotonic() < deadline, "no checkpoint in time"
            time.sleep(0.05)


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.name)
def test_a_pages_commands_work(page: Path, desk: Path) -> None:
    place = desk / page.stem
    place.mkdir()
    for name in ("dev", ".practice", "site-root.pem"):
        (place / name).symlink_to(desk / name)
    environment = {**os.environ, "PATH": f"{desk / 'bin'}:{os.environ['PATH']}"}
    for block in commands(page):
        if block.reason:
            continue
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.script],
            cwd=place, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False, timeout=120,
        )  # fmt: skip
        assert ended.returncode == 0, f"{block.script}\n{ended.stdout}{ended.stderr}"


def test_every_block_that_is_not_run_has_a_reason_that_counts() -> None:
    found = Counter(block.reason for page in WITH_COMMANDS for block in commands(page))
    del found[""]
    assert found == NOT_RUN


def test_every_console_line_is_a_command_or_its_output() -> None:
    for page in WITH_COMMANDS:
        for block in commands(page):
            assert block.language != "console" or block.script, f"no prompt in {page.name}"
