"""The SQLite store at start and at rest: what it refuses, what is in force, what it leaves."""
# ruff: noqa: ASYNC221 -- the loop has nothing else to do meanwhile

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from kms.errors import ConclaveError, IntegrityFailure, StoreUnavailable
from kms.ports import Change, DropEnvelope, DropEnvelopes, Unit
from kms.store import connection as connections
from kms.store.sqlite import SqliteStore
from tests.fixtures.store import TREASURY, TestClock, blob, draft, meeting_id, recipient_id
from tests.fixtures.store_faults import EVENT, beside, filled

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


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM leaf WHERE seq = 0",
        "UPDATE leaf SET seq = 7 WHERE seq = 1",
        "UPDATE leaf SET body = CAST(replace(CAST(body AS TEXT), ',', ', ') AS BLOB)",
        "UPDATE leaf SET body = x'00' WHERE seq = 1",
    ],
)
async def test_a_log_with_gaps_or_foreign_leaves_is_refused_at_start(
    store: SqliteStore, path: Path, damage: str
) -> None:
    store.close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(damage)
    with pytest.raises(IntegrityFailure):
        SqliteStore.open(path, TestClock())
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM leaf")
    SqliteStore.open(path, TestClock()).close()


async def test_a_setting_that_is_not_in_force_stops_the_start(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections._PRAGMAS, "synchronous", 9)
    with pytest.raises(StoreUnavailable, match="synchronous=9"):
        SqliteStore.open(path, TestClock())


async def test_a_journal_that_cannot_be_written_ahead_stops_the_start() -> None:
    with pytest.raises(ConclaveError):
        SqliteStore.open(Path("/proc/self/c.db"), TestClock())


async def test_the_guarantees_are_in_force(store: SqliteStore) -> None:
    names = ("journal_mode", "synchronous", "secure_delete", "foreign_keys")
    writer = store._database.writer
    got = [writer.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
    assert got == ["wal", 2, 1, 1]
    assert store._database._reader is not None
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        store._database._reader.execute("DELETE FROM leaf")


async def test_only_the_owner_can_read_the_files(store: SqliteStore, path: Path) -> None:
    modes = {one.name: one.stat().st_mode & 0o777 for one in path.parent.iterdir()}
    assert modes.keys() == {"c.db", "c.db-wal", "c.db-shm", "c.db.lock"}
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize(
    "drop",
    [
        (DropEnvelopes(TREASURY, meeting_id(), 0),),
        [DropEnvelope(TREASURY, meeting_id(), 0, recipient_id(n)) for n in range(3)],
    ],
    ids=["an epoch", "one by one"],
)
async def test_dropped_envelopes_leave_nothing_on_the_disk(
    store: SqliteStore, path: Path, drop: Sequence[Change]
) -> None:
    def traces() -> int:
        files = (path, beside(path, "-wal"))
        return sum(blob(1, 0, n)[:64] in file.read_bytes() for file in files for n in range(3))

    assert traces() > 0
    await store.commit(Unit(tuple(drop), (draft(),)))
    for _ in range(100):
        if not traces():
            break
        await asyncio.sleep(0.02)
    assert traces() == 0


async def test_another_process_that_writes_is_refused(store: SqliteStore, path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from kms.store.sqlite import SqliteStore;"
        "from tests.fixtures.store import TestClock;"
        "SqliteStore.open(Path(sys.argv[1]), TestClock())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert "another process writes" in done.stderr
    await store.commit(EVENT)
