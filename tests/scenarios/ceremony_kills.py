"""kill -9 of a ceremony at every step, and what is left: the service starts and mints, and the
ceremony is brought to its end by the same command, or undone as if it had not been.
"""

import copy
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue

from cryptography.hazmat.primitives.serialization import load_pem_public_key

from kms.ceremonies.plan import parse_plan
from kms.ceremonies.record.folder import CEREMONIES, TRANSCRIPT
from kms.ceremonies.record.transcript import Result
from kms.ceremonies.verification.verify import verify_transcript
from kms.practice import PracticeSite
from kms.practice.site import PROFILE, prepare
from kms.settings import load
from kms.statements import archive
from tests.fixtures.enrolled import enrol
from tests.fixtures.softhsm import clone_site
from tests.practice.service import Service, serving
from tests.scenarios import doomed
from tests.scenarios.ceremony_cases import CASES, LENDING, TREASURY, Case, Start
from tests.scenarios.doomed import Point
from tests.scenarios.restoration import burn
from tests.scenarios.rooms import Room, rooms


class Ending(StrEnum):
    """How the ceremony goes on."""

    RESUMED = "resumed"
    ABORTED = "aborted"


class Stage:
    """A practice site with meetings, put back before every trial as the ceremony finds it."""

    def __init__(self, site: PracticeSite, meetings: list[Room]) -> None:
        self.site = site
        self._kept = site.directory.with_name("kept")
        self._rooms = meetings
        shutil.copytree(site.directory, self._kept / "site", ignore=_sockets)

    @classmethod
    def of(cls, site: PracticeSite) -> "Stage":
        """Open a meeting in each space of a fresh practice site; the folder beside it is taken."""
        with serving(site) as service:
            meetings = rooms(service)
            for room in meetings:
                _mint(room, "open")
        return cls(site, meetings)

    def twin(self, directory: Path) -> "Stage":
        """Return a stage of the same site elsewhere; this one must not have been used yet."""
        return Stage(clone_site(self.site, directory / "site"), self._rooms)

    def points(self, case: Case) -> list[Point]:
        """Return every point of a case's script, in order."""
        return doomed.points_of(self._config, case.plan(self.site, self._put_back(case)))

    def trial(self, case: Case, point: Point, ending: Ending, *, thorough: bool = True) -> None:
        """Kill at a point, see that meetings go on, and bring the ceremony to an end, which its
        transcript tells; ``thorough``: see that meetings go on afterwards, too.
        """
        meetings = self._put_back(case)
        plan = case.plan(self.site, meetings)
        doomed.kill(self.site, self._config, plan, point)
        if case.lives:
            erased = case.erased if point.forward else ""
            self._take_out(erased)
            self._check_meetings(meetings, case, covered=not erased)
        if ending is Ending.RESUMED:
            doomed.hold(self.site, self._config, plan)
            self._take_out(case.erased)
        else:
            doomed.abort(self.site, self._config, plan)
        if ending is Ending.ABORTED and not case.lives:
            self._hold_another(case)
        self._check_transcript(plan, ending)
        if thorough:
            self._go_live(case)
            self._check_meetings(meetings, case)

    @property
    def _config(self) -> Path:
        return self.site.directory / "ceremonies.toml"

    # --- before a trial ---------------------------------------------------------------------------

    def _put_back(self, case: Case) -> list[Room]:
        """Make the site what the ceremony finds; return its meetings as they were."""
        kept = self._kept / case.kind
        if not kept.exists():
            self._replace(self._kept / "site")
            self._prepare(case)
            shutil.copytree(self.site.directory, kept, ignore=_sockets)
        self._replace(kept)
        return [copy.copy(room) for room in self._rooms]

    def _replace(self, kept: Path) -> None:
        shutil.rmtree(self.site.directory)
        shutil.copytree(kept, self.site.directory)

    def _prepare(self, case: Case) -> None:
        if case.start is Start.BURNED:
            burn(self.site)
        if case.start is Start.UNFOUNDED:
            shutil.rmtree(self.site.directory)
            prepare(self.site, PROFILE).rename(self.site.config)
        extra = LENDING if case.lives else ""
        self._config.write_text(self.site.config.read_text() + extra)
        for kind in case.before:
            if kind == "close":
                self._close_meetings()
            elif kind == "seal":
                self._seal()
            elif kind == "enrol":
                enrol(self.site)
            else:
                plan = CASES[kind].plan(self.site, self._rooms)
                doomed.hold(self.site, self._config, plan)

    def _close_meetings(self) -> None:
        with serving(self.site) as service:
            for room in (one for one in self._rooms if one.space == TREASURY):
                with service.server(room.server) as client:
                    client.close_meeting(room.space, room.meeting)

    def _seal(self) -> None:
        with serving(self.site) as service, service.console() as officer:
            officer.seal_space(TREASURY, "a test")

    # --- after the kill ---------------------------------------------------------------------------

    def _take_out(self, space: str) -> None:
        """Take a space's token out of the service's configuration."""
        block = f'[[hsm.tokens]]\nlabel = "space-{space}"\nspace = "{space}"\n'
        self.site.config.write_text(self.site.config.read_text().replace(block, ""))

    def _hold_another(self, case: Case) -> None:
        """Hold the ceremony that was undone by another plan, on an HSM that was emptied."""
        burn(self.site)
        plan = case.plan(self.site, self._rooms)
        own, another = f'id = "{case.kind}"', f'id = "another-{case.kind}"'
        other = self.site.directory / "another.toml"
        other.write_text(plan.read_text().replace(own, another, 1))
        doomed.hold(self.site, self._config, other)

    def _go_live(self, case: Case) -> None:
        """Do what is left to do before the service can start: hold a practice site's other plans,
        and pin the newest site root.
        """
        if case.start is Start.UNFOUNDED:
            doomed.hold(self.site, self._config, *sorted(self.site.plans.iterdir())[1:])
        names = [path.name for path in self.site.state.iterdir()]
        root = archive.SITE_ROOT.format(archive.newest(names, archive.SITE_ROOT))
        self.site.site_root.write_bytes((self.site.state / root).read_bytes())

    def _check_meetings(self, meetings: list[Room], case: Case, *, covered: bool = True) -> None:
        """The service starts; what was minted before is read, and a key is minted. Escrow covers
        all of it; nobody can say so (``covered``) while a space waits for its destruction whose
        token the service has no more.
        """
        with self._own_pins(), serving(self.site) as service:
            if case.start is Start.UNFOUNDED:
                meetings = rooms(service)
            for room in (one for one in meetings if one.space in case.meetings):
                if case.start is Start.UNFOUNDED:
                    _mint(room, "open")
                else:
                    _go_on(room, service)
                    _check_readable(room, service)
                    _mint(room, "suspicion")
                _check_readable(room, service)
            if covered:
                _check_covered(service)

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
        root = load_pem_public_key((self.site.state / archive.SITE_ROOT.format(1)).read_bytes())
        verified = verify_transcript(envelope.read_bytes(), root)
        wanted = Result.SUCCEEDED if ending is Ending.RESUMED else Result.ABORTED
        assert verified.transcript.result is wanted


def sweep(stages: Sequence[Stage], case: Case) -> Counter[Ending]:
    """Kill at every point and resume; kill once more where all can be undone, and abort. Return
    how often. Stages take turns; the last point of every section is tried thoroughly.
    """
    points = stages[0].points(case)
    last = {one for one, next_one in pairwise(points) if one.section != next_one.section}
    trials = [(point, Ending.RESUMED, point in {*last, points[-1]}) for point in points]
    trials += [(point, Ending.ABORTED, True) for point in points if not point.forward][-1:]
    free: SimpleQueue[Stage] = SimpleQueue()
    for stage in stages:
        free.put(stage)

    def one(trial: tuple[Point, Ending, bool]) -> Ending:
        point, ending, thorough = trial
        stage = free.get()
        try:
            stage.trial(case, point, ending, thorough=thorough)
        except BaseException as error:
            error.add_note(f"{case.kind}: {point}, {ending}")
            raise
        finally:
            free.put(stage)
        return ending

    with ThreadPoolExecutor(len(stages)) as pool:
        return Counter(pool.map(one, trials))


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if Path(folder, name).is_socket()]


def _check_covered(service: Service) -> None:
    with service.console() as console:
        found = console.escrow()
    assert found.covered == found.epochs > 0


def _go_on(room: Room, service: Service) -> None:
    """Let a meeting go on with a service, and its members pin what is in force now."""
    trust = service.trust()
    room.service = service
    room.pool = tuple(replace(one, opener=replace(one.opener, trust=trust)) for one in room.pool)
    ids = {one.id for one in room.members}
    room.members = tuple(one for one in room.pool if one.id in ids)


def _mint(room: Room, kind: str) -> None:
    wish = next(one for one in room.wishes() if one.kind == kind)
    room.adopt(wish, wish.send())


def _check_readable(room: Room, service: Service) -> None:
    view = room.look()
    assert view is not None
    assert view.current is not None
    room.check_readable(view.current, list(view.roster.recipients), service.trust())
