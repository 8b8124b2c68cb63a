"""One walk over the log as it lies on the disk, held against everything that was signed about it,
and how far the walk of this service is. It decides nothing: see kms/usecases/log_check.py.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from cryptography.hazmat.primitives.asymmetric import ec

from kms.audit.merkle import CompactRange, leaf_hash
from kms.audit.note import Checkpoint, verify_checkpoint
from kms.errors import ConclaveError, VerificationFailed
from kms.ports import Store

_SLICE = 1000
_PAGE = 500


@dataclass(frozen=True, slots=True)
class CheckpointKeys:
    """Whose checkpoints count, and by which keys."""

    origin: str
    keys: tuple[ec.EllipticCurvePublicKey, ...]

    def check(self, note: str, size: int) -> Checkpoint:
        """Return the checkpoint over ``size`` entries that one of the keys signed; raise
        VerificationFailed.
        """
        found = verify_checkpoint(note, origin=self.origin, keys=self.keys)
        if found.size != size:
            raise VerificationFailed("a checkpoint is of another size than its row says")
        return found


class Trouble(StrEnum):
    """What a check can find."""

    REWRITTEN = "rewritten"
    SIGNATURE = "signature"
    CUT = "cut"
    HEAD = "head"
    TOKEN = "token"  # noqa: S105 -- the HSM's token
    UNKNOWN = "unknown"


ALTERED = frozenset({Trouble.REWRITTEN, Trouble.SIGNATURE, Trouble.CUT, Trouble.HEAD})
"""Troubles that say that the log is not what was signed; after others that is not known."""


@dataclass(frozen=True, slots=True)
class Found:
    """A trouble, and the tree's size at which it is."""

    trouble: Trouble
    size: int


@dataclass(frozen=True, slots=True)
class Checked:
    """A check that is over. Times in whole seconds; ``checkpoints`` held; ``token``: the size of
    the head that the HSM remembers (-1: it did not answer).
    """

    began: int
    ended: int
    by: str
    size: int
    root: bytes
    checkpoints: int
    token: int
    troubles: tuple[Found, ...]

    @property
    def altered(self) -> bool:
        """Whether the log is not what was signed."""
        return any(one.trouble in ALTERED for one in self.troubles)


@dataclass(slots=True)
class LogCheck:
    """The check that runs, how far it is, and the last one's result since the service started."""

    done: int = 0
    size: int = 0
    began: int = 0
    last: Checked | None = None
    task: asyncio.Task[None] | None = field(default=None, compare=False)

    @property
    def running(self) -> bool:
        """Whether a check goes on."""
        return self.task is not None and not self.task.done()


class Walk:
    """Goes over the first ``size`` entries once."""

    def __init__(self, store: Store, size: int) -> None:
        self.keys: CheckpointKeys | None = None
        self.tree, self.held = CompactRange(), 0
        self.found: list[Found] = []
        self._store, self._size = store, size
        self._token: tuple[int, bytes] | None = None
        self._notes: deque[tuple[int, str]] = deque()
        self._asked = 0

    def expect(self, size: int, root: bytes) -> None:
        """Take in the head that the HSM remembers; it may be newer than what is gone over."""
        if size <= self._size:
            self._token = size, root

    def note(self, trouble: Trouble) -> None:
        """Take down a trouble at the present place."""
        self.found.append(Found(trouble, len(self.tree)))

    def step(self) -> bool:
        """Go over a slice; return whether there is more. Raise as the store does."""
        start = len(self.tree)
        page = self._store.leaves(start, min(_SLICE, self._size - start))
        for body in page:
            self.tree.append(leaf_hash(body))
            self._meet()
        if not page and start < self._size:
            self.note(Trouble.CUT)
        return bool(page) and len(self.tree) < self._size

    def end(self, root: Callable[[int], bytes]) -> None:
        """Compare with the tree that was built when the service started, and has grown since."""
        if self.tree.root() != root(len(self.tree)):
            self.note(Trouble.HEAD)

    def _meet(self) -> None:
        """Compare with whatever was signed about as many entries."""
        size = len(self.tree)
        if self._token and self._token[0] == size and self._token[1] != self.tree.root():
            self.note(Trouble.HEAD)
        while (following := self._next()) and following[0] <= size:
            self._notes.popleft()
            self._compare(*following)

    def _compare(self, size: int, note: str) -> None:
        if self.keys is None:
            return
        try:
            checkpoint = self.keys.check(note, size)
        except ConclaveError:
            self.note(Trouble.SIGNATURE)
            return
        if checkpoint.root != self.tree.root():
            self.note(Trouble.REWRITTEN)
        else:
            self.held += 1

    def _next(self) -> tuple[int, str] | None:
        """Return the checkpoint that comes next, read page by page."""
        if not self._notes and self._asked <= self._size:
            page = self._store.checkpoints(self._asked, _PAGE)
            self._notes.extend(page)
            self._asked = page[-1][0] if page else self._size + 1
        return self._notes[0] if self._notes else None
