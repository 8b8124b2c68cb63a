"""What resealing has done in this process: for people to see, nothing is decided by it."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from kms.domain.ids import RecipientId, SpaceName


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


@dataclass(frozen=True, slots=True)
class Counted:
    """Of how many epochs of each space a vault key has an envelope; good until then, on the
    monotonic clock.
    """

    kept: Counter[SpaceName]
    until: float


class Reseals(defaultdict[str, Progress]):
    """The progress of each space, by its name; ``counted`` by vault key."""

    def __init__(self) -> None:
        super().__init__(Progress)
        self.counted: dict[RecipientId, Counted] = {}
