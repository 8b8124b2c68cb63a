"""The rotation engine of the real web process over real tokens, and a clock that is sent ahead."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise

import pytest

from kms.bootstrap import service
from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Epoch, Principal, PrincipalKind, Recipient, RecipientKind, Role
from kms.domain.states import KeyState
from kms.ports import TakeLease, Unit
from kms.practice import PracticeSite
from kms.settings import Settings, load
from kms.statements.canonical import read_row
from kms.store.sqlite import SqliteStore
from kms.usecases import activations
from kms.usecases.meetings import open_meeting
from kms.usecases.rosters import WantedRoster
from kms.usecases.rotation import lease, queue
from kms.usecases.rotation.lease import TTL_SECONDS
from kms.usecases.rotation.scheduler import LEASE
from kms.usecases.services import Call, Services
from tests.fixtures.rotation import TravelClock, rotated, rotations, until

TREASURY = SpaceName("treasury")
INTERVAL, ENVELOPES = 3600, 3


class Clock(TravelClock):
    """What the service builds in place of its own clock; one for all its starts."""

    def wall(self) -> float:
        return self.now()

    def not_before(self, seconds: float) -> None:
        assert self.now() >= seconds - 1


@contextmanager
def workers(site: PracticeSite, settings: Settings) -> Iterator[None]:
    """Run a worker for each token, as the supervisor does."""
    pins: dict[str, str] = json.loads(site.pins.read_text())
    settings.paths.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    running = [_worker(site, token.label, pins[token.label]) for token in settings.hsm.tokens]
    try:
        yield
    finally:
        for one in running:
            one.terminate()
            one.wait(20)


def _worker(site: PracticeSite, label: str, pin: str) -> subprocess.Popen[bytes]:
    pin_end, pin_source = os.pipe()
    os.write(pin_source, pin.encode())
    os.close(pin_source)
    ready, announce = os.pipe()
    command = [
        *(sys.executable, "-m", "kms.hsm.worker", "--config", str(site.config)),
        *("--token", label, "--pin-fd", str(pin_end), "--ready-fd", str(announce)),
    ]
    process = subprocess.Popen(command, pass_fds=(pin_end, announce))
    os.close(pin_end)
    os.close(announce)
    assert os.read(ready, 1), f"the worker {label} does not serve"
    os.close(ready)
    return process


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The service's clock; the engine looks often, since an hour passes in a moment."""
    made = Clock()
    monkeypatch.setattr(service, "SteadyClock", lambda: made)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(queue, "_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(activations, "_LOOK_SECONDS", 0.1)
    return made


async def opened(services: Services, count: int) -> list[MeetingId]:
    rows = [read_row(sealed.row) for sealed in services.store.recipients(TREASURY)]
    found = [one for one in rows if isinstance(one, Recipient)]
    server = next(one.recipient for one in found if one.kind is RecipientKind.SERVER)
    roles, spaces = frozenset({Role.MEETING_SERVER}), frozenset({str(TREASURY)})
    who = Principal("server:test", PrincipalKind.TLS, "test", roles, spaces, server)
    call, wish = Call(who, "meeting.open", ""), WantedRoster(recipients=(server,))
    views = [await open_meeting(services, call, TREASURY, None, wish) for _ in range(count)]
    return [view.meeting.meeting for view in views]


def epochs(services: Services, meeting: MeetingId) -> list[Epoch]:
    rows = [read_row(one.row) for one in services.store.epochs(TREASURY, meeting, -1, 500)]
    return [one for one in rows if isinstance(one, Epoch)]


def check(services: Services, meetings: list[MeetingId]) -> None:
    """One active epoch a meeting; none outlives its end; vault, escrow and server have each."""
    for meeting in meetings:
        known = epochs(services, meeting)
        states = [one.state for one in known]
        assert states == [KeyState.DEACTIVATED] * (len(known) - 1) + [KeyState.ACTIVE]
        assert all(after.activates <= before.retires for before, after in pairwise(known))
        for one in known:
            assert services.store.count_envelopes(TREASURY, meeting, one.epoch) == ENVELOPES


async def settled(services: Services) -> None:
    """Wait until what was published is active."""
    await until(lambda: not services.store.pending_epochs())


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Services]:
    async with service.web(settings) as services:
        yield services


def test_keys_end_in_time_over_hours_a_standstill_and_a_dead_process(
    practice_site: PracticeSite, clock: Clock
) -> None:
    settings = load(practice_site.config)

    async def hours() -> list[MeetingId]:
        async with running(settings) as services:
            meetings = await opened(services, 4)
            for hour in range(1, 4):
                clock.ahead += INTERVAL
                await until(lambda hour=hour: len(rotated(services.store)) == 4 * hour, 30)
                clock.ahead += 3
                await settled(services)
            check(services, meetings)
            return meetings

    async def standstill(meetings: list[MeetingId]) -> None:
        clock.ahead += 5 * INTERVAL
        async with running(settings) as services:
            before = len(rotated(services.store))
            await until(lambda: len(rotated(services.store)) == before + 4, 30)
            clock.ahead += 3
            await settled(services)
            await asyncio.sleep(0.5)
            assert len(rotated(services.store)) == before + 4, "made up for more than once"
            check(services, meetings)
            assert {one.details["reason"] for one in rotations(services.store)} == {"time"}

    async def dead_process() -> None:
        store = SqliteStore.open(settings.paths.database, clock)
        now = int(clock.now())
        taken = TakeLease(LEASE, "a process that died", now, now + TTL_SECONDS)
        await store.commit(Unit((taken,)))
        store.close()

    async def takeover(meetings: list[MeetingId]) -> None:
        clock.ahead += INTERVAL
        await dead_process()
        async with running(settings) as services:
            before = len(rotated(services.store))
            await asyncio.sleep(1)
            assert len(rotated(services.store)) == before, "the lease is another's"
            clock.ahead += TTL_SECONDS
            await until(lambda: len(rotated(services.store)) == before + 4, 30)
            clock.ahead += 3
            await settled(services)
            check(services, meetings)

    with workers(practice_site, settings):
        meetings = asyncio.run(hours())
        asyncio.run(standstill(meetings))
        asyncio.run(takeover(meetings))
