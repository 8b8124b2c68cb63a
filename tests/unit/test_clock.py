"""The service's clock, on FAKE clocks of the machine, and the watch over the wall clock."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from kms.audit.leaf import Leaf, decode_leaf
from kms.clock import SLEW, TOLERANCE, SteadyClock
from kms.errors import StoreUnavailable
from kms.ports import Unit
from kms.store.sqlite import SqliteStore
from kms.usecases.watch.clock import ClockWatch
from tests.fixtures.store import draft

DAY = 86_400.0
START = 1_800_000_000.0


@dataclass
class Machine:
    """Two fake clocks: ``offset`` moves only the wall clock."""

    passed: float = 0.0
    offset: float = 0.0

    def wall(self) -> float:
        return START + self.passed + self.offset

    def steady(self) -> float:
        return 7.0 + self.passed

    def clock(self) -> SteadyClock:
        return SteadyClock(self.wall, self.steady)


@pytest.mark.parametrize("jump", [-30 * DAY, 400 * DAY, -31.0, 31.0])
def test_a_jump_of_the_wall_clock_changes_nothing(jump: float) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.offset = jump
    for seconds in range(1, 1000):
        machine.passed = float(seconds)
        assert clock.now() == START + seconds
    assert clock.wall() == START + machine.passed + jump


@pytest.mark.parametrize("offset", [-2.0, 2.0, -TOLERANCE, TOLERANCE])
def test_a_small_difference_is_followed_slowly_and_to_the_end(offset: float) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.offset, before = offset, START
    while abs(machine.wall() - clock.now()) > 1e-6:
        before, now = clock.now(), (machine.passed, clock.now())
        machine.passed += 1.5
        assert 1 - SLEW <= (clock.now() - before) / (machine.passed - now[0]) <= 1 + SLEW
        assert machine.passed < 2 * TOLERANCE / SLEW


def test_it_follows_also_when_it_is_seldom_asked() -> None:
    machine = Machine()
    clock = machine.clock()
    for _ in range(50):
        machine.passed += DAY
        machine.offset += DAY * 100e-6  # a poor crystal
        assert clock.now() == pytest.approx(machine.wall(), abs=0.001)


@given(
    st.lists(
        st.tuples(st.floats(0, 1000), st.one_of(st.floats(-40, 40), st.floats(-1e8, 1e8))),
        max_size=50,
    )
)
def test_it_never_goes_back_and_never_leaps(steps: list[tuple[float, float]]) -> None:
    machine = Machine()
    clock = machine.clock()
    before = clock.now()
    for seconds, offset in steps:
        machine.passed += seconds
        machine.offset = offset
        now = clock.now()
        looked = seconds + 1  # what it makes up for may have begun a second ago
        assert before <= now <= before + seconds + SLEW * looked + 1e-5
        before = now


def test_it_starts_where_the_log_is_if_the_wall_clock_is_behind_it() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.not_before(START + DAY)
    assert clock.now() == START + DAY
    machine.passed = 5.0
    assert clock.now() == START + DAY + 5
    clock.not_before(START)
    assert clock.now() == START + DAY + 5


# --- the watch -----------------------------------------------------------------------------------


class Watched:
    """A real store, and the watch over a fake machine."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        self.machine, self.clock = machine, machine.clock()
        self.store = SqliteStore.open(folder / "c.db", self.clock)
        self.watch = ClockWatch(self.store, self.clock)

    def leaves(self) -> list[Leaf]:
        return [decode_leaf(one) for one in self.store.leaves(0, 100)]

    def jumps(self) -> list[tuple[int, str]]:
        told = [one for one in self.leaves() if one.action == "clock.jump"]
        return [(one.details["seconds"], one.details["wall"]) for one in told]


def test_each_jump_is_written_once_with_its_sign(tmp_path: Path) -> None:
    async def work() -> None:
        watched = Watched(tmp_path, Machine())
        await watched.watch.start()
        for offset in (0.0, 400 * DAY, 400 * DAY, 400 * DAY + 9, -30 * DAY, 0.0, 0.0):
            watched.machine.offset = offset
            watched.machine.passed += 1
            await watched.watch.look()
            assert watched.watch.offset == pytest.approx(offset)
        assert [seconds for seconds, _ in watched.jumps()] == [
            400 * DAY, -430 * DAY, 30 * DAY,
        ]  # fmt: skip
        assert watched.jumps()[0][1] == "2028-02-19T08:00:02Z"
        assert [one.time for one in watched.leaves()] == sorted(
            one.time for one in watched.leaves()
        )
        assert watched.leaves()[-1].time.startswith("2027-01-15T08:00:0")
        watched.store.close()

    asyncio.run(work())


def test_a_creeping_wall_clock_is_found_too(tmp_path: Path) -> None:
    async def work() -> None:
        watched = Watched(tmp_path, Machine())
        await watched.watch.start()
        for _ in range(10):
            watched.machine.offset += 20.0
            watched.machine.passed += 1
            await watched.watch.look()
        assert sum(seconds for seconds, _ in watched.jumps()) == pytest.approx(200, abs=31)
        watched.store.close()

    asyncio.run(work())


@pytest.mark.parametrize(
    ("offset", "told"),
    [(0.0, []), (DAY / 2, []), (-20.0, []), (-DAY, [-DAY]), (400 * DAY, [400 * DAY])],
)
def test_a_start_far_from_the_logs_last_leaf_is_written(
    tmp_path: Path, offset: float, told: list[float]
) -> None:
    async def work() -> None:
        first = Watched(tmp_path, Machine())
        await first.watch.start()
        await first.store.commit(Unit(leaves=(draft(),)))
        first.store.close()
        later = Watched(tmp_path, Machine(offset=offset))
        await later.watch.start()
        assert [seconds for seconds, _ in later.jumps()] == told
        assert later.clock.now() == max(START, START + offset)
        await later.watch.look()
        assert len(later.jumps()) == len(told)
        later.store.close()

    asyncio.run(work())


def test_a_jump_that_could_not_be_written_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_unit: Unit) -> tuple[int, ...]:
        raise StoreUnavailable("the fake disk is full")

    async def work() -> None:
        watched = Watched(tmp_path, Machine())
        await watched.watch.start()
        watched.machine.offset = DAY
        with monkeypatch.context() as broken:
            broken.setattr(watched.store, "commit", full)
            with pytest.raises(StoreUnavailable):
                await watched.watch.look()
        await watched.watch.look()
        assert [seconds for seconds, _ in watched.jumps()] == [DAY]
        watched.store.close()

    asyncio.run(work())


@pytest.mark.parametrize("wall", [-1e12, 1e15])
def test_an_absurd_wall_clock_is_written_too(tmp_path: Path, wall: float) -> None:
    async def work() -> None:
        watched = Watched(tmp_path, Machine())
        await watched.watch.start()
        watched.machine.offset = wall
        await watched.watch.look()
        assert len(watched.jumps()) == 1
        watched.store.close()

    asyncio.run(work())
