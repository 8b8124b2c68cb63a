"""The service under test: a throwaway practice site, its meetings, and the requests for it.

Local caller and TLS port are put into the configuration; all else is as ``conclave init`` made it.
"""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uuid_utils
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kms.client.rosters import device_recipient, signed_roster
from kms.practice import PracticeSite, init_practice
from kms.settings import load
from tests.bench.devices import choose, make_devices
from tests.bench.load import UNIQUE, BenchError, HttpRequest, Tls, write_requests
from tests.bench.measure import BATCH, DEVICES, Target

TRUSTED, ROSTER = "treasury", "investment-banking"
TRUSTED_SERVER, ROSTER_SERVER = "ms-a", "ms-1"
ON_ROSTER = 16
"""Devices in a meeting that is fetched from: with vault and escrow a reply of about 5 KB."""

_CALLER = """\
[[caller]]
uid = {uid}
principal = "bench"
roles = ["meeting-server"]
spaces = ["{trusted}", "{roster}"]
"""
_READY_SECONDS = 60.0


class BenchSite:
    """A site with meetings; it can be served several times, one at a time."""

    def __init__(self, directory: Path, *, meetings: int) -> None:
        self._scratch = directory.parent
        self._site = init_practice(directory)
        self._port = _free_port()
        _configure(self._site, self._port)
        self._settings = load(self._site.config)
        self._meetings = meetings
        self._target: Target | None = None

    @contextmanager
    def serving(self, environment: Mapping[str, str]) -> Iterator[Target]:
        """Serve meanwhile; yields addresses and requests."""
        command = [str(Path(sys.executable).with_name("conclave")), "serve"]
        pins = os.open(self._site.pins, os.O_RDONLY)
        command += ["--config", str(self._site.config), "--pin-fd", str(pins)]
        log = self._scratch / "service.log"
        with (
            log.open("ab") as output,
            subprocess.Popen(
                command,
                env={**os.environ, **environment},
                pass_fds=[pins],
                stdout=output,
                stderr=output,
            ) as process,
        ):
            os.close(pins)
            try:
                self._await_ready(process, log)
                self._target = self._target or self._prepare()
                yield self._target
            finally:
                process.terminate()

    def _await_ready(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        end = time.monotonic() + _READY_SECONDS
        while time.monotonic() < end and process.poll() is None:
            try:
                if self._api().ask("GET", "/v1/health/ready").status == http.client.OK:
                    return
            except OSError:
                time.sleep(0.1)
        raise BenchError(f"the service did not become ready:\n{log.read_text()[-4000:]}")

    def _api(self) -> "Api":
        return Api(self._settings.paths.api_socket)

    def _prepare(self) -> Target:
        """Open the meetings and write the requests."""
        api, server = self._api(), self._site.server(ROSTER_SERVER)
        tls = Tls(server.certificate, server.tls_key, self._site.tls_ca)
        rosters = Rosters(api, self._site)
        rows = [rosters.open(number, ON_ROSTER) for number in range(self._meetings)]
        wanted = [(meeting, device) for meeting, devices in rows for device in devices]
        large, _ = rosters.open(0, DEVICES)
        trusted = [_open_trusted(api) for _ in range(self._meetings)]
        return Target(
            f"unix:{self._settings.paths.api_socket}",
            f"tls:127.0.0.1:{self._port}",
            tls,
            self._requests("fetch", [_fetch(*one) for one in wanted]),
            self._requests("batch", _batches(wanted)),
            self._requests("mint", [_rotate(TRUSTED, meeting) for meeting in trusted]),
            self._requests("mint-large", [_rotate(ROSTER, large)]),
        )

    def _requests(self, name: str, requests: list[HttpRequest]) -> Path:
        return write_requests(self._scratch / f"{name}.requests", requests)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: Any


class Api:
    """The key API over its socket, for setting up."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """Return the answer, whatever it is; raise OSError."""
        connection = _SocketConnection(self._path)
        try:
            headers = {"Idempotency-Key": uuid.uuid4().hex, "Content-Type": "application/json"}
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            return Answer(response.status, json.loads(response.read() or b"null"))
        finally:
            connection.close()

    def must(self, method: str, path: str, body: Any = None) -> Any:
        """Return the body of a successful answer; raise BenchError."""
        answer = self.ask(method, path, body)
        if answer.status not in {http.client.OK, http.client.CREATED}:
            raise BenchError(f"{method} {path}: {answer.status} {answer.body}")
        return answer.body


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Rosters:
    """Opens meetings of devices in the roster space."""

    def __init__(self, api: Api, site: PracticeSite) -> None:
        self._api = api
        pem = site.server(ROSTER_SERVER).own_key.read_bytes()
        key = serialization.load_pem_private_key(pem, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key
        self._devices = make_devices(DEVICES, site.device_ca, site.device_ca_key)

    def open(self, start: int, count: int) -> tuple[str, list[str]]:
        """Open a meeting; return its id and its devices' ids."""
        meeting = str(uuid_utils.uuid7())
        devices = choose(self._devices, start, count)
        body = {"meeting": meeting, "statement": self._statement(meeting, devices)}
        self._api.must("POST", f"/v1/spaces/{ROSTER}/meetings", body)
        return meeting, [device_recipient(device) for device in devices]

    def _statement(self, meeting: str, devices: list[x509.Certificate]) -> str:
        return signed_roster(
            self._key, devices, space=ROSTER, meeting=meeting, version=1, issued=int(time.time())
        )


def _open_trusted(api: Api) -> str:
    known = api.must("GET", "/v1/recipients")["items"]
    (server,) = (
        one["recipient"]
        for one in known
        if (one["space"], one["name"]) == (TRUSTED, TRUSTED_SERVER)
    )
    opened = api.must("POST", f"/v1/spaces/{TRUSTED}/meetings", {"recipients": [server]})
    return str(opened["meeting"])


def _fetch(meeting: str, device: str) -> HttpRequest:
    path = f"/v1/spaces/{ROSTER}/meetings/{meeting}/epochs/current/envelopes/{device}"
    return HttpRequest("GET", path)


def _batches(wanted: list[tuple[str, str]]) -> list[HttpRequest]:
    named = [{"space": ROSTER, "meeting": one, "recipient": device} for one, device in wanted]
    bodies = (
        json.dumps({"envelopes": named[start : start + BATCH]}).encode()
        for start in range(0, len(named) - BATCH + 1, BATCH)
    )
    return [HttpRequest("POST", "/v1/envelopes:batch", {}, body) for body in bodies]


def _rotate(space: str, meeting: str) -> HttpRequest:
    path = f"/v1/spaces/{space}/meetings/{meeting}/epochs:rotate"
    return HttpRequest("POST", path, {"Idempotency-Key": UNIQUE}, b'{"reason": "suspicion"}')


def _configure(site: PracticeSite, port: int) -> None:
    text, _, _ = site.config.read_text().partition("[[caller]]")
    caller = _CALLER.format(uid=os.getuid(), trusted=TRUSTED, roster=ROSTER)
    site.config.write_text(text.replace("port = 0", f"port = {port}") + caller)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
