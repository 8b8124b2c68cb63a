"""Somebody with root edits the database behind the service's back, in every way that keeps it
well-formed; then the service starts with cold caches and is asked for what was touched."""

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kms.audit.leaf import decode_leaf
from kms.client.api import Client
from kms.errors import ConclaveError
from kms.statements.canonical import b64u, canonical, unb64u
from kms.wire.requests import RosterWish
from tests.practice.service import Service

SPACE = "treasury"

Edit = Callable[[sqlite3.Connection, "Victim"], None]


@dataclass
class Victim:
    """A meeting with two epochs and two readers, what its rows were before it changed, and a
    second meeting to exchange with."""

    meeting: str
    other: str
    first: str
    second: str
    old: dict[str, tuple[object, ...]]


def run(service: Service) -> dict[str, str]:
    """Return the error code with which each edit is answered, and "served" where it is not.

    ``untouched`` is the control: its envelope has to be served.
    """
    with service.server("ms-a") as server:
        victims = {name: _victim(service, server) for name in EDITS}
        control = _victim(service, server)
    time.sleep(service.settings.rotation.publish_ahead_seconds + 1)
    with _database(service) as connection:
        for name, edit in EDITS.items():
            edit(connection, victims[name])
    os.kill(service.pids()["web"], signal.SIGKILL)
    time.sleep(0.3)
    service.await_ready()
    with service.server("ms-a") as server:
        answers = {name: _fetch(server, victim) for name, victim in victims.items()}
        answers["untouched"] = _fetch(server, control)
    return answers


def logged(service: Service) -> set[str]:
    """The meetings whose alteration stands in the log."""
    with service.console() as console:
        leaves = [decode_leaf(leaf.encode()) for leaf in console.leaves()]
    return {leaf.resource.split("/")[3] for leaf in leaves if leaf.action == "integrity.failure"}


def _victim(service: Service, server: Client) -> Victim:
    ids = {one.name: one.recipient for one in server.recipients().items}
    first, second = ids["ms-a"], ids["ms-b"]
    wish = RosterWish(recipients=(first, second))
    meeting = server.open_meeting(SPACE, wish).meeting
    other = server.open_meeting(SPACE, wish).meeting
    with _database(service) as connection:
        old = {
            table: connection.execute(
                f"SELECT version, body, mac FROM {table} WHERE meeting = ?", (meeting,)
            ).fetchone()
            for table in ("meeting", "roster")
        }
    server.set_roster(SPACE, meeting, RosterWish(recipients=(first,)))
    server.set_roster(SPACE, meeting, wish)
    return Victim(meeting, other, first, second, old)


def _fetch(server: Client, victim: Victim) -> str:
    try:
        for epoch in (0, None):
            server.envelope(SPACE, victim.meeting, victim.first, epoch=epoch)
    except ConclaveError as error:
        return error.code
    return "served"


@contextmanager
def _database(service: Service) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(service.settings.paths.database, timeout=10)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


# --- the edits -----------------------------------------------------------------------------------

_BLOB = "SELECT blob FROM envelope WHERE meeting = ? AND epoch = ? AND recipient = ?"
_SET_BLOB = "UPDATE envelope SET blob = ? WHERE meeting = ? AND epoch = ? AND recipient = ?"


def _copy_blob(
    connection: sqlite3.Connection, source: tuple[str, int, str], target: tuple[str, int, str]
) -> None:
    (blob,) = connection.execute(_BLOB, source).fetchone()
    assert connection.execute(_SET_BLOB, (blob, *target)).rowcount == 1


def _blob_of_other_recipient(connection: sqlite3.Connection, it: Victim) -> None:
    _copy_blob(connection, (it.meeting, 0, it.second), (it.meeting, 0, it.first))


def _blob_of_other_epoch(connection: sqlite3.Connection, it: Victim) -> None:
    _copy_blob(connection, (it.meeting, 1, it.first), (it.meeting, 0, it.first))


def _blob_of_other_meeting(connection: sqlite3.Connection, it: Victim) -> None:
    _copy_blob(connection, (it.other, 0, it.first), (it.meeting, 0, it.first))


def _blob_of_vault(connection: sqlite3.Connection, it: Victim) -> None:
    query = (
        "SELECT recipient FROM envelope WHERE meeting = ? AND epoch = 0 AND recipient NOT IN (?, ?)"
    )
    (vault, *_), *_ = connection.execute(query, (it.meeting, it.first, it.second)).fetchall()
    _copy_blob(connection, (it.meeting, 0, vault), (it.meeting, 0, it.first))


def _flipped_blob(connection: sqlite3.Connection, it: Victim) -> None:
    (blob,) = connection.execute(_BLOB, (it.meeting, 0, it.first)).fetchone()
    changed = bytes([blob[0] ^ 1]) + blob[1:]
    connection.execute(_SET_BLOB, (changed, it.meeting, 0, it.first))


def _missing_blob(connection: sqlite3.Connection, it: Victim) -> None:
    statement = "DELETE FROM envelope WHERE meeting = ? AND epoch = 0 AND recipient = ?"
    connection.execute(statement, (it.meeting, it.first))


def _row_of_other_meeting(table: str) -> Edit:
    def edit(connection: sqlite3.Connection, it: Victim) -> None:
        where = "meeting = ?" + (" AND epoch = 0" if table == "epoch" else "")
        row = connection.execute(
            f"SELECT version, body, mac FROM {table} WHERE {where}", (it.other,)
        ).fetchone()
        connection.execute(
            f"UPDATE {table} SET version = ?, body = ?, mac = ? WHERE {where}", (*row, it.meeting)
        )

    return edit


def _older_row(table: str) -> Edit:
    def edit(connection: sqlite3.Connection, it: Victim) -> None:
        connection.execute(
            f"UPDATE {table} SET version = ?, body = ?, mac = ? WHERE meeting = ?",
            (*it.old[table], it.meeting),
        )

    return edit


def _missing_row(connection: sqlite3.Connection, it: Victim) -> None:
    connection.execute("DELETE FROM roster WHERE meeting = ?", (it.meeting,))


def _edited_body(table: str, change: Callable[[dict[str, object], Victim], None]) -> Edit:
    def edit(connection: sqlite3.Connection, it: Victim) -> None:
        where = "meeting = ?" + (" AND epoch = 0" if table == "epoch" else "")
        (body,) = connection.execute(
            f"SELECT body FROM {table} WHERE {where}", (it.meeting,)
        ).fetchone()
        record = json.loads(body)
        change(record, it)
        connection.execute(
            f"UPDATE {table} SET body = ? WHERE {where}", (canonical(record), it.meeting)
        )

    return edit


def _epochs_exchanged(connection: sqlite3.Connection, it: Victim) -> None:
    query = "SELECT version, body, mac FROM epoch WHERE meeting = ? AND epoch = ?"
    rows = [connection.execute(query, (it.meeting, epoch)).fetchone() for epoch in (0, 1)]
    for epoch, row in zip((1, 0), rows, strict=True):
        connection.execute(
            "UPDATE epoch SET version = ?, body = ?, mac = ? WHERE meeting = ? AND epoch = ?",
            (*row, it.meeting, epoch),
        )


def _in_manifest(change: Callable[[dict[str, object]], None]) -> Edit:
    def edit(record: dict[str, object], _it: Victim) -> None:
        header, payload, signature = str(record["manifest"]).split(".")
        manifest = json.loads(unb64u(payload))
        change(manifest)
        record["manifest"] = f"{header}.{b64u(canonical(manifest))}.{signature}"

    return _edited_body("epoch", edit)


def _downgrade(manifest: dict[str, object]) -> None:
    manifest["wrap_alg"] = "RSA1_5"


def _add_ghost(manifest: dict[str, object]) -> None:
    ghost = {"blob_sha256": "A" * 43, "id": "A" * 43, "kind": "server", "sender": 9, "version": 0}
    manifest["recipients"] = [*manifest["recipients"], ghost]


def _added_recipient(record: dict[str, object], _it: Victim) -> None:
    record["recipients"] = [*record["recipients"], "A" * 43]


def _reopened(record: dict[str, object], _it: Victim) -> None:
    record["current_epoch"] = 0


EDITS: dict[str, Edit] = {
    "a blob of another recipient": _blob_of_other_recipient,
    "a blob of another epoch": _blob_of_other_epoch,
    "a blob of another meeting": _blob_of_other_meeting,
    "the vault's blob": _blob_of_vault,
    "a blob with a flipped bit": _flipped_blob,
    "a blob deleted": _missing_blob,
    "another meeting's row": _row_of_other_meeting("meeting"),
    "another meeting's roster": _row_of_other_meeting("roster"),
    "another meeting's epoch and manifest": _row_of_other_meeting("epoch"),
    "two epochs exchanged": _epochs_exchanged,
    "an older meeting row": _older_row("meeting"),
    "an older roster row": _older_row("roster"),
    "the roster row deleted": _missing_row,
    "a recipient added to the roster": _edited_body("roster", _added_recipient),
    "the current epoch set back": _edited_body("meeting", _reopened),
    "wrap_alg downgraded in the manifest": _in_manifest(_downgrade),
    "a reader added to the manifest": _in_manifest(_add_ghost),
}
