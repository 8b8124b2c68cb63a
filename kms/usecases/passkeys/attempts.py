"""Refused attempts to sign in or enrol, counted in memory: a few, and then none is looked at.

Counted are persons and addresses. A restart forgets; the log keeps every refusal.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from kms.errors import TooManyAttempts

WINDOW_SECONDS = 900
"""Within so long refusals add up, and for as long nothing is looked at afterwards."""
_MOST_SUBJECTS = 10_000


@dataclass(slots=True)
class _Count:
    refused: deque[float] = field(default_factory=deque)
    closed: float = 0.0


@dataclass(slots=True)
class Attempts:
    """Refusals by subject, a person's name or an address; the oldest subjects are forgotten."""

    clock: Callable[[], float] = time.monotonic
    _counts: OrderedDict[str, _Count] = field(default_factory=OrderedDict)

    def check(self, *subjects: str) -> None:
        """Raise TooManyAttempts for a subject that was refused too often."""
        now = self.clock()
        if any(one in self._counts and self._counts[one].closed > now for one in subjects):
            raise TooManyAttempts(
                "too many attempts were refused", hint="wait a quarter of an hour"
            )

    def refuse(self, most: int, *subjects: str) -> bool:
        """Count a refusal; return whether that closed the door to one of the subjects."""
        closed = [one for one in subjects if one and self._refuse(most, one)]
        return bool(closed)

    def forget(self, *subjects: str) -> None:
        """Forget the refusals of whoever got in."""
        for one in subjects:
            self._counts.pop(one, None)

    def _refuse(self, most: int, subject: str) -> bool:
        now = self.clock()
        count = self._counts.setdefault(subject, _Count())
        self._counts.move_to_end(subject)
        while len(self._counts) > _MOST_SUBJECTS:
            self._counts.popitem(last=False)
        count.refused.append(now)
        while count.refused[0] <= now - WINDOW_SECONDS:
            count.refused.popleft()
        if len(count.refused) < most:
            return False
        count.refused.clear()
        count.closed = now + WINDOW_SECONDS
        return True
