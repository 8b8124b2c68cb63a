"""Records that were checked when they entered: MAC by the token, version by the audit log.

Nothing is decided on a row that did not come through here. A row that is missing, altered, of
another place or older than the log says is one and the same IntegrityFailure.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import cast

from kms.domain.approvals import Request
from kms.domain.disks import Disk
from kms.domain.grants import Grant
from kms.domain.ids import DiskId, MeetingId, RecipientId, SpaceName
from kms.domain.models import Epoch, Meeting, Recipient, Roster, Space
from kms.domain.policies import SITE_POLICY, SitePolicy, SpacePolicy
from kms.domain.rows import Record, Row, RowKind, SealedRow, row_space
from kms.domain.states import KeyState
from kms.errors import IntegrityFailure, InvalidInput, NotFound, VerificationFailed
from kms.ports import RowKeeper, Store, WorkerDirectory
from kms.statements import jws, manifest
from kms.statements.canonical import decode_record, digest, read_row

_LIMIT = 100_000
_BLOB_BYTES = 64 << 20
_RULES = frozenset({RowKind.SPACE, RowKind.POLICY, RowKind.SITE_POLICY, RowKind.GRANT})
"""Kinds of rows that decisions about access go by."""


@dataclass(frozen=True)
class Checked:
    """A checked record and its row's version."""

    record: Record
    version: int

    @cached_property
    def blobs(self) -> dict[str, str]:
        """The SHA-256 of the blob of each recipient that an epoch's manifest names."""
        if not isinstance(self.record, Epoch):
            return {}
        try:
            payload = jws.unverified_payload(self.record.manifest, typ=manifest.TYP)
            named = decode_record(payload, manifest.Manifest).recipients
        except (InvalidInput, VerificationFailed) as error:
            raise IntegrityFailure("an epoch's manifest cannot be read") from error
        return {entry.id: entry.blob_sha256 for entry in named}


class VerifiedCache:
    """Checked records by row key, and blobs by the SHA-256 that a manifest names.

    Both are bounded; the oldest entries go first. A blob that was altered on the disk after it
    was read does not matter: what is served is what was checked. ``rules`` counts the changes of
    rows that decisions about access go by.
    """

    def __init__(self, store: Store, workers: WorkerDirectory) -> None:
        self._store = store
        self._workers = workers
        self._entries: dict[str, Checked] = {}
        self._blobs: dict[str, bytes] = {}
        self._room = _BLOB_BYTES
        self.rules = 0

    async def space(self, space: SpaceName) -> Space:
        """Return a space; raise NotFound, IntegrityFailure."""
        return cast("Space", (await self._get(RowKind.SPACE, f"space/{space}")).record)

    async def recipient(self, space: SpaceName, recipient: str) -> Recipient:
        """Return a recipient that is registered and not revoked; raise NotFound,
        IntegrityFailure.
        """
        key = f"recipient/{space}/{recipient}"
        record = cast("Recipient", (await self._get(RowKind.RECIPIENT, key)).record)
        if record.revoked:
            raise NotFound("the recipient was revoked")
        return record

    async def meeting(self, space: SpaceName, meeting: MeetingId) -> tuple[Meeting, int]:
        """Return a meeting and its version; raise NotFound, IntegrityFailure."""
        found = await self._get(RowKind.MEETING, f"meeting/{space}/{meeting}")
        return cast("Meeting", found.record), found.version

    async def roster(self, space: SpaceName, meeting: MeetingId) -> tuple[Roster, int]:
        """Return a meeting's roster and its row's version; raise NotFound, IntegrityFailure."""
        found = await self._get(RowKind.ROSTER, f"roster/{space}/{meeting}")
        return cast("Roster", found.record), found.version

    async def policy(self, space: SpaceName) -> tuple[SpacePolicy, int]:
        """Return a space's own policy and its row's version; raise NotFound, IntegrityFailure."""
        found = await self._get(RowKind.POLICY, f"policy/{space}")
        return cast("SpacePolicy", found.record), found.version

    async def site_policy(self) -> tuple[SitePolicy, int]:
        """Return the site's own policies and their row's version; raise NotFound,
        IntegrityFailure.
        """
        found = await self._get(RowKind.SITE_POLICY, f"site-policy/{SITE_POLICY}")
        return cast("SitePolicy", found.record), found.version

    async def grant(self, space: SpaceName, grant: str) -> tuple[Grant, int]:
        """Return a grant and its row's version; raise NotFound, IntegrityFailure."""
        found = await self._get(RowKind.GRANT, f"grant/{space}/{grant}")
        return cast("Grant", found.record), found.version

    async def disk(self, disk: DiskId) -> tuple[Disk, int]:
        """Return a disk by its id and its row's version; raise NotFound, IntegrityFailure."""
        sealed = self._store.disk(disk)
        if sealed is None:
            raise NotFound("there is no such thing")
        found = await self.admit(sealed)
        return cast("Disk", found.record), found.version

    async def request(self, request: str) -> tuple[Request, int]:
        """Return a request by its id and its row's version; raise NotFound, IntegrityFailure."""
        sealed = self._store.request(request)
        if sealed is None:
            raise NotFound("there is no such thing")
        found = await self.admit(sealed)
        return cast("Request", found.record), found.version

    async def epoch(self, space: SpaceName, meeting: MeetingId, epoch: int) -> tuple[Epoch, int]:
        """Return an epoch and its version; raise NotFound, IntegrityFailure."""
        found = await self._epoch(space, meeting, epoch)
        return cast("Epoch", found.record), found.version

    async def blob(self, space: SpaceName, meeting: MeetingId, epoch: int, recipient: str) -> bytes:
        """Return a blob that is the one its manifest names; raise NotFound, IntegrityFailure."""
        expected = (await self._epoch(space, meeting, epoch)).blobs.get(recipient)
        if expected is None:
            raise NotFound("there is no such envelope")
        blob = self._blobs.get(expected)
        if blob is None:
            blob = self._store.envelope(space, meeting, epoch, RecipientId(recipient))
            if blob is None or digest(blob) != expected:
                raise IntegrityFailure("an envelope is not the one that its manifest names")
            self._keep(expected, blob)
        return blob

    async def admit(self, sealed: SealedRow) -> Checked:
        """Return the record of a row that a query has found; raise IntegrityFailure.

        The row may have changed since the query, so it is the present one that is returned.
        """
        return await self._get(sealed.row.kind, sealed.row.key)

    def learn(self, sealed: SealedRow) -> None:
        """Remember a row that this process has just committed."""
        self._remember(sealed.row)
        self._count(sealed.row.key)

    def forget(self, key: str) -> None:
        """Drop one entry, so that its row is checked again."""
        self._entries.pop(key, None)
        self._count(key)

    def _count(self, key: str) -> None:
        self.rules += key.partition("/")[0] in _RULES

    async def _epoch(self, space: SpaceName, meeting: MeetingId, epoch: int) -> Checked:
        return await self._get(RowKind.EPOCH, f"epoch/{space}/{meeting}/{epoch}")

    async def _get(self, kind: RowKind, key: str) -> Checked:
        found = self._entries.get(key)
        if found is not None:
            return found
        sealed = self._store.row(kind, key)
        if sealed is None:
            if self._store.row_version(key):
                raise IntegrityFailure("a row that the log names is gone")
            raise NotFound("there is no such thing")
        return await self._check(sealed)

    async def _check(self, sealed: SealedRow) -> Checked:
        row = sealed.row
        if row.version != self._store.row_version(row.key):
            raise IntegrityFailure("a row is not the version that the log names")
        await self._keeper(row).check_rows([sealed])
        if row.version != self._store.row_version(row.key):
            return await self._get(row.kind, row.key)  # it changed while its MAC was checked
        return self._remember(row)

    def _keeper(self, row: Row) -> RowKeeper:
        space = row_space(row.key, row.kind)
        return self._workers.space(SpaceName(space)) if space else self._workers.site

    def _keep(self, name: str, blob: bytes) -> None:
        self._blobs[name] = blob
        self._room -= len(blob)
        while self._room < 0:
            self._drop(next(iter(self._blobs)))

    def _drop(self, name: str) -> None:
        self._room += len(self._blobs.pop(name, b""))

    def _remember(self, row: Row) -> Checked:
        try:
            checked = Checked(read_row(row), row.version)
        except InvalidInput as error:
            raise IntegrityFailure("a row is not what its key says") from error
        while len(self._entries) >= _LIMIT:
            del self._entries[next(iter(self._entries))]
        self._entries[row.key] = checked
        if isinstance(checked.record, Epoch) and checked.record.state is KeyState.DESTROYED:
            for name in checked.blobs.values():
                self._drop(name)
        return checked
