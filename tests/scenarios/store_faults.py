"""The database is taken away from a running service, in several ways, while servers mint and fetch.

What was asked and answered while it was gone must have been refused, with no key in the answer;
what was served must stand in the log.
"""

import json
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kms.audit.leaf import Leaf, Outcome
from tests.fixtures.disks import small_disk
from tests.practice.service import Service
from tests.scenarios import stored
from tests.scenarios.traffic import PATIENCE_SECONDS, Answer, Traffic

REFUSED = "store_unavailable"
_OFTEN = 5

Fault = Callable[[Service], Iterator[None]]


@dataclass
class Seen:
    """What was seen of one fault: answers by code while it lasted, keys in them, seconds until
    every kind of key operation was possible again, and whether any process was another one."""

    codes: Counter[str] = field(default_factory=Counter)
    keys: int = 0
    resumed: float = 0.0
    same_processes: bool = False


@dataclass
class Report:
    """What was seen of every fault, and of the log afterwards."""

    faults: dict[str, Seen] = field(default_factory=dict)
    served: int = 0
    unlogged: int = 0


def run(service: Service, directory: Path) -> Report:
    """Bring every fault about, one after the other, then check the log and what is stored."""
    report, traffic = Report(), Traffic(service)
    with traffic.running():
        for name, fault in FAULTS.items():
            report.faults[name] = _suffer(traffic, fault)
    _settle(report, traffic, directory)
    return report


def run_full_disk(service: Service, directory: Path) -> Report:
    """The same with a disk that is full; what still fits may be served, if it is logged."""
    report, traffic = Report(), Traffic(service)
    with traffic.running():
        report.faults["full"] = _suffer(traffic, _full)
    _settle(report, traffic, directory)
    return report


def _suffer(traffic: Traffic, fault: Fault) -> Seen:
    service = traffic.service
    traffic.await_served(time.monotonic())
    before = service.pids()
    with contextmanager(fault)(service):
        broken = time.monotonic()
        traffic.await_refused(broken, _OFTEN)
        mending = time.monotonic()
    resumed = traffic.await_served(time.monotonic())
    answers = traffic.between(broken, mending)
    return Seen(
        Counter(one.code or "served" for one in answers),
        sum(one.key for one in answers if one.code),
        resumed,
        service.pids() == before,
    )


def _settle(report: Report, traffic: Traffic, directory: Path) -> None:
    """Start anew, which gives every interrupted mint its result; check all that is stored."""
    service = traffic.service
    service.stop()
    service.start()
    found = stored.read(service.settings.paths.database, directory / "copy.db")
    stored.check_whole(found, service.trust())
    served = [one for one in traffic.answers if not one.code]
    report.served = len(served)
    report.unlogged = _unlogged(served, found.leaves)


def _unlogged(served: list[Answer], leaves: list[Leaf]) -> int:
    """Count what was served without a leaf that says so."""
    logged = Counter(
        (leaf.resource, leaf.action == "epoch.rotate")
        for leaf in leaves
        if leaf.outcome is Outcome.SUCCEEDED
        and leaf.action in {"epoch.rotate", "envelope.fetch", "envelope.relay"}
    )
    spaces = {
        leaf.resource.split("/")[3]: leaf.space for leaf in leaves if "meetings" in leaf.resource
    }
    wanted = Counter(
        (f"spaces/{spaces[one.meeting]}/meetings/{one.meeting}/epochs/{one.epoch}", one.mint)
        for one in served
    )
    return (wanted - logged).total()


# --- the faults ----------------------------------------------------------------------------------


def _read_only(service: Service) -> Iterator[None]:
    database = service.settings.paths.database
    database.chmod(0o400)
    yield
    database.chmod(0o600)


def _moved_away(service: Service) -> Iterator[None]:
    database = service.settings.paths.database
    away = database.rename(database.with_name("away.db"))
    yield
    away.rename(database)


def _deleted(service: Service) -> Iterator[None]:
    """Deleted with its write-ahead log; mended by a copy of what the process still holds open."""
    database = service.settings.paths.database
    for path in database.parent.glob(f"{database.name}*"):
        if path.suffix != ".lock":
            path.unlink()
    yield
    rescued = database.with_name("rescued.db")
    for end in ("", "-wal"):
        source = _still_open(service.pids()["web"], Path(f"{database}{end}"))
        shutil.copy(source, f"{rescued}{end}")
    with closing(sqlite3.connect(rescued)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    rescued.rename(database)


def _still_open(pid: int, deleted: Path) -> Path:
    for link in Path(f"/proc/{pid}/fd").iterdir():
        if str(link.readlink()) == f"{deleted} (deleted)":
            return link
    raise AssertionError(f"{deleted} is not open any more")


def _replaced_by_an_older_copy(service: Service) -> Iterator[None]:
    database = service.settings.paths.database
    older = back_up(database, database.with_name("older.db"))
    with service.console() as console:
        size = console.status().tree_size
        while console.status().tree_size == size:
            time.sleep(0.01)
    yield from _replaced(database, older)


def _replaced_by_an_empty_file(service: Service) -> Iterator[None]:
    empty = service.settings.paths.state / "empty.db"
    empty.touch(mode=0o600)
    yield from _replaced(service.settings.paths.database, empty)


def _replaced(database: Path, other: Path) -> Iterator[None]:
    kept = database.with_name("kept.db")
    kept.hardlink_to(database)
    other.rename(database)
    yield
    kept.rename(database)


def _full(service: Service) -> Iterator[None]:
    filler = service.settings.paths.state / "recording"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    yield
    filler.unlink()


FAULTS: dict[str, Fault] = {
    "made read-only": _read_only,
    "moved away": _moved_away,
    "deleted": _deleted,
    "replaced by an older copy": _replaced_by_an_older_copy,
    "replaced by an empty file": _replaced_by_an_empty_file,
}


# --- a copy put back while the service is down ---------------------------------------------------


@dataclass(frozen=True)
class Rollback:
    """How the service ended when it was started on an older database, and what it said."""

    code: int
    message: str


def roll_back(service: Service, directory: Path) -> Rollback:
    """Stop, put an older copy in place, start; afterwards start with the newest again."""
    database = service.settings.paths.database
    older = back_up(database, directory / "older.db")
    traffic = Traffic(service)
    with traffic.running():
        traffic.await_served(time.monotonic())
    service.stop()
    newest = database.rename(directory / "newest.db")
    shutil.copy(older, database)
    service.log.write_bytes(b"")
    service.start(wait=False)
    code, message = service.wait(PATIENCE_SECONDS), _last_words(service)
    database.unlink()
    newest.rename(database)
    service.start()
    with Traffic(service).running() as again:
        again.await_served(time.monotonic())
    return Rollback(code, message)


def _last_words(service: Service) -> str:
    """What the web process said before it gave up."""
    lines = [line for line in service.log.read_text().splitlines() if '"critical"' in line]
    return " ".join(str(json.loads(line)["message"]) for line in lines)


def back_up(database: Path, copy: Path) -> Path:
    """Copy a database in use, by SQLite's own backup."""
    with (
        closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
    return copy


@contextmanager
def on_small_disk(state: Path, *, megabytes: int = 32) -> Iterator[None]:
    """Put a folder's contents on a small disk of its own."""
    aside = state.rename(state.with_name("state-aside"))
    state.mkdir(mode=0o700)
    with small_disk(state, megabytes=megabytes):
        shutil.copytree(aside, state, dirs_exist_ok=True)
        yield
