"""How far a ceremony is, as the entries of its journal tell it. Entries that do not follow from
those before them are refused, in the room as in the verifier.
"""

from dataclasses import dataclass, field

from kms.ceremonies.record.entries import (
    Aborted,
    Entry,
    Recorded,
    SectionBegun,
    SectionDone,
    SectionUndone,
    Started,
    StepBegun,
    StepDone,
    StepFailed,
    UndoFailed,
)
from kms.ceremonies.room import Facts
from kms.errors import InvalidInput


@dataclass(slots=True)
class Attempt:
    """Attempts at a section: its steps that were begun, in order, the one that is ``running``, and
    facts of those that were done.
    """

    forward: bool
    running: str = ""
    begun: list[str] = field(default_factory=list)
    facts: dict[str, Facts] = field(default_factory=dict)
    done: bool = False


@dataclass(slots=True)
class Progress:
    """``attempts`` holds the sections that were begun and are not undone, in order; all but the
    last are done. Times count up.
    """

    attempts: dict[str, Attempt] = field(default_factory=dict)
    started: Started | None = None
    aborted: bool = False
    recorded: str = ""
    time: int = 0

    @property
    def open(self) -> str:
        """The section that was begun and is neither done nor undone; empty if there is none."""
        return next((name for name, attempt in self.attempts.items() if not attempt.done), "")

    @property
    def forward(self) -> bool:
        """Whether a forward section was begun: from then on the ceremony can only be ended."""
        return any(attempt.forward for attempt in self.attempts.values())

    def done(self) -> tuple[str, ...]:
        """Return the ids of the sections done."""
        return tuple(name for name, attempt in self.attempts.items() if attempt.done)

    def begun(self) -> frozenset[str]:
        """Return the ids of the steps begun and not undone: their checks hold no more."""
        return frozenset(step for attempt in self.attempts.values() for step in attempt.begun)

    def facts(self) -> dict[str, Facts]:
        """Return the facts of every step that is done and not undone, by step id."""
        return {
            step: facts
            for attempt in self.attempts.values()
            for step, facts in attempt.facts.items()
        }

    def take(self, entry: Entry) -> None:
        """Go on by one entry; raise InvalidInput if it does not follow."""
        self._check_place(entry)
        self.time = entry.time
        match entry:
            case Started():
                self.started = entry
            case SectionBegun():
                self._begin(entry)
            case SectionUndone(section=section):
                self._undo(section)
            case SectionDone(section=section):
                self._end(section)
            case StepBegun() | StepDone():
                self._step(entry)
            case Aborted():
                self._abort()
            case Recorded(transcript=transcript):
                self.recorded = transcript

    def _check_place(self, entry: Entry) -> None:
        if entry.time < self.time:
            raise InvalidInput("the journal's time goes back")
        if self.recorded or (self.aborted and not isinstance(entry, Recorded)):
            raise InvalidInput("the journal goes on after its end")
        if self.started is None and isinstance(entry, _AFTER_START):
            raise InvalidInput("the journal acts before the quorum is met")
        if self.started is not None and isinstance(entry, Started):
            raise InvalidInput("the ceremony starts twice")

    def _begin(self, entry: SectionBegun) -> None:
        again = self.attempts.get(entry.section)
        if again is None:
            if self.open:
                raise InvalidInput(f"section {entry.section} begins within {self.open}")
            self.attempts[entry.section] = Attempt(entry.forward)
        elif again.done or not (again.forward and entry.forward):
            raise InvalidInput(f"section {entry.section} begins twice")
        else:
            again.running = ""

    def _end(self, section: str) -> None:
        attempt = self._attempt(section)
        if attempt.running:
            raise InvalidInput(f"section {section} ends within step {attempt.running}")
        attempt.done = True

    def _undo(self, section: str) -> None:
        attempt = self.attempts.get(section)
        if attempt is None or attempt.forward or section != next(reversed(self.attempts)):
            raise InvalidInput(f"section {section} cannot be undone now")
        del self.attempts[section]

    def _attempt(self, section: str) -> Attempt:
        if not section or section != self.open:
            raise InvalidInput(f"section {section} was not begun")
        return self.attempts[section]

    def _step(self, entry: StepBegun | StepDone) -> None:
        attempt = self._attempt(self.open)
        expected = "" if isinstance(entry, StepBegun) else entry.step
        if attempt.running != expected:
            raise InvalidInput(f"step {entry.step} is told of within another")
        if isinstance(entry, StepDone):
            attempt.facts[entry.step] = entry.facts
            attempt.running = ""
        elif entry.step in attempt.begun and not attempt.forward:
            raise InvalidInput(f"step {entry.step} begins twice")
        else:
            attempt.begun = list(dict.fromkeys((*attempt.begun, entry.step)))
            attempt.running = entry.step

    def _abort(self) -> None:
        if self.attempts:
            raise InvalidInput("the ceremony is given up, but not undone")
        self.aborted = True


_AFTER_START = (SectionBegun, StepBegun, StepDone, StepFailed, UndoFailed, Aborted, Recorded)
