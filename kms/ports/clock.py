"""Time, as the use cases need it."""

from typing import Protocol


class Clock(Protocol):
    """Wall time for statements, monotonic time for deadlines."""

    def now(self) -> float:
        """Return seconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back."""
        ...
