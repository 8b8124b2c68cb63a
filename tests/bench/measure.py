"""What is measured, and against what: the lines of the report and one round of figures."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import ceiling
from tests.bench.load import BenchError, HttpRequest, Load, Tls, run_load, run_raw, write_requests
from tests.bench.report import Line, Round
from tests.faults import build
from tests.faults.softhsm import SoftToken

SLOW_FSYNC_US = 2000
FEW, MANY, MINTERS = 32, 256, 32
BATCH = 100
DEVICES = 50

LINES = (
    Line("C loop of one mint's PKCS#11 calls", "raw", "mints/s"),
    Line("the same, one mint", "raw_ms", "ms"),
    Line("mint, 32 connections", "mint", "mints/s", "raw", required=0.35, goal=0.5),
    Line("mint alone, p50", "mint_alone_ms", "ms", "raw_ms", goal=3, lower=True),
    Line("C loop with 50 devices, one mint", "raw_50_ms", "ms"),
    Line("rotate for 50 devices alone, p50", "mint_50_ms", "ms", "raw_50_ms", goal=1.3, lower=True),
    Line("bare ASGI + read + durable leaf, 32 connections", "ceiling", "requests/s"),
    Line("fetch, 32 connections", "fetch", "requests/s", "ceiling", required=0.35, goal=0.5),
    Line("bare ASGI, 32 connections, p99", "ceiling_p99_ms", "ms"),
    Line("fetch, 32 connections, p99", "fetch_p99_ms", "ms", "bound_25_ms", goal=1, lower=True),
    Line("one fsync, p50", "fsync_ms", "ms"),
    Line("bare ASGI alone, p50", "ceiling_alone_ms", "ms"),
    Line("fetch alone, p50", "fetch_alone_ms", "ms", "alone_bound_ms", goal=1, lower=True),
    Line("batch of 100, 8 connections", "batch", "envelopes/s", "fetch", goal=5),
    Line(
        "fetch over mTLS, kept alive, 32 connections", "fetch_tls", "requests/s", "fetch", goal=0.75
    ),
    Line("bare ASGI, 256 connections", "ceiling_256", "requests/s"),
    Line("fetch, 256 connections", "fetch_256", "requests/s", "ceiling_256"),
    Line(
        "bare ASGI, 256 connections, fsync + 2 ms", "slow_ceiling_256", "requests/s", "ceiling_256"
    ),
    Line(
        "fetch, 256 connections, fsync + 2 ms",
        "slow_fetch_256",
        "requests/s",
        "fetch_256",
        goal=0.8,
    ),
    Line("mint, 32 connections, fsync + 2 ms", "slow_mint", "mints/s", "mint"),
    Line("mint, 256 connections, fsync + 2 ms", "slow_mint_256", "mints/s", "mint"),
)


@dataclass(frozen=True, slots=True)
class Target:
    """A served site: its addresses, and files of requests for it."""

    address: str
    tls_address: str
    tls: Tls
    fetch: Path
    batch: Path
    mint: Path
    mint_large: Path


def slowed() -> dict[str, str]:
    """Return the environment in which every fsync takes 2 ms longer."""
    preload = build.preload(build.library(build.HERE / "slow_fsync.c"))
    return preload | {"FSYNC_US": str(SLOW_FSYNC_US)}


@contextmanager
def serving_ceiling(directory: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Serve the bare application meanwhile; yields its address."""
    directory.mkdir()
    address = directory / "ceiling.sock"
    command = [sys.executable, "-m", "tests.bench.ceiling", "--directory", str(directory)]
    with subprocess.Popen(command, env={**os.environ, **environment}) as process:
        try:
            wait_for_file(address, process)
            yield f"unix:{address}"
        finally:
            process.terminate()


def wait_for_file(path: Path, process: "subprocess.Popen[bytes]", seconds: float = 60) -> None:
    """Return once the file is there; raise BenchError if the process ends before."""
    end = time.monotonic() + seconds
    while not path.exists():
        if process.poll() is not None or time.monotonic() > end:
            raise BenchError(f"{path.name} did not appear")
        time.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Bench:
    """Measures; ``seconds`` is how long each figure is taken."""

    scratch: Path
    seconds: float
    token: SoftToken

    def mints(self, target: Target | None) -> Round:
        """Return the figures of the token alone and of minting, in turn."""
        before, large = self._raw(), run_raw(self.token, self.seconds / 2, devices=DEVICES)
        figures = {} if target is None else self._mints(target)
        raw = statistics.mean((before, self._raw()))
        return figures | {"raw": raw, "raw_ms": 1e3 / raw, "raw_50_ms": large.us / 1e3}

    def _raw(self) -> float:
        return run_raw(self.token, self.seconds / 2).per_second

    def _mints(self, target: Target) -> Round:
        large = run_load(target.address, target.mint_large, 1, self.seconds / 2)
        alone = run_load(target.address, target.mint, 1, self.seconds / 2)
        full = run_load(target.address, target.mint, MINTERS, self.seconds)
        return {
            "mint": full.per_second,
            "mint_alone_ms": alone.p50_ms,
            "mint_50_ms": large.p50_ms,
        }

    def fetches(self, bare: str, target: Target | None) -> Round:
        """Return the figures of the bare application and of fetching, in turn."""
        before = self._bare(bare, FEW, 2)
        figures = {} if target is None else self._fetches(target)
        after = self._bare(bare, FEW, 2)
        figures["ceiling"] = statistics.mean((before.per_second, after.per_second))
        figures["ceiling_p99_ms"] = statistics.mean((before.p99_ms, after.p99_ms))
        figures["ceiling_256"] = self._bare(bare, MANY, 1).per_second
        if target:
            figures["fetch_256"] = self._fetch(target, MANY, 1).per_second
            figures |= self._other_fetches(target)
        return figures | {"ceiling_alone_ms": self._bare(bare, 1, 2).p50_ms}

    def _bare(self, address: str, connections: int, part: int) -> Load:
        requests = self.scratch / "ceiling.requests"
        if not requests.exists():
            paths = (f"{ceiling.PATH}{number * 7 % ceiling.ROWS}" for number in range(2000))
            write_requests(requests, (HttpRequest("GET", path) for path in paths))
        return run_load(address, requests, connections, self.seconds / part)

    def _fetch(self, target: Target, connections: int, part: int) -> Load:
        return run_load(target.address, target.fetch, connections, self.seconds / part)

    def _fetches(self, target: Target) -> Round:
        few = self._fetch(target, FEW, 1)
        return {"fetch": few.per_second, "fetch_p99_ms": few.p99_ms, "bound_25_ms": 25.0}

    def _other_fetches(self, target: Target) -> Round:
        tls = run_load(target.tls_address, target.fetch, FEW, self.seconds, target.tls)
        batch = run_load(target.address, target.batch, 8, self.seconds)
        fsync, alone = fsync_ms(self.scratch), self._fetch(target, 1, 2)
        return {
            "fetch_tls": tls.per_second,
            "batch": batch.per_second * BATCH,
            "fsync_ms": fsync,
            "alone_bound_ms": 0.5 + fsync,
            "fetch_alone_ms": alone.p50_ms,
        }

    def slow(self, bare: str, target: Target | None) -> Round:
        """Return the figures of bare application and service when fsync is slowed."""
        figures = {"slow_ceiling_256": self._bare(bare, MANY, 1).per_second}
        if target:
            many = run_load(target.address, target.mint, MANY, self.seconds)
            full = run_load(target.address, target.mint, MINTERS, self.seconds)
            figures["slow_fetch_256"] = self._fetch(target, MANY, 1).per_second
            figures |= {"slow_mint_256": many.per_second, "slow_mint": full.per_second}
        return figures


def fsync_ms(directory: Path) -> float:
    """Return the median time of a small append and its fdatasync, in milliseconds."""
    path = directory / "fsync"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        return statistics.median(_sync_once(file) for _ in range(200))
    finally:
        os.close(file)
        path.unlink()


def _sync_once(file: int) -> float:
    os.write(file, b"x" * 4096)
    began = time.perf_counter()
    os.fdatasync(file)
    return (time.perf_counter() - began) * 1e3
