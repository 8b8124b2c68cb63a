"""What the watcher knows: facts as of its last look, for metrics, health and status.

Numbers only, read without checking rows: nothing is decided on them but what people are told.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from kms.domain.coverage import Coverage
from kms.domain.disks import DiskState
from kms.ports import Load
from kms.usecases.watch.board import Board
from kms.usecases.watch.history import History

READY = "ready"
AGES = (900, 3600, 4 * 3600, 24 * 3600, 7 * 24 * 3600)
"""Where one bucket of keys' ages ends and the next begins (seconds)."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pending request; times in whole seconds."""

    request: str
    space: str
    operation: str
    issued: int
    expires: int


@dataclass(frozen=True, slots=True)
class SpaceKeys:
    """The keys in use in one space: how many in which state, how many overdue, since when the
    oldest is active (whole seconds; 0: there is none). ``late``: meetings, by id, whose key should
    have been replaced; ``ages``: how many keys are up to each of AGES old, and how many older.
    """

    states: Counter[str]
    overdue: int
    oldest: int
    late: tuple[str, ...] = ()
    ages: tuple[int, ...] = ()

    @property
    def open(self) -> int:
        """How many meetings have a key in use."""
        return self.states["active"] + self.states["suspended"]


@dataclass(frozen=True, slots=True)
class Vaults:
    """A space's vault keys: ``remaining`` epochs still have an envelope to an older one;
    ``due``: when the newest one's cryptoperiod ends (whole seconds; 0: never); nothing depends on
    ``retirable`` older ones.
    """

    remaining: int
    paused: bool
    due: int
    retirable: int = 0


@dataclass(frozen=True, slots=True)
class Escrow:
    """What escrow status counts that people have to do something about. ``coverage``: what was
    found at ``counted`` (whole seconds; 0: never); of the spaces ``unknown`` nothing was.
    """

    gaps: int
    drills: int
    owed: int
    counted: int = 0
    coverage: Coverage | None = None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SeenDevice:
    """A device as it was last reported; ``space`` of the disk that it is or claims to be."""

    space: str
    serial: str
    state: DiskState
    code: str


@dataclass(slots=True)
class Facts:
    """As of the last look. ``misses``: looks in a row at which a token did not answer.
    ``log_error``: why the log cannot be written, since ``log_since`` (monotonic seconds).
    ``unsigned``: for how many seconds the oldest leaf that is not under a checkpoint has waited.
    ``keys_at``: when keys were counted (whole seconds; 0: not yet).
    ``untested``: disks by space whose recovery key is long due.
    ``stuck``: remaining epochs to reseal, and since when they are as many (monotonic seconds).
    """

    tokens: dict[str, str] = field(default_factory=dict)
    workers: dict[str, str] = field(default_factory=dict)
    misses: Counter[str] = field(default_factory=Counter)
    sealed: tuple[str, ...] = ()
    log_error: str = ""
    log_since: float = 0.0
    unsigned: float = 0.0
    waiting: tuple[Waiting, ...] = ()
    keys: dict[str, SpaceKeys] = field(default_factory=dict)
    keys_at: int = 0
    grants: int = 0
    flagged: Counter[str] = field(default_factory=Counter)
    vaults: dict[str, Vaults] = field(default_factory=dict)
    stuck: dict[str, tuple[int, float]] = field(default_factory=dict)
    escrow: Escrow | None = None
    devices: tuple[SeenDevice, ...] = ()
    untested: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class ChannelState:
    """A notification channel: how far it came in the log, since when it fails (monotonic seconds;
    None: it does not), the last error in short. ``seen``: where the last look found it;
    ``still_since``: since when it stays there although the log goes on (monotonic seconds).
    """

    position: int = 0
    failing_since: float | None = None
    error: str = ""
    seen: int = 0
    still_since: float | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """Answers since the process started: ``counts`` took up to each of ``bounds`` (seconds), and
    the last longer.
    """

    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()


def _none() -> float:
    return 0.0


@dataclass(slots=True)
class Watched:
    """Everything that the watcher and the notifier know; shared with those who show it.
    ``offset``: by how many seconds the wall clock is ahead of the service's. ``served``: the
    fetches that were answered; ``loads``: the load of each token by its label.
    """

    board: Board = field(default_factory=Board)
    history: History = field(default_factory=History)
    facts: Facts = field(default_factory=Facts)
    channels: dict[str, ChannelState] = field(default_factory=dict)
    offset: Callable[[], float] = _none
    served: Callable[[], Served] = Served
    loads: Callable[[], dict[str, Load]] = dict
