"""Runs the service of a practice site as its users would: ``conclave serve`` in a process."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from kms.client.api import Client
from kms.client.keys import EnvelopeOpener, SiteTrust
from kms.client.transport import mutual_tls
from kms.errors import ConclaveError
from kms.practice import PracticeSite
from kms.settings import Settings, load

CONCLAVE = str(Path(sys.executable).with_name("conclave"))
_READY_SECONDS = 60.0


class Service:
    """A running practice site."""

    def __init__(self, site: PracticeSite, environment: Mapping[str, str] | None = None) -> None:
        self.site = site
        self.log = site.directory / "service.log"
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> Settings:
        return load(self.site.config)

    def start(self, *, wait: bool = True) -> None:
        self.settings.paths.run.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._endpoints.unlink(missing_ok=True)
        pins = os.open(self.site.pins, os.O_RDONLY)
        command = [CONCLAVE, "--config", str(self.site.config), "serve", "--pin-fd", str(pins)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self._environment, pass_fds=[pins], stdout=log, stderr=log
            )
        os.close(pins)
        if wait:
            self.await_ready()

    def await_ready(self, seconds: float = _READY_SECONDS) -> float:
        """Wait until every token that is not sealed does key operations; return the seconds."""
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            if self._process and self._process.poll() is not None:
                break
            try:
                self._knock()
                with self.console(timeout=2) as client:
                    lacking = [one for one in client.ready().reasons if one.startswith("token ")]
                if all(one.endswith(": sealed") for one in lacking):
                    return time.monotonic() - begun
                time.sleep(0.05)
            except (OSError, ConclaveError):
                time.sleep(0.05)
        raise AssertionError(f"the service is not ready:\n{self.tail()}")

    def await_checkpoint(self, seconds: float = _READY_SECONDS) -> None:
        """Wait until every leaf that is in the log by now stands under a checkpoint."""
        end = time.monotonic() + seconds
        with self.console() as client:
            size = client.status().tree_size
            while client.status().checkpoint_size < size:
                assert time.monotonic() < end, f"no checkpoint of {size} leaves:\n{self.tail()}"
                time.sleep(0.05)

    def stop(self) -> int:
        """End the service; return its exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(30)
        finally:
            self._process.kill()
            self._process = None
        return code

    def wait(self, seconds: float | None = None) -> int:
        """Wait until the service ends by itself; return its exit code."""
        assert self._process is not None
        return self._process.wait(seconds)

    @property
    def pid(self) -> int:
        """The supervisor."""
        assert self._process is not None
        return self._process.pid

    def pids(self) -> dict[str, int]:
        """The processes below the supervisor, by name: ``web`` and the workers' tokens."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        found = {}
        for pid in map(int, children.read_text().split()):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            except FileNotFoundError:
                continue  # it has ended meanwhile
            if "kms.api" in words:
                found["web"] = pid
            elif "--token" in words:
                found[words[words.index("--token") + 1]] = pid
        return found

    def console(self, timeout: float = 30) -> Client:
        """The local caller over the Unix socket: auditor, officer and operator in practice."""
        return Client.over_socket(self.settings.paths.api_socket, timeout=timeout)

    def server(self, name: str, timeout: float = 30) -> Client:
        """A registered meeting server over mutual TLS."""
        server = self.site.server(name)
        context = mutual_tls(server.certificate, server.tls_key, self.site.tls_ca)
        return Client.over_tls(self.url, context, timeout=timeout)

    @property
    def url(self) -> str:
        tls = json.loads(self._endpoints.read_text())["tls"]
        return f"https://{tls['address']}:{tls['port']}"

    def trust(self) -> SiteTrust:
        """What a client pins: the site root, and the key list that it signed."""
        root = serialization.load_pem_public_key(self.site.site_root.read_bytes())
        key_list = self.site.key_list.read_text().strip()
        return SiteTrust(self.site.site_id, root, key_list)

    def opener(self, name: str) -> EnvelopeOpener:
        """A trusted meeting server's way into its envelopes."""
        pem = self.site.server(name).own_key.read_bytes()
        key = serialization.load_pem_private_key(pem, None)
        return EnvelopeOpener(self.trust(), key, "RSA-OAEP")

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _knock(self) -> None:
        """Connect and hang up: httpx2 leaves a socket open when a connection is refused."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self.settings.paths.api_socket))

    @property
    def _endpoints(self) -> Path:
        return self.settings.paths.run / "endpoints.json"


@contextmanager
def serving(site: PracticeSite, environment: Mapping[str, str] | None = None) -> Iterator[Service]:
    """Serve a site meanwhile."""
    service = Service(site, environment)
    service.start()
    try:
        yield service
    finally:
        service.stop()
