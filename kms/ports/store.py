"""The store with its audit log, as the use cases need it: reads, and units that become durable."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kms.audit.leaf import LeafDraft
from kms.domain.approvals import RequestState
from kms.domain.disks import Device, DiskOrder
from kms.domain.ids import MeetingId, RecipientId, SpaceName
from kms.domain.models import Envelope
from kms.domain.rows import RowKind, SealedRow


@dataclass(frozen=True, slots=True)
class PutRow:
    """Store a row; its version must be exactly one more than the stored one (1 if none)."""

    sealed: SealedRow


@dataclass(frozen=True, slots=True)
class PutMac:
    """Give a stored row another MAC: key, version and body must be the stored ones, so no leaf
    names the row. Only a ceremony that moves the site onto new tokens does this.
    """

    sealed: SealedRow


@dataclass(frozen=True, slots=True)
class PutEnvelopes:
    """Store the envelopes of one epoch, all new."""

    envelopes: tuple[Envelope, ...]


@dataclass(frozen=True, slots=True)
class DropEnvelopes:
    """Delete every envelope of one epoch (secure_delete is on)."""

    space: SpaceName
    meeting: MeetingId
    epoch: int


@dataclass(frozen=True, slots=True)
class DropEnvelope:
    """Delete one recipient's envelope of an epoch, if it is there (secure_delete is on)."""

    space: SpaceName
    meeting: MeetingId
    epoch: int
    recipient: RecipientId


@dataclass(frozen=True, slots=True)
class PutReply:
    """Remember the reply to a create, under the caller's idempotency key."""

    principal: str
    key: str
    request: str
    status: int
    body: bytes
    created: int


@dataclass(frozen=True, slots=True)
class PutCheckpoint:
    """Store a signed checkpoint."""

    size: int
    note: str


@dataclass(frozen=True, slots=True)
class PutCertificate:
    """Store the destruction certificate (JWS) of an executed request, once."""

    request: str
    jws: str


@dataclass(frozen=True, slots=True)
class TakeLease:
    """Take or renew a lease: Conflict while another holder's has not ended at ``now``. Seconds."""

    name: str
    holder: str
    now: int
    until: int


@dataclass(frozen=True, slots=True)
class PutMark:
    """Remember a number that nothing depends on but convenience: how far a reader of the log came,
    whether work is paused. Not sealed.
    """

    name: str
    value: int


@dataclass(frozen=True, slots=True)
class PutDevice:
    """Remember how a device stands now, by its serial number. Not sealed."""

    device: Device


@dataclass(frozen=True, slots=True)
class DropDevice:
    """Forget a device, by its serial number; nothing happens if there is none."""

    serial: str


@dataclass(frozen=True, slots=True)
class PutOrder:
    """Store an order to the appliance, or how it stands now. Not sealed."""

    order: DiskOrder


Change = (
    PutRow
    | PutMac
    | PutEnvelopes
    | DropEnvelopes
    | DropEnvelope
    | PutReply
    | PutCheckpoint
    | PutCertificate
    | TakeLease
    | PutMark
    | PutDevice
    | DropDevice
    | PutOrder
)


@dataclass(frozen=True, slots=True)
class Unit:
    """Changes and leaves that become durable together or not at all."""

    changes: tuple[Change, ...] = ()
    leaves: tuple[LeafDraft, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """A remembered reply."""

    request: str
    status: int
    body: bytes


class Store(Protocol):
    """The service's state and its audit log: many readers, one writer.

    Reads are short, indexed and unverified: callers go through the verified cache.
    """

    async def commit(self, unit: Unit) -> tuple[int, ...]:
        """Return the leaves' sequence numbers once the unit is durable (group commit).

        Raise Conflict if a row's version does not follow, StoreUnavailable if the database is
        full, gone, replaced or read-only; then nothing of the unit is stored. Only if the disk
        failed in the commit itself and the database cannot be read again is that not known: the
        message says so, and it is settled before anything else is written. InvalidInput: a
        change or leaf that cannot be stored.
        """
        ...

    async def erased(self) -> None:
        """Return once nothing that was deleted lingers in the write-ahead log; raise
        StoreUnavailable while it cannot be emptied.
        """
        ...

    def row(self, kind: RowKind, key: str) -> SealedRow | None:
        """Return one row."""
        ...

    def meetings(self, space: SpaceName, after: str, limit: int) -> list[SealedRow]:
        """Return a page of a space's meeting rows, by id, after one id."""
        ...

    def epochs(
        self, space: SpaceName, meeting: MeetingId, after: int, limit: int
    ) -> list[SealedRow]:
        """Return a page of a meeting's epoch rows, by number, after one number (-1 for all)."""
        ...

    def recipients(self, space: SpaceName) -> list[SealedRow]:
        """Return the registered recipients of a space."""
        ...

    def spaces(self) -> list[SealedRow]:
        """Return every space."""
        ...

    def pending_epochs(self) -> list[SealedRow]:
        """Return the rows of all epochs in pre-activation."""
        ...

    def envelope(
        self, space: SpaceName, meeting: MeetingId, epoch: int, recipient: RecipientId
    ) -> bytes | None:
        """Return one envelope's blob."""
        ...

    def present_epochs(
        self, space: SpaceName, after: tuple[str, int], limit: int
    ) -> list[SealedRow]:
        """Return a page of a space's epochs that are active, suspended or compromised, by meeting
        and epoch, after one of them (("", -1) for all): open meetings have theirs among them.
        """
        ...

    def epochs_kept_for(
        self, space: SpaceName, recipient: RecipientId, after: tuple[str, int], limit: int
    ) -> list[SealedRow]:
        """Return a page of a space's epochs that a recipient has an envelope of, by meeting and
        epoch, after one of them (("", -1) for all).
        """
        ...

    async def count_kept(self, recipient: RecipientId) -> Counter[SpaceName]:
        """Return of how many epochs of each space a recipient has an envelope. Looks at every
        envelope of the site, apart from all other reading.
        """
        ...

    def count_envelopes(self, space: SpaceName, meeting: MeetingId, epoch: int) -> int:
        """Return how many envelopes of an epoch are stored."""
        ...

    def requests(self, state: RequestState, after: str, limit: int) -> list[SealedRow]:
        """Return a page of the requests in a state, by id, after one id."""
        ...

    def newest_requests(self, state: RequestState, before: str, limit: int) -> list[SealedRow]:
        """Return a page of the requests in a state, by id, the last first, before one id (empty:
        from the last).
        """
        ...

    def request(self, request: str) -> SealedRow | None:
        """Return the request of that id, whatever its space."""
        ...

    def grants(self, space: SpaceName) -> list[SealedRow]:
        """Return every grant of a space."""
        ...

    def holds(self, space: SpaceName) -> list[SealedRow]:
        """Return every legal hold of a space."""
        ...

    def shares(self, space: SpaceName) -> list[SealedRow]:
        """Return the shares of a space's meetings."""
        ...

    def disks(self) -> list[SealedRow]:
        """Return every disk of every space, erased ones too, by space and id."""
        ...

    def disk(self, disk: str) -> SealedRow | None:
        """Return the disk of that id, whatever its space."""
        ...

    def devices(self) -> list[Device]:
        """Return every device that was reported, by serial number."""
        ...

    def device(self, serial: str) -> Device | None:
        """Return one device."""
        ...

    def disk_orders(self, disk: str, after: str, limit: int) -> list[DiskOrder]:
        """Return a page of a disk's orders (of all for an empty id), newest first, before one."""
        ...

    def open_orders(self) -> list[DiskOrder]:
        """Return the orders that wait or run, oldest first."""
        ...

    def disk_order(self, order: str) -> DiskOrder | None:
        """Return one order."""
        ...

    def certificate(self, request: str) -> str | None:
        """Return the destruction certificate (JWS) of an executed request."""
        ...

    def lease(self, name: str) -> tuple[str, int] | None:
        """Return holder and end (seconds since 1970) of a lease."""
        ...

    def mark(self, name: str, default: int) -> int:
        """Return a remembered number."""
        ...

    def uses(self, space: SpaceName, meeting: MeetingId, epoch: int) -> int:
        """Return how many envelopes were served of a meeting's latest served epoch; 0 of others."""
        ...

    def grant_used(self, grant: str) -> str:
        """Return when a grant last let somebody do something (RFC 3339), empty: never."""
        ...

    def reply(self, principal: str, key: str) -> Reply | None:
        """Return the remembered reply to a create."""
        ...

    def row_version(self, key: str) -> int:
        """Return the version that the last leaf about the row names (0: none): kept in memory,
        rebuilt from the checked log at start, so that an older row put back is found.
        """
        ...

    def row_count(self, prefix: str) -> int:
        """Return how many rows the log names whose keys begin so: as many must be stored."""
        ...

    def row_spaces(self, kind: RowKind) -> set[SpaceName]:
        """Return the spaces of which the log names rows of a kind."""
        ...

    def site_sealed(self) -> bool:
        """Whether the log's last word about the whole box is that it was sealed."""
        ...

    def unsealed(self, resource: str) -> int:
        """Return the sequence number of the last leaf that unseals a resource (-1: none)."""
        ...

    def open_intents(self) -> list[int]:
        """Return the sequence numbers of intents without a result."""
        ...

    # the log

    def tree_size(self) -> int:
        """Return the number of durable leaves."""
        ...

    def root(self, size: int) -> bytes:
        """Return the Merkle root over the first ``size`` leaves (RFC 9162, section 2.1.1)."""
        ...

    def inclusion_proof(self, seq: int, size: int) -> list[bytes]:
        """Return the audit path of a leaf (RFC 9162, section 2.1.3)."""
        ...

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """Return the proof that ``new`` extends ``old`` (RFC 9162, section 2.1.4)."""
        ...

    def leaves(self, start: int, limit: int) -> list[bytes]:
        """Return leaves' bytes by sequence, from ``start``."""
        ...

    def checkpoints(self, after: int, limit: int) -> list[tuple[int, str]]:
        """Return (size, note) of stored checkpoints larger than ``after``, by size."""
        ...

    def last_checkpoint(self) -> tuple[int, str] | None:
        """Return (size, note) of the largest stored checkpoint."""
        ...

    def subscribe(self, listener: Callable[[int], None]) -> Callable[[], None]:
        """Call ``listener(tree_size)`` on the event loop after each commit; returns the undo."""
        ...
