"""The command line against a real practice site, from init to verified evidence.

Every command is a process of its own, as people run it; prompts are answered on a real terminal.
"""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from kms.client.rosters import new_meeting, signed_roster
from kms.practice import PracticeSite
from tests.fixtures.cli import Cli
from tests.practice.devices import Device, load_authority, make_device

CONCLAVE = (sys.executable, "-m", "kms.cli.main")
SPACE = "treasury"
READY = "api.sock"
MISSING = "0193a5b0-7c3e-7000-8000-0123456789ab"


@dataclass(frozen=True)
class Service:
    """A served site, and command lines against it as console or as a meeting server."""

    site: PracticeSite
    url: str
    identities: Path

    def run(self, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command as the console (Unix socket); hold it to its exit code."""
        ended = conclave("--config", self.site.config, *arguments)
        assert ended.returncode == code, ended.stderr
        assert "Traceback" not in ended.stderr
        return ended

    def ask(self, *arguments: object) -> Any:
        return json.loads(self.run(*arguments, "--json").stdout)

    def server(self, name: str, *arguments: object, code: int = 0) -> str:
        """Run a command as a meeting server (mutual TLS)."""
        place = ("--url", self.url, "--identity", self.identities / name)
        ended = conclave(*place, *arguments)
        assert ended.returncode == code, ended.stderr
        return ended.stdout

    def recipient(self, name: str) -> str:
        found = self.ask("recipient", "list")["items"]
        return next(one["recipient"] for one in found if one["name"] == name)

    def open_meeting(self) -> str:
        roster = ("--recipient", self.recipient("ms-a"))
        opened = json.loads(self.server("ms-a", "meeting", "open", SPACE, *roster, "--json"))
        return str(opened["meeting"])


def environment() -> dict[str, str]:
    return {**os.environ, "CONCLAVE_LANG": "en", "PYTHONDEVMODE": "0"}


def conclave(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*CONCLAVE, *map(str, arguments)]
    return subprocess.run(
        command,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@contextmanager
def serving(site: PracticeSite) -> Iterator[subprocess.Popen[str]]:
    """Serve with the PINs on a descriptor; ready when the addresses are printed."""
    with site.pins.open("rb") as pins:
        process = subprocess.Popen(
            [*CONCLAVE, "--config", str(site.config), "serve", "--pin-fd", str(pins.fileno())],
            env=environment(),
            pass_fds=[pins.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    with process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


@pytest.fixture
def service(practice_site: PracticeSite) -> Iterator[Service]:
    with serving(practice_site) as process:
        assert process.stdout
        printed = dict(process.stdout.readline().rstrip("\n").split("\t") for _ in range(2))
        assert printed["Unix socket"].endswith(READY)
        yield Service(practice_site, printed["Mutual TLS"], practice_site.directory / "servers")


# --- a terminal ----------------------------------------------------------------------------------


class Terminal:
    """A process on a terminal of its own: reads what it shows, types answers."""

    def __init__(self, *arguments: object) -> None:
        self._pid, self._terminal = pty.fork()
        if not self._pid:
            os.execve(sys.executable, [*CONCLAVE, *map(str, arguments)], environment())
        self.shown = ""

    def expect(self, text: str, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            assert select.select([self._terminal], [], [], deadline - time.monotonic())[0], (
                self.shown
            )
            self.shown += self._read()

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode() + b"\n")

    def interrupt(self) -> None:
        os.write(self._terminal, b"\x03")

    def end(self) -> int:
        """Return the exit code once the process has ended."""
        while data := self._read():
            self.shown += data
        _pid, status = os.waitpid(self._pid, 0)
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(status)

    def _read(self) -> str:
        try:
            return os.read(self._terminal, 4096).decode(errors="replace")
        except OSError:  # how Linux says that the other side is gone
            return ""


# --- making and serving a site -------------------------------------------------------------------


def test_init_keeps_a_practice_site_and_makes_another_only_when_told(
    practice_site: PracticeSite,
) -> None:
    folder, root = practice_site.directory, practice_site.site_root.read_bytes()
    kept = conclave("init", "--practice", folder)
    assert kept.returncode == 0
    assert "nothing was changed" in kept.stderr
    assert practice_site.site_root.read_bytes() == root
    made = conclave("init", "--practice", folder, "--fresh", "--json")
    assert made.returncode == 0, made.stderr
    assert "PRACTICE / 演练" in made.stderr
    assert Path(json.loads(made.stdout)["site_root"]).read_bytes() != root
    for told in (kept, made):
        assert f"serve --pin-fd 3 3< {folder}" in told.stderr.replace("\n", " ")


def test_init_deletes_nothing_that_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert conclave("init", "--practice", tmp_path, "--fresh").returncode == 73
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_wrong_pin_ends_the_service_with_78_after_one_attempt(
    practice_site: PracticeSite,
) -> None:
    pins = dict.fromkeys(json.loads(practice_site.pins.read_text()), "0" * 32)
    read_end, write_end = os.pipe()
    os.write(write_end, json.dumps(pins).encode())
    os.close(write_end)
    ended = subprocess.run(
        [*CONCLAVE, "--config", str(practice_site.config), "serve", "--pin-fd", str(read_end)],
        env=environment(),
        pass_fds=[read_end],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(read_end)
    assert ended.returncode == 78
    assert not ended.stdout
    assert "0" * 32 not in ended.stderr


def test_pins_are_asked_for_unseen_and_an_interrupt_stops_the_service(
    practice_site: PracticeSite,
) -> None:
    pins = json.loads(practice_site.pins.read_text())
    terminal = Terminal("--config", practice_site.config, "serve")
    for token in ("site", "space-investment-banking", "space-treasury"):
        terminal.expect(f"PIN of token {token}: ")
        terminal.type(pins[token])
    terminal.expect("Mutual TLS")
    assert not any(pin in terminal.shown for pin in pins.values())
    terminal.interrupt()
    assert terminal.end() == 0


def test_serve_without_anybody_to_ask_says_how_to_give_the_pins(
    practice_site: PracticeSite,
) -> None:
    ended = conclave("--config", practice_site.config, "serve")
    assert ended.returncode == 78
    assert "--pin-fd" in ended.stderr


# --- the journey ---------------------------------------------------------------------------------


def test_from_opening_a_meeting_to_verified_evidence(service: Service, tmp_path: Path) -> None:
    meeting, own = service.open_meeting(), service.recipient("ms-a")
    both = ("--recipient", own, "--recipient", service.recipient("ms-b"))
    service.server("ms-a", "roster", "set", SPACE, meeting, *both)
    service.server("ms-a", "roster", "set", SPACE, meeting, "--recipient", own)
    service.server("ms-a", "epoch", "rotate", SPACE, meeting, "--reason", "suspicion")
    assert service.ask("rotation", "status")["items"][0]["reason"] == "suspicion"

    envelope, keys = tmp_path / "envelope.json", tmp_path / "keys.jws"
    service.server("ms-a", "envelope", "fetch", SPACE, meeting, own, "--out", envelope)
    service.run("key-list", "--out", keys)
    trust = ("--key-list", keys, "--site-root", service.site.site_root)
    private = service.site.server("ms-a").own_key
    opened = conclave(
        "envelope", "open", envelope, "--key", private, *trust, "--wrap-alg", "RSA-OAEP", "--json"
    )
    assert opened.returncode == 0, opened.stderr
    readers = json.loads(opened.stdout)["readers"]
    assert sorted(reader["kind"] for reader in readers) == ["escrow", "server", "vault"]

    note, bundle = tmp_path / "early.note", tmp_path / "evidence.db"
    note.write_text(wait_for_checkpoint(service), "utf-8")
    service.run("meeting", "close", SPACE, meeting)
    assert service.ask("meeting", "destroy", SPACE, meeting)["epochs"] in ([0, 1, 2, 3], [0, 2, 3])
    wait_for_checkpoint(service)
    exported = service.ask("audit", "export", bundle)
    assert exported["manifests"] == 4
    arguments = ("audit", "verify", bundle, "--site-root", service.site.site_root)
    verified = conclave(*arguments, "--checkpoint", note)
    assert verified.returncode == 0, verified.stdout
    assert "Conclusion: everything holds." in verified.stdout
    assert service.run("audit", "export", bundle, code=73).stdout == ""
    assert service.ask("audit", "proof", 0)["leaf"] == 0


def test_a_signed_roster_opens_a_meeting_whose_server_only_relays(
    service: Service, tmp_path: Path
) -> None:
    site, meeting, space = service.site, new_meeting(), "investment-banking"
    device = make_device("alice", load_authority(site.device_ca_key, site.device_ca))
    key_file, _certificate = device.save(tmp_path)
    statement, envelope = tmp_path / "roster.jws", tmp_path / "envelope.json"
    statement.write_text(roster_of(site, [device], space, meeting))
    named = ("--meeting", meeting, "--statement", statement)
    service.server("ms-1", "meeting", "open", space, *named)
    service.server("ms-1", "envelope", "fetch", space, meeting, device.id, "--out", envelope)
    keys = tmp_path / "keys.jws"
    service.run("key-list", "--out", keys)
    trust = ("--key-list", keys, "--site-root", site.site_root, "--wrap-alg", "RSA-OAEP")
    opened = conclave("envelope", "open", envelope, "--key", key_file, *trust)
    assert opened.returncode == 0, opened.stderr
    assert "commitment holds" in opened.stderr
    assert f"device\t{device.id}\t0\t0\tyes" in opened.stdout
    others = site.server("ms-a").own_key
    assert conclave("envelope", "open", envelope, "--key", others, *trust).returncode == 65


def roster_of(site: PracticeSite, devices: list[Device], space: str, meeting: str) -> str:
    """Return the first roster of a meeting, signed by the space's meeting server."""
    key = load_pem_private_key(site.server("ms-1").own_key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    certificates = [device.certificate for device in devices]
    return signed_roster(
        key, certificates, space=space, meeting=meeting, version=1, issued=int(time.time())
    )


def wait_for_checkpoint(service: Service) -> str:
    """Return the newest checkpoint once it covers every leaf there is."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        status = service.ask("status")
        if status["tree_size"] == status["checkpoint_size"]:
            return service.run("audit", "checkpoint").stdout
        time.sleep(0.5)
    raise AssertionError("no checkpoint in time")


def test_a_console_and_a_server_of_another_space_are_refused(service: Service) -> None:
    meeting, own = service.open_meeting(), service.recipient("ms-a")
    service.run("envelope", "fetch", SPACE, meeting, own, code=77)
    service.run("meeting", "show", SPACE, MISSING, code=66)
    missing = conclave(
        "--url", service.url, "--identity", service.identities / "ms-1", "--json",
        "meeting", "show", SPACE, meeting,
    )  # fmt: skip
    nowhere = conclave(
        "--url", service.url, "--identity", service.identities / "ms-1", "--json",
        "meeting", "show", "no-such-space", meeting,
    )  # fmt: skip
    assert (missing.returncode, missing.stderr) == (66, nowhere.stderr)


def test_what_a_destruction_would_erase_is_only_told(service: Service) -> None:
    meeting = service.open_meeting()
    destroy = ("meeting", "destroy", SPACE, meeting)
    service.run(*destroy, code=75)
    service.run("meeting", "close", SPACE, meeting)
    assert service.ask(*destroy)["epochs"] == [0]
    assert service.ask("meeting", "show", SPACE, meeting)["state"] == "closed"


def test_every_reading_command_answers_with_json_and_as_a_table(service: Service, cli: Cli) -> None:
    meeting = service.open_meeting()
    wait_for_checkpoint(service)
    for command in (
        ("status",),
        ("space", "list"),
        ("recipient", "list"),
        ("meeting", "list", SPACE),
        ("meeting", "show", SPACE, meeting),
        ("roster", "show", SPACE, meeting),
        ("epoch", "list", SPACE, meeting),
        ("epoch", "show", SPACE, meeting),
        ("epoch", "show", SPACE, meeting, 0),
        ("rotation", "status"),
        ("hsm", "info"),
        ("audit", "checkpoint"),
        ("key-list",),
    ):
        shown = cli("--config", service.site.config, *command)
        assert (shown.code, bool(shown.out.strip())) == (0, True)
        told = cli("--config", service.site.config, *command, "--json")
        assert json.loads(told.out)


def test_on_a_terminal_a_table_has_colour_and_says_practice(service: Service) -> None:
    terminal = Terminal("--config", service.site.config, "--lang", "zh", "status")
    assert terminal.end() == 0
    assert "\x1b[1m" in terminal.shown
    assert "PRACTICE / 演练" in terminal.shown
    assert "就绪" in terminal.shown
