"""What resealing has done in this process: for people to see, nothing is decided by it."""

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass(slots=True)
class Progress:
    """One space's: epochs moved, seconds that it took, and epochs that could not be moved, by the
    key of their row with the code of what was wrong.
    """

    done: int = 0
    seconds: float = 0.0
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def per_second(self) -> int:
        """Epochs moved in a second."""
        return int(self.done / self.seconds) if self.seconds else 0


class Reseals(defaultdict[str, Progress]):
    """The progress of each space, by its name."""

    def __init__(self) -> None:
        super().__init__(Progress)
