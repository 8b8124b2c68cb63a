"""The emergency seal in the web process, over a fake HSM: what is refused, and that trouble with
disk or HSM does not stop it.
"""

import asyncio
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from kms.audit.leaf import Leaf, Outcome, Phase, decode_leaf
from kms.bootstrap import sealed_log
from kms.bootstrap.clock import SystemClock
from kms.bootstrap.seal_marks import SealMarks
from kms.bootstrap.sealed_log import log_sealed_site
from kms.bootstrap.service import _check_site
from kms.domain.ids import SpaceName
from kms.domain.models import Principal, PrincipalKind, Role, Space
from kms.domain.rows import RowKind
from kms.errors import (
    Forbidden,
    HsmUnavailable,
    InvalidInput,
    NotFound,
    Sealed,
    StoreUnavailable,
)
from kms.ports import Unit
from kms.settings import Settings
from kms.statements.canonical import make_row, read_row
from kms.statements.sealing import BOX, Mark, marker
from kms.store.sqlite import SqliteStore
from kms.usecases import queries, seals
from kms.usecases.meetings import open_meeting
from kms.usecases.rosters import WantedRoster
from kms.usecases.sealed import OpenWorkers, Seals
from kms.usecases.seals import follow_marks, restore_seals, seal_site, seal_space, sealed_spaces
from kms.usecases.services import Call
from tests.fixtures.api import (
    ALPHA,
    BANKING,
    TREASURY,
    FakeSite,
    make_caller,
    make_settings,
    run_with_site,
)

OFFICER = Principal("officer", PrincipalKind.SOCKET, "uid=1", frozenset({Role.OFFICER}),
                    frozenset({TREASURY}))  # fmt: skip


@dataclass
class FakeMarks:
    """Fake markers, in memory; ``broken`` ones are not durable."""

    broken: bool = False
    placed: dict[str, Mark] = field(default_factory=dict)

    def place(self, space: str, mark: Mark) -> None:
        if self.broken:
            raise StoreUnavailable("the fake disk is full")
        self.placed.setdefault(space, mark)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seals, "_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(seals, "_RETRY_SECONDS", 0.01)


def call(operation: str, principal: Principal = OFFICER) -> Call:
    return Call(principal, operation, "")


def leaves(site: FakeSite) -> list[Leaf]:
    return [decode_leaf(data) for data in site.store.leaves(0, 1000)]


def space_row(site: FakeSite) -> Space:
    sealed = site.store.row(RowKind.SPACE, f"space/{TREASURY}")
    assert sealed is not None
    record = read_row(sealed.row)
    assert isinstance(record, Space)
    return record


async def eventually(site: FakeSite, action: str) -> Leaf:
    for _ in range(200):
        found = [leaf for leaf in leaves(site) if leaf.action == action]
        if found:
            return found[0]
        await asyncio.sleep(0.01)
    raise AssertionError(f"no {action}")


def test_a_seal_marks_then_logs_and_refuses_everything_of_the_space() -> None:
    marks = FakeMarks()

    async def work(site: FakeSite) -> None:
        services = site.services
        done = await seal_space(services, call("space.seal"), TREASURY, "why")
        assert (done.space, done.durable, done.logged) == (TREASURY, True, True)
        assert marks.placed[TREASURY].reason == "why"
        assert space_row(site).sealed == done.since
        leaf = await eventually(site, "space.seal")
        assert (leaf.actor, leaf.resource) == ("officer", f"spaces/{TREASURY}")
        assert (leaf.rows, leaf.details) == ({f"space/{TREASURY}": 2}, {"reason": "why"})
        with pytest.raises(Sealed):
            await queries.list_meetings(services, call("meeting.list"), TREASURY, "", 10)
        assert sealed_spaces(services) == [TREASURY]

    run_with_site(work, seals=Seals(marks))


def test_sealing_again_changes_nothing() -> None:
    async def work(site: FakeSite) -> None:
        for _ in range(2):
            assert (await seal_space(site.services, call("space.seal"), TREASURY, "why")).logged
        assert [leaf.action for leaf in leaves(site)].count("space.seal") == 1

    run_with_site(work)


def test_an_officer_seals_the_box_without_any_row() -> None:
    marks = FakeMarks()

    async def work(site: FakeSite) -> None:
        assert (await seal_site(site.services, call("site.seal"), "why")).logged
        leaf = await eventually(site, "site.seal")
        assert (leaf.space, leaf.resource, leaf.rows) == ("", "site", {})
        assert site.store.site_sealed()
        for space in (TREASURY, BANKING):
            with pytest.raises(Sealed):
                site.services.seals.check(space)
        assert BOX in marks.placed

    run_with_site(work, seals=Seals(marks))


@pytest.mark.parametrize("reason", [" ", "a\0b", "a\x1b[2K", "a\u202eb"])
def test_a_reason_says_something_and_hides_nothing(reason: str) -> None:
    async def work(site: FakeSite) -> None:
        with pytest.raises(InvalidInput):
            await seal_space(site.services, call("space.seal"), TREASURY, reason)
        with pytest.raises(InvalidInput):
            await seal_site(site.services, call("site.seal"), reason)
        assert not site.services.seals.spaces

    run_with_site(work)


def test_nobody_but_an_officer_of_the_space_seals_it() -> None:
    auditor = Principal(
        "a", PrincipalKind.SOCKET, "uid=2", frozenset({Role.AUDITOR}), frozenset({TREASURY})
    )

    async def work(site: FakeSite) -> None:
        with pytest.raises(Forbidden):
            await seal_space(site.services, call("space.seal", auditor), TREASURY, "why")
        with pytest.raises(NotFound):
            await seal_space(site.services, call("space.seal"), BANKING, "why")
        assert not site.services.seals.spaces

    run_with_site(work)


def test_without_the_hsm_the_seal_holds_and_the_log_follows() -> None:
    async def work(site: FakeSite) -> None:
        site.workers.site.down = True
        done = await seal_space(site.services, call("space.seal"), TREASURY, "why")
        assert (done.durable, done.logged) == (True, False)
        with pytest.raises(Sealed):
            site.services.seals.check(TREASURY)
        site.workers.site.down = False
        assert (await eventually(site, "space.seal")).actor == "officer"
        await site.services.seals.stop()

    run_with_site(work)


def test_without_the_disk_the_seal_holds_and_the_marker_follows() -> None:
    marks = FakeMarks(broken=True)

    async def work(site: FakeSite) -> None:
        done = await seal_space(site.services, call("space.seal"), TREASURY, "why")
        assert not done.durable
        marks.broken = False
        await asyncio.gather(*site.services.seals.recording)
        assert TREASURY in marks.placed

    run_with_site(work, seals=Seals(marks))


def test_a_hanging_store_does_not_keep_the_caller_waiting() -> None:
    async def work(site: FakeSite) -> None:
        lock = site.services.seals.lock
        async with lock:
            begun = time.monotonic()
            assert not (await seal_space(site.services, call("space.seal"), TREASURY, "w")).logged
            assert time.monotonic() - begun < 1
        await eventually(site, "space.seal")

    run_with_site(work)


def test_a_start_finds_the_row_and_puts_the_marker_back() -> None:
    marks = FakeMarks()

    async def work(site: FakeSite) -> None:
        await seal_space(site.services, call("space.seal"), TREASURY, "why")
        services = site.services
        services.seals.spaces.clear()
        marks.placed.clear()
        await restore_seals(services, {})
        assert set(marks.placed) == {TREASURY} == services.seals.spaces

    run_with_site(work, seals=Seals(marks))


def test_a_start_finds_the_marker_and_completes_the_row() -> None:
    async def work(site: FakeSite) -> None:
        await restore_seals(site.services, {TREASURY: Mark("officer", 1, "why", 1)})
        leaf = await eventually(site, "space.seal")
        assert (leaf.actor, leaf.details) == ("service", {"reason": "why"})
        assert space_row(site).sealed

    run_with_site(work)


def test_a_marker_that_an_unsealing_has_yet_to_remove_seals_no_row_anew() -> None:
    async def work(site: FakeSite) -> None:
        unsealing = call("space.unseal").leaf(
            TREASURY, f"spaces/{TREASURY}", Phase.EVENT, Outcome.SUCCEEDED
        )
        older = Mark("officer", 1, "why", site.store.tree_size())
        await site.store.commit(Unit(leaves=(unsealing,)))
        await restore_seals(site.services, {TREASURY: older})
        assert not site.services.seals.recording
        assert site.services.seals.holds(TREASURY)

    run_with_site(work)


def test_rows_that_were_on_their_way_are_not_stored_any_more() -> None:
    async def work(site: FakeSite) -> None:
        site.services.seals.add(TREASURY)
        row = make_row(space_row(site), 1)
        site.services.seals.check_row(row)  # the site's own row of a sealed space
        with pytest.raises(Sealed):
            site.services.seals.check_row(
                type(row)(RowKind.MEETING, f"meeting/{TREASURY}/x", 1, b"")
            )

    run_with_site(work)


def test_the_workers_of_what_is_sealed_are_not_to_be_had() -> None:
    async def work(site: FakeSite) -> None:
        found = Seals()
        there = OpenWorkers(site.workers, found, [TREASURY, BANKING])
        assert len(list(there.all())) == 3
        found.add(TREASURY)
        assert len(list(there.all())) == 2
        with pytest.raises(Sealed):
            there.space(TREASURY)
        assert there.space(SpaceName(BANKING)) is site.workers.spaces[BANKING]
        assert there.site is site.workers.site

    run_with_site(work)


def test_the_api_seals_and_then_says_so() -> None:
    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            empty = await client.post(f"/v1/spaces/{TREASURY}:seal", json={"reason": ""})
            assert empty.status_code == 400
            done = await client.post(f"/v1/spaces/{TREASURY}:seal", json={"reason": "why"})
            assert (done.status_code, done.json()["logged"]) == (200, True)
            refused = await client.get(f"/v1/spaces/{TREASURY}/meetings")
            assert (refused.status_code, refused.json()["code"]) == (503, "sealed")
            served = await client.get(f"/v1/spaces/{BANKING}/meetings")
            assert served.status_code == 200
            spaces = (await client.get("/v1/spaces")).json()["items"]
            assert {one["space"] for one in spaces if one["sealed"]} == {TREASURY}

    run_with_site(work, caller=make_caller())


def test_a_worker_that_is_down_is_not_taken_for_sealed() -> None:
    async def work(site: FakeSite) -> None:
        site.workers.spaces[TREASURY].down = True
        with pytest.raises(HsmUnavailable):
            await site.services.workers.space(TREASURY).check_rows([])

    run_with_site(work)


def test_what_is_minted_when_the_seal_falls_is_not_stored() -> None:
    async def work(site: FakeSite) -> None:
        site.workers.spaces[TREASURY].slow = 0.05
        wanted = WantedRoster(recipients=(ALPHA,))
        server = replace(OFFICER, roles=frozenset({Role.MEETING_SERVER}))
        opening = asyncio.create_task(
            open_meeting(site.services, call("meeting.open", server), TREASURY, None, wanted)
        )
        await asyncio.sleep(0.02)
        assert (await seal_space(site.services, call("space.seal"), TREASURY, "why")).logged
        with pytest.raises(Sealed):
            await opening
        assert site.store.meetings(TREASURY, "", 10) == []

    run_with_site(work)


def test_a_marker_of_the_box_made_by_hand_is_logged() -> None:
    async def work(site: FakeSite) -> None:
        marked = {BOX: Mark("unknown", 0, "by hand", sys.maxsize)}
        task = asyncio.create_task(follow_marks(site.services, lambda: marked))
        leaf = await eventually(site, "site.seal")
        task.cancel()
        assert (leaf.actor, leaf.details) == ("service", {"reason": "by hand"})
        with pytest.raises(Sealed):
            site.services.seals.check(TREASURY)

    run_with_site(work)


def test_a_start_that_finds_the_boxs_marker_ends() -> None:
    async def work(site: FakeSite) -> None:
        with pytest.raises(Sealed):
            await restore_seals(site.services, {BOX: Mark("officer", 1, "why", 1)})

    run_with_site(work)


@dataclass
class Box:
    """A box whose marker is there, and its store when nobody has it open."""

    settings: Settings
    mark: Mark

    def __post_init__(self) -> None:
        self.settings.paths.database.parent.mkdir(parents=True, exist_ok=True)
        self.marks = SealMarks(self.settings.paths)
        self.marks.place(BOX, self.mark)
        with self.store():
            pass

    def store(self) -> closing[SqliteStore]:
        return closing(SqliteStore.open(self.settings.paths.database, SystemClock()))

    def said(self) -> list[Leaf]:
        with self.store() as store:
            return [decode_leaf(data) for data in store.leaves(0, 10)]


def box_of(folder: Path) -> Box:
    return Box(make_settings(folder), Mark("officer", 1, "a fire", 1))


def test_a_seal_of_the_box_that_missed_the_log_is_logged_by_the_sealed_start(
    tmp_path: Path,
) -> None:
    box = box_of(tmp_path)
    for _ in range(2):
        asyncio.run(log_sealed_site(box.settings))
    (leaf,) = box.said()
    assert (leaf.action, leaf.actor, leaf.details) == ("site.seal", "service", {"reason": "a fire"})
    (box.settings.paths.state / marker(BOX)).unlink()
    with box.store() as store, pytest.raises(Sealed):
        _check_site(store, box.marks)
    assert BOX in box.marks.sealed()


def test_a_sealed_start_goes_on_trying_until_the_store_can_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed_log, "_RETRY_SECONDS", 0.01)
    box = box_of(tmp_path)

    async def work() -> None:
        with box.store():
            task = asyncio.create_task(log_sealed_site(box.settings))
            await asyncio.sleep(0.05)
            assert not task.done(), "another process has the store"
        await task

    asyncio.run(work())
    assert [leaf.action for leaf in box.said()] == ["site.seal"]


def test_a_sealed_start_during_an_unsealing_seals_nothing_anew(tmp_path: Path) -> None:
    box = box_of(tmp_path)
    started = call("service.start").leaf("", "service", Phase.EVENT, Outcome.SUCCEEDED)
    unsealing = call("site.unseal").leaf("", "site", Phase.EVENT, Outcome.SUCCEEDED)
    with box.store() as store:
        asyncio.run(store.commit(Unit(leaves=(started, unsealing))))
    asyncio.run(log_sealed_site(box.settings))
    assert box.said()[-1].action == "site.unseal"
