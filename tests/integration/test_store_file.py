"""The SQLite store when its file is moved, deleted, replaced: closed, then back by itself."""
# ruff: noqa: ASYNC240 -- the loop has nothing else to do while a test moves files

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from kms.audit.leaf import encode_leaf
from kms.errors import StoreUnavailable
from kms.store.sqlite import SqliteStore
from tests.fixtures.store import TestClock, draft
from tests.fixtures.store_faults import EVENT, beside, filled, refused, works

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


def copy_of(path: Path, to: Path) -> Path:
    """Make a complete copy by SQLite's own backup, as an operator would."""
    with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(to)) as new:
        old.backup(new)
    return to


async def test_deleted_refuses_and_takes_a_complete_copy(store: SqliteStore, path: Path) -> None:
    kept = copy_of(path, beside(path, "-backup"))
    path.unlink()
    await refused(store)
    kept.rename(path)
    await works(store, path, 2)


async def test_deleted_with_its_log_refuses_and_takes_a_complete_copy(
    store: SqliteStore, path: Path
) -> None:
    kept = copy_of(path, beside(path, "-backup"))
    for name in (path, beside(path, "-wal"), beside(path, "-shm")):
        name.unlink()
    await refused(store)
    kept.rename(path)
    await works(store, path, 2)


async def test_moved_away_refuses_and_moved_back_resumes(store: SqliteStore, path: Path) -> None:
    aside = beside(path, ".moved")
    path.rename(aside)
    await refused(store)
    aside.rename(path)
    await works(store, path, 2)


async def test_moved_away_with_its_log_and_back_resumes(store: SqliteStore, path: Path) -> None:
    names = [path, beside(path, "-wal")]
    for name in names:
        name.rename(beside(name, ".moved"))
    await refused(store)
    for name in names:
        beside(name, ".moved").rename(name)
    await works(store, path, 2)


async def test_an_older_copy_is_refused_until_the_file_itself_is_back(
    store: SqliteStore, path: Path
) -> None:
    older = copy_of(path, beside(path, "-older"))
    await store.commit(EVENT)
    path.rename(beside(path, ".moved"))
    older.rename(path)
    await refused(store)
    with pytest.raises(StoreUnavailable, match="still not the right one"):
        await store.commit(EVENT)
    beside(path, ".moved").replace(path)
    await works(store, path, 3)


async def test_a_copy_whose_log_was_changed_is_refused(store: SqliteStore, path: Path) -> None:
    forged = copy_of(path, beside(path, "-forged"))
    with closing(sqlite3.connect(forged)) as db, db:
        body = encode_leaf(draft("something.else"), 1, "2027-01-15T08:00:00.250000Z")
        db.execute("UPDATE leaf SET body = ? WHERE seq = 1", (body,))
    path.rename(beside(path, ".moved"))
    forged.rename(path)
    await refused(store)


async def test_a_copy_with_more_than_was_written_is_refused(store: SqliteStore, path: Path) -> None:
    longer = copy_of(path, beside(path, "-longer"))
    with closing(sqlite3.connect(longer)) as db, db:
        body = encode_leaf(draft(), 2, "2027-01-15T08:00:00.250000Z")
        db.execute("INSERT INTO leaf VALUES (2, ?)", (body,))
    path.rename(beside(path, ".moved"))
    longer.rename(path)
    await refused(store)


async def test_a_copy_that_came_with_its_own_log_keeps_it(store: SqliteStore, path: Path) -> None:
    other = beside(path, "-copy")
    shutil.copy(path, other)
    shutil.copy(beside(path, "-wal"), beside(other, "-wal"))
    other.replace(path)
    beside(other, "-wal").replace(beside(path, "-wal"))
    await works(store, path, 2)


async def test_something_that_is_no_database_is_refused(store: SqliteStore, path: Path) -> None:
    path.rename(beside(path, ".moved"))
    path.write_bytes(b"minutes" * 1000)
    await refused(store)
    beside(path, ".moved").replace(path)
    await works(store, path, 2)


async def test_a_lost_write_ahead_log_loses_nothing(store: SqliteStore, path: Path) -> None:
    beside(path, "-wal").unlink()
    await works(store, path, 2)


async def test_what_is_acknowledged_after_the_log_was_lost_lies_under_the_files_names(
    store: SqliteStore, path: Path, tmp_path: Path
) -> None:
    beside(path, "-wal").unlink()
    await store.commit(EVENT)
    crashed = tmp_path / "crashed" / path.name
    crashed.parent.mkdir()
    for end in ("", "-wal"):
        shutil.copy(beside(path, end), beside(crashed, end))
    again = SqliteStore.open(crashed, TestClock())
    assert (again.tree_size(), again.root(3)) == (3, store.root(3))
    again.close()


async def test_read_only_refuses_until_it_is_writable(store: SqliteStore, path: Path) -> None:
    path.chmod(0o400)
    await refused(store)
    path.chmod(0o600)
    await works(store, path, 2)
