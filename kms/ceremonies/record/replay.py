"""Compares what a transcript says was done with the script that its plan gives."""

from collections.abc import Iterator

from kms.ceremonies.record.entries import (
    Entry,
    Recorded,
    Resumed,
    SectionBegun,
    SectionDone,
    Started,
    StepBegun,
    StepDone,
    StepFailed,
    UndoFailed,
)
from kms.ceremonies.record.progress import Progress
from kms.ceremonies.record.transcript import Result, Transcript
from kms.ceremonies.step import Script, Section
from kms.errors import VerificationFailed


def replay(transcript: Transcript, script: Script) -> Progress:
    """Return what the entries come to; raise VerificationFailed, InvalidInput unless they do the
    script in order, every section to its end, or undo all of it.
    """
    player = _Player(script)
    for entry in transcript.entries:
        player.take(entry)
    player.check_end(transcript.result)
    return player.progress


def starts(transcript: Transcript) -> Iterator[int]:
    """Yield when the quorum had to hold: at the start, and whenever the ceremony went on while it
    could still be undone.
    """
    progress = Progress()
    for entry in transcript.entries:
        progress.take(entry)
        if isinstance(entry, Started) or (isinstance(entry, Resumed) and not progress.forward):
            yield entry.time


class _Player:
    def __init__(self, script: Script) -> None:
        self.progress = Progress()
        self._sections = script
        self._left: list[str] = []
        self._current = ""
        self._steps = {step.id for section in script for step in section.steps}

    def take(self, entry: Entry) -> None:
        """Go on by one entry."""
        if isinstance(entry, SectionBegun):
            self._begin(entry)
        self.progress.take(entry)
        match entry:
            case StepBegun(step=step):
                self._step(step)
            case StepDone(step=step):
                self._done(step)
            case StepFailed(step=step) | UndoFailed(step=step) if step not in self._steps:
                raise VerificationFailed(f"step {step} is not of this plan")
            case SectionDone(section=section) if self._left or self._current:
                raise VerificationFailed(f"section {section} ends before its last step")
            case Recorded():
                raise VerificationFailed("the transcript tells of its own recording")

    def check_end(self, result: Result) -> None:
        """Raise VerificationFailed unless everything was done, or everything undone."""
        if (result is Result.ABORTED) is not self.progress.aborted:
            raise VerificationFailed(f"the ceremony did not end as it says: {result}")
        done = self.progress.done()
        if result is Result.SUCCEEDED and done != tuple(one.id for one in self._sections):
            raise VerificationFailed("not every section was done")

    def _begin(self, entry: SectionBegun) -> None:
        section = self._next()
        if (entry.section, entry.forward) != (section.id, section.forward):
            raise VerificationFailed(f"section {entry.section} is not the plan's next one")
        self._left, self._current = [step.id for step in section.steps], ""

    def _next(self) -> Section:
        count = len(self.progress.done())
        if count == len(self._sections):
            raise VerificationFailed("a section begins after the plan's last one")
        return self._sections[count]

    def _step(self, step: str) -> None:
        if self._current or self._left[:1] != [step]:
            raise VerificationFailed(f"step {step} is not the plan's next one")
        self._current = self._left.pop(0)

    def _done(self, step: str) -> None:
        if step != self._current:
            raise VerificationFailed(f"step {step} is done without having been begun")
        self._current = ""
