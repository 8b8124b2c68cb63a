"""Plans for the fault module: which PKCS#11 call goes wrong, when and how.

A plan is a file that a running process reads again when it changes, so a test can let a service
start in peace and break its HSM later.
"""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

FOR_EVER = -1


class When(StrEnum):
    """Whether the fault comes before the real module works, or after it has."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Return:
    """Answer with a code (CKR_...); BEFORE, the real module is not asked."""

    code: int


@dataclass(frozen=True, slots=True)
class Hang:
    """Do not answer for some milliseconds; 0: never."""

    milliseconds: int = 0


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to the process whose id ``pid_file`` holds; None: to the calling process."""

    number: signal.Signals
    pid_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Rename ``path``.later to ``path``: whoever waits for that file goes on from here."""

    path: Path


DIE = Signal(signal.SIGKILL)
"""The process ends at once, with nothing cleaned up."""

Action = Return | Hang | Signal | Place


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to calls of one function (``*``: of all).

    ``nth`` is the first call hit (from 1), ``times`` how many are (FOR_EVER: all later ones); both
    count within one process, from its start or the last change of the plan, and not before the
    first call of ``since``. ``once`` lets it happen in one process only, once, whoever comes
    first: a restarted worker is spared.
    """

    function: str
    action: Action
    when: When = When.BEFORE
    nth: int = 1
    times: int = 1
    once: bool = False
    since: str = "-"


@dataclass(frozen=True, slots=True)
class Call:
    """A logged call; ``outcome`` is ``pass`` or the action that it met."""

    pid: int
    function: str
    outcome: str


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """The files of one plan, in a directory that a test owns (no spaces in its path)."""

    directory: Path
    real: Path = field(default=Path("/usr/lib/softhsm/libsofthsm2.so"))

    @property
    def path(self) -> Path:
        """The plan itself."""
        return self.directory / "faults.plan"

    @property
    def log(self) -> Path:
        """The log of calls."""
        return self.directory / "faults.log"

    def environment(self) -> dict[str, str]:
        """Return what a process that loads the fault module needs in its environment."""
        return {
            "FAULTHSM_REAL": str(self.real),
            "FAULTHSM_PLAN": str(self.path),
            "FAULTHSM_LOG": str(self.log),
        }

    def write(self, *faults: Fault) -> None:
        """Replace the plan, in one step; with no faults everything works again."""
        lines = [self._line(index, fault) for index, fault in enumerate(faults)]
        new = self.path.with_suffix(f".{os.getpid()}")
        new.write_text("".join(f"{line}\n" for line in lines))
        new.replace(self.path)

    def happened(self, index: int) -> bool:
        """Return whether a ``once`` fault, named by its place in the plan, has happened."""
        return not self._ticket(index).exists()

    def calls(self) -> Iterator[Call]:
        """Yield the calls logged so far."""
        text = self.log.read_text() if self.log.exists() else ""
        for line in text.splitlines():
            pid, function, outcome = line.split()
            yield Call(int(pid), function, outcome)

    def _ticket(self, index: int) -> Path:
        return self.directory / f"faults.ticket-{index}"

    def _line(self, index: int, fault: Fault) -> str:
        ticket = "-"
        if fault.once:
            self._ticket(index).touch()
            ticket = str(self._ticket(index))
        words = (
            fault.function,
            fault.nth - 1,
            fault.times,
            fault.when,
            *_words(fault.action),
            ticket,
            fault.since,
        )
        return " ".join(str(word) for word in words)


def _words(action: Action) -> tuple[str, int, str]:
    match action:
        case Return(code):
            return "return", code, "-"
        case Hang(milliseconds):
            return "hang", milliseconds, "-"
        case Signal(number, pid_file):
            return "signal", int(number), str(pid_file or "-")
        case Place(path):
            return "place", 0, str(path)
