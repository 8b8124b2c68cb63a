"""Destroyed means gone: what envelopes were is searched for in every file of a site.

The same search finds them before the destruction, and those of a meeting that is kept afterwards.
Manifests stay: they are public statements, and name an envelope's digest, never its bytes.
"""

import base64
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from kms.domain.models import RecipientKind
from kms.statements.destruction import DestructionCertificate
from kms.wire.approvals import RequestOut
from tests.practice.approving import carry_out
from tests.practice.service import Service
from tests.scenarios import stored
from tests.scenarios.rooms import Room, rooms

WINDOW = 32
"""Bytes of a fingerprint: every run of twice as many of an envelope holds one."""
_ALIGNMENTS = 3
"""In base64 the same bytes look otherwise by their place among three."""


class EpochName(NamedTuple):
    """One epoch."""

    space: str
    meeting: str
    epoch: int


@dataclass(frozen=True)
class Fingerprints:
    """What is searched for: pieces of envelopes, raw and as base64 of both alphabets."""

    pieces: frozenset[bytes]

    @classmethod
    def of(cls, blobs: list[bytes]) -> "Fingerprints":
        """Return the fingerprints of envelopes."""
        return cls(frozenset(piece for blob in blobs for piece in _pieces(blob)))

    def found_in(self, data: bytes) -> int:
        """Return how many different pieces some bytes hold, at whatever place."""
        places = range(len(data) - WINDOW + 1)
        return len({data[at : at + WINDOW] for at in places} & self.pieces)


def _pieces(blob: bytes) -> Iterator[bytes]:
    yield from _cut(blob)
    for skipped in range(_ALIGNMENTS):
        text = base64.b64encode(blob[skipped : skipped + len(blob) // 3 * 3 - 3])
        yield from _cut(text)
        yield from _cut(text.translate(bytes.maketrans(b"+/", b"-_")))


def _cut(data: bytes) -> Iterator[bytes]:
    return (data[at : at + WINDOW] for at in range(0, len(data) - WINDOW + 1, WINDOW))


@dataclass
class Report:
    """What was looked for and where: pieces found by file, before and after."""

    envelopes: int = 0
    searched_bytes: int = 0
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    free_pages: int = 0
    certificates: list[DestructionCertificate] = field(default_factory=list)


def destroy_and_search(service: Service, folder: Path, *, meetings: int, epochs: int) -> Report:
    """Destroy meetings of every space and single epochs of open ones; search before and after.

    In each space one meeting stays open: of it the epoch 0 is destroyed, the others are kept.
    """
    report = Report()
    doomed = [run(one.again(), epochs) for one in rooms(service) for _ in range(meetings)]
    kept = [run(one.again(), epochs) for one in rooms(service)]
    gone = [EpochName(room.space, room.meeting, 0) for room in kept]
    gone += [EpochName(*_place(room), number) for room in doomed for number in range(epochs)]
    stay = [EpochName(*_place(room), number) for room in kept for number in range(1, epochs)]
    blobs = stored.read(service.settings.paths.database, folder / "before.db").blobs
    lost = Fingerprints.of([blob for one in gone for blob in blobs[one].values()])
    living = Fingerprints.of([blob for one in stay for blob in blobs[one].values()])
    (folder / "before.db").unlink()
    report.envelopes = sum(len(blobs[one]) for one in gone)
    report.before = search(service, folder, lost)
    for request in [*map(_destroyed, doomed), *map(_first_epoch_destroyed, kept)]:
        report.certificates.append(_certificate(service, request))
    report.after = search(service, folder, lost)
    report.kept = search(service, folder, living)
    report.searched_bytes = sum(len(_content(path)) for path in files(service, folder))
    report.free_pages = check_free_pages(folder / "backup.db", service.settings.paths.database)
    return report


def run(room: Room, epochs: int) -> Room:
    """Open a meeting and rotate its key until it has had so many."""
    for number in range(epochs):
        kind = "suspicion" if number else "open"
        wish = next(one for one in room.wishes() if one.kind == kind)
        room.adopt(wish, wish.send())
    return room


def _place(room: Room) -> tuple[str, str]:
    return room.space, room.meeting


def _destroyed(room: Room) -> RequestOut:
    with room.service.server(room.server) as client:
        client.close_meeting(room.space, room.meeting)
    parameters = {"meeting": room.meeting}
    return carry_out(room.service, "meeting.destroy", room.space, parameters)


def _first_epoch_destroyed(room: Room) -> RequestOut:
    parameters = {"meeting": room.meeting, "epoch": 0}
    return carry_out(room.service, "epoch.destroy", room.space, parameters)


def _certificate(service: Service, request: RequestOut) -> DestructionCertificate:
    with service.console() as client:
        return service.trust().certificate(client.certificate(request.id).certificate)


# --- searching -----------------------------------------------------------------------------------


def search(service: Service, folder: Path, wanted: Fingerprints) -> dict[str, int]:
    """Back the database up in both of SQLite's ways, then return the pieces found by file, of those
    files that have any.
    """
    _back_up(service.settings.paths.database, folder)
    found = {str(path): wanted.found_in(_content(path)) for path in files(service, folder)}
    return {name: count for name, count in found.items() if count}


def _content(path: Path) -> bytes:
    """Return what a file holds; nothing if the running token has replaced it meanwhile."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def files(service: Service, folder: Path) -> list[Path]:
    """Every file of the site: database, its write-ahead log and shared memory, tokens, logs, what
    ceremonies left; and the backups.
    """
    places = (service.site.directory, folder)
    return [path for place in places for path in sorted(place.rglob("*")) if path.is_file()]


def _back_up(database: Path, folder: Path) -> None:
    copy, compact = folder / "backup.db", folder / "vacuumed.db"
    for path in (copy, compact):
        path.unlink(missing_ok=True)
    with (
        closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
        source.execute("VACUUM INTO ?", (str(compact),))


def check_free_pages(*databases: Path) -> int:
    """Return how many free pages there are; raise AssertionError unless each is all zeros."""
    pages = [page for path in databases for page in free_pages(path.read_bytes())]
    assert not any(any(page) for page in pages)
    return len(pages)


def free_pages(data: bytes) -> Iterator[bytes]:
    """Yield what the free pages of a database file hold beside numbers of pages, which stay behind
    in those that list the others (SQLite's file format, section 1.5).
    """
    (size,) = struct.unpack_from(">H", data, 16)
    size = 65536 if size == 1 else size
    (trunk,) = struct.unpack_from(">I", data, 32)
    while trunk:
        start = (trunk - 1) * size
        trunk, leaves = struct.unpack_from(">II", data, start)
        words = struct.unpack(f">{size // 4 - 2}I", data[start + 8 : start + size])
        yield struct.pack(f">{len(words)}I", *(w if w > len(data) // size else 0 for w in words))
        for page in words[:leaves]:
            yield data[(page - 1) * size : page * size]


# --- what has to hold ----------------------------------------------------------------------------


def check(report: Report, service: Service) -> None:
    """Raise AssertionError unless everything destroyed is gone and certified, and was there."""
    database = str(service.settings.paths.database)
    assert any(name.startswith(database) for name in report.before)
    assert any(name.endswith("backup.db") for name in report.before)
    assert any(name.endswith("vacuumed.db") for name in report.before)
    assert report.after == {}
    assert any(name.startswith(database) for name in report.kept)
    for one in report.certificates:
        check_certificate(one)


def check_certificate(found: DestructionCertificate) -> None:
    """The certificate names which vault version and escrow generation close older backups."""
    assert {(one.kind, one.version) for one in found.keepers} == {
        (RecipientKind.VAULT, 1),
        (RecipientKind.ESCROW, 1),
    }
    assert found.supervisors
    assert found.requester not in found.supervisors
    assert found.issued >= found.destroyed
