"""Holds ceremonies in processes of their own: to the end, undone, or killed at a point."""

import os
import signal
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kms.bootstrap.ceremony import ceremony_room
from kms.ceremonies.catalogue import ceremony_of
from kms.ceremonies.plan import parse_plan
from kms.ceremonies.record.entries import Entry, StepBegun, StepDone
from kms.ceremonies.record.journal import Journal
from kms.ceremonies.sitting import Sitting, sign_into
from kms.errors import HsmUnavailable
from kms.practice import PracticeSite
from kms.practice.ceremony import brief_of, hold_plan, practice_credentials, practice_pins
from kms.practice.people import CardFolder, ScriptedPeople
from kms.settings import load
from tests.fixtures.isolated import run_isolated


class When(StrEnum):
    """Where in a step the process dies."""

    BEGUN = "begun"  # nothing is done
    ACTED = "acted"  # it is done, but the journal does not say so


@dataclass(frozen=True)
class Point:
    """One point of a ceremony; ``forward`` is a step of a section without a way back."""

    section: str
    step: str
    when: When
    forward: bool


def points_of(config: Path, plan: Path) -> list[Point]:
    """Return every point of a plan's script, in order."""
    brief = brief_of(load(config), parse_plan(plan.read_bytes()))
    return [
        Point(section.id, step.id, when, section.forward)
        for section in ceremony_of(brief.plan).script(brief)
        for step in section.steps
        for when in When
    ]


def hold(site: PracticeSite, config: Path, *plans: Path) -> None:
    """Hold ceremonies, or go on with them."""
    run_isolated(site.environment, _hold, site, config, plans)


def kill(site: PracticeSite, config: Path, plan: Path, point: Point) -> None:
    """Hold a plan in a process that dies at a point; raise AssertionError if it does not."""
    try:
        run_isolated(site.environment, _die, site, config, plan, point)
    except HsmUnavailable:
        return
    raise AssertionError(f"{point} was not reached")


def abort(site: PracticeSite, config: Path, plan: Path) -> None:
    """Undo what was done of a plan, and have that signed."""
    run_isolated(site.environment, _abort, site, config, plan)


# --- in processes of their own -------------------------------------------------------------------


def _hold(site: PracticeSite, config: Path, plans: tuple[Path, ...]) -> None:
    for plan in plans:
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
    _hold(site, config, (plan,))


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
