"""Where in a mint a process is killed: by the fault module in the HSM, by a preload in a write."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle, islice

from tests.faults.plan import Call

WRAPS = 5
"""Vault, escrow and the largest roster."""
HSM_CALLS = 4
"""C_Sign calls of a mint once its key was made: commitment, manifest, MACs of epoch and meeting."""
_WRITES = 8
"""Fewer than the writes of any mint's commit."""


class Victim(StrEnum):
    """Who is killed."""

    WEB = "web"
    WORKER = "worker"


class State(StrEnum):
    """What may be found afterwards."""

    OLD = "old"
    NEW = "new"
    EITHER = "either"


@dataclass(frozen=True)
class Point:
    """One point; calls count from the generation of the mint's key.

    ``function`` and ``nth`` name the HSM call behind which the signal comes, ``wal`` the write or
    sync of the commit (see wal_death.c); the mint needs ``wraps`` readers to come there.
    """

    phase: str
    victim: Victim
    state: State = State.OLD
    function: str = ""
    nth: int = 0
    wal: str = ""
    wraps: int = 0


def _behind(phase: str, function: str, *nths: int) -> list[Point]:
    wraps = nths[0] if function == "C_WrapKey" else 0
    return [
        Point(phase, victim, function=function, nth=nth, wraps=wraps)
        for victim in Victim
        for nth in nths
    ]


def _torn(nth: int) -> Point:
    return Point("before commit", Victim.WEB, wal=f"write before {nth}")


PHASES: dict[str, list[Point]] = {
    "after generate": _behind("after generate", "C_GenerateKey", 1),
    **{
        f"after wrap {nth}": _behind(f"after wrap {nth}", "C_WrapKey", nth)
        for nth in range(1, WRAPS + 1)
    },
    "after sign": _behind("after sign", "C_Sign", *range(2, HSM_CALLS + 1)),
    "before commit": [
        *(_torn(nth) for nth in range(1, _WRITES + 1)),
        # All is written by then, and survives the process: who looks again may find it.
        Point("before commit", Victim.WEB, State.EITHER, wal="sync before 1"),
    ],
    "between commit and reply": [
        Point("between commit and reply", Victim.WEB, State.NEW, wal="sync after 1")
    ],
}


def choose(seed: int, count: int) -> list[Point]:
    """Return ``count`` points in random order, evenly over the phases and the points of each."""
    rng = random.Random(seed)
    decks = {phase: cycle(rng.sample(points, len(points))) for phase, points in PHASES.items()}
    chosen = [next(decks[phase]) for phase in islice(cycle(PHASES), count)]
    rng.shuffle(chosen)
    return chosen


def seen_phase(calls: Iterable[Call]) -> str:
    """Return the phase in which the fault module sent its signal, as its log tells."""
    counts: dict[str, int] = {}
    for call in calls:
        if call.function == "C_GenerateKey" or counts:
            counts[call.function] = counts.get(call.function, 0) + 1
        if call.outcome == "signal":
            if call.function == "C_WrapKey":
                return f"after wrap {counts['C_WrapKey']}"
            signed = call.function == "C_Sign" and counts["C_Sign"] > 1
            return "after sign" if signed else "after generate"
    raise AssertionError("the fault module sent no signal")
