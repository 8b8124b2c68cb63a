"""What lies in the database, read from a copy behind the service's back, and what has to agree.

The log's result leaves, rows, manifests and envelopes tell the same story, or the state is half.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from kms.audit.leaf import Leaf, Outcome, Phase, decode_leaf
from kms.client.keys import SiteTrust
from kms.domain.models import Epoch, Meeting, RecipientKind, Roster
from kms.domain.states import KeyState
from kms.statements.canonical import decode_record, digest
from kms.statements.manifest import subject

Place = tuple[str, str]
"""Space and meeting."""


@dataclass(frozen=True)
class Stored:
    """The decoded contents of a database."""

    meetings: dict[Place, Meeting]
    rosters: dict[Place, Roster]
    epochs: dict[Place, dict[int, Epoch]]
    blobs: dict[tuple[str, str, int], dict[str, bytes]]
    leaves: list[Leaf]

    @property
    def surviving(self) -> list[Epoch]:
        """The epochs whose key is not destroyed."""
        every = (epoch for numbers in self.epochs.values() for epoch in numbers.values())
        return [epoch for epoch in every if epoch.state is not KeyState.DESTROYED]


def read(database: Path, copy: Path) -> Stored:
    """Copy a database in use, by SQLite's own backup, and read the copy."""
    copy.unlink(missing_ok=True)
    with (
        closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
        return _decode(target)


def _decode(copy: sqlite3.Connection) -> Stored:
    assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    meetings = [decode_record(body, Meeting) for body in _column(copy, "body FROM meeting")]
    rosters = [decode_record(body, Roster) for body in _column(copy, "body FROM roster")]
    epochs: dict[Place, dict[int, Epoch]] = defaultdict(dict)
    for body in _column(copy, "body FROM epoch"):
        epoch = decode_record(body, Epoch)
        epochs[epoch.space, epoch.meeting][epoch.epoch] = epoch
    blobs: dict[tuple[str, str, int], dict[str, bytes]] = defaultdict(dict)
    query = "SELECT space, meeting, epoch, recipient, blob FROM envelope"
    for space, meeting, number, recipient, blob in copy.execute(query):
        blobs[space, meeting, number][recipient] = blob
    leaves = [decode_leaf(body) for body in _column(copy, "body FROM leaf ORDER BY seq")]
    return Stored(
        {(one.space, one.meeting): one for one in meetings},
        {(one.space, one.meeting): one for one in rosters},
        epochs,
        blobs,
        leaves,
    )


def _column(copy: sqlite3.Connection, what: str) -> Iterator[bytes]:
    return (value for (value,) in copy.execute(f"SELECT {what}"))


def check_whole(stored: Stored, trust: SiteTrust) -> None:
    """Nothing is half: rows, manifests, envelopes and log agree about every meeting."""
    assert set(stored.meetings) == set(stored.rosters) == set(stored.epochs)
    for place, meeting in stored.meetings.items():
        _check_meeting(meeting, stored.rosters[place], stored.epochs[place])
    for numbers in stored.epochs.values():
        for epoch in numbers.values():
            _check_epoch(epoch, stored.blobs[epoch.space, epoch.meeting, epoch.epoch], trust)
    assert _minted(stored.leaves) == {
        (epoch.space, epoch.meeting, epoch.epoch): digest(epoch.manifest.encode())
        for numbers in stored.epochs.values()
        for epoch in numbers.values()
    }
    _check_intents(stored.leaves)


def _check_meeting(meeting: Meeting, roster: Roster, epochs: dict[int, Epoch]) -> None:
    assert sorted(epochs) == list(range(meeting.last_epoch + 1))
    assert roster.version == meeting.roster_version
    assert epochs[meeting.last_epoch].roster_version == roster.version
    live = {meeting.current_epoch: KeyState.ACTIVE}
    if meeting.next_epoch is not None:
        live[meeting.next_epoch] = KeyState.PRE_ACTIVATION
    over = {KeyState.DEACTIVATED, KeyState.DESTROYED}
    for number, epoch in epochs.items():
        expected = {live[number]} if number in live else over
        assert epoch.state in expected, f"epoch {number} is {epoch.state}"


def _check_epoch(epoch: Epoch, blobs: dict[str, bytes], trust: SiteTrust) -> None:
    manifest = trust.manifest(epoch.manifest, epoch.space)
    assert manifest.sub == subject(epoch.space, epoch.meeting, epoch.epoch)
    assert (manifest.nbf, manifest.exp) == (epoch.activates, epoch.retires)
    assert manifest.roster_version == epoch.roster_version
    kinds = [entry.kind for entry in manifest.recipients]
    assert kinds[:2] == [RecipientKind.VAULT, RecipientKind.ESCROW]
    destroyed = epoch.state is KeyState.DESTROYED
    expected = {} if destroyed else {one.id: one.blob_sha256 for one in manifest.recipients}
    assert {name: digest(blob) for name, blob in blobs.items()} == expected


def _minted(leaves: list[Leaf]) -> dict[tuple[str, str, int], str]:
    """The manifests' digests that result leaves of mints name."""
    found = {}
    for leaf in leaves:
        if leaf.outcome is Outcome.SUCCEEDED and "manifest" in leaf.details:
            _, space, _, meeting, _, epoch = leaf.resource.split("/")
            found[space, meeting, int(epoch)] = leaf.details["manifest"]
    return found


def _check_intents(leaves: list[Leaf]) -> None:
    """Every intent has one result: whatever was interrupted is said to be."""
    intents = [leaf.seq for leaf in leaves if leaf.phase is Phase.INTENT]
    results = [leaf.intent for leaf in leaves if leaf.phase is Phase.RESULT]
    assert sorted(results) == intents
