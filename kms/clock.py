"""The service's time: the wall clock as it was at the start, carried on by one that never jumps.

Small differences are followed slowly, so that the machine's time service is heard; a jump of the
wall clock changes nothing that the service believes. Only a new start adopts another wall time.
"""

import time
from collections.abc import Callable
from threading import Lock

TOLERANCE = 30.0
"""Seconds by which the wall clock may differ and still be followed; beyond, it has jumped."""
SLEW = 0.001
"""Seconds a second by which it is followed: above what clocks of machines drift."""
_LOOK_SECONDS = 1.0


def _boot() -> float:
    """Return seconds since the machine's start, also those it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SteadyClock:
    """A ``Clock`` (kms/ports) that never goes back and never jumps; any thread may ask it."""

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = _boot
    ) -> None:
        self._wall, self._steady = wall, steady
        self._lock = Lock()
        self._time, self._at = wall(), steady()
        self._last = self._time

    def now(self) -> float:
        """Return seconds since 1970."""
        with self._lock:
            passed = self._steady() - self._at
            now = self._time + passed
            if passed >= _LOOK_SECONDS:
                now += _slew(self._wall() - now, SLEW * passed)
                self._time, self._at = now, self._at + passed
            self._last = max(self._last, now)
            return self._last

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back."""
        return self._steady()

    def wall(self) -> float:
        """Return what the wall clock shows, in seconds since 1970."""
        return self._wall()

    def not_before(self, seconds: float) -> None:
        """Go on from ``seconds`` since 1970 at least: the log has seen that time already."""
        now = self.now()
        with self._lock:
            self._time += max(0.0, seconds - now)


def _slew(difference: float, most: float) -> float:
    """Return how far to go towards the wall clock."""
    if abs(difference) > TOLERANCE:
        return 0.0
    return max(-most, min(most, difference))
