"""Escrow coverage: which keys could be recovered, by which generation, and why others could not."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from kms.domain.models import Epoch

_SHOWN = 20


class Lack(StrEnum):
    """Why a key could not be recovered."""

    MISSING = "no envelope"
    ALTERED = "altered envelope"
    GONE = "generation gone"


@dataclass(frozen=True, slots=True)
class Gap:
    """A key that could not be recovered."""

    space: str
    meeting: str
    epoch: int
    reason: Lack


@dataclass(slots=True)
class Coverage:
    """What was found: live epochs and covered ones by space, epochs by the newest generation that
    covers them, how many gaps and the first of them.
    """

    epochs: Counter[str] = field(default_factory=Counter)
    covered: Counter[str] = field(default_factory=Counter)
    generations: Counter[int] = field(default_factory=Counter)
    gaps: int = 0
    shown: list[Gap] = field(default_factory=list)

    def count(self, epoch: Epoch, found: int | Lack) -> None:
        """Take in one epoch: the generation that covers it, or why none does."""
        self.epochs[epoch.space] += 1
        if not isinstance(found, Lack):
            self.covered[epoch.space] += 1
            self.generations[found] += 1
            return
        self.gaps += 1
        if len(self.shown) < _SHOWN:
            self.shown.append(Gap(epoch.space, epoch.meeting, epoch.epoch, found))
