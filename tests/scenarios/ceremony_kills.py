"""kill -9 of a ceremony at every step, and what is left: the service starts and mints, and the
ceremony is brought to its end by the same command, or undone as if it had not been.
"""

import copy
import json
import os
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_public_key

from kms.bootstrap.ceremony import ceremony_room
from kms.ceremonies.catalogue import ceremony_of
from kms.ceremonies.entries import Entry, StepBegun, StepDone
from kms.ceremonies.folder import CEREMONIES, TRANSCRIPT
from kms.ceremonies.journal import Journal
from kms.ceremonies.plan import parse_plan
from kms.ceremonies.sitting import Sitting, sign_into
from kms.ceremonies.transcript import Result
from kms.ceremonies.verify import verify_transcript
from kms.errors import HsmUnavailable
from kms.hsm.isolated import run_isolated
from kms.practice import PracticeSite
from kms.practice.ceremony import brief_of, hold_plan, practice_credentials, practice_pins
from kms.practice.people import CardFolder, ScriptedPeople
from kms.settings import load
from tests.practice.service import Service, serving
from tests.scenarios.rooms import Room, rooms
from tests.scenarios.site import fresh_site
from tests.scenarios.site_ceremonies import plan_of

BANKING, TREASURY = "investment-banking", "treasury"


class When(StrEnum):
    """Where in a step the process dies."""

    BEGUN = "begun"  # nothing is done
    ACTED = "acted"  # it is done, but the journal does not say so


class Ending(StrEnum):
    """How the ceremony goes on."""

    RESUMED = "resumed"
    ABORTED = "aborted"


@dataclass(frozen=True)
class Point:
    """One point of a ceremony; ``forward`` is a step of a section without a way back."""

    step: str
    when: When
    forward: bool


@dataclass(frozen=True)
class Case:
    """A kind of ceremony: its plan, what has to be held before, and in which spaces meetings go on
    meanwhile and afterwards. The operator takes a token that is ``erased`` out of the service's
    configuration.
    """

    kind: str
    changes: tuple[tuple[str, str], ...] = ()
    before: tuple[str, ...] = ()
    meetings: tuple[str, ...] = (BANKING, TREASURY)
    erased: str = ""


LENDING = ('space = "treasury"', 'space = "lending"')
CASES = {
    case.kind: case
    for case in (
        Case("create-space", changes=(LENDING,)),
        Case("register-recipient"),
        Case("revoke-recipient", before=("register-recipient",)),
        Case("drill"),
        Case("replace-officer"),
        Case("new-generation"),
        Case("retire-space", meetings=(BANKING,)),
        Case(
            "destroy-space",
            before=("close", "retire-space"),
            meetings=(BANKING,),
            erased=TREASURY,
        ),
        Case("recover"),
    )
}


@dataclass
class Report:
    """What a run saw, for its printout: trials by kind of ceremony and ending."""

    trials: Counter[tuple[str, str]] = field(default_factory=Counter)

    def figures(self) -> list[str]:
        """The figures in plain words."""
        return [
            f"{kind}: killed and {ending} {count} times"
            for (kind, ending), count in sorted(self.trials.items())
        ]


class Stage:
    """A practice site with meetings, put back as it was before every trial."""

    def __init__(self, directory: Path) -> None:
        self.site = fresh_site(directory)
        self.report = Report()
        self._kept = directory / "kept"
        with serving(self.site) as service:
            self._rooms = rooms(service)
            for room in self._rooms:
                _mint(room, "open")
        shutil.copytree(self.site.directory, self._kept, ignore=_sockets)

    @property
    def _config(self) -> Path:
        """The ceremonies' configuration: it has a token of a space that is not made yet."""
        return self.site.directory / "ceremonies.toml"

    def points(self, case: Case) -> list[Point]:
        """Return every point of a case's script, in order."""
        self._put_back()
        brief = brief_of(load(self._config), parse_plan(self._plan(case).read_bytes()))
        return [
            Point(step.id, when, section.forward)
            for section in ceremony_of(brief.plan).script(brief)
            for step in section.steps
            for when in When
        ]

    def sweep(self, case: Case) -> None:
        """Kill at every point and resume; kill once more where all can be undone, and abort."""
        points = self.points(case)
        for point in points:
            self.trial(case, point, Ending.RESUMED)
        back = [point for point in points if not point.forward]
        if back:
            self.trial(case, back[-1], Ending.ABORTED)

    def trial(self, case: Case, point: Point, ending: Ending) -> None:
        """Kill at a point, see that meetings go on, and bring the ceremony to an end."""
        rooms = self._put_back()
        for kind in case.before:
            self._prepare(kind, rooms)
        plan = self._plan(case)
        self._kill(plan, point)
        if point.forward:
            self._take_out(case.erased)
        self._check_meetings(rooms, case)
        end = _resume if ending is Ending.RESUMED else _abort
        run_isolated(self.site.environment, end, self.site, self._config, plan)
        self._check_transcript(plan, ending)
        if ending is Ending.RESUMED:
            self._take_out(case.erased)
        self._check_meetings(rooms, case)
        self.report.trials[case.kind, ending] += 1

    def _put_back(self) -> list[Room]:
        """Make the site what it was; return its meetings as they were."""
        shutil.rmtree(self.site.directory)
        shutil.copytree(self._kept, self.site.directory)
        lending = '\n[[hsm.tokens]]\nlabel = "space-lending"\nspace = "lending"\n'
        self._config.write_text(self.site.config.read_text() + lending)
        return [copy.copy(room) for room in self._rooms]

    def _take_out(self, space: str) -> None:
        """Take a space's token out of the service's configuration."""
        block = f'[[hsm.tokens]]\nlabel = "space-{space}"\nspace = "{space}"\n'
        self.site.config.write_text(self.site.config.read_text().replace(block, ""))

    def _prepare(self, kind: str, rooms: list[Room]) -> None:
        if kind == "close":
            with serving(self.site) as service:
                for room in (one for one in rooms if one.space == TREASURY):
                    with service.server(room.server) as client:
                        client.close_meeting(room.space, room.meeting)
        else:
            plan = self._plan(CASES[kind])
            run_isolated(self.site.environment, _resume, self.site, self._config, plan)

    def _plan(self, case: Case) -> Path:
        plan = self.site.directory / f"{case.kind}.toml"
        text = plan_of(case.kind, *case.changes)
        meeting = next(room.meeting for room in self._rooms if room.space == TREASURY)
        plan.write_text(re.sub(r"(?m)^meeting = .*$", f'meeting = "{meeting}"', text))
        return plan

    def _kill(self, plan: Path, point: Point) -> None:
        """Hold a plan in a process that dies at a point; raise AssertionError if it does not."""
        try:
            run_isolated(self.site.environment, _die, self.site, self._config, plan, point)
        except HsmUnavailable:
            return
        raise AssertionError(f"{point} was not reached")

    def _check_meetings(self, rooms: list[Room], case: Case) -> None:
        """The service starts; what was minted before is read, and a key is minted."""
        with self._own_pins(), serving(self.site) as service:
            for room in (one for one in rooms if one.space in case.meetings):
                room.service = service
                _check_readable(room, service)
                _mint(room, "suspicion")
                _check_readable(room, service)

    @contextmanager
    def _own_pins(self) -> Iterator[None]:
        """Keep the PINs of tokens from the service that its configuration does not have."""
        everything = self.site.pins.read_bytes()
        own = {token.label for token in load(self.site.config).hsm.tokens}
        kept = {label: pin for label, pin in json.loads(everything).items() if label in own}
        self.site.pins.write_text(json.dumps(kept))
        try:
            yield
        finally:
            self.site.pins.write_bytes(everything)

    def _check_transcript(self, plan: Path, ending: Ending) -> None:
        name = parse_plan(plan.read_bytes()).file.id
        envelope = self.site.state / CEREMONIES / name / TRANSCRIPT
        root = load_pem_public_key(self.site.site_root.read_bytes())
        verified = verify_transcript(envelope.read_bytes(), root)
        wanted = Result.SUCCEEDED if ending is Ending.RESUMED else Result.ABORTED
        assert verified.transcript.result is wanted


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if Path(folder, name).is_socket()]


def _mint(room: Room, kind: str) -> None:
    wish = next(one for one in room.wishes() if one.kind == kind)
    room.adopt(wish, wish.send())


def _check_readable(room: Room, service: Service) -> None:
    view = room.look()
    assert view is not None
    assert view.current is not None
    room.check_readable(view.current, list(view.roster.recipients), service.trust())


# --- in processes of their own -------------------------------------------------------------------


def _resume(site: PracticeSite, config: Path, plan: Path) -> None:
    hold_plan(site, config, plan, ScriptedPeople(CardFolder(site.shares)))


def _die(site: PracticeSite, config: Path, plan: Path, point: Point) -> None:
    """Hold a plan; the journal is written up to the point, and no further."""
    real = Journal.append

    def append(journal: Journal, entry: Entry) -> None:
        if isinstance(entry, StepDone) and (entry.step, When.ACTED) == (point.step, point.when):
            os.kill(os.getpid(), signal.SIGKILL)
        real(journal, entry)
        if isinstance(entry, StepBegun) and (entry.step, When.BEGUN) == (point.step, point.when):
            os.kill(os.getpid(), signal.SIGKILL)

    Journal.append = append
    _resume(site, config, plan)


def _abort(site: PracticeSite, config: Path, plan: Path) -> None:
    settings, read, now = load(config), parse_plan(plan.read_bytes()), int(time.time())
    brief = brief_of(settings, read)
    sitting = Sitting.open(settings.paths.state, ceremony_of(read), brief, now)
    people, credentials = ScriptedPeople(CardFolder(site.shares)), practice_credentials(site)
    with ceremony_room(settings, brief, people, practice_pins(site)) as room:
        sitting.abort(room)
    for name in sitting.missing_signatures():
        held = credentials[name]
        sign_into(sitting.folder, name, held.credential.kid, held.signer, now)
    sitting.finish()
