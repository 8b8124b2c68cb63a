"""The journal: it follows the log, is made anew when it does not fit, and finds what a scan finds,
without ever scanning.
"""

import asyncio
import re
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kms.audit.leaf import Leaf, Outcome, Phase, decode_leaf
from kms.errors import StoreUnavailable
from kms.ports import Journal, LeafFilter, Sample, Unit
from kms.ports.journal import meeting_of
from kms.store import journal_reads
from kms.store import journal_tables as tables
from kms.store.journal import SqliteJournal
from kms.store.sqlite import SqliteStore
from tests.fixtures.many_leaves import SPACES, Mix, write_leaves
from tests.fixtures.store import TestClock, draft, meeting_id

FEW = Mix(leaves=1200, meetings=7, seconds=3 * 24 * 3600)


@contextmanager
def opened(folder: Path) -> Iterator[tuple[SqliteStore, SqliteJournal]]:
    store = SqliteStore.open(folder / "store.db", TestClock())
    journal = SqliteJournal(folder / "board.db")
    try:
        yield store, journal
    finally:
        journal.close()
        store.close()


def run(folder: Path, work: Callable[[SqliteStore, SqliteJournal], Awaitable[None]]) -> None:
    async def inside() -> None:
        with opened(folder) as (store, journal):
            await work(store, journal)

    asyncio.run(inside())


def catch_up(store: SqliteStore, journal: SqliteJournal) -> None:
    while journal.catch_up(store):
        pass


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Leaf], SqliteJournal]]:
    """A log of known leaves and its journal."""
    folder = tmp_path_factory.mktemp("journal")
    clock = TestClock()
    store = SqliteStore.open(folder / "store.db", clock)
    journal = SqliteJournal(folder / "board.db")
    start = clock.seconds

    def later(seconds: float) -> None:
        clock.seconds = start + seconds

    asyncio.run(write_leaves(store, FEW, later))
    catch_up(store, journal)
    yield [decode_leaf(data) for data in store.leaves(0, FEW.leaves)], journal
    journal.close()
    store.close()


# what is found


def one_of(*values: str) -> st.SearchStrategy[str]:
    return st.sampled_from(("", *values))


TIMES = [
    f"2027-01-{day}T{hour:02}:00:00.000000Z" for day in range(15, 19) for hour in (0, 8, 9, 20)
]
FILTERS = st.builds(
    LeafFilter,
    since=one_of(*TIMES),
    until=one_of(*TIMES),
    actor=one_of("server:alpha", "service", "eve", "nobody"),
    action=one_of("envelope.fetch", "epoch.rotate", "access.refused", "none"),
    space=one_of(*SPACES, "none"),
    meeting=one_of(*map(meeting_id, range(3))),
    resource_prefix=one_of("spaces/treasury/", f"spaces/treasury/meetings/{meeting_id(2)}", "x%"),
    outcome=one_of(*Outcome),
    phase=one_of(*Phase),
    code=one_of("forbidden", "none"),
    spaces=st.sampled_from(
        (None, frozenset[str](), frozenset(SPACES[:1]), frozenset({"", *SPACES}))
    ),
)


@given(FILTERS, st.integers(1, 60), st.none() | st.integers(0, 1300), st.sampled_from((7, 20_000)))
@settings(deadline=None)
def test_it_finds_what_a_scan_finds(
    many: tuple[list[Leaf], SqliteJournal],
    wanted: LeafFilter,
    limit: int,
    before: int | None,
    examined: int,
) -> None:
    leaves, journal = many
    fitting = [leaf.seq for leaf in reversed(leaves) if wanted.fits(leaf)]
    expected = [seq for seq in fitting if before is None or seq < before]
    found: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_reads, "EXAMINED", examined)
        place = before
        while True:
            page = journal.search(wanted, place, limit)
            assert len(page.leaves) <= limit
            found += page.leaves
            if page.next is None:
                break
            assert place is None or page.next < place
            place = page.next
    assert found == expected


def test_one_search_looks_only_so_far(
    many: tuple[list[Leaf], SqliteJournal], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, journal = many
    monkeypatch.setattr(journal_reads, "EXAMINED", 10)
    found = journal.search(LeafFilter(code="none"), None, 5)
    assert (found.leaves, found.next) == ((), FEW.leaves - 10 * journal_reads.LOOKS)


def test_counts_are_those_of_a_scan(many: tuple[list[Leaf], SqliteJournal]) -> None:
    leaves, journal = many
    since, until = TIMES[1], TIMES[9]
    for by in ("action", "space", "outcome"):
        expected = Counter(
            (leaf.time[:10], str(getattr(leaf, by)))
            for leaf in leaves
            if leaf.action in {"envelope.fetch", "epoch.rotate"} and since <= leaf.time < until
        )
        found = journal.counts({"envelope.fetch", "epoch.rotate"}, since, until, "day", by)
        assert {(one.start, one.key): one.number for one in found} == expected
    own = journal.counts({"envelope.fetch"}, since, until, "hour", "space", frozenset(SPACES[:1]))
    assert {one.key for one in own} == {SPACES[0]}
    assert {len(one.start) for one in own} == {13}
    reasons = journal.counts({"epoch.rotate"}, since, until, "day", "reason")
    assert sum(one.number for one in reasons) == sum(
        leaf.action == "epoch.rotate" and since <= leaf.time < until for leaf in leaves
    )
    assert {"time", "leave"} <= {one.key for one in reasons}


def test_days_are_those_of_the_time_that_is_asked_for(
    many: tuple[list[Leaf], SqliteJournal],
) -> None:
    leaves, journal = many
    since, until = TIMES[1], TIMES[9]

    def day(time: str) -> str:
        return (datetime.fromisoformat(time) + timedelta(minutes=480)).strftime("%Y-%m-%d")

    expected = Counter(
        day(leaf.time)
        for leaf in leaves
        if leaf.action == "envelope.fetch" and since <= leaf.time < until
    )
    found = journal.counts({"envelope.fetch"}, since, until, "day", "action", ahead=480)
    assert {one.start: one.number for one in found} == expected


def test_intents_are_not_counted(tmp_path: Path) -> None:
    async def work(store: SqliteStore, journal: SqliteJournal) -> None:
        leaves = [draft("epoch.rotate", phase=phase) for phase in (Phase.INTENT, Phase.RESULT)]
        await store.commit(Unit(leaves=tuple(leaves)))
        catch_up(store, journal)
        found = journal.counts(["epoch.rotate"], "2027", "2028", "day", "action")
        assert [one.number for one in found] == [1]

    run(tmp_path, work)


def test_who_fetched_a_meeting_s_keys(
    many: tuple[list[Leaf], SqliteJournal], monkeypatch: pytest.MonkeyPatch
) -> None:
    leaves, journal = many
    meeting, since, until = meeting_id(2), TIMES[1], TIMES[9]
    own = [
        leaf
        for leaf in leaves
        if meeting_of(leaf.resource) == meeting and leaf.action == "envelope.fetch"
    ]
    inside = [leaf for leaf in own if since <= leaf.time < until]
    wanted, fetch = LeafFilter(since, until, meeting=meeting, space="treasury"), ["envelope.fetch"]
    deeds = journal.actors_of(wanted, fetch, len(leaves))
    assert deeds.whole
    assert Counter((one.actor, one.recipient, one.number) for one in deeds.items) == Counter(
        (*key, number)
        for key, number in Counter((x.actor, x.details["recipient"]) for x in inside).items()
    )
    assert max(one.last for one in deeds.items) == inside[-1].seq
    written = {leaf.seq: leaf.time for leaf in inside}
    assert all(one.began == written[one.first] for one in deeds.items)
    assert all(one.ended == written[one.last] for one in deeds.items)
    assert journal.actors_of(replace(wanted, space="other"), fetch, len(leaves)).items == ()
    early = journal.actors_of(wanted, fetch, inside[-1].seq).items
    assert sum(one.number for one in early) == len(inside) - 1
    monkeypatch.setattr(journal_reads, "EXAMINED", 1)
    assert not journal.actors_of(LeafFilter(meeting=meeting), fetch, len(leaves)).whole


def test_meetings_are_found_by_the_end_of_their_id(tmp_path: Path) -> None:
    one, other = meeting_id(0x1_2345_6789), meeting_id(0x2_2345_6789)

    async def work(store: SqliteStore, journal: SqliteJournal) -> None:
        paths = [(space, f"spaces/{space}/meetings/{name}") for space, name in
                 ((SPACES[0], one), (SPACES[1], other), (SPACES[0], meeting_id(3)))]  # fmt: skip
        opened = [draft("meeting.open", space=space, resource=path) for space, path in paths]
        refused = replace(opened[2], outcome=Outcome.REFUSED)
        await store.commit(Unit(leaves=(*opened[:2], refused, draft("media.report"))))
        catch_up(store, journal)
        assert journal.meetings_ending("23456789", 9) == [(SPACES[1], other), (SPACES[0], one)]
        assert journal.meetings_ending("23456789", 1) == [(SPACES[1], other)]
        own = frozenset(SPACES[:1])
        assert journal.meetings_ending("23456789", 1, own) == [(SPACES[0], one)]
        assert journal.meetings_ending(one, 9) == [(SPACES[0], one)]
        assert journal.meetings_ending(meeting_id(3)[-8:], 9) == []

    run(tmp_path, work)


def test_the_newest_media_report(many: tuple[list[Leaf], SqliteJournal]) -> None:
    leaves, journal = many
    path = f"spaces/treasury/meetings/{meeting_id(2)}"
    own = [leaf.seq for leaf in leaves if (leaf.action, leaf.resource) == ("media.report", path)]
    assert journal.report_of("treasury", meeting_id(2)) == own[-1]
    assert journal.report_of("brokerage", meeting_id(2)) is None


# how it is found


def plans(journal: SqliteJournal, ask: Callable[[Journal], object]) -> list[str]:
    """Return how SQLite goes about every statement of a question."""
    connection = journal._file._reader
    assert connection is not None
    asked: list[str] = []
    connection.set_trace_callback(asked.append)
    ask(journal)
    connection.set_trace_callback(None)
    selects = [text for text in asked if text.startswith("SELECT")]
    rows = [connection.execute(f"EXPLAIN QUERY PLAN {text}").fetchall() for text in selects]
    return [row[3] for plan in rows for row in plan]


def by(name: str) -> LeafFilter:
    fields: dict[str, Any] = {name: "x"}
    return LeafFilter(**fields)


ASKED: list[tuple[str, Callable[[Any], object]]] = [
    *(
        (f"search by {name}", lambda j, name=name: j.search(by(name), None, 50))
        for name in asdict(LeafFilter())
        if name != "spaces"
    ),
    ("search for all", lambda j: j.search(LeafFilter(), None, 50)),
    ("search for what mostly is", lambda j: j.search(LeafFilter(outcome="succeeded"), None, 50)),
    ("search in spaces", lambda j: j.search(LeafFilter(spaces=frozenset({"", "x"})), None, 50)),
    ("search for much", lambda j: j.search(LeafFilter("1", "3", "a", "b", "c", "d"), 9, 50)),
    ("ending", lambda j: j.meetings_ending("23456789", 20, frozenset({"x"}))),
    ("report", lambda j: j.report_of("treasury", meeting_id(1))),
    ("counts", lambda j: j.counts(["a", "b"], "1", "3", "day", "space", frozenset({"x"}))),
    ("deeds", lambda j: j.actors_of(LeafFilter("1", "3", meeting=meeting_id(1)), ["a"], 9)),
    ("samples", lambda j: j.samples("fetches", 0, 10, "x")),
]


@pytest.mark.parametrize(("name", "ask"), ASKED, ids=[name for name, _ in ASKED])
def test_no_question_scans(
    many: tuple[list[Leaf], SqliteJournal], name: str, ask: Callable[[Any], object]
) -> None:
    found = plans(many[1], ask)
    assert found, name
    assert not [step for step in found if re.match("SCAN (?!json_each)", step)]
    used = [step for step in found if re.match("SEARCH (leaves|tallies|samples)", step)]
    assert used
    assert all("INDEX" in step or "PRIMARY KEY" in step for step in used)


# how it keeps up


def test_it_follows_by_itself_and_tells_how_far_it_is(tmp_path: Path) -> None:
    async def work(store: SqliteStore, journal: SqliteJournal) -> None:
        task = asyncio.create_task(journal.follow(store))
        for count in (3, 600):
            await store.commit(Unit(leaves=tuple(draft() for _ in range(count))))
            async with asyncio.timeout(10):
                while journal.indexed < store.tree_size():  # noqa: ASYNC110 -- a thread's work
                    await asyncio.sleep(0.01)
        task.cancel()
        assert journal.search(LeafFilter(), None, 1).leaves == (602,)

    run(tmp_path, work)


def test_before_it_is_made_it_says_so(tmp_path: Path) -> None:
    with opened(tmp_path) as (_, journal), pytest.raises(StoreUnavailable):
        journal.search(LeafFilter(), None, 1)


def test_it_is_taken_up_where_it_was(tmp_path: Path) -> None:
    async def write(store: SqliteStore, journal: SqliteJournal) -> None:
        await store.commit(Unit(leaves=tuple(draft() for _ in range(9))))
        catch_up(store, journal)
        journal.put_samples([Sample(600, "fetches", 1.5)])

    run(tmp_path, write)
    with opened(tmp_path) as (store, journal):
        journal._make_ready(store)
        assert journal.indexed == 9
        assert journal.samples("fetches", 0, 6000) == [(600, 1.5)]


def edit(*statements: str) -> Callable[[Path], None]:
    def do(path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        for one in statements:
            connection.execute(one)
        connection.close()

    return do


def overwrite(path: Path) -> None:
    path.write_bytes(b"no database" * 999)


def garble(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))


TAMPERED: list[tuple[str, Callable[[Path], None]]] = [
    ("deleted", Path.unlink),
    ("overwritten", overwrite),
    ("garbled", garble),
    ("a leaf is gone", edit("DELETE FROM leaves WHERE seq = 4")),
    ("the first is another", edit("UPDATE leaves SET actor = 'x' WHERE seq = 0")),
    ("the last is another", edit("UPDATE leaves SET outcome = 'x' WHERE seq = 8")),
    ("another log's root", edit("UPDATE head SET root = x'00'")),
    ("further than the log", edit("UPDATE head SET size = 99")),
    ("no head", edit("DELETE FROM head")),
    ("another version", edit("PRAGMA user_version=99")),
    ("an index is gone", edit("DROP INDEX leaves_actor")),
    ("a table is gone", edit("DROP TABLE head")),
]


@pytest.mark.parametrize(("name", "tamper"), TAMPERED, ids=[name for name, _ in TAMPERED])
def test_what_does_not_fit_is_made_anew(
    tmp_path: Path, name: str, tamper: Callable[[Path], None]
) -> None:
    async def write(store: SqliteStore, journal: SqliteJournal) -> None:
        leaves = [draft(actor=f"server:{n}") for n in range(9)]
        await store.commit(Unit(leaves=tuple(leaves)))
        catch_up(store, journal)

    run(tmp_path, write)
    tamper(tmp_path / "board.db")
    with opened(tmp_path) as (store, journal):
        catch_up(store, journal)
        if name == "an index is gone":  # found when it is asked
            with pytest.raises(StoreUnavailable):
                journal.search(LeafFilter(actor="server:4"), None, 9)
            catch_up(store, journal)
        assert journal.search(LeafFilter(actor="server:4"), None, 9).leaves == (4,)
        assert journal.search(LeafFilter(), None, 50).leaves == tuple(range(8, -1, -1))


def test_doubted_it_is_made_anew_and_keeps_its_samples(tmp_path: Path) -> None:
    async def work(store: SqliteStore, journal: SqliteJournal) -> None:
        await store.commit(Unit(leaves=tuple(draft() for _ in range(3))))
        catch_up(store, journal)
        journal.put_samples([Sample(600, "fetches", 1.5)])
        with journal._file.writing() as connection:
            connection.execute("UPDATE leaves SET actor = 'x' WHERE seq = 1")
        journal.distrust()
        catch_up(store, journal)
        assert journal.search(LeafFilter(actor="x"), None, 9).leaves == ()
        assert journal.samples("fetches", 0, 6000) == [(600, 1.5)]

    run(tmp_path, work)


def test_nobody_else_reads_its_file(tmp_path: Path) -> None:
    async def work(store: SqliteStore, journal: SqliteJournal) -> None:
        await store.commit(Unit(leaves=(draft(),)))
        catch_up(store, journal)
        modes.update(path.stat().st_mode & 0o777 for path in files)

    files = [tmp_path / f"board.db{suffix}" for suffix in ("", "-wal", "-shm")]
    modes: set[int] = set()
    run(tmp_path, work)
    assert modes == {0o600}


# samples


def test_samples_are_means_of_few_points_and_old_ones_go(tmp_path: Path) -> None:
    day = 24 * 3600

    async def work(store: SqliteStore, journal: SqliteJournal) -> None:
        journal.catch_up(store)
        start = 400 * day
        minutes = [Sample(start + 60 * n, "fetches", float(n % 2)) for n in range(3 * 1440)]
        journal.put_samples(minutes)
        journal.put_samples([Sample(start, "fetches", 9.0, "another")])
        fine = journal.samples("fetches", start, start + 3600)
        assert fine == [(one.time, one.value) for one in minutes[:60]]
        wide = journal.samples("fetches", start, start + 3 * day)
        assert (len(wide), {value for _, value in wide}) == (72, {0.5})
        assert len(journal.samples("fetches", start - 400 * day, start + 3 * day)) <= 400
        journal.put_samples([Sample(start + 402 * day, "fetches", 1.0)])
        left = journal.samples("fetches", 0, start + 500 * day)
        assert min(time for time, _ in left) >= start + 2 * day - 3 * day
        with journal._file.reading() as ask:
            counted = ask(
                "SELECT grain, count(*) FROM samples WHERE subject = '' GROUP BY grain", ()
            )
        assert counted == [(60, 1), (3600, 25)]

    run(tmp_path, work)


def test_the_tables_have_every_column_that_is_asked_for() -> None:
    assert {*tables.DRIVERS} <= {*asdict(LeafFilter())}
