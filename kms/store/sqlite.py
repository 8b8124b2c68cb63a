"""The store on SQLite: the port's reads, and the way to the writer.

Used from the event loop's thread; only the writer's own thread writes.
"""

import asyncio
import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect

from kms.audit.leaf import decode_leaf
from kms.audit.merkle import MerkleTree
from kms.domain.approvals import RequestState
from kms.domain.disks import Device, DiskOrder
from kms.domain.ids import MAX_EPOCH, MeetingId, RecipientId, SpaceName
from kms.domain.rows import Row, RowKind, SealedRow
from kms.errors import IntegrityFailure, InvalidInput
from kms.ports import Clock, Reply, Unit
from kms.statements.canonical import decode_record
from kms.store.changes import steps_of
from kms.store.connection import make_file
from kms.store.database import Database
from kms.store.lock import WriterLock
from kms.store.log import Facts, form_leaf, load, stored_leaves
from kms.store.migrate import migrate
from kms.store.statements import TABLES, Statement, Statements
from kms.store.writer import Job, Writer

_LAST = "~"
"""Comes after every id of an order."""
_R = TypeVar("_R", Device, DiskOrder)
_EPOCH = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)


class SqliteStore:
    """A ``Store`` (kms/ports) in one file; its writer's lock lies beside it."""

    def __init__(
        self,
        lock: WriterLock,
        database: Database,
        statements: Statements,
        log: tuple[MerkleTree, Facts, int],
        clock: Clock,
    ) -> None:
        self._lock, self._database, self._sql = lock, database, statements
        self._tree, self._facts, last = log
        self._writer = Writer(database, statements, clock, self._tree, self._facts, last)

    @classmethod
    def open(cls, path: Path, clock: Clock) -> Self:
        """Open the database, made or brought up to date if need be, and read its log.

        Raise StoreUnavailable if another process writes it, a newer version wrote it or it cannot
        be written; IntegrityFailure if its log has gaps or leaves that the service did not write.
        """
        path = path.resolve()
        lock = WriterLock(path)
        database = Database(path)
        statements = Statements(sqlite_dialect(paramstyle="qmark"))
        logs: list[tuple[MerkleTree, Facts, int]] = []

        def read_log(connection: sqlite3.Connection) -> None:
            logs.append(load(stored_leaves(connection, statements.all_leaves.sql)))

        try:
            make_file(path)
            migrate(path)
            database.open(read_log)
            return cls(lock, database, statements, logs.pop(), clock)
        except BaseException:
            database.close()
            lock.release()
            raise

    def close(self) -> None:
        """Write what waits, close the file, let go of the lock."""
        self._writer.close()
        self._database.close()
        self._lock.release()

    async def commit(self, unit: Unit) -> tuple[int, ...]:
        """Make a unit durable; see the port. Raise InvalidInput for what cannot be stored."""
        steps = steps_of(unit.changes, self._sql) if unit.changes else ()
        waiter = asyncio.get_running_loop().create_future()
        self._writer.submit(Job(steps, [form_leaf(draft) for draft in unit.leaves], waiter))
        sequences: tuple[int, ...] = await waiter
        return sequences

    async def erased(self) -> None:
        """Return once nothing that was deleted lingers; see the port."""
        waiter = asyncio.get_running_loop().create_future()
        self._writer.submit(Job((), (), waiter, folds=True))
        await waiter

    # rows

    def row(self, kind: RowKind, key: str) -> SealedRow | None:
        """Return one row."""
        values = _key_values(kind, key)
        if values is None:
            return None
        return next(iter(self._rows(kind, self._sql.row[kind], **values)), None)

    def meetings(self, space: SpaceName, after: str, limit: int) -> list[SealedRow]:
        """Return a page of a space's meetings."""
        page = self._sql.meetings
        return self._rows(RowKind.MEETING, page, space=space, after=after, limit=max(limit, 0))

    def epochs(
        self, space: SpaceName, meeting: MeetingId, after: int, limit: int
    ) -> list[SealedRow]:
        """Return a page of a meeting's epochs."""
        page, where = self._sql.epochs, {"space": space, "meeting": meeting}
        return self._rows(RowKind.EPOCH, page, **where, after=after, limit=max(limit, 0))

    def recipients(self, space: SpaceName) -> list[SealedRow]:
        """Return a space's registered recipients."""
        return self._rows(RowKind.RECIPIENT, self._sql.recipients, space=space)

    def spaces(self) -> list[SealedRow]:
        """Return every space."""
        return self._rows(RowKind.SPACE, self._sql.spaces)

    def pending_epochs(self) -> list[SealedRow]:
        """Return all epochs in pre-activation."""
        return self._rows(RowKind.EPOCH, self._sql.pending)

    def present_epochs(
        self, space: SpaceName, after: tuple[str, int], limit: int
    ) -> list[SealedRow]:
        """Return a page of a space's epochs that are active, suspended or compromised."""
        place = {"after_meeting": after[0], "after_epoch": after[1], "limit": max(limit, 0)}
        return self._rows(RowKind.EPOCH, self._sql.present, space=space, **place)

    def epochs_kept_for(
        self, space: SpaceName, recipient: RecipientId, after: tuple[str, int], limit: int
    ) -> list[SealedRow]:
        """Return a page of the epochs that a recipient has an envelope of."""
        place = {"after_meeting": after[0], "after_epoch": after[1], "limit": max(limit, 0)}
        page = self._sql.kept_for
        return self._rows(RowKind.EPOCH, page, space=space, recipient=recipient, **place)

    async def count_kept(self, recipient: RecipientId) -> Counter[SpaceName]:
        """Return of how many epochs of each space a recipient has an envelope."""
        query = self._sql.count_kept
        scan, values = self._database.scan, query.bind(recipient=recipient)
        return Counter(dict(await asyncio.to_thread(scan, query.sql, values)))

    def count_envelopes(self, space: SpaceName, meeting: MeetingId, epoch: int) -> int:
        """Return how many envelopes of an epoch are stored."""
        where = {"space": space, "meeting": meeting, "epoch": epoch}
        return int(self._read(self._sql.count_envelopes, **where)[0][0])

    def requests(self, state: RequestState, after: str, limit: int) -> list[SealedRow]:
        """Return a page of the requests in a state."""
        page = self._sql.requests
        where = {"state": state.value, "after": after, "limit": max(limit, 0)}
        return self._rows(RowKind.REQUEST, page, **where)

    def newest_requests(self, state: RequestState, before: str, limit: int) -> list[SealedRow]:
        """Return a page of the requests in a state, the newest first."""
        where = {"state": state.value, "before": before or _LAST, "limit": max(limit, 0)}
        return self._rows(RowKind.REQUEST, self._sql.newest_requests, **where)

    def request(self, request: str) -> SealedRow | None:
        """Return the request of that id."""
        return next(iter(self._rows(RowKind.REQUEST, self._sql.request_of, id=request)), None)

    def grants(self, space: SpaceName) -> list[SealedRow]:
        """Return every grant of a space."""
        return self._rows(RowKind.GRANT, self._sql.grants, space=space)

    def holds(self, space: SpaceName) -> list[SealedRow]:
        """Return every legal hold of a space."""
        return self._rows(RowKind.HOLD, self._sql.holds, space=space)

    def shares(self, space: SpaceName) -> list[SealedRow]:
        """Return the shares of a space's meetings."""
        return self._rows(RowKind.SHARE, self._sql.shares, space=space)

    def disks(self) -> list[SealedRow]:
        """Return every disk of every space."""
        return self._rows(RowKind.DISK, self._sql.disks)

    def disk(self, disk: str) -> SealedRow | None:
        """Return the disk of that id."""
        return next(iter(self._rows(RowKind.DISK, self._sql.disk_of, disk=disk)), None)

    def devices(self) -> list[Device]:
        """Return every device that was reported."""
        return self._records(Device, self._sql.devices)

    def device(self, serial: str) -> Device | None:
        """Return one device."""
        return next(iter(self._records(Device, self._sql.device, serial=serial)), None)

    def disk_orders(self, disk: str, after: str, limit: int) -> list[DiskOrder]:
        """Return a page of a disk's orders, or of all, newest first."""
        place = {"before": after or _LAST, "limit": max(limit, 0)}
        if not disk:
            return self._records(DiskOrder, self._sql.orders, **place)
        return self._records(DiskOrder, self._sql.orders_of, disk=disk, **place)

    def open_orders(self) -> list[DiskOrder]:
        """Return the orders that wait or run, oldest first."""
        return self._records(DiskOrder, self._sql.open_orders)

    def disk_order(self, order: str) -> DiskOrder | None:
        """Return one order."""
        return next(iter(self._records(DiskOrder, self._sql.order_of, order=order)), None)

    def certificate(self, request: str) -> str | None:
        """Return the destruction certificate of an executed request."""
        found = self._read(self._sql.certificate, request=request)
        return str(found[0][0]) if found else None

    def lease(self, name: str) -> tuple[str, int] | None:
        """Return holder and end of a lease."""
        found = self._read(self._sql.lease, name=name)
        return (found[0][0], found[0][1]) if found else None

    def mark(self, name: str, default: int) -> int:
        """Return a remembered number."""
        found = self._read(self._sql.mark, name=name)
        return int(found[0][0]) if found else default

    def uses(self, space: SpaceName, meeting: MeetingId, epoch: int) -> int:
        """Return how many envelopes of a meeting's latest served epoch were served."""
        resource = f"spaces/{space}/meetings/{meeting}/epochs"
        known, count = self._facts.served.get(resource, ("", 0))
        return count if known == str(epoch) else 0

    def grant_used(self, grant: str) -> str:
        """Return when a grant last let somebody do something."""
        seq = self._facts.grants.get(grant)
        return "" if seq is None else decode_leaf(self.leaves(seq, 1)[0]).time

    def envelope(
        self, space: SpaceName, meeting: MeetingId, epoch: int, recipient: RecipientId
    ) -> bytes | None:
        """Return one envelope's blob."""
        where = {"space": space, "meeting": meeting, "epoch": epoch, "recipient": recipient}
        found = self._read(self._sql.envelope, **where)
        return found[0][0] if found else None

    def reply(self, principal: str, key: str) -> Reply | None:
        """Return the remembered reply to a create."""
        found = self._read(self._sql.reply, principal=principal, key=key)
        return Reply(*found[0]) if found else None

    def row_version(self, key: str) -> int:
        """Return the version that the last leaf about the row names (0: none)."""
        return self._facts.versions.of(key)

    def row_count(self, prefix: str) -> int:
        """Return how many rows the log names whose keys begin so: see ``Versions``."""
        return self._facts.versions.count(prefix)

    def row_spaces(self, kind: RowKind) -> set[SpaceName]:
        """Return the spaces of which the log names rows of a kind."""
        return {SpaceName(space) for space in self._facts.versions.spaces(kind)}

    def site_sealed(self) -> bool:
        """Whether the log's last word about the whole box is that it was sealed."""
        return self._facts.site_sealed

    def unsealed(self, resource: str) -> int:
        """Return the sequence number of the last leaf that unseals a resource (-1: none)."""
        return self._facts.unsealed.get(resource, -1)

    def open_intents(self) -> list[int]:
        """Return the sequence numbers of intents without a result."""
        return sorted(self._facts.intents)

    # the log

    def tree_size(self) -> int:
        """Return the number of durable leaves."""
        return self._facts.size

    def root(self, size: int) -> bytes:
        """Return the root over the first ``size`` leaves."""
        return self._tree.root(size)

    def inclusion_proof(self, seq: int, size: int) -> list[bytes]:
        """Return the audit path of a leaf."""
        return self._tree.inclusion_proof(seq, size)

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """Return the proof that ``new`` extends ``old``."""
        return self._tree.consistency_proof(old, new)

    def leaves(self, start: int, limit: int) -> list[bytes]:
        """Return leaves' bytes by sequence, from ``start``."""
        stop = min(start + max(limit, 0), self._facts.size)
        return [body for (body,) in self._read(self._sql.leaves, start=start, stop=stop)]

    def checkpoints(self, after: int, limit: int) -> list[tuple[int, str]]:
        """Return stored checkpoints larger than ``after``, by size."""
        found = self._read(self._sql.checkpoints, after=after, limit=max(limit, 0))
        return [(size, note) for size, note in found]

    def last_checkpoint(self) -> tuple[int, str] | None:
        """Return the largest stored checkpoint."""
        found = self._read(self._sql.last_checkpoint)
        return (found[0][0], found[0][1]) if found else None

    def subscribe(self, listener: Callable[[int], None]) -> Callable[[], None]:
        """Call ``listener(tree_size)`` on the event loop after each commit; returns the undo."""
        self._writer.listeners.append(listener)
        return lambda: self._writer.listeners.remove(listener)

    def _read(self, statement: Statement, **values: Any) -> list[tuple[Any, ...]]:
        return self._database.read(statement.sql, statement.bind(**values))

    def _rows(self, kind: RowKind, statement: Statement, **values: Any) -> list[SealedRow]:
        rows = []
        for *key, version, body, mac in self._read(statement, **values):
            row = Row(kind, "/".join([kind, *map(str, key)]), version, body)
            self._catch_up(row)
            rows.append(SealedRow(row, mac))
        return rows

    def _records(self, kind: type[_R], statement: Statement, **values: Any) -> list[_R]:
        """Return records that carry no MAC; raise IntegrityFailure for one that is none."""
        try:
            return [decode_record(body, kind) for (body,) in self._read(statement, **values)]
        except InvalidInput as error:
            raise IntegrityFailure(f"a stored {kind.__name__} cannot be read") from error

    def _catch_up(self, row: Row) -> None:
        """Publish a row that is seen, so durable, a moment before its batch is published."""
        if (row.key, row.version) in self._writer.rows_in_flight:
            self._facts.versions.learn({row.key: row.version})


def _key_values(kind: RowKind, key: str) -> dict[str, str | int] | None:
    names = TABLES[kind][1]
    head, *parts = key.split("/")
    if head != kind or len(parts) != len(names):
        return None
    values: dict[str, str | int] = dict(zip(names, parts, strict=True))
    if kind is RowKind.EPOCH:
        if not _EPOCH.fullmatch(parts[-1]) or int(parts[-1]) > MAX_EPOCH:
            return None
        values["epoch"] = int(parts[-1])
    return values
