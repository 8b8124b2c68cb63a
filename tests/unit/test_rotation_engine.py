"""The rotation engine over a FAKE HSM and a clock that is sent ahead: what it rotates and when,
and that nothing that fails stops the rest.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from kms.domain.ids import MeetingId
from kms.domain.models import Principal
from kms.domain.policies import RotationRules
from kms.domain.rows import SealedRow
from kms.domain.states import KeyState
from kms.errors import VerificationFailed
from kms.ports import Minted, MintOrder
from kms.statements.canonical import make_row
from kms.usecases import activations
from kms.usecases.activations import SERVICE, Activations
from kms.usecases.envelopes import Wanted, fetch_envelope
from kms.usecases.meetings import close_meeting, open_meeting
from kms.usecases.minting import moved
from kms.usecases.rosters import WantedRoster
from kms.usecases.rotation import lease, queue
from kms.usecases.rotation.lease import TTL_SECONDS, Lease
from kms.usecases.rotation.scheduler import LEASE, Rotations
from kms.usecases.services import Call, Services, lock_name, store_rows
from tests.fixtures.api import ALPHA, MAC, TREASURY, FakeSite, make_caller, run_with_site
from tests.fixtures.rotation import TravelClock, present, put_policy, rotated, rotations, until
from tests.fixtures.store import draft

HOUR = 3600
HOURLY = RotationRules(interval_seconds=HOUR, maximum_age_seconds=24 * HOUR)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renew the lease often: a test's hour passes in a moment."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(queue, "_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(activations, "_LOOK_SECONDS", 0.05)


def caller(operation: str) -> Call:
    made = make_caller()
    principal = Principal(
        made.principal, SERVICE.kind, "test", frozenset(made.roles), frozenset(made.spaces), ALPHA
    )
    return Call(principal, operation, "")


async def opened(services: Services, count: int = 1) -> list[MeetingId]:
    wish = WantedRoster(recipients=(ALPHA,))
    views = [
        await open_meeting(services, caller("meeting.open"), TREASURY, None, wish)
        for _ in range(count)
    ]
    return [view.meeting.meeting for view in views]


@asynccontextmanager
async def engine(services: Services, count: int = 1) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Run engines, as so many processes would, and the activations."""
    waiting = Activations()
    known = replace(services, schedule=waiting.schedule)
    tasks = [asyncio.create_task(Rotations(known).run()) for _ in range(count)]
    tasks.append(asyncio.create_task(waiting.run(known)))
    try:
        yield tasks
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def run(work, clock: TravelClock | None = None) -> None:
    run_with_site(work, clock=clock or TravelClock())


def travel(services: Services, seconds: float) -> None:
    assert isinstance(services.clock, TravelClock)
    services.clock.ahead += seconds


def test_a_meetings_key_ends_with_its_interval_and_again_with_the_next() -> None:
    async def work(site: FakeSite) -> None:
        async with engine(site.services):
            (meeting,) = await opened(site.services)
            for number in range(1, 4):
                travel(site.services, HOUR)
                await until(lambda number=number: len(rotated(site.store)) == number)
                travel(site.services, 3)
                key = f"epoch/{TREASURY}/{meeting}/{number}"
                await until(lambda key=key: site.store.row_version(key) == 2)
        reasons = {one.details["reason"] for one in rotations(site.store)}
        assert reasons == {"time"}
        assert {one.actor for one in rotations(site.store)} == {SERVICE.name}

    run(work)


def test_nothing_is_rotated_before_its_time_or_after_the_end() -> None:
    async def work(site: FakeSite) -> None:
        async with engine(site.services):
            meeting, other = await opened(site.services, 2)
            travel(site.services, HOUR - 120)
            await asyncio.sleep(0.3)
            assert rotated(site.store) == []
            await close_meeting(site.services, caller("meeting.close"), TREASURY, meeting)
            travel(site.services, 120)
            await until(lambda: rotated(site.store) == [other])
            await asyncio.sleep(0.3)
            assert rotated(site.store) == [other]

    run(work)


def test_after_a_standstill_the_oldest_is_rotated_first_and_no_more_than_so_many_a_second() -> None:
    async def work(site: FakeSite) -> None:
        meetings = []
        for _ in range(30):
            meetings += await opened(site.services)
            travel(site.services, 100)
        travel(site.services, 5 * HOUR)
        begun = asyncio.get_running_loop().time()
        async with engine(site.services):
            await until(lambda: len(rotated(site.store)) == 30)
        took = asyncio.get_running_loop().time() - begun
        assert took > 29 / site.services.settings.rotation.catch_up_per_second
        assert rotated(site.store) == meetings

    run(work)


def test_two_engines_on_one_store_rotate_nothing_twice() -> None:
    async def work(site: FakeSite) -> None:
        async with engine(site.services, 2):
            meetings = await opened(site.services, 10)
            travel(site.services, HOUR)
            await until(lambda: len(rotated(site.store)) >= 10)
            await asyncio.sleep(0.5)
        assert sorted(rotated(site.store)) == sorted(meetings)
        assert site.store.open_intents() == []

    run(work)


def test_a_dead_processs_lease_ends_and_then_another_goes_on() -> None:
    async def work(site: FakeSite) -> None:
        (meeting,) = await opened(site.services)
        await Lease(site.store, site.services.clock, LEASE).take()  # and its process dies
        travel(site.services, HOUR)
        await Lease(site.store, site.services.clock, LEASE).take()  # and so does the next one
        async with engine(site.services):
            await asyncio.sleep(0.5)
            assert rotated(site.store) == []
            travel(site.services, TTL_SECONDS)
            await until(lambda: rotated(site.store) == [meeting])

    run(work)


def test_a_process_that_stops_lets_another_go_on_at_once() -> None:
    async def work(site: FakeSite) -> None:
        (meeting,) = await opened(site.services)
        async with engine(site.services):
            await until(lambda: site.store.lease(LEASE) is not None)
        travel(site.services, HOUR)
        async with engine(site.services):
            await until(lambda: rotated(site.store) == [meeting], 4)

    run(work)


def test_a_lease_that_was_not_renewed_is_lost_by_its_holders_own_clock() -> None:
    async def work(site: FakeSite) -> None:
        one, two = (Lease(site.store, site.services.clock, LEASE) for _ in range(2))
        await one.take()
        await two.take()
        assert (one.held(), two.held()) == (True, False)
        travel(site.services, TTL_SECONDS - 1)
        assert not one.held()
        travel(site.services, 1)
        await two.take()
        await one.take()
        assert (one.held(), two.held()) == (False, True)

    run(work)


def test_while_the_token_is_down_nothing_is_tried_in_vain_and_then_all_is_made_up_for() -> None:
    async def work(site: FakeSite) -> None:
        async with engine(site.services):
            meetings = await opened(site.services, 5)
            site.workers.spaces[TREASURY].down = True
            travel(site.services, HOUR)
            await asyncio.sleep(1)
            failed = site.store.tree_size()
            await asyncio.sleep(1)
            assert site.store.tree_size() == failed
            site.workers.spaces[TREASURY].down = False
            await until(lambda: len(rotated(site.store)) == 5)
            assert sorted(rotated(site.store)) == sorted(meetings)

    run(work)


def refuse(site: FakeSite, victim: MeetingId) -> None:
    """Let the fake token refuse to mint for one meeting."""
    token = site.workers.spaces[TREASURY]
    mint = token.mint

    async def picky(order: MintOrder) -> Minted:
        if order.meeting.meeting == victim:
            raise VerificationFailed("a device's certificate has ended")
        return await mint(order)

    token.mint = picky


def test_a_meeting_that_cannot_be_rotated_stops_no_other() -> None:
    async def work(site: FakeSite) -> None:
        async with engine(site.services):
            victim, *others = await opened(site.services, 5)
            refuse(site, victim)
            travel(site.services, HOUR)
            await until(lambda: len(rotated(site.store)) == 4)
            assert sorted(rotated(site.store)) == sorted(others)

    run(work)


def test_an_altered_row_stops_no_other() -> None:
    async def work(site: FakeSite) -> None:
        victim, *others = await opened(site.services, 5)
        site.services.cache.forget(f"epoch/{TREASURY}/{victim}/0")
        site.store._database.writer.execute(
            "UPDATE epoch SET body = ? WHERE meeting = ?", (b"{}", victim)
        )
        travel(site.services, HOUR)
        async with engine(site.services):
            await until(lambda: len(rotated(site.store)) == 4)
            assert sorted(rotated(site.store)) == sorted(others)

    run(work)


def test_a_new_policy_counts_at_once_for_every_meeting() -> None:
    async def work(site: FakeSite) -> None:
        async with engine(site.services):
            await opened(site.services, 3)
            await until(lambda: site.store.lease(LEASE) is not None)
            travel(site.services, 300)
            await put_policy(site.services, TREASURY, replace(HOURLY, interval_seconds=60))
            await until(lambda: len(rotated(site.store)) == 3)

    run(work)


def test_an_epoch_that_was_used_often_enough_is_replaced() -> None:
    async def work(site: FakeSite) -> None:
        await put_policy(site.services, TREASURY, replace(HOURLY, maximum_uses=3))
        async with engine(site.services):
            (meeting,) = await opened(site.services)
            await until(lambda: site.store.lease(LEASE) is not None)
            await asyncio.sleep(0.3)
            for used in range(3):
                assert rotated(site.store) == [], used
                wanted = Wanted(TREASURY, meeting, 0, ALPHA)
                await fetch_envelope(site.services, caller("envelope.fetch"), wanted)
            await until(lambda: rotated(site.store) == [meeting])
            assert rotations(site.store)[0].details["reason"] == "uses"

    run(work)


async def move(services: Services, meeting: MeetingId, state: KeyState, action: str) -> None:
    """Put a meeting's present epoch into another state, as its use case would."""
    async with services.locks.of(lock_name(TREASURY, meeting)):
        record, _ = await services.cache.meeting(TREASURY, meeting)
        row = await moved(services, record, record.current_epoch, state)
        sealed = await services.workers.space(TREASURY).seal_rows([row])
        leaf = draft(action, space=TREASURY, rows={row.key: row.version})
        await store_rows(services, sealed, (), leaf)


@pytest.mark.parametrize("running", [True, False])
def test_a_compromised_key_is_replaced_at_once_and_left_as_it_is(running: bool) -> None:
    async def work(site: FakeSite) -> None:
        (meeting,) = await opened(site.services)
        if not running:
            await move(site.services, meeting, KeyState.COMPROMISED, "epoch.compromise")
        async with engine(site.services):
            if running:
                await until(lambda: site.store.lease(LEASE) is not None)
                await move(site.services, meeting, KeyState.COMPROMISED, "epoch.compromise")
            await until(lambda: rotated(site.store) == [meeting])
        assert (await present(site.services, TREASURY, meeting)).epoch == 1
        old, _ = await site.services.cache.epoch(TREASURY, meeting, 0)
        assert old.state is KeyState.COMPROMISED
        (told,) = rotations(site.store)
        assert told.details["reason"] == "compromise"
        assert told.rows.keys() == {
            f"meeting/{TREASURY}/{meeting}", f"epoch/{TREASURY}/{meeting}/1",
        }  # fmt: skip

    run(work)


def test_a_suspended_key_waits_for_people_and_is_rotated_once_it_is_in_use_again() -> None:
    async def work(site: FakeSite) -> None:
        async with engine(site.services):
            (meeting,) = await opened(site.services)
            await move(site.services, meeting, KeyState.SUSPENDED, "epoch.suspend")
            travel(site.services, HOUR)
            await asyncio.sleep(0.3)
            assert rotated(site.store) == []
            await move(site.services, meeting, KeyState.ACTIVE, "epoch.resume")
            await until(lambda: rotated(site.store) == [meeting])

    run(work)


@pytest.mark.parametrize("field", ["retired", "sealed"])
def test_in_a_space_out_of_service_nothing_is_made(field: str) -> None:
    async def work(site: FakeSite) -> None:
        await opened(site.services)
        space = await site.services.cache.space(TREASURY)
        row = make_row(replace(space, **{field: 1}), 2)
        sealed = [SealedRow(row, MAC)]
        await store_rows(
            site.services, sealed, (), draft("space.retire", space="", rows={row.key: 2})
        )
        size = site.store.tree_size()
        travel(site.services, HOUR)
        async with engine(site.services):
            await asyncio.sleep(1)
        assert site.store.tree_size() == size
        assert site.workers.spaces[TREASURY].mints == 1

    run(work)


def test_what_is_being_minted_when_the_service_stops_comes_to_its_end() -> None:
    async def work(site: FakeSite) -> None:
        (meeting,) = await opened(site.services)
        token = site.workers.spaces[TREASURY]
        token.slow = 0.5
        travel(site.services, HOUR)
        async with engine(site.services):
            await until(lambda: site.store.open_intents() != [])
        assert rotated(site.store) == [meeting]
        assert site.store.open_intents() == []

    run(work)
