"""The single writer: one thread, one transaction and one fsync for everything that waits.

Nothing is acknowledged before its commit; memory follows the disk and never runs ahead of it.
When a commit's outcome is unknown, the file is read again before anything else is written.
"""

import asyncio
import secrets
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue

from kms.audit.merkle import MerkleTree, leaf_hash
from kms.errors import ConclaveError, Conflict, IntegrityFailure, InvalidInput, StoreUnavailable
from kms.ports import Clock
from kms.store.changes import Step
from kms.store.connection import primary_code, translate
from kms.store.database import Database, fold
from kms.store.log import Facts, LeafForm, leaf_time, stored_leaves
from kms.store.statements import Statements, in_chunks

MAX_WAITING = 10_000
"""Units that may wait; more are refused."""
_NOT_COMMITTED = frozenset({sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY})
"""What COMMIT raises before its last frame is written: foreign keys, no room."""


@dataclass(slots=True, eq=False)
class Job:
    """A unit on its way: steps and leaves to write, and who waits for the leaves' numbers. One
    that ``folds`` writes nothing: it waits until the write-ahead log holds nothing deleted.
    """

    steps: Sequence[Step]
    leaves: Sequence[LeafForm]
    waiter: asyncio.Future[tuple[int, ...]]
    folds: bool = False


@dataclass(slots=True, eq=False)
class Batch:
    """Jobs of one transaction; ``mark`` tells a batch without leaves apart on the disk."""

    jobs: list[Job]
    first: int = 0
    micros: int = 0
    bodies: list[bytes] = field(default_factory=list)
    mark: int = 0
    durable: bool = False
    error: ConclaveError | None = None


class Writer:
    """Owns the writing connection, the tree and the thread that moves both."""

    def __init__(
        self,
        database: Database,
        statements: Statements,
        clock: Clock,
        tree: MerkleTree,
        facts: Facts,
        micros: int,
    ) -> None:
        self._database, self._statements, self._clock = database, statements, clock
        self.tree, self._facts, self._micros = tree, facts, micros
        self.rows_in_flight: set[tuple[str, int]] = set()
        self.listeners: list[Callable[[int], None]] = []
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._finished: deque[Batch] = deque()
        self._doubt: Batch | None = None
        self._closing = self._erase = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    # on the event loop

    def submit(self, job: Job) -> None:
        """Queue a unit; raise StoreUnavailable when closing or when too many wait."""
        if self._closing or self._queue.qsize() >= MAX_WAITING:
            raise StoreUnavailable("the store is closing or too busy", hint="try again")
        self._queue.put(job)

    def close(self) -> None:
        """Write what waits, then stop the thread."""
        self._closing = True
        self._queue.put(None)
        self._thread.join()
        self._publish()

    def _publish(self) -> None:
        while self._finished:
            batch = self._finished.popleft()
            if batch.error is None:
                self._acknowledge(batch)
            else:
                _refuse(batch.jobs, batch.error)

    def _acknowledge(self, batch: Batch) -> None:
        seq = batch.first
        for job in batch.jobs:
            first = seq
            for form in job.leaves:
                self._facts.add(seq, form.draft)
                seq += 1
            if not job.waiter.done():
                job.waiter.set_result(tuple(range(first, seq)))
        self._land(batch)
        for listener in tuple(self.listeners):
            listener(self._facts.size)

    # on the writer's thread

    def _run(self) -> None:
        while jobs := self._take():
            folding = [job for job in jobs if job.folds]
            if len(folding) < len(jobs):
                self._write([job for job in jobs if not job.folds])
            if self._erase and (folding or self._queue.empty()):
                self._wipe()
            if folding:
                self._answer(folding)

    def _take(self) -> list[Job]:
        jobs = [self._queue.get()]
        jobs += [self._queue.get_nowait() for _ in range(self._queue.qsize())]
        if jobs[-1] is None:
            self._queue.put(None)
        return [job for job in jobs if job is not None]

    def _write(self, jobs: list[Job]) -> None:
        batch = Batch(jobs)
        try:
            self._database.ready(self._settle)
            self._apply(batch)
            self._commit(batch)
        except Exception as error:  # noqa: BLE001 -- the thread outlives whatever a unit brings
            batch.error = translate(error)
            self._land(batch)
            if len(jobs) > 1 and isinstance(batch.error, Conflict | InvalidInput):
                for job in jobs:
                    self._write([job])
                return
        self._finish(batch)

    def _apply(self, batch: Batch) -> None:
        connection = self._database.writer
        batch.first = len(self.tree)
        batch.micros = max(self._micros, int(self._clock.now() * 1_000_000))
        time = leaf_time(batch.micros)
        forms = [form for job in batch.jobs for form in job.leaves]
        batch.bodies = [form.place(seq, time) for seq, form in enumerate(forms, batch.first)]
        self._fly(batch)
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job in batch.jobs:
                for step in job.steps:
                    step.apply(connection)
            self._insert(connection, batch)
        except Exception:
            self._roll_back()
            raise

    def _insert(self, connection: sqlite3.Connection, batch: Batch) -> None:
        if not batch.bodies:
            batch.mark = secrets.randbits(31)
            connection.execute(f"PRAGMA user_version={batch.mark}")
        leaves = list(enumerate(batch.bodies, batch.first))
        for sql, parameters in in_chunks(self._statements.insert_leaves, leaves):
            connection.execute(sql, parameters)

    def _commit(self, batch: Batch) -> None:
        hashes = [leaf_hash(body) for body in batch.bodies]
        try:
            self._database.writer.execute("COMMIT")
        except sqlite3.Error as error:
            if primary_code(error) in _NOT_COMMITTED:
                self._roll_back()
                raise
            self._doubt = batch
            self._look_again(error)
        else:
            self._adopt(batch, hashes)

    def _look_again(self, error: sqlite3.Error) -> None:
        """Return if the batch in doubt turns out to be durable."""
        batch = self._doubt
        try:
            self._database.reopen(self._settle)
        except StoreUnavailable as trouble:
            raise StoreUnavailable(
                f"the commit's outcome is not known until the database works: {trouble.message}",
                hint="look whether it took place before trying again",
            ) from error
        if batch is not None and not batch.durable:
            raise error

    def _adopt(self, batch: Batch, hashes: Iterable[bytes]) -> None:
        for one in hashes:
            self.tree.append(one)
        self._micros = batch.micros
        batch.durable, batch.error = True, None
        self._erase |= any(step.erases for job in batch.jobs for step in job.steps)

    def _settle(self, connection: sqlite3.Connection) -> None:
        """Take a file that holds what was written, with or without the batch in doubt."""
        size, found = len(self.tree), MerkleTree()
        leaves = stored_leaves(connection, self._statements.all_leaves.sql)
        tail = [body for body in leaves if found.append(leaf_hash(body)) >= size]
        if len(found) < size or found.root(size) != self.tree.root(size):
            raise IntegrityFailure("its log is not the one that was written")
        (mark,) = connection.execute("PRAGMA user_version").fetchone()
        doubt = self._doubt
        if doubt is not None and tail == doubt.bodies and (tail or mark == doubt.mark):
            late = doubt.error is not None
            self._fly(doubt)
            self._adopt(doubt, [leaf_hash(body) for body in tail])
            if late:
                self._finish(doubt)
        elif tail:
            raise IntegrityFailure("its log goes on beyond what was written")
        self._doubt = None

    def _roll_back(self) -> None:
        connection = self._database.writer
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._database.close()

    def _wipe(self) -> None:
        """Empty the write-ahead log, where deleted envelopes would linger."""
        with suppress(sqlite3.Error, StoreUnavailable):
            fold(self._database.writer)
            self._erase = False

    def _answer(self, folding: list[Job]) -> None:
        batch = Batch(folding)
        if self._erase:
            batch.error = StoreUnavailable(
                "deleted data still lies in the write-ahead log", hint="try again"
            )
        self._finish(batch)

    def _finish(self, batch: Batch) -> None:
        self._finished.append(batch)
        try:
            batch.jobs[0].waiter.get_loop().call_soon_threadsafe(self._publish)
        except RuntimeError:  # that loop is closed; whoever comes next publishes
            return

    def _fly(self, batch: Batch) -> None:
        self.rows_in_flight.update(_rows(batch))

    def _land(self, batch: Batch) -> None:
        self.rows_in_flight.difference_update(_rows(batch))


def _rows(batch: Batch) -> Iterator[tuple[str, int]]:
    for job in batch.jobs:
        for form in job.leaves:
            yield from form.draft.rows.items()


def _refuse(jobs: Iterable[Job], error: ConclaveError) -> None:
    for job in jobs:
        if not job.waiter.done():
            job.waiter.set_exception(type(error)(error.message, hint=error.hint))
