"""The journal (kms/ports/journal.py) in a SQLite file of its own, beside the store.

It follows the log in a thread of its own and never runs ahead of what is durable. Under the root of
the tree that it was made from it is taken up again; otherwise it is made anew.
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from kms.errors import ConclaveError, StoreUnavailable
from kms.ports.store import Store
from kms.store import journal_tables as sql
from kms.store.journal_file import JournalFile
from kms.store.journal_reads import JournalReads
from kms.store.journal_rows import brief, row_of, tallies
from kms.store.journal_samples import JournalSamples

_PAGE = 250
_PAUSE_SECONDS, _REST_SECONDS, _LONGEST_SECONDS = 0.25, 5.0, 5.0
"""Between two looks at a log that grows; after trouble; at a log that stands still."""
_LOG = logging.getLogger(__name__)


class SqliteJournal(JournalReads, JournalSamples):
    """A ``Journal`` in one file."""

    def __init__(self, path: Path) -> None:
        super().__init__(JournalFile(path))
        self._thread = ThreadPoolExecutor(1, "journal")
        self._opened = self._fits = self._doubted = False

    def distrust(self) -> None:
        """Have it made anew from the log."""
        _LOG.warning("the journal says what the log does not; it is made anew")
        self._doubted = True

    def close(self) -> None:
        """End the work in hand, close the file."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._file.close()

    async def follow(self, store: Store) -> None:
        """Keep up with the log, for ever; trouble is told to the operator and passes by itself."""
        grown = asyncio.Event()
        stop = store.subscribe(lambda _size: grown.set())
        try:
            while True:
                grown.clear()
                try:
                    await self._read_all(store)
                except ConclaveError as error:
                    _LOG.warning("the journal cannot follow the log: %s", error.message)
                    await asyncio.sleep(_REST_SECONDS)
                    continue
                except Exception:  # noqa: BLE001 -- what is derived never ends the key service
                    _LOG.exception("the journal failed unexpectedly")
                    await asyncio.sleep(_REST_SECONDS)
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LONGEST_SECONDS):
                        await grown.wait()
                await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            stop()

    async def _read_all(self, store: Store) -> None:
        """Read to the log's end, page by page, in the thread; others have their turn between."""
        loop, more = asyncio.get_running_loop(), True
        while more:
            more = await loop.run_in_executor(self._thread, self.catch_up, store)

    def catch_up(self, store: Store) -> bool:
        """Take in one page of leaves and say whether there may be more; raise StoreUnavailable."""
        self._make_ready(store)
        page = [brief(data) for data in store.leaves(self._indexed, _PAGE)]
        if not page:
            return False
        size = page[-1].seq + 1
        with self._file.writing() as connection:
            connection.executemany(sql.PUT_LEAF, map(row_of, page))
            connection.executemany(sql.PUT_TALLY, tallies(page))
            connection.execute(sql.PUT_HEAD, (size, store.root(size)))
        self._indexed = size
        return size < store.tree_size()

    def _make_ready(self, store: Store) -> None:
        """Open the file as it lies there, a new one if that broke; empty one that does not fit."""
        if self._file.broken:
            self._indexed, self._fits = 0, False
            if self._opened:
                self._file.make_anew()
            else:
                self._file.make()
            self._opened = True
        if not self._fits or self._doubted:
            try:
                self._take_up(store)
            except StoreUnavailable:
                if not self._file.broken:
                    raise
                self._file.make_anew()
            self._fits, self._doubted = True, False

    def _take_up(self, store: Store) -> None:
        """Go on behind what fits the log."""
        self._indexed = 0
        fitting = 0 if self._doubted else self._fitting(store)
        if not fitting:
            self._empty()
        self._indexed = fitting

    def _empty(self) -> None:
        """Drop what comes from the log; samples do not."""
        with self._file.writing() as connection:
            for statement in sql.DERIVED:
                connection.execute(statement)

    def _fitting(self, store: Store) -> int:
        """Return how many leaves it knows, 0 if they are not the log's."""
        with self._file.reading() as ask:
            head, numbers = ask(sql.HEAD, ()), ask(sql.NUMBER, ())
            if not head or numbers != [(head[0][0], head[0][0])]:
                return 0
            size, root = head[0]
            if not 0 < size <= store.tree_size() or store.root(size) != root:
                return 0
            for seq in (0, size - 1):
                known = row_of(brief(store.leaves(seq, 1)[0]))
                if ask(sql.LEAF, (seq,)) != [known]:
                    return 0
        return int(size)
