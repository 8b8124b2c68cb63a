"""The machine's clocks."""

import time


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        """Return seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back."""
        return time.monotonic()
