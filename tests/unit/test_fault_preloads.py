"""The preloads that move the wall clock and slow the disk, in Python processes of their own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults import build

DAY = 86_400


def run(script: str, environment: dict[str, str]) -> list[str]:
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.split()


@pytest.fixture
def skew(tmp_path: Path) -> Path:
    return tmp_path / "skew"


@pytest.fixture
def skewed(skew: Path) -> dict[str, str]:
    return build.preload(build.shim("clockskew")) | {"CLOCKSKEW_FILE": str(skew)}


@pytest.mark.parametrize("seconds", [DAY, -DAY, 0.0])
def test_the_wall_clock_is_moved_by_the_files_offset(
    skew: Path, skewed: dict[str, str], seconds: float
) -> None:
    skew.write_text(f"{seconds}\n")
    script = "import time, datetime; print(time.time(), datetime.datetime.now().timestamp())"
    for told in run(script, skewed):
        assert float(told) == pytest.approx(time.time() + seconds, abs=20)


def test_a_fraction_of_a_second_counts(skew: Path, skewed: dict[str, str]) -> None:
    script = f"""
import time
write = lambda text: open({str(skew)!r}, "w").write(text)
write("0"); a = time.time(); write("-0.75"); b = time.time(); print(b - a)
"""
    assert -0.75 <= float(run(script, skewed)[0]) < -0.3


def test_the_clock_jumps_while_a_process_runs(skew: Path, skewed: dict[str, str]) -> None:
    script = f"""
import time
before = time.time()
open({str(skew)!r}, "w").write("-3600")
print(time.time() - before)
"""
    assert float(run(script, skewed)[0]) == pytest.approx(-3600, abs=5)


def test_monotonic_time_and_sleep_are_left_alone(skew: Path, skewed: dict[str, str]) -> None:
    script = f"""
import time, threading
before = time.monotonic()
open({str(skew)!r}, "w").write("1000000")
time.sleep(0.05)
threading.Event().wait(0.05)
print(time.monotonic() - before)
"""
    assert 0.1 <= float(run(script, skewed)[0]) < 10


def test_without_a_file_the_clock_is_right(skewed: dict[str, str]) -> None:
    told = float(run("import time; print(time.time())", skewed)[0])
    assert told == pytest.approx(time.time(), abs=20)


SYNC_TEN_TIMES = """
import os, time
file = os.open(os.environ["SCRATCH"], os.O_RDWR | os.O_CREAT)
began = time.monotonic()
for _ in range(10):
    os.write(file, b"x")
    os.{call}(file)
print(time.monotonic() - began)
"""


@pytest.mark.parametrize("call", ["fsync", "fdatasync"])
def test_a_slowed_sync_takes_as_long_as_told(tmp_path: Path, call: str) -> None:
    slow = build.preload(build.shim("slow_fsync"))
    slow |= {"FSYNC_US": "20000", "SCRATCH": str(tmp_path / "file")}
    assert float(run(SYNC_TEN_TIMES.format(call=call), slow)[0]) >= 0.2


def test_sqlite_commits_wait_for_the_slowed_sync(tmp_path: Path) -> None:
    slow = build.preload(build.shim("slow_fsync"))
    slow |= {"FSYNC_US": "50000", "SCRATCH": str(tmp_path / "db")}
    script = """
import os, sqlite3, time
db = sqlite3.connect(os.environ["SCRATCH"], isolation_level=None)
db.execute("PRAGMA journal_mode=WAL"); db.execute("PRAGMA synchronous=FULL")
db.execute("CREATE TABLE t (x)")
began = time.monotonic(); db.execute("INSERT INTO t VALUES (1)"); print(time.monotonic() - began)
"""
    assert float(run(script, slow)[0]) >= 0.05


COMMIT_THREE_TIMES = """
import os, sqlite3
db = sqlite3.connect(os.environ["SCRATCH"], isolation_level=None)
db.execute("PRAGMA journal_mode=WAL"); db.execute("PRAGMA synchronous=FULL")
db.execute("CREATE TABLE IF NOT EXISTS t (x)")
(count,) = db.execute("SELECT count(*) FROM t").fetchone()
print(count, flush=True)
open(os.environ["WAL_DEATH"], "w").write(os.environ["DEATH"])
for n in range(3):
    db.execute("INSERT INTO t VALUES (?)", (n,))
print("survived")
"""


@pytest.mark.parametrize(
    ("death", "kept"),
    [
        ("write before 1", 0),
        ("write after 1", 0),
        ("sync after 1", 1),
        ("write before 5", 2),
        ("sync before 9", 3),
    ],
)
def test_a_process_dies_at_a_write_or_sync_of_the_write_ahead_log(
    tmp_path: Path, death: str, kept: int
) -> None:
    deadly = build.preload(build.shim("wal_death"))
    trigger = tmp_path / "death"
    deadly |= {"WAL_DEATH": str(trigger), "SCRATCH": str(tmp_path / "db"), "DEATH": death}
    command = [sys.executable, "-c", COMMIT_THREE_TIMES]
    first = subprocess.run(command, env=os.environ | deadly, capture_output=True, check=False)
    assert first.returncode == (0 if kept == 3 else -signal.SIGKILL), first.stderr
    assert trigger.exists() == (kept == 3)
    survivor = os.environ | deadly | {"DEATH": "sync before 99"}
    assert run(COMMIT_THREE_TIMES, survivor) == [str(kept), "survived"]
