"""The walk of docs/disks.md on the practice site, typed at a terminal as it stands there."""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pytest

from kms.domain.disks import ENDED, DiskState, OrderKind, OrderState
from tests.docs.pages import DOCS, commands
from tests.fixtures.luks import need
from tests.practice.encrypted_disk import SPARE
from tests.practice.service import CONCLAVE, Service
from tests.scenarios.bays import HostBay, blank, host_bay

_SECONDS = 60
_REQUEST = re.compile(r"^Request +(\S+)", re.MULTILINE)
_ASKED = r"([a-z]+)\s+⌨ [^\n]* eight words: "
_DEV = """\
#!/bin/sh
[ "$1" = conclave ] && shift && exec '{conclave}' "$@"
"""


@pytest.fixture
def bay(service: Service) -> Iterator[HostBay]:
    """The practice site with the device that ./dev run leaves there, and its daemon."""
    need("cryptsetup")
    folder = service.site.directory / "disks"
    folder.mkdir(mode=0o700)
    with host_bay(service, folder) as made:
        blank(made.images, SPARE, 32)
        made.start()
        made.await_state(SPARE, DiskState.UNKNOWN)
        yield made


@dataclass
class Reader:
    """Types the commands of a block in a folder, with the id of the latest request; whoever signs
    types the last of the eight words that are shown.
    """

    folder: Path
    settings: str
    request: str = "none"

    def type(self, command: str) -> None:
        """Run a command; raise AssertionError unless it ends with 0."""
        typed = re.sub(r"\bID\b", self.request, command)
        script = f"set -eu\n{self.settings}\n{typed}"
        environment = {**os.environ, "CONCLAVE_LANG": "en", "TERM": "dumb"}
        shell = pexpect.spawn(
            "bash", ["-c", script], cwd=self.folder, env=environment, encoding="utf-8",
            dimensions=(50, 250), timeout=_SECONDS,
        )  # fmt: skip
        told = ""
        while shell.expect([pexpect.EOF, _ASKED]):
            told += shell.before + shell.after
            shell.sendline(shell.match[1])
        told += shell.before
        shell.close()
        assert shell.exitstatus == 0, f"{command}\n{told}"
        if "--reason" in command:
            self.request = _REQUEST.findall(told)[-1]


def test_the_walk_on_the_practice_site(bay: HostBay, tmp_path: Path) -> None:
    (tmp_path / ".practice").symlink_to(bay.service.site.directory)
    dev = tmp_path / "dev"
    dev.write_text(_DEV.format(conclave=CONCLAVE))
    dev.chmod(0o755)
    settings, lines = _walk()
    reader, approving = Reader(tmp_path, settings), list[str]()
    for line in lines:
        if line.startswith("#"):
            for repeated in approving:
                reader.type(repeated)
            _await_order(bay, OrderKind.ERASE)
        else:
            reader.type(line)
        if line.startswith("conclave approval"):
            approving.append(line)
        if "approval execute" in line:
            _await_order(bay, OrderKind.PREPARE)
    assert len(approving) == 4
    assert (tmp_path / "erased.pdf").read_bytes().startswith(b"%PDF")
    assert (bay.images / f"{SPARE}.img").read_bytes()[:6] != b"LUKS\xba\xbe"


def _walk() -> tuple[str, list[str]]:
    """Return the shell's settings at the beginning of the block, and its commands."""
    (text,) = [one.text for one in commands(DOCS / "disks.md") if SPARE in one.text]
    function, keys, *lines = text.replace("\\\n", "").splitlines()
    return f"{function}\n{keys}", lines


def _await_order(bay: HostBay, kind: OrderKind) -> None:
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        with bay.service.console() as client:
            found = [one for page in client.order_pages() for one in page.items]
        latest = next((one for one in found if one.kind is kind), None)
        if latest is not None and latest.state in ENDED:
            assert latest.state is OrderState.DONE, latest.message
            return
        time.sleep(0.1)
    raise AssertionError(f"no {kind} has ended")
