"""The life cycle as a state machine: whatever people do, in whatever order, the rules hold."""

import asyncio
from collections.abc import Coroutine
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from kms.domain.ids import MeetingId
from kms.domain.models import RotationReason
from kms.domain.states import MeetingState
from kms.errors import StateNotAllowed
from tests.fixtures.many_spaces import ManySpaces, StoryClock
from tests.scenarios.world import World

SPACES = st.integers(0, 99)
NAMES = st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True)
EPOCHS = st.integers(0, 5)
REASONS = st.sampled_from((RotationReason.MANUAL, RotationReason.SUSPICION))
MOMENTS = st.sampled_from((1, 2, 60, 3600, 7 * 3600, 86_400, 3 * 86_400))


class Life(RuleBasedStateMachine):
    """What people do with meetings. The site and its time go on from one example to the next."""

    world: ClassVar[World]
    runner: ClassVar[asyncio.Runner]

    meetings = Bundle("meetings")
    closed = Bundle("closed")

    def do(self, coming: Coroutine[Any, Any, Any]) -> Any:
        """Let something happen; what the state forbids is refused, and changes nothing."""
        try:
            return self.runner.run(coming)
        except StateNotAllowed:
            self.world.counts["refused for the state"] += 1
            return None

    def people(self, space: int, numbers: list[int]) -> list[str]:
        known = self.world.people_of(space)
        return [known[number] for number in numbers]

    def space_of(self, meeting: MeetingId) -> int:
        return self.world.site.names.index(self.world.meetings[meeting].space)

    @initialize(target=meetings)
    def begin(self) -> MeetingId:
        for link in self.world.workers.links.values():
            link.lose_answers = 0
        found: MeetingId = self.do(self.world.open(0, ["one"]))
        return found

    def teardown(self) -> None:
        for known in self.world.meetings.values():
            if known.state is MeetingState.OPEN:
                self.do(self.world.close(known.meeting))

    @rule(target=meetings, space=SPACES, who=NAMES)
    def open(self, space: int, who: list[int]) -> Any:
        number = space % self.world.site.spaces
        found = self.do(self.world.open(number, self.people(number, who)))
        return found or multiple()

    @rule(meeting=meetings, who=NAMES)
    def change(self, meeting: MeetingId, who: list[int]) -> None:
        self.do(self.world.change(meeting, self.people(self.space_of(meeting), who)))

    @rule(meeting=meetings, reason=REASONS)
    def rotate(self, meeting: MeetingId, reason: RotationReason) -> None:
        self.do(self.world.rotate(meeting, reason))

    @rule(meeting=meetings)
    def suspend(self, meeting: MeetingId) -> None:
        self.do(self.world.suspend(meeting))

    @rule(meeting=meetings)
    def resume(self, meeting: MeetingId) -> None:
        self.do(self.world.resume(meeting))

    @rule(meeting=meetings, epoch=EPOCHS)
    def compromise(self, meeting: MeetingId, epoch: int) -> None:
        self.do(self.world.compromise(meeting, self.epoch(meeting, epoch)))

    @rule(meeting=meetings, who=st.integers(0, 2), epoch=st.none() | EPOCHS)
    def fetch(self, meeting: MeetingId, who: int, epoch: int | None) -> None:
        (name,) = self.people(self.space_of(meeting), [who])
        number = None if epoch is None else self.epoch(meeting, epoch)
        self.do(self.world.fetch(meeting, name, number))

    def epoch(self, meeting: MeetingId, number: int) -> int:
        return number % len(self.world.meetings[meeting].epochs)

    @rule(target=closed, meeting=consumes(meetings))
    def close(self, meeting: MeetingId) -> MeetingId:
        self.do(self.world.close(meeting))
        return meeting

    @rule(meeting=consumes(closed))
    def destroy(self, meeting: MeetingId) -> None:
        self.do(self.world.destroy(meeting))

    @rule(space=SPACES)
    def lose_an_answer(self, space: int) -> None:
        self.do(self.world.lose_an_answer(space % self.world.site.spaces))

    @rule(seconds=MOMENTS)
    def pass_time(self, seconds: int) -> None:
        self.do(self.world.pass_time(seconds))

    @rule()
    def restart(self) -> None:
        self.do(self.world.restart())

    @invariant()
    def escrow_covers_every_key(self) -> None:
        self.do(self.world.check_escrow())


def run(site: ManySpaces, examples: int, steps: int) -> World:
    """Run so many examples of so many steps; return the world with its counts."""
    with site.module(), asyncio.Runner() as runner:
        world = World(site, StoryClock())
        runner.run(world.start())
        machine = type("LifeOfThisSite", (Life,), {"world": world, "runner": runner})
        try:
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=steps,
                    deadline=None,
                    derandomize=True,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(world.stop())
    return world
