"""The SQLite store when its process is killed or fsync fails: nothing acknowledged is lost."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kms.domain.rows import RowKind
from kms.store.sqlite import SqliteStore
from tests.faults.build import shim
from tests.fixtures.store import (
    TREASURY,
    TestClock,
    blob,
    epoch,
    meeting,
    meeting_id,
    recipient_id,
    roster,
    sealed,
)

ROUNDS = int(os.environ.get("STORE_KILLS", "8"))

WRITER = """
import asyncio, os, sys
from pathlib import Path
from kms.domain.rows import RowKind
from kms.store.sqlite import SqliteStore
from tests.fixtures.store import *

async def main(path, first):
    store = SqliteStore.open(path, TestClock())
    if not store.spaces():
        await store.commit(put((space(), 1)))
    async def open_meetings(start):
        for number in range(start, start + 100_000, 16):
            await store.commit(opening(number))
            os.write(1, b"%d\\n" % number)
            await store.commit(Unit(leaves=(draft(),)))
    os.write(1, b"ready\\n")
    await asyncio.gather(*(open_meetings(first + n) for n in range(16)))

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""


def killed(path: Path, first: int, after: float) -> list[int]:
    """Let a process open meetings from a number on, kill it, return what was acknowledged."""
    command = [sys.executable, "-c", WRITER, str(path), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(after)
        child.send_signal(signal.SIGKILL)
        return [int(line) for line in child.stdout.read().splitlines()]


def parts(store: SqliteStore, number: int) -> list[bool]:
    """Say of each part of a meeting's opening whether it is stored as it was written."""
    name = meeting_id(number)
    rows = [
        store.row(RowKind.MEETING, f"meeting/treasury/{name}") == sealed(meeting(number)),
        store.row(RowKind.ROSTER, f"roster/treasury/{name}") == sealed(roster(number)),
        store.row(RowKind.EPOCH, f"epoch/treasury/{name}/0") == sealed(epoch(number)),
        store.row_version(f"epoch/treasury/{name}/0") == 1,
    ]
    found = [store.envelope(TREASURY, name, 0, recipient_id(n)) for n in range(3)]
    return rows + [one == blob(number, 0, n) for n, one in enumerate(found)]


def test_a_killed_writer_loses_nothing_acknowledged_and_leaves_nothing_half(
    tmp_path: Path,
) -> None:
    path, chance, acknowledged = tmp_path / "c.db", random.Random(1), []
    for turn in range(ROUNDS):
        first = 1 + turn * 1_000_000
        acknowledged += killed(path, first, chance.uniform(0.0, 0.25))
        store = SqliteStore.open(path, TestClock())
        stored = {
            key.split("/")[-1] for key in store._facts.versions._known if key.startswith("meeting/")
        }
        assert {meeting_id(number) for number in acknowledged} <= stored
        for name in stored:
            number = int(name[-12:], 16)
            assert all(parts(store, number)), number
        beyond = max([first, *acknowledged]) + 16
        assert not any(any(parts(store, number)) for number in range(beyond + 16, beyond + 48))
        store.close()
    assert len(acknowledged) > ROUNDS


FAILING = """
import asyncio, sys
from pathlib import Path
from kms.errors import StoreUnavailable
from kms.store.sqlite import SqliteStore
from tests.fixtures.store import *

async def main(path, switch):
    store = SqliteStore.open(path, TestClock())
    await store.commit(put((space(), 1)))
    await store.commit(Unit(leaves=(draft(),)))
    switch.touch()
    refused = await asyncio.gather(
        *(store.commit(opening(n)) for n in range(1, 9)), return_exceptions=True)
    assert all(isinstance(one, StoreUnavailable) for one in refused), refused
    assert store.tree_size() == 2
    switch.unlink()
    (seq,) = await store.commit(Unit(leaves=(draft("after"),)))
    late = len(store.meetings(TREASURY, "", 100))
    assert (seq, late) in ((2, 0), (10, 8)), (seq, late)
    assert store.tree_size() == seq + 1
    root = store.root(seq + 1)
    store.close()
    again = SqliteStore.open(path, TestClock())
    assert (again.tree_size(), again.root(seq + 1)) == (seq + 1, root)
    again.close()
    print("agreed")

asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
"""


@pytest.mark.parametrize("attempt", range(2))
def test_a_disk_that_fails_to_sync_refuses_and_memory_and_disk_agree_afterwards(
    tmp_path: Path, attempt: int
) -> None:
    switch = tmp_path / "switch"
    done = subprocess.run(
        [sys.executable, "-c", FAILING, str(tmp_path / "c.db"), str(switch)],
        env=os.environ | {"LD_PRELOAD": str(shim("failing_fsync")), "FSYNC_FAILS": str(switch)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "agreed\n", done.stderr
