"""The HSM, as the use cases need it: workers that hold tokens, and what is asked of them.

Row MACs, rosters, approvals and manifests are checked and made behind these, by the worker.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kms.domain.disks import MountPolicy, Work
from kms.domain.ids import RecipientId, SpaceName
from kms.domain.models import Envelope, Meeting, Roster, RotationReason
from kms.domain.rows import Row, SealedRow


@dataclass(frozen=True, slots=True)
class MintOrder:
    """Everything that a space's worker needs to mint one epoch.

    ``roster`` decides the recipients: in a ``roster`` space its signed statement, in a
    ``trusted`` space its list of registered recipients. ``meeting`` is the meeting's record as it
    will be once the epoch is stored, ``meeting_version`` its row's version; the worker returns
    both rows with their MACs. ``others`` are further rows of the same space to MAC (the roster,
    a cancelled epoch). ``activates`` and ``retires`` are whole seconds. ``share`` is the row by
    which both spaces approved that the meeting's partner receives its keys too.
    """

    site: str
    meeting: Meeting
    meeting_version: int
    roster: Roster
    epoch: int
    reason: RotationReason
    activates: int
    retires: int
    now: int
    others: tuple[Row, ...]
    share: SealedRow | None = None


@dataclass(frozen=True, slots=True)
class Minted:
    """A minted epoch: one envelope for every recipient of the manifest (vault and escrow
    included), and the rows of epoch (version 1), meeting and ``others`` in that order.
    """

    envelopes: tuple[Envelope, ...]
    rows: tuple[SealedRow, ...]


@dataclass(frozen=True, slots=True)
class Approved:
    """Rows that need approval: ``request`` is the row of the request that permits them, executed,
    and ``register`` the register of people (JWS) under which its approvals were given. ``policy``
    is the row of the space's policy, which says who must approve; None: it has none of its own.
    ``before`` is the row that ``disk.erase`` erases, as it stands.
    """

    request: Row
    rows: tuple[Row, ...]
    register: str
    policy: SealedRow | None = None
    before: SealedRow | None = None


@dataclass(frozen=True, slots=True)
class ResealItem:
    """An epoch's row, and its envelope to the vault key ``source``, to be wrapped to the newest."""

    epoch: SealedRow
    source: RecipientId
    blob: bytes


@dataclass(frozen=True, slots=True)
class Resealed:
    """For each item, in order: the newest vault key's envelope, and the epoch's next row, whose
    last addendum names it.
    """

    envelopes: tuple[Envelope, ...]
    rows: tuple[SealedRow, ...]


@dataclass(frozen=True, slots=True)
class CertifyOrder:
    """What a destruction certificate is made from: the executed request's row, the register (JWS)
    that its approvals were given under, the rows of all epochs that it destroyed, or of ``part`` of
    ``parts`` of them (from 1); ``executor`` the caller that carried it out; ``closed_by`` when the
    policy has the vault key replaced at the latest (0: no date).
    """

    request: SealedRow
    register: str
    epochs: tuple[SealedRow, ...]
    executor: str
    now: int
    closed_by: int
    part: int = 1
    parts: int = 1


@dataclass(frozen=True, slots=True)
class RetireOrder:
    """What an older vault key is destroyed for: the executed request's row, the register (JWS) that
    its approvals were given under, and the vault's row, which that request revoked.
    """

    request: SealedRow
    register: str
    vault: SealedRow


@dataclass(frozen=True, slots=True)
class BeginWork:
    """Make the keys that a work brings onto a disk (``Disk.began``); the first one, and
    ``recover``, make the disk's next KEK too.
    """

    work: Work


@dataclass(frozen=True, slots=True)
class CommitWork:
    """The keys of the work open the disk and are its keys from now on (``Disk.commit``).

    ``proof``: the appliance's word for it (``work_proof`` of statements/diskkeys.py).
    """

    proof: str


@dataclass(frozen=True, slots=True)
class FinishWork:
    """The work is over, the disk has this header (``Disk.finish``); ``proof`` as in CommitWork."""

    header: str
    proof: str


@dataclass(frozen=True, slots=True)
class DescribeDisk:
    """The disk, on which no work goes on, is described anew: another label or mount policy."""

    label: str
    mount: MountPolicy


@dataclass(frozen=True, slots=True)
class RotateKek:
    """Make the disk's next KEK and encrypt its keys by it; the older ones stay until
    ``drop_keks``.
    """


DiskStep = BeginWork | CommitWork | FinishWork | DescribeDisk | RotateKek


@dataclass(frozen=True, slots=True)
class EraseOrder:
    """What a disk's KEKs are destroyed for: the executed request's row, the register (JWS) that
    its approvals were given under, and the disk's row, which that request erased.
    """

    request: SealedRow
    register: str
    disk: SealedRow


@dataclass(frozen=True, slots=True)
class CertifyErasureOrder:
    """What a certificate of erasure is made from: as EraseOrder; ``slots``: what the appliance
    says became of the device ("erased" or "absent"), ``executor`` the caller that carried the
    request out.
    """

    erase: EraseOrder
    slots: str
    executor: str
    now: int


@dataclass(frozen=True, slots=True)
class ReportOrder:
    """What a statement about a report is made from (statements/report.py, which says what the
    fields are). ``root`` is that of the first ``size`` leaves, and ``proof`` shows that the last
    head that was signed extends it. ``request`` is the row of the executed request by which names
    are shown in full, ``register`` the register (JWS) that its approvals were given under.
    """

    report: str
    since: int
    until: int
    size: int
    root: bytes
    proof: tuple[bytes, ...]
    bundle: str
    figures: str
    actor: str
    full: str = ""
    paper: str = ""
    language: str = ""
    request: SealedRow | None = None
    register: str = ""


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """What ``conclave hsm info`` shows of one token; no secrets."""

    token: str
    space: str
    manufacturer: str
    model: str
    serial: str
    module_version: str
    worker_pid: int
    mechanisms: tuple[str, ...]
    objects: tuple[dict[str, Any], ...]


class RowKeeper(Protocol):
    """Makes and checks row MACs with a token's row-MAC key."""

    async def seal_rows(self, rows: Sequence[Row]) -> list[SealedRow]:
        """Return the rows with their MACs; raise HsmUnavailable."""
        ...

    async def seal_approved(self, approved: Approved) -> list[SealedRow]:
        """Return the request's row and then the rows that it permits, with their MACs.

        The worker verifies request, approvals and quorum itself. Raise VerificationFailed,
        QuorumNotMet, Forbidden for rows that the request does not permit, HsmUnavailable.
        """
        ...

    async def check_rows(self, rows: Sequence[SealedRow]) -> None:
        """Raise IntegrityFailure unless every MAC holds, HsmUnavailable.

        Without rows it tells whether the token works.
        """
        ...

    async def info(self) -> TokenInfo:
        """Describe the token."""
        ...


class SpaceHsm(RowKeeper, Protocol):
    """One space's token."""

    async def mint(self, order: MintOrder) -> Minted:
        """Mint one epoch: generate, wrap, commit, sign. Raise VerificationFailed for a roster
        that does not hold, HsmUnavailable when it is unknown whether it took place.
        """
        ...

    async def reseal(self, items: Sequence[ResealItem], now: int) -> Resealed:
        """Wrap epochs' keys to the newest vault key. Raise IntegrityFailure for an envelope that
        does not open or is of another context, HsmUnavailable.
        """
        ...

    async def retire_vault(self, order: RetireOrder) -> None:
        """Destroy an older vault key pair on the token; nothing if it is gone already. Raise
        Forbidden for the newest or without an approved request, VerificationFailed,
        IntegrityFailure, HsmUnavailable.
        """
        ...

    async def advance_disk(self, disk: SealedRow, step: DiskStep, now: int) -> SealedRow:
        """Return the disk's next row. Raise IntegrityFailure for a row that is not the service's or
        keys that do not open, StateNotAllowed, HsmUnavailable.
        """
        ...

    async def open_disk(self, disk: SealedRow, nonce: bytes) -> str:
        """Return a signed release (statements/release.py): the disk and its keys, sealed to the
        configured appliance; of an erased disk no keys. Raise IntegrityFailure, StateNotAllowed
        without an appliance or where the KEK is gone, HsmUnavailable.
        """
        ...

    async def drop_keks(self, disk: SealedRow) -> None:
        """Destroy the KEKs older than those that the disk's row names. Raise IntegrityFailure,
        HsmUnavailable.
        """
        ...

    async def erase_disk(self, order: EraseOrder) -> None:
        """Destroy every KEK of a disk; nothing if they are gone already. Raise Forbidden without
        an approved request, VerificationFailed, IntegrityFailure, HsmUnavailable.
        """
        ...

    async def certify_erasure(self, order: CertifyErasureOrder) -> str:
        """Return the signed certificate of erasure (statements/erasure.py) once no KEK is left.
        Raise as ``erase_disk``, StateNotAllowed while one is there.
        """
        ...

    async def certify(self, order: CertifyOrder) -> str:
        """Return the signed destruction certificate (statements/destruction.py). Raise
        VerificationFailed, IntegrityFailure, Forbidden, HsmUnavailable.
        """
        ...


class SiteHsm(RowKeeper, Protocol):
    """The site's own token."""

    async def sign_checkpoint(self, size: int, root: bytes, proof: Sequence[bytes]) -> str:
        """Return a signed note (C2SP tlog-checkpoint) for a tree that ``proof`` (RFC 9162,
        section 2.1.4) shows to extend the last one signed; raise IntegrityFailure if not.
        """
        ...

    async def last_checkpoint(self) -> tuple[int, bytes]:
        """Return size and root of the last tree signed, as kept on the token; (0, empty root)
        before the first.
        """
        ...

    async def sign_report(self, order: ReportOrder) -> str:
        """Return the signed statement about a report, or about its export. Raise IntegrityFailure
        unless the last tree signed extends the report's, Forbidden for names in full without an
        executed request for them, VerificationFailed, InvalidInput, HsmUnavailable.
        """
        ...


@dataclass(frozen=True, slots=True)
class Load:
    """What was asked of a token since the process started: how many requests, and for how many
    seconds at least one was not answered yet.
    """

    requests: int
    busy: float


class WorkerDirectory(Protocol):
    """Finds the worker that holds a space's token."""

    def space(self, space: SpaceName) -> SpaceHsm:
        """Return a space's HSM; raise NotFound."""
        ...

    @property
    def site(self) -> SiteHsm:
        """Return the site's HSM."""
        ...

    def all(self) -> Iterator[RowKeeper]:
        """Return every worker, the site's first."""
        ...
