"""Runs the two C programs of the benchmarks: HTTP load, and the raw loop on a token.

Refuses figures of a run in which anything but success was answered.
"""

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tests.bench.token import LABEL, SERVER
from tests.faults import build
from tests.faults.softhsm import MODULE, SoftToken

HERE = Path(__file__).parent
UNIQUE = "<unique number!>"
"""Where it stands in a request, each request sent has a number of its own."""


class BenchError(RuntimeError):
    """A measurement is void; the message says why."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as the load generator sends it."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def encode(self) -> bytes:
        """Return the request as HTTP/1.1."""
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(self.body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


@dataclass(frozen=True, slots=True)
class Tls:
    """A client certificate with its key, and the authority of the server's (PEM files)."""

    certificate: Path
    key: Path
    authority: Path


class Load(msgspec.Struct, frozen=True):
    """What the load generator measured; ``client_cpu`` is its own share of one core."""

    requests: int
    seconds: float
    per_second: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    bytes: int
    lost: int
    client_cpu: float
    status: dict[str, int]


class RawLoop(msgspec.Struct, frozen=True):
    """What the raw loop measured; ``us`` and ``parts_us`` are of one mint."""

    mints: int
    per_second: float
    us: float
    recipients: int
    parts_us: dict[str, float]


def write_requests(path: Path, requests: Iterable[HttpRequest]) -> Path:
    """Write a file of requests and return its path."""
    with path.open("wb") as file:
        for request in requests:
            data = request.encode()
            file.write(b"%d %d\n" % (len(data), data.find(UNIQUE.encode())))
            file.write(data)
    return path


def run_load(
    target: str, requests: Path, connections: int, seconds: float, tls: Tls | None = None
) -> Load:
    """Return the figures of one run against ``unix:PATH``, ``tcp:`` or ``tls:ADDRESS:PORT``."""
    command = [str(build.program(HERE / "loadgen.c")), "-t", target, "-r", str(requests)]
    command += ["-c", str(connections), "-d", str(seconds), "-w", str(min(1.0, seconds / 4))]
    if tls:
        command += ["-C", str(tls.certificate), "-K", str(tls.key), "-A", str(tls.authority)]
    load = msgspec.json.decode(_output(command), type=Load)
    bad = {code: count for code, count in load.status.items() if not code.startswith("2")}
    if bad or load.lost or not load.requests:
        raise BenchError(f"void: answers {load.status}, {load.lost} connections lost")
    return load


def run_raw(token: SoftToken, seconds: float, *, devices: int = 0) -> RawLoop:
    """Return the figures of the raw loop; with devices it mints as for a roster space."""
    program = str(build.program(HERE / "rawloop.c"))
    release = "roster" if devices else "trusted"
    command = [program, str(MODULE), LABEL, SERVER, release, str(seconds), str(devices)]
    output = _output(command, stdin=f"{token.pin}\n", environment=token.environment())
    return msgspec.json.decode(output, type=RawLoop)


def _output(
    command: list[str], *, stdin: str = "", environment: Mapping[str, str] | None = None
) -> str:
    environment = {**os.environ, **(environment or {})}
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise BenchError(f"{Path(command[0]).name} failed: {done.stderr.strip()}")
    return done.stdout
