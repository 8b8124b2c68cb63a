"""Alerts of a real service, through real channels, also across kill -9 of the web process."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from kms.errors import ConclaveError, Forbidden
from kms.practice import PracticeSite
from kms.wire.requests import RosterWish
from tests.fixtures.softhsm import clone_site
from tests.practice.service import CONCLAVE, Service, serving

_CHANNELS = """
[watch]
interval_seconds = 0.2
survey_seconds = 0.5
escrow_seconds = 0.5

[[notify.webhook]]
name = "soc"
url = "http://127.0.0.1:{port}/"

[[notify.syslog]]
name = "siem"
path = "{path}"
audit = true
"""


class Desk:
    """A web server that can be closed and opened again on the same port, and keeps what came."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    @contextmanager
    def open(self) -> Iterator[None]:
        posted = self.posted

        class Hook(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                posted.append(json.loads(body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        server = HTTPServer(("127.0.0.1", self.port), Hook)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def alerts(self) -> list[tuple[str, str]]:
        return [
            (one["kind"], one["fields"].get("alert", "")) for one in self.posted if one["fields"]
        ]


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def receiver() -> Iterator[tuple[Path, socket.socket]]:
    with TemporaryDirectory(prefix="cv-") as folder:
        path = Path(folder, "log")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            sock.bind(str(path))
            sock.settimeout(20)
            yield path, sock


@pytest.fixture
def service(
    practice_master: PracticeSite, desk: Desk, receiver: tuple[Path, socket.socket]
) -> Iterator[Service]:
    with TemporaryDirectory(prefix="cv-") as folder:
        site = clone_site(practice_master, Path(folder, "s"))
        text = site.config.read_text("utf-8")
        text = text.replace("[hsm]\n", "[hsm]\ndeadline_seconds = 1.0\n")
        channels = _CHANNELS.format(port=desk.port, path=receiver[0])
        site.config.write_text(text + channels, "utf-8")
        with serving(site) as running:
            yield running


def until(holds: Callable[[], bool], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def be_refused(service: Service, times: int = 10) -> None:
    with service.console() as console:
        for _ in range(times):
            with pytest.raises(Forbidden):
                console.open_meeting("treasury", RosterWish(recipients=("r" * 43,)))


def active(service: Service) -> set[str]:
    try:
        with service.console() as console:
            return {one.alert for one in console.alerts().items}
    except ConclaveError:
        return set()


def test_alerts_reach_people_also_when_process_and_receiver_died_meanwhile(
    service: Service, desk: Desk, receiver: tuple[Path, socket.socket]
) -> None:
    with service.console() as console:
        assert [one.alert for one in console.alerts().items] == []
        assert console.status().channels == {"soc": "ready", "siem": "ready"}
    be_refused(service)  # nobody answers at the webhook yet
    until(lambda: "repeated-refusals" in active(service), "it is raised")
    until(_fails(service), "the webhook is known to fail")
    with service.console() as console:
        assert "channel soc" in console.ready().reasons
    listed = subprocess.run(
        [CONCLAVE, "--config", str(service.site.config), "alert", "list", "--json"],
        capture_output=True, check=False,
    )  # fmt: skip
    assert listed.returncode == 3
    assert json.loads(listed.stdout)["items"][0]["alert"] == "repeated-refusals"

    web = service.pids()["web"]
    os.kill(web, signal.SIGKILL)
    until(lambda: service.pids().get("web", web) != web, "another web process")
    service.await_ready()
    assert "repeated-refusals" in active(service)
    with desk.open():
        raised = ("alert.raise", "repeated-refusals")
        until(lambda: raised in desk.alerts(), "what happened before the crash arrives")
        os.kill(service.pids()["space-treasury"], signal.SIGSTOP)
        try:
            until(lambda: ("alert.raise", "hsm-trouble") in desk.alerts(), "trouble arrives", 60)
        finally:
            _resume(service)
        until(lambda: ("alert.clear", "hsm-trouble") in desk.alerts(), "and its end", 60)
    assert desk.alerts().count(raised) == 1
    numbers = [one["seq"] for one in desk.posted]
    assert numbers == sorted(numbers)
    exported = _exported(receiver[1])
    assert exported == sorted(exported)
    assert set(range(min(exported), max(exported) + 1)) == set(exported), "no leaf is missing"


def _fails(service: Service) -> Callable[[], bool]:
    def look() -> bool:
        with service.console() as console:
            return console.status().channels["soc"] != "ready"

    return look


def _resume(service: Service) -> None:
    for name, pid in service.pids().items():
        if name == "space-treasury":
            os.kill(pid, signal.SIGCONT)


def _exported(sock: socket.socket) -> list[int]:
    """Return the sequence numbers of the leaves that syslog got."""
    sock.setblocking(False)
    numbers = []
    while True:
        try:
            data = sock.recv(1 << 17)
        except BlockingIOError:
            return numbers
        numbers.append(int(data.split(b'seq="')[1].split(b'"')[0]))
