"""The compiled statements: what Core says is what the driver runs, and it runs by index."""

import re
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.dialects import postgresql, sqlite

from kms.domain.approvals import RequestState
from kms.domain.models import Envelope
from kms.domain.rows import RowKind
from kms.ports import (
    DropDevice,
    DropEnvelope,
    DropEnvelopes,
    PutCertificate,
    PutCheckpoint,
    PutDevice,
    PutEnvelopes,
    PutMac,
    PutMark,
    PutOrder,
    PutReply,
    TakeLease,
    Unit,
)
from kms.store import statements
from kms.store.changes import steps_of
from kms.store.migrate import migrate
from kms.store.sqlite import SqliteStore
from kms.store.statements import CHUNKS, Statement, Statements
from tests.fixtures.store import (
    TREASURY,
    TestClock,
    device,
    disk,
    disk_id,
    disk_order,
    draft,
    epoch,
    grant,
    hold,
    meeting,
    meeting_id,
    opening,
    policy,
    put,
    recipient_id,
    request,
    request_id,
    roster,
    sealed,
    share,
    site_policy,
    space,
)

SQL = Statements(sqlite.dialect(paramstyle="qmark"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def every(sql: Statements = SQL) -> dict[str, Statement]:
    found: dict[str, Statement] = {}
    for name, value in vars(sql).items():
        for key, statement in value.items() if isinstance(value, dict) else [("", value)]:
            found[f"{name}{key}"] = statement
    return found


def shape(statement: Statement) -> re.Pattern[str]:
    """Match the statement's text with values in place of its parameters, as a trace shows it."""
    value = r"(?:NULL|-?\d+|[xX]?'(?:[^']|'')*')"
    return re.compile(re.escape(statement.sql).replace(re.escape("?"), value))


@pytest.mark.anyio
async def test_the_driver_runs_the_compiled_text_and_nothing_else(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "c.db", TestClock())
    seen: list[str] = []
    store._database.writer.set_trace_callback(seen.append)
    assert store._database._reader is not None
    store._database._reader.set_trace_callback(seen.append)
    try:
        await use_everything(store)
    finally:
        store._database.writer.set_trace_callback(None)
        store.close()
    own = re.compile(r"BEGIN IMMEDIATE|COMMIT|PRAGMA (user_version|wal_checkpoint).*|-- .*")
    shapes = {name: shape(statement) for name, statement in every().items()}
    unknown = [
        text
        for text in seen
        if not own.fullmatch(text) and not any(one.fullmatch(text) for one in shapes.values())
    ]
    assert unknown == []
    never = {name for name, one in shapes.items() if not any(one.fullmatch(t) for t in seen)}
    apart = "count_kept"  # runs on a connection of its own, which nobody traces here
    assert never == {"all_leaves", "update_macrecipient", apart} | {
        f"{verb}_row{kind}"
        for verb, kinds in (
            ("insert", ["recipient"]),
            ("update", ["recipient", "meeting", "roster"]),
        )
        for kind in kinds
    }


async def use_everything(store: SqliteStore) -> None:
    await store.commit(put((space(), 1)))
    await store.commit(opening())
    await store.commit(put((space(), 2), (epoch(), 2)))
    for record, version in ((space(), 2), (meeting(), 1), (roster(), 1), (epoch(), 2)):
        await store.commit(Unit((PutMac(sealed(record, version)),)))
    await store.commit(Unit((PutReply("a", "k", "r", 201, b"{}", 1), PutCheckpoint(1, "note"))))
    await store.commit(Unit(leaves=(draft(),) * sum(CHUNKS)))
    await store.commit(Unit((many_envelopes(sum(CHUNKS)),)))
    await store.commit(Unit((DropEnvelope(TREASURY, meeting_id(), 0, recipient_id(1)),)))
    await store.commit(Unit((DropEnvelopes(TREASURY, meeting_id(), 0),)))
    for kind, key in (
        (RowKind.SPACE, "space/treasury"),
        (RowKind.RECIPIENT, f"recipient/treasury/{recipient_id(1)}"),
        (RowKind.MEETING, f"meeting/treasury/{meeting_id()}"),
        (RowKind.ROSTER, f"roster/treasury/{meeting_id()}"),
        (RowKind.EPOCH, f"epoch/treasury/{meeting_id()}/0"),
    ):
        store.row(kind, key)
    await use_the_life_cycle(store)
    await use_disks(store)
    store.meetings(TREASURY, "", 5)
    store.epochs(TREASURY, meeting_id(), -1, 5)
    store.recipients(TREASURY)
    store.spaces()
    store.pending_epochs()
    store.envelope(TREASURY, meeting_id(), 0, recipient_id(1))
    store.reply("a", "k")
    store.leaves(0, 5)
    store.checkpoints(0, 5)
    store.last_checkpoint()


async def use_the_life_cycle(store: SqliteStore) -> None:
    for record in (policy(), site_policy(), request(), grant(), hold(), share()):
        for version in (1, 2):
            await store.commit(put((record, version)))
        row = sealed(record, 2)
        await store.commit(Unit((PutMac(row),)))
        store.row(row.row.kind, row.row.key)
    lease, mark = TakeLease("rotation", "one", 1, 2), PutMark("reader", 7)
    await store.commit(Unit((lease, mark, PutCertificate(request_id(1), "a.b.c"))))
    store.lease("rotation")
    store.mark("reader", 0)
    store.certificate(request_id(1))
    store.present_epochs(TREASURY, ("", -1), 5)
    store.epochs_kept_for(TREASURY, recipient_id(1), ("", -1), 5)
    await store.count_kept(recipient_id(1))
    store.count_envelopes(TREASURY, meeting_id(), 0)
    store.requests(RequestState.PENDING, "", 5)
    store.newest_requests(RequestState.PENDING, "", 5)
    store.request(request_id(1))
    store.grants(TREASURY)
    store.holds(TREASURY)
    store.shares(TREASURY)


async def use_disks(store: SqliteStore) -> None:
    for version in (1, 2):
        await store.commit(put((disk(), version)))
    row = sealed(disk(), 2)
    await store.commit(Unit((PutMac(row), PutDevice(device()), PutOrder(disk_order()))))
    store.row(row.row.kind, row.row.key)
    store.disks()
    store.disk(disk_id())
    store.devices()
    store.device("SN-1")
    store.disk_orders("", "", 5)
    store.disk_orders(disk_id(), "", 5)
    store.open_orders()
    store.disk_order(request_id(1))
    await store.commit(Unit((DropDevice("SN-1"),)))


def many_envelopes(count: int) -> PutEnvelopes:
    return PutEnvelopes(
        tuple(
            Envelope(TREASURY, meeting_id(), 0, recipient_id(100 + number), b"blob")
            for number in range(count)
        )
    )


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> sqlite3.Connection:
    path = tmp_path_factory.mktemp("schema") / "c.db"
    migrate(path)
    return sqlite3.connect(path)


READS_ALL = {"spaces", "all_leaves", "disks", "devices", "count_kept"}
"""Every space, disk and device, every leaf at start, every envelope in a thread: a scan is what is
asked for.
"""
BY_PARTIAL_INDEX = {
    "pending": "SCAN epoch USING INDEX epoch_pending",
    "open_orders": "SCAN disk_order USING INDEX disk_order_to_do",
}


@pytest.mark.parametrize("name", sorted(every()))
def test_every_statement_finds_its_rows_by_index(schema: sqlite3.Connection, name: str) -> None:
    statement = every()[name]
    plan = schema.execute(f"EXPLAIN QUERY PLAN {statement.sql}", [None] * len(statement.names))
    lines = [line for *_, line in plan]
    scans = [line for line in lines if line.startswith("SCAN") and "CONSTANT" not in line]
    if name in BY_PARTIAL_INDEX:
        assert lines == [BY_PARTIAL_INDEX[name]]
    elif name in READS_ALL:
        assert len(lines) == 1
    else:
        assert scans == []
    assert not any("TEMP B-TREE" in line for line in lines)


def test_the_same_statements_compile_for_postgresql() -> None:
    texts = every(Statements(postgresql.dialect(paramstyle="format")))
    assert texts.keys() == every().keys()
    assert texts["envelope"].names == every()["envelope"].names


def test_parameters_are_bound_by_name_and_fixed_ones_filled_in() -> None:
    page = SQL.meetings
    assert page.bind(limit=7, after="a", space="s") == ("s", "a", 7, 0)
    with pytest.raises(KeyError):
        page.bind(space="s")


def test_an_update_demands_the_version_before() -> None:
    (step,) = steps_of(put((epoch(), 5)).changes, SQL)
    assert step.follows
    assert step.parameters[-1] == 4
    assert statements.TABLES[RowKind.EPOCH][1] == ("space", "meeting", "epoch")
