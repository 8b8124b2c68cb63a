"""The administrator's desk: plan, people at the terminal, PINs, and the way into the room."""

import getpass
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kms.bootstrap.ceremony import ceremony_room, log_refused_plan
from kms.ceremonies import engine
from kms.ceremonies.ceremony import Ceremony
from kms.ceremonies.plan import Plan
from kms.ceremonies.ports import People, PinBox
from kms.ceremonies.record.folder import CEREMONIES
from kms.ceremonies.record.journal import Journal
from kms.ceremonies.record.progress import Progress
from kms.ceremonies.room import Brief, Room
from kms.ceremonies.sitting import Sitting
from kms.ceremonies.step import Section
from kms.cli.cards import Printer
from kms.cli.ceremony_pins import CeremonyPins, NewPins, check_new_pins, labels
from kms.cli.console import Terminal
from kms.cli.host import check_host
from kms.cli.output import Column
from kms.cli.pins import Prompt, read_pin_descriptor
from kms.cli.premises import kind_of, site_premises
from kms.cli.session import Session
from kms.errors import (
    AlreadyExists,
    InvalidInput,
    NotFound,
    StoreUnavailable,
    VerificationFailed,
)
from kms.i18n import _
from kms.settings import Settings
from kms.store.lock import WriterBusy, WriterLock

STEPS = (
    Column("Section", "section"),
    Column("Step", "step"),
    Column("Who", "who"),
    Column("What", "text"),
)


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything that one run of a ceremony is held with."""

    session: Session
    settings: Settings
    ceremony: Ceremony
    brief: Brief
    progress: Progress
    pins: PinBox = field(repr=False)
    people: People = field(repr=False)

    @property
    def begun(self) -> bool:
        """Whether an earlier run had the quorum."""
        return self.progress.started is not None

    @property
    def recorded(self) -> bool:
        """Whether it is over, but for signatures of the transcript."""
        return bool(self.progress.recorded)

    def sit(self) -> Sitting:
        """Call the ceremony, or find that it was called; raise AlreadyExists, StateNotAllowed."""
        now = int(time.time())
        return Sitting.open(self.settings.paths.state, self.ceremony, self.brief, now)

    def busy(self) -> bool:
        """Whether the service, or another ceremony, holds the store just now."""
        try:
            WriterLock(self.settings.paths.database).release()
        except WriterBusy:
            return True
        return False

    def room(self) -> AbstractContextManager[Room]:
        """Take the store and the tokens; raise StoreUnavailable while the service runs."""
        return ceremony_room(self.settings, self.brief, self.people, self.pins)

    def check(self) -> None:
        """Do every check that a run begins with, and print the steps."""
        script = self.ceremony.script(self.brief)
        with self.room() as room:
            if not self.progress.attempts:
                self.ceremony.precheck(room)
            engine.check_all(script, room, self.progress.begun())
        steps = [row for section in script for row in rows(section)]
        self.session.output.table({"steps": steps}, steps, STEPS)


def open_desk(
    session: Session,
    plan: Plan,
    *,
    pin_fd: int | None = None,
    new_pins: str | None = None,
    cards: Path | None = None,
    accept_swap: bool = False,
    makes_tokens: bool = False,
    people: People | None = None,
) -> Desk:
    """Return the desk of a plan; ``people`` are those at this process's terminal unless given.
    If it ``makes_tokens``, new PINs need a place to go.

    Raise ConfigurationError for a host that would keep secrets, InvalidInput, PinError.
    """
    check_host(accept_swap=accept_swap)
    settings = session.settings()
    session.output.banner(settings.site.banner)
    ceremony = kind_of(plan.file.ceremony)
    progress = _progress(settings, plan)
    place = NewPins(new_pins) if new_pins is not None else None
    if makes_tokens:
        check_new_pins(ceremony.name, place, resumed=progress.started is not None)
    known = place.resume(settings) if place else {}
    if pin_fd is not None:
        known |= read_pin_descriptor(pin_fd, labels(settings))
    printer = Printer(cards, accept_swap=accept_swap) if cards else None
    return Desk(
        session=session,
        settings=settings,
        ceremony=ceremony,
        brief=site_premises(session, None).brief(plan),
        progress=progress,
        pins=CeremonyPins(settings.site.id, known, place, prompt()),
        people=people or Terminal(sys.stdin, sys.stderr, printer),
    )


@contextmanager
def telling_of_refusal(session: Session, plan: Plan) -> Iterator[None]:
    """Let a plan that is refused stand in the log, unless the service holds it just now."""
    try:
        yield
    except (AlreadyExists, InvalidInput, VerificationFailed) as error:
        try:
            log_refused_plan(session.settings(), plan, error)
        except StoreUnavailable:
            session.output.note(_("The refusal is not in the log: the service runs."))
        raise


def prompt() -> Prompt | None:
    """Return what asks for a PIN, unseen; None without a terminal."""
    if not sys.stdin.isatty():
        return None
    return lambda token: getpass.getpass(_("PIN of token {token}: ").format(token=token))


def _progress(settings: Settings, plan: Plan) -> Progress:
    try:
        return Journal.open(settings.paths.state / CEREMONIES / plan.file.id).progress
    except NotFound:
        return Progress()


def rows(section: Section) -> list[dict[str, str]]:
    """Return a section's steps as rows of a table, in the present language."""
    return [
        {
            "section": section.id,
            "step": step.id,
            "who": step.who,
            "text": _(step.text).format_map(step.values),
        }
        for step in section.steps
    ]
