"""The SQLite store when the disk is full, or a commit's outcome is unknown."""
# ruff: noqa: ASYNC221 -- the loop has nothing else to do while a test fills a disk

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kms.domain.rows import RowKind
from kms.errors import StoreUnavailable
from kms.ports import DropEnvelopes, Unit
from kms.store.sqlite import SqliteStore
from tests.fixtures.disks import small_disk
from tests.fixtures.store import (
    TREASURY,
    TestClock,
    meeting,
    meeting_id,
    opening,
    put,
    sealed,
    space,
)
from tests.fixtures.store_faults import EVENT, MEETING, beside, filled, refused, works

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    opened = await filled(path)
    yield opened
    opened.close()


async def test_no_room_fails_what_does_not_fit_and_resumes(store: SqliteStore, path: Path) -> None:
    writer = store._database.writer
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StoreUnavailable):
        await store.commit(opening(2, count=100))
    assert store.row(RowKind.MEETING, f"meeting/treasury/{meeting_id(2)}") is None
    assert store.tree_size() == 2
    writer.execute("PRAGMA max_page_count=1000000")
    await works(store, path, 2)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    with small_disk(place, megabytes=1):
        yield place


async def test_a_full_disk_refuses_and_resumes_when_there_is_room(disk: Path) -> None:
    path = disk / "c.db"
    store = SqliteStore.open(path, TestClock())
    await store.commit(put((space(), 1)))
    await store.commit(opening())
    filler = disk / "recording"
    with pytest.raises(OSError, match="No space"):
        take_all_room(filler)
    await fill(store)
    await refused(store)
    assert store.row(RowKind.MEETING, MEETING) == sealed(meeting())
    size = store.tree_size()
    filler.unlink()
    await works(store, path, size)


def take_all_room(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


async def fill(store: SqliteStore) -> None:
    """Write until the log's file needs to grow and cannot."""
    for _ in range(2000):
        try:
            await store.commit(EVENT)
        except StoreUnavailable:
            return
    pytest.fail("the disk never filled up")


LIMITED = """
import asyncio, resource, sys
from pathlib import Path
from kms.errors import StoreUnavailable
from kms.store.sqlite import SqliteStore
from tests.fixtures.store import *

async def main(path):
    store = SqliteStore.open(path, TestClock())
    await store.commit(put((space(), 1)))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    written, failed = 1, 0
    while failed < 3:
        try:
            await store.commit(Unit(leaves=(draft(),)))
            written += 1
        except StoreUnavailable:
            failed += 1
    assert store.tree_size() == written
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert await store.commit(opening()) == (written,)
    root = store.root(written + 1)
    store.close()
    again = SqliteStore.open(path, TestClock())
    assert (again.tree_size(), again.root(written + 1)) == (written + 1, root)
    again.close()
    print("resumed after", written)

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_a_file_that_may_not_grow_refuses_and_resumes(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("resumed after"), done.stderr


class Flaky:
    """Stands for a connection whose next COMMIT reports an I/O error, before or after the work."""

    def __init__(self, real: sqlite3.Connection, *, committed: bool) -> None:
        self._real, self._committed = real, committed

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if sql != "COMMIT":
            return self._real.execute(sql, *parameters)
        if self._committed:
            self._real.execute(sql)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def make_flaky(store: SqliteStore, *, committed: bool) -> None:
    store._database._writer = Flaky(store._database.writer, committed=committed)


@pytest.mark.parametrize("unit", [EVENT, Unit((DropEnvelopes(TREASURY, meeting_id(), 0),))])
async def test_a_commit_that_took_place_is_acknowledged_whatever_it_said(
    store: SqliteStore, path: Path, unit: Unit
) -> None:
    make_flaky(store, committed=True)
    assert await store.commit(unit) == tuple(range(2, 2 + len(unit.leaves)))
    await works(store, path, 2 + len(unit.leaves))


@pytest.mark.parametrize("unit", [EVENT, Unit((DropEnvelopes(TREASURY, meeting_id(), 0),))])
async def test_a_commit_that_did_not_take_place_is_refused(
    store: SqliteStore, path: Path, unit: Unit
) -> None:
    make_flaky(store, committed=False)
    with pytest.raises(StoreUnavailable, match="does not work"):
        await store.commit(unit)
    assert store.tree_size() == 2
    await works(store, path, 2)


@pytest.mark.parametrize("committed", [True, False])
async def test_an_outcome_that_cannot_be_looked_up_is_settled_before_the_next_write(
    store: SqliteStore, path: Path, committed: bool
) -> None:
    make_flaky(store, committed=committed)
    hidden, open_file = beside(path, ".hidden"), store._database.open
    store._database.open = lambda accept: hide(path, hidden, open_file, accept)
    with pytest.raises(StoreUnavailable, match="not known"):
        await store.commit(put((meeting(), 2)))
    assert store.tree_size() == 2
    store._database.open = open_file
    hidden.rename(path)
    size = 3 if committed else 2
    assert await store.commit(EVENT) == (size,)
    assert store.tree_size() == size + 1
    assert store.row_version(MEETING) == (2 if committed else 1)
    row = store.row(RowKind.MEETING, MEETING)
    assert row is not None
    assert row.row.version == store.row_version(MEETING)


def hide(path: Path, hidden: Path, opener: Callable[..., None], accept: object) -> None:
    """Take the file away in the moment between the failed commit and the second look."""
    path.rename(hidden)
    opener(accept)


async def test_a_batch_in_doubt_fails_or_lands_as_a_whole(store: SqliteStore, path: Path) -> None:
    make_flaky(store, committed=True)
    results = await asyncio.gather(*(store.commit(EVENT) for _ in range(20)))
    assert sorted(seq for (seq,) in results) == list(range(2, 22))
    await works(store, path, 22)
