"""Key operations stop when the log is not signed, whatever the reason, and the process notices.

Clock, store, token and workers are FAKES; what ends the web process is caught before it does.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from kms.audit.merkle import EMPTY_ROOT
from kms.bootstrap import service as bootstrap
from kms.domain.rows import SealedRow
from kms.errors import AuditUnavailable, HsmUnavailable, IntegrityFailure, StoreUnavailable
from kms.ports import Load, SiteHsm, Store, Unit
from kms.settings import Audit
from kms.usecases.checkpoints import Checkpointer
from tests.fixtures.api import Clock, FakeToken, FakeWorkers, make_settings

AUDIT = Audit(checkpoint_seconds=0.002, grace_seconds=30)
PATIENCE = AUDIT.checkpoint_seconds + AUDIT.grace_seconds
SHORT, LONG = AUDIT.grace_seconds - 1, PATIENCE + 1


class FakeStore:
    """A fake log that grows at every look, so that there is always something to sign."""

    def __init__(self) -> None:
        self.size = 0

    def tree_size(self) -> int:
        self.size += 1
        return self.size

    def root(self, _size: int) -> bytes:
        return EMPTY_ROOT

    def consistency_proof(self, _old: int, _new: int) -> list[bytes]:
        return []

    async def commit(self, _unit: Unit) -> tuple[int, ...]:
        return ()


class FakeSigner(FakeToken):
    """A fake token of the site; every signing raises ``error`` or, if told, takes for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.error: BaseException | None = None
        self.hangs = False
        self.asked = asyncio.Event()

    async def sign_checkpoint(self, size: int, root: bytes, proof: Sequence[bytes]) -> str:
        self.asked.set()
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        return "note"

    async def last_checkpoint(self) -> tuple[int, bytes]:
        return 0, EMPTY_ROOT


@dataclass
class Bench:
    """A checkpointer over fakes."""

    clock: Clock = field(default_factory=Clock)
    store: FakeStore = field(default_factory=FakeStore)
    signer: FakeSigner = field(default_factory=FakeSigner)

    def __post_init__(self) -> None:
        self.checkpointer = Checkpointer(
            cast("Store", self.store), cast("SiteHsm", self.signer), self.clock, AUDIT
        )

    async def signings(self, count: int = 2) -> None:
        """Wait until so many more were asked for: all but the last have had their effect."""
        for _ in range(count):
            self.signer.asked.clear()
            await asyncio.wait_for(self.signer.asked.wait(), 10)

    def is_open(self) -> bool:
        try:
            self.checkpointer.gate()
        except AuditUnavailable:
            return False
        return True


def run(work: Callable[[Bench, asyncio.Task[None]], Awaitable[None]]) -> None:
    """Run ``work(bench, task)`` beside the checkpointer's task."""

    async def main() -> None:
        bench = Bench()
        task = asyncio.create_task(bench.checkpointer.run())
        try:
            await work(bench, task)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def test_it_is_open_as_long_as_interval_and_grace_and_no_longer() -> None:
    bench = Bench()
    bench.clock.seconds += PATIENCE - 0.001
    assert bench.is_open()
    bench.clock.seconds += 0.002
    assert not bench.is_open()


def test_every_signing_keeps_it_open() -> None:
    async def work(bench: Bench, _task: asyncio.Task[None]) -> None:
        for _ in range(5):
            await bench.signings()
            bench.clock.seconds += SHORT
            assert bench.is_open()

    run(work)


def test_a_start_that_takes_long_does_not_close_it() -> None:
    async def main() -> None:
        bench = Bench()
        bench.signer.hangs = True
        bench.clock.seconds += LONG
        task = asyncio.create_task(bench.checkpointer.run())
        await bench.signings(1)
        assert bench.is_open()
        bench.clock.seconds += LONG
        assert not bench.is_open()
        task.cancel()

    asyncio.run(main())


@pytest.mark.parametrize("error", [RuntimeError("a fault"), asyncio.CancelledError()])
def test_it_closes_when_the_task_died(error: BaseException) -> None:
    async def work(bench: Bench, task: asyncio.Task[None]) -> None:
        bench.signer.error = error
        await asyncio.wait([task], timeout=10)
        assert task.done()
        bench.clock.seconds += SHORT
        assert bench.is_open()
        bench.clock.seconds += LONG - SHORT
        assert not bench.is_open()

    run(work)


def test_it_closes_when_a_signing_never_ends() -> None:
    async def work(bench: Bench, task: asyncio.Task[None]) -> None:
        bench.signer.hangs = True
        await bench.signings(1)
        bench.clock.seconds += LONG
        assert not bench.is_open()
        assert not task.done()

    run(work)


@pytest.mark.parametrize("error", [HsmUnavailable, StoreUnavailable, IntegrityFailure])
def test_only_a_signing_opens_it_again(error: type[Exception]) -> None:
    async def work(bench: Bench, _task: asyncio.Task[None]) -> None:
        await bench.signings()
        bench.signer.error = error("the fake is down")
        await bench.signings()
        bench.clock.seconds += LONG
        for _ in range(5):  # the head on the token is read again each time, and is no signing
            await bench.signings()
            assert not bench.is_open()
        bench.signer.error = None
        await bench.signings()
        assert bench.is_open()

    run(work)


# --- what the web process does about it -----------------------------------------------------------


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The signals that would have been sent."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(bootstrap.os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


async def _dies() -> None:
    raise RuntimeError("a fault")


async def _is_cut_off() -> None:
    raise asyncio.CancelledError


async def _returns() -> None:
    return


@pytest.mark.parametrize("work", [_dies, _is_cut_off, _returns])
def test_background_work_that_ends_ends_the_process(
    work: Callable[[], Coroutine[Any, Any, None]],
    killed: list[tuple[int, int]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        await asyncio.wait([bootstrap._watched(work(), "work")])

    asyncio.run(main())
    assert killed == [(os.getpid(), signal.SIGTERM)]
    (record,) = caplog.records
    assert (record.levelno, record.getMessage().split()[0]) == (logging.CRITICAL, "work")
    assert ("a fault" in caplog.text) == (work is _dies)


def test_background_work_that_is_told_to_end_does_not(killed: list[tuple[int, int]]) -> None:
    async def main() -> None:
        tasks = [bootstrap._watched(asyncio.sleep(60), "work") for _ in range(2)]
        await asyncio.sleep(0)
        await bootstrap._stop(tasks)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert killed == []


class SiteWorkers(FakeWorkers):
    """Fake workers of a whole site."""

    def __init__(self, signer: FakeSigner) -> None:
        super().__init__(site=signer)

    def loads(self) -> dict[str, Load]:
        return {}

    async def close(self) -> None:
        return


@pytest.mark.parametrize("dead", ["checkpoints", "activations"])
def test_the_web_process_watches_its_background_work(
    dead: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    killed: list[tuple[int, int]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    signer = FakeSigner()
    settings = replace(make_settings(tmp_path), audit=AUDIT)
    (tmp_path / "key-list-1.jws").write_text("e30.e30.e30")
    monkeypatch.setattr(bootstrap, "Workers", lambda _settings: SiteWorkers(signer))
    if dead == "checkpoints":
        signer.error = RuntimeError("a fault")
    else:
        monkeypatch.setattr(bootstrap.SqliteStore, "pending_epochs", explode)

    async def main() -> None:
        async with bootstrap.web(settings) as services:
            services.gate()
            (task,) = [one for one in asyncio.all_tasks() if one.get_name() == dead]
            await asyncio.wait([task], timeout=10)
            signer.error = None

    asyncio.run(main())
    assert killed == [(os.getpid(), signal.SIGTERM)]
    (record,) = [one for one in caplog.records if one.levelno == logging.CRITICAL]
    assert record.getMessage().startswith(dead)


def explode(_store: object) -> list[SealedRow]:
    raise RuntimeError("a fault")
