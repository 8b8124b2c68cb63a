"""kill -9 of the web process or a worker while a mint is in flight, at seeded points, and what is
left: the old state or the new, nothing acknowledged lost, everything in escrow, back by itself.
"""

import json
import os
import random
import select
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kms.client.keys import EnvelopeOpener
from kms.errors import PreconditionFailed, Unavailable
from kms.practice import PracticeSite
from kms.settings import load
from kms.wire.replies import MeetingOut
from tests.faults import build
from tests.faults.plan import Fault, FaultPlan, Place, Signal, When
from tests.fixtures.escrow import recover_escrow
from tests.practice.service import CONCLAVE, Service, serving
from tests.scenarios import stored
from tests.scenarios.kill_points import HSM_CALLS, PHASES, Point, State, Victim, choose, seen_phase
from tests.scenarios.rooms import Room, Wish, rooms

RECOVERY_SECONDS = 5.0
_DEATH_SECONDS = 30.0
_PATIENCE_SECONDS = 30.0
_MINT_STARTS = "C_GenerateKey"


@dataclass
class Report:
    """What was seen: kills by phase and victim, seconds until key operations were possible again,
    in which state the meetings were found."""

    seed: int
    phases: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(PHASES, 0)))
    victims: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    acknowledged: int = 0
    escrowed: int = 0
    verdict: str = ""

    def figures(self) -> list[str]:
        """The figures in plain words."""
        return [
            f"seed {self.seed}: {_counted(self.phases)}",
            f"killed: {_counted(self.victims)}; state found: {_counted(self.states)}",
            f"key operations possible again after {max(self.recoveries):.2f} s at worst",
            f"{self.acknowledged} epochs acknowledged, none lost",
            f"{self.escrowed} epochs survive, each opened through escrow",
            f"the exported log verifies: {self.verdict}",
        ]


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.items())


class Rig:
    """A service whose workers load the fault module and whose web process can die in a commit."""

    def __init__(self, service: Service, plan: FaultPlan) -> None:
        self.service, self._plan = service, plan
        self._death, self._web = death_file(plan), plan.directory / "web.pid"

    def aim(self, point: Point) -> None:
        """Let a process die at a point of the next mint."""
        self._plan.log.unlink(missing_ok=True)
        self._web.write_text(str(self.service.pids()["web"]))
        if point.wal:
            self._death.with_name(f"{self._death.name}.later").write_text(point.wal)
            place = Place(self._death)
            self._plan.write(_fault("C_Sign", place, HSM_CALLS))
        else:
            target = self._web if point.victim is Victim.WEB else None
            self._plan.write(_fault(point.function, Signal(signal.SIGKILL, target), point.nth))

    def struck(self, point: Point) -> str:
        """Return in which phase it happened, by what the shims left behind."""
        if point.wal:
            assert self._plan.happened(0)
            assert not self._death.exists()
            return point.phase
        return seen_phase(self._plan.calls())


def _fault(function: str, action: Signal | Place, nth: int) -> Fault:
    return Fault(function, action, When.AFTER, nth=nth, once=True, since=_MINT_STARTS)


def death_file(plan: FaultPlan) -> Path:
    return plan.directory / "wal.death"


def arm(site: PracticeSite, plan: FaultPlan) -> dict[str, str]:
    """Put the fault module between workers and SoftHSM; return the environment of the service."""
    module, preload = build.shim("faulthsm"), build.shim("wal_death")
    settings = load(site.config)
    profile = plan.directory / "profile.toml"
    real = settings.hsm.profile.read_text().split("modules = [")
    profile.write_text(f'{real[0]}modules = [\n  "{module}",{real[1]}')
    lines = "".join(f'{name} = "{value}"\n' for name, value in plan.environment().items())
    text = site.config.read_text().replace(str(settings.hsm.profile), str(profile))
    site.config.write_text(text.replace("[hsm.environment]\n", f"[hsm.environment]\n{lines}"))
    return build.preload(preload) | {"WAL_DEATH": str(death_file(plan))}


@contextmanager
def armed(site: PracticeSite, directory: Path) -> Iterator[Rig]:
    """Serve a site with everything in place to kill it; ``directory`` has no spaces in its path."""
    plan = FaultPlan(directory)
    with serving(site, arm(site, plan)) as service:
        yield Rig(service, plan)


def run(site: PracticeSite, directory: Path, *, seed: int, count: int) -> Report:
    """Kill ``count`` times and check everything after each; raise AssertionError."""
    with armed(site, directory) as rig:
        trial = Trial(rig, directory, seed)
        for point in choose(seed, count):
            trial.kill(point)
        trial.conclude()
        return trial.report


class Trial:
    """One run: the meetings, what was acknowledged so far, and the report."""

    def __init__(self, rig: Rig, directory: Path, seed: int) -> None:
        self._rig, self._service, self._directory = rig, rig.service, directory
        self._trust = self._service.trust()
        self._rng = random.Random(seed)
        self._rooms = rooms(self._service)
        self._acknowledged: dict[tuple[str, str, int], str] = {}
        self.report = Report(seed)

    def kill(self, point: Point) -> None:
        """Kill at a point, see what is left, ask again, and see the new state."""
        wish = self._wish(point)
        answer = self._strike(point, wish)
        self.report.phases[self._rig.struck(point)] += 1
        self.report.victims[point.victim] += 1
        state = self._found(wish)
        assert point.state in {state, State.EITHER}, f"{point}: {wish.kind} left the {state} state"
        assert answer is None or state is State.NEW
        self.report.states[state] += 1
        self._check_stored()
        self._ask_again(wish, state)
        self._check_stored()

    def _wish(self, point: Point) -> Wish:
        """Choose a kind of change, then a meeting for it; an opened one makes room for another."""
        possible = [wish for room in self._rooms for wish in room.wishes()]
        possible = [wish for wish in possible if wish.wraps >= point.wraps]
        kind = self._rng.choice(sorted({wish.kind for wish in possible}))
        wish = self._rng.choice([wish for wish in possible if wish.kind == kind])
        if kind == "open":
            self._rooms.append(wish.room.again())
        return wish

    def _strike(self, point: Point, wish: Wish) -> MeetingOut | None:
        """Send the wish, let the process die and come back; return the answer if there was one."""
        name = "web" if point.victim is Victim.WEB else f"space-{wish.room.space}"
        victim = self._service.pids()[name]
        self._rig.aim(point)
        with os.fdopen(os.pidfd_open(victim)) as death, ThreadPoolExecutor(1) as pool:
            flight = pool.submit(wish.send)
            died, _, _ = select.select([death], [], [], _DEATH_SECONDS)
            assert died, f"{point} was not reached by {wish.kind}: {self._service.tail()}"
            self.report.recoveries.append(self._service.await_ready())
            assert self._service.pids()[name] != victim
            return _answer(flight)

    def _found(self, wish: Wish) -> State:
        """The state that the API shows: in every detail the old one or the new one."""
        room, view = wish.room, wish.room.look()
        if view is None:
            assert wish.kind == "open"
            return State.OLD
        new = view.last_epoch == room.last_epoch + 1
        assert new or view.last_epoch == room.last_epoch
        members = wish.members if new else room.members
        assert view.roster_version == (wish.roster_version if new else room.roster_version)
        self._check_view(room, view, [member.id for member in members])
        return State.NEW if new else State.OLD

    def _check_view(self, room: Room, view: MeetingOut, members: list[str]) -> None:
        assert list(view.roster.recipients) == members
        assert view.current is not None
        epochs = [epoch for epoch in (view.current, view.next) if epoch is not None]
        if epochs[-1].epoch == view.last_epoch:
            assert [one.id for one in room.readers(epochs[-1], self._trust)] == members
        for epoch in epochs:
            room.check_readable(epoch, members, self._trust)

    def _ask_again(self, wish: Wish, state: State) -> None:
        """The same request again: it happens once, be it now or before."""
        room = wish.room
        if state is State.NEW and wish.kind in {"join", "leave"}:
            with pytest.raises(PreconditionFailed):
                wish.send()
        else:
            self._acknowledge(room, wish.send())
        assert self._found(wish) is State.NEW
        view = room.look()
        assert view is not None
        self._acknowledge(room, view)
        room.adopt(wish, view)

    def _acknowledge(self, room: Room, view: MeetingOut) -> None:
        for epoch in (view.current, view.next):
            if epoch is not None:
                known = self._acknowledged.setdefault(
                    (room.space, room.meeting, epoch.epoch), epoch.manifest
                )
                assert known == epoch.manifest

    def _check_stored(self) -> stored.Stored:
        database = self._service.settings.paths.database
        found = stored.read(database, self._directory / "copy.db")
        stored.check_whole(found, self._trust)
        for (space, meeting, number), manifest in self._acknowledged.items():
            assert found.epochs[space, meeting][number].manifest == manifest
        return found

    def conclude(self) -> None:
        """At the end every surviving epoch opens through escrow, and the log verifies."""
        found = self._check_stored()
        escrow = EnvelopeOpener(self._trust, recover_escrow(self._service.site), "RSA-OAEP")
        for one in found.surviving:
            where = {"space": one.space, "meeting": one.meeting, "epoch": one.epoch}
            blob = found.blobs[one.space, one.meeting, one.epoch][escrow.recipient]
            escrow.open(one.manifest, blob, **where)
        self.report.acknowledged = len(self._acknowledged)
        self.report.escrowed = len(found.surviving)
        self.report.verdict = self._verify_log()

    def _verify_log(self) -> str:
        """Export the bundle and verify it by the command line; return the verdict."""
        self._await_checkpoint()
        bundle = self._directory / "bundle.db"
        self._conclave("audit", "export", str(bundle))
        root = str(self._service.site.site_root)
        told = json.loads(self._conclave("audit", "verify", str(bundle), "--site-root", root))
        assert told["verdict"] in {"pass", "finding"}
        return str(told["verdict"])

    def _await_checkpoint(self) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with self._service.console() as console:
                status = console.status()
            if status.checkpoint_size == status.tree_size:
                return
            time.sleep(0.2)
        raise AssertionError("no checkpoint covers the log")

    def _conclave(self, *words: str) -> str:
        command = [CONCLAVE, "--config", str(self._service.site.config), "--json", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


def _answer(flight: Future[MeetingOut]) -> MeetingOut | None:
    """The reply to a request in flight; without one the caller was told to look and try again."""
    try:
        return flight.result()
    except Unavailable:
        return None
