"""The wall clock jumps while a service runs, and before it starts: nothing comes back to life,
nothing ends early, the log keeps its order, and people are told.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from kms.audit.leaf import Leaf, decode_leaf
from kms.practice import PracticeSite
from tests.faults.build import preload, shim
from tests.practice.service import Service, serving
from tests.scenarios.rooms import Room, rooms

DAY = 86_400
AHEAD, MAXIMUM_AGE = 6, 3600
_PATIENCE = 30.0
_SETTINGS = f"""
[rotation]
publish_ahead_seconds = {AHEAD}
interval_seconds = 0
epoch_seconds = {MAXIMUM_AGE}
"""

States = dict[tuple[str, int], str]
"""The state of each epoch, by meeting and number."""


@dataclass
class Report:
    """What was seen. ``waited``: after how many seconds an epoch that was published before the jump
    became active; ``jumps``: what the log told, in seconds.
    """

    seconds: int
    waited: float = 0.0
    jumps: list[int] = field(default_factory=list)
    restarted: list[int] = field(default_factory=list)
    epochs: int = 0
    leaves: int = 0

    def figures(self) -> list[str]:
        """The figures in plain words."""
        days = f"{self.seconds / DAY:+.0f} days"
        return [
            f"{days}: the log tells of {self.jumps} s while running, {self.restarted} s at a start",
            f"{days}: an epoch published {AHEAD} s ahead became active after {self.waited:.1f} s",
            f"{days}: {self.epochs} epochs kept their states, {self.leaves} leaves their order",
        ]


class _Scene:
    """A service whose wall clock can be moved, with a meeting of every kind."""

    def __init__(self, service: Service, skew: Path) -> None:
        self.service, self.skew = service, skew
        self.open = rooms(service)
        treasury = self.open[1]
        self.stopped = [treasury.again() for _ in range(3)]
        for room in (*self.open, *self.stopped):
            wish = room.wishes()[0]
            room.adopt(wish, wish.send())
        closed, suspended, compromised = (one.meeting for one in self.stopped)
        with service.console() as console:
            console.close_meeting("treasury", closed)
            console.suspend("treasury", suspended, "a test")
            console.compromise("treasury", compromised, "a test")

    def move(self, seconds: int) -> None:
        self.skew.write_text(f"{seconds}\n")

    def states(self, rooms: list[Room]) -> States:
        with self.service.console() as console:
            return {
                (room.meeting, one.epoch): one.state.value
                for room in rooms
                for one in console.epochs(room.space, room.meeting)
            }

    def leaves(self) -> list[Leaf]:
        with self.service.console() as console:
            return [decode_leaf(one.encode()) for one in console.leaves()]

    def jumps(self) -> list[int]:
        return [one.details["seconds"] for one in self.leaves() if one.action == "clock.jump"]


def run(site: PracticeSite, place: Path, seconds: int) -> Report:
    """Move the wall clock by ``seconds``, back, and again before a start; fail on anything lost."""
    report, skew = Report(seconds), place / "skew"
    skew.write_text("0\n")
    with site.config.open("a") as config:
        config.write(_SETTINGS)
    environment = preload(shim("clockskew")) | {"CLOCKSKEW_FILE": str(skew)}
    with serving(site, environment) as service:
        scene = _Scene(service, skew)
        _jump_while_it_runs(scene, report)
        _jump_before_a_start(scene, report)
    return report


def _jump_while_it_runs(scene: _Scene, report: Report) -> None:
    begun = time.time()
    stopped, before = scene.states(scene.stopped), scene.states(scene.open)
    report.waited = _activation_across(scene, report.seconds)
    _rotates_at_once(scene)
    after = scene.states(scene.open)
    assert set(before) < set(after), "an epoch is gone"
    assert scene.states(scene.stopped) == stopped, "what people stopped has changed"
    scene.move(0)
    _until(lambda: len(scene.jumps()) == 2, "the jump back is not in the log")
    report.jumps = scene.jumps()
    for told, real in zip(report.jumps, (report.seconds, -report.seconds), strict=True):
        assert abs(told - real) <= 2, f"the log tells of {told} s"
    leaves = scene.leaves()
    _check_order(leaves)
    times = [datetime.fromisoformat(one.time).timestamp() for one in leaves]
    assert begun - DAY < times[0]
    assert times[-1] < time.time() + 2, "the log believed the clock"
    _check_nothing_by_itself(leaves, {"epoch.activate", "clock.jump", "service.start"})


def _activation_across(scene: _Scene, seconds: int) -> float:
    """Publish an epoch, let the clock jump, and return after how many seconds it is active."""
    room = scene.open[1]
    with scene.service.server(room.server) as client:
        published = client.rotate(room.space, room.meeting).next_epoch
    begun = time.monotonic()
    scene.move(seconds)
    _until(lambda: bool(scene.jumps()), "the jump is not in the log")
    early = scene.states([room])[room.meeting, published or 0]
    assert time.monotonic() - begun > AHEAD - 2 or early == "pre-activation", "active too early"
    _until(
        lambda: scene.states([room])[room.meeting, published or 0] == "active",
        "the published epoch does not become active",
    )
    waited = time.monotonic() - begun
    assert AHEAD - 2 < waited < AHEAD + 5, f"active after {waited:.1f} s"
    return waited


def _rotates_at_once(scene: _Scene) -> None:
    """Keys go on being made in both spaces, with the time that holds."""
    for room in scene.open:
        with scene.service.console() as console:
            console.rotate(room.space, room.meeting, "suspicion")
            epoch = console.epoch(room.space, room.meeting)
        starts = datetime.fromisoformat(epoch.activates).timestamp()
        assert abs(starts - time.time()) < 5, "the key lives in another time"


def _jump_before_a_start(scene: _Scene, report: Report) -> None:
    service, told = scene.service, len(report.jumps)
    stopped, before = scene.states(scene.stopped), scene.states(scene.open)
    assert service.stop() == 0
    scene.move(report.seconds)
    service.start()
    _until(lambda: len(scene.jumps()) > told, "the start in another time is not in the log")
    report.restarted = scene.jumps()[told:]
    assert report.restarted[0] * report.seconds > 0
    assert len(report.restarted) == 1
    if report.seconds > MAXIMUM_AGE:
        treasury = scene.open[1]
        _until(
            lambda: len(scene.states([treasury])) > len(_of(before, treasury)),
            "a key past its maximum age is not replaced",
        )
    else:
        time.sleep(2)
        assert scene.states(scene.open) == before, "something moved though the time stood still"
        with service.console() as console:
            console.rotate("treasury", scene.open[1].meeting, "suspicion")
    still = scene.states(scene.stopped)
    ended = {place: state for place, state in stopped.items() if state != "active"}
    assert {place: still[place] for place in ended} == ended, "what people stopped has changed"
    leaves = scene.leaves()
    _check_order(leaves)
    assert not any("destroy" in one.action for one in leaves), "time destroyed something"
    report.leaves, report.epochs = len(leaves), len(stopped) + len(before)


def _of(states: States, room: Room) -> list[int]:
    return [number for meeting, number in states if meeting == room.meeting]


def _check_order(leaves: list[Leaf]) -> None:
    assert [one.time for one in leaves] == sorted(one.time for one in leaves), "times go back"
    assert [one.seq for one in leaves] == list(range(len(leaves)))


def _check_nothing_by_itself(leaves: list[Leaf], known: set[str]) -> None:
    """The service did nothing of its own accord but what is known."""
    own = {one.action for one in leaves if one.actor == "service"}
    own = {one for one in own if not one.startswith("alert.")}
    assert own <= known, f"the service did {own - known}"


def _until(holds: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not holds():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.1)
