"""Refused attempts to sign in or enrol, counted in memory. They lock nobody out.

A right answer counts at any time: a passkey cannot be guessed, and whoever shares an address, or
knows a passkey's id, must not keep its person out. What a few refusals close is only what is
refused after them: it waits, and no longer stands in the log. A restart forgets; the log does not.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

WINDOW_SECONDS = 900
"""Within so long refusals add up, and for as long what is refused afterwards waits."""
WAIT_SECONDS = 1.0
"""How long each further refusal takes."""
MOST_LOGGED = 1000
"""Refusals that are logged within the window at most, whoever causes them."""
_MOST_SUBJECTS = 10_000


@dataclass(slots=True)
class _Count:
    refused: deque[float] = field(default_factory=deque)
    closed: float = 0.0


@dataclass(slots=True)
class Attempts:
    """Refusals by subject, an address or a person's session; the oldest subjects are forgotten."""

    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    _counts: OrderedDict[str, _Count] = field(default_factory=OrderedDict)
    _logged: deque[float] = field(default_factory=deque)

    def is_closed(self, *subjects: str) -> bool:
        """Whether one of the subjects was refused too often."""
        now = self.clock()
        return any(one in self._counts and self._counts[one].closed > now for one in subjects)

    def refuse(self, most: int, *subjects: str) -> bool:
        """Count a refusal; return whether that closed the door to one of the subjects."""
        closed = [one for one in subjects if self._refuse(most, one)]
        return bool(closed)

    def forget(self, *subjects: str) -> None:
        """Forget the refusals of whoever got in."""
        for one in subjects:
            self._counts.pop(one, None)

    def may_log(self) -> bool:
        """Count a refusal that is to be logged; return whether the log has room for it."""
        now = self.clock()
        while self._logged and self._logged[0] <= now - WINDOW_SECONDS:
            self._logged.popleft()
        if len(self._logged) >= MOST_LOGGED:
            return False
        self._logged.append(now)
        return True

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
