"""What is listed of disks and devices, over real tokens: trouble with one space hides the disks of
no other, and devices that come and go fill nothing.
"""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from kms.audit.checks import Verdict
from kms.domain.disks import DiskState, OrderKind
from kms.domain.ids import DiskId
from kms.errors import HsmUnavailable, NotFound, StateNotAllowed
from kms.usecases.disks import strangers
from kms.usecases.disks.views import Overview
from tests.fixtures.disk_site import (
    OTHER,
    SPACE,
    DiskStory,
    fresh,
    new_serial,
    site,
    tell,
    verified,
)
from tests.fixtures.many_spaces import ManySpaces

__all__ = ["fresh", "site"]


def shown(found: Overview) -> set[str]:
    return {view.disk.disk for view in found.disks}


# --- spaces of which nothing can be said ---------------------------------------------------------


@contextmanager
def rewritten(one: DiskStory, disk: DiskId, sql: str) -> Iterator[None]:
    """Change a disk's row behind the service's back, and put it back afterwards."""
    path, where = one.services.settings.paths.database, (disk,)
    with closing(sqlite3.connect(path)) as db:
        row = db.execute("SELECT * FROM disk WHERE disk = ?", where).fetchone()
        with db:
            assert db.execute(sql, where).rowcount == 1
        one.services.cache._entries.clear()
        yield
        with db:
            db.execute("DELETE FROM disk WHERE disk = ?", where)
            db.execute(f"INSERT INTO disk VALUES ({', '.join('?' * len(row))})", row)
    one.services.cache._entries.clear()


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM disk WHERE disk = ?",
        "UPDATE disk SET mac = zeroblob(32) WHERE disk = ?",
        "UPDATE disk SET version = version - 1 WHERE disk = ?",
    ],
)
def test_a_spoilt_row_of_one_space_takes_the_disks_of_no_other_away(
    fresh: ManySpaces, sql: str
) -> None:
    """Also if it is the only one of its space."""

    async def story(one: DiskStory) -> None:
        good, bad = await one.prepared(new_serial()), await one.prepared(new_serial(), OTHER)
        assert (await one.listed()).unknown == []
        with rewritten(one, bad, sql):
            found = await one.listed()
            assert (shown(found), found.unknown) == ({good}, [OTHER])
            assert len(found.devices) == 2
            (leaf,) = one.leaves("integrity.failure", f"spaces/{OTHER}/disks")
            assert leaf.space == OTHER
            await one.keys(good)
        found = await one.listed()
        assert (shown(found), found.unknown) == ({good, bad}, [])

    tell(fresh, story)


def test_a_space_that_is_sealed_or_whose_token_does_not_answer_is_named(fresh: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        good, bad = await one.prepared(new_serial()), await one.prepared(new_serial(), OTHER)
        worker = one.workers.space(OTHER)

        async def fail(_rows: object) -> None:
            raise HsmUnavailable("not now")

        answer, worker.check_rows = worker.check_rows, fail
        one.services.cache._entries.pop(f"disk/{OTHER}/{bad}")
        found = await one.listed()
        assert (shown(found), found.unknown) == ({good}, [OTHER])
        worker.check_rows = answer
        one.services.seals.add(SPACE)
        found = await one.listed()
        assert (shown(found), found.unknown) == ({bad}, [SPACE])

    tell(fresh, story)


# --- strangers -----------------------------------------------------------------------------------


def test_a_stranger_that_is_gone_is_forgotten_and_the_log_still_follows(
    fresh: ManySpaces, tmp_path: Path
) -> None:
    async def story(one: DiskStory) -> None:
        disk = await one.prepared(own := new_serial())
        await one.report(own, DiskState.GONE, disk)
        serial = new_serial()
        for _ in range(2):
            await one.plug_in(serial)
            await one.report(serial, DiskState.GONE)
            assert one.services.store.device(serial) is None
        await one.report(serial, DiskState.GONE)  # it is told again, if the answer was lost
        assert len(one.leaves("device.report", serial)) == 6
        await one.report(serial, DiskState.UNKNOWN, code="device_in_use")
        with pytest.raises(NotFound):
            await one.order(OrderKind.RELEASE, "NEVER-SEEN")
        assert {device.serial for device in (await one.listed()).devices} == {own, serial}
        await one.parts.checkpointer.keep()
        report = verified(one, tmp_path / "evidence.sqlite")
        assert [result for result in report.results if result.verdict is Verdict.FAIL] == []

    tell(fresh, story)


def test_a_stranger_that_was_put_aside_stays_so_while_it_is_away(fresh: ManySpaces) -> None:
    async def story(one: DiskStory) -> None:
        serial = new_serial()
        await one.plug_in(serial)
        await one.report(serial, DiskState.QUARANTINED, code="by_order")
        await one.report(serial, DiskState.GONE, code="quarantined")
        device = one.services.store.device(serial)
        assert device is not None
        assert device.code == "quarantined"

    tell(fresh, story)


def test_only_so_many_strangers_are_remembered(
    fresh: ManySpaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangers, "MOST", 3)

    async def story(one: DiskStory) -> None:
        for serial in ("old", "older", "there"):
            await one.report(serial, DiskState.QUARANTINED)
        for serial in ("older", "old"):
            await one.pass_time(60)
            await one.report(serial, DiskState.GONE, code="quarantined")
        for serial in ("new", "newer"):
            await one.plug_in(serial)
        devices = (await one.listed()).devices
        assert {device.serial for device in devices} == {"there", "new", "newer"}
        before = one.services.store.tree_size()
        with pytest.raises(StateNotAllowed, match="there already"):
            await one.report("newest", DiskState.SEEN)
        assert one.services.store.tree_size() == before
        await one.report("new", DiskState.GONE)
        await one.prepared("newest")
        await one.plug_in("one more")

    tell(fresh, story)


def test_of_two_reported_at_once_one_is_too_many(
    fresh: ManySpaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangers, "MOST", 1)

    async def story(one: DiskStory) -> None:
        both = (one.report(serial, DiskState.SEEN) for serial in ("a", "b"))
        told = await asyncio.gather(*both, return_exceptions=True)
        assert sum(isinstance(answer, StateNotAllowed) for answer in told) == 1
        assert len(one.services.store.devices()) == 1

    tell(fresh, story)
