"""The web process's side of the workers: what a space's token, and the site's, can be asked.

Every failure of connection, frame or deadline is HsmUnavailable; what the worker refused comes
back as the error it named. Nothing is ever sent twice.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

from kms.domain.ids import SpaceName
from kms.domain.rows import SealedRow
from kms.errors import NotFound
from kms.hsm.calls import Worker, parts
from kms.hsm.disk_messages import (
    CertifyErasure,
    DiskReleased,
    DropKeks,
    EraseDisk,
    ReleaseDisk,
    advance,
)
from kms.hsm.messages import (
    Certified,
    Certify,
    CheckpointSigned,
    Done,
    LastCheckpoint,
    Mint,
    MintDone,
    ReportSigned,
    Reseal,
    ResealDone,
    RetireVault,
    RowsSealed,
    SignCheckpoint,
    SignReport,
    TreeHead,
)
from kms.ports import (
    CertifyErasureOrder,
    CertifyOrder,
    DiskStep,
    EraseOrder,
    Load,
    Minted,
    MintOrder,
    ReportOrder,
    Resealed,
    ResealItem,
    RetireOrder,
    RowKeeper,
    SiteHsm,
    SpaceHsm,
)
from kms.settings import Settings


class SpaceWorker(Worker):
    """A space's token (ports.SpaceHsm)."""

    async def mint(self, order: MintOrder) -> Minted:
        """Mint one epoch; never sent twice."""
        return (await self._ask(Mint(order), MintDone)).minted

    async def reseal(self, items: Sequence[ResealItem], now: int) -> Resealed:
        """Wrap epochs' keys to the newest vault key."""
        done = [(await self._ask(Reseal(one, now), ResealDone)).resealed for one in parts(items)]
        envelopes = chain.from_iterable(part.envelopes for part in done)
        return Resealed(tuple(envelopes), tuple(chain.from_iterable(part.rows for part in done)))

    async def retire_vault(self, order: RetireOrder) -> None:
        """Destroy an older vault key pair."""
        await self._ask(RetireVault(order), Done)

    async def advance_disk(self, disk: SealedRow, step: DiskStep, now: int) -> SealedRow:
        """Return the disk's next row."""
        (row,) = (await self._ask(advance(disk, step, now), RowsSealed)).rows
        return row

    async def open_disk(self, disk: SealedRow, nonce: bytes) -> str:
        """Return the signed release of the disk's keys."""
        return (await self._ask(ReleaseDisk(disk, nonce), DiskReleased)).release

    async def drop_keks(self, disk: SealedRow) -> None:
        """Destroy the disk's older KEKs."""
        await self._ask(DropKeks(disk), Done)

    async def erase_disk(self, order: EraseOrder) -> None:
        """Destroy every KEK of a disk."""
        await self._ask(EraseDisk(order), Done)

    async def certify_erasure(self, order: CertifyErasureOrder) -> str:
        """Return the signed certificate of erasure."""
        return (await self._ask(CertifyErasure(order), Certified)).certificate

    async def certify(self, order: CertifyOrder) -> str:
        """Return the signed destruction certificate."""
        return (await self._ask(Certify(order), Certified)).certificate


class SiteWorker(Worker):
    """The site's token (ports.SiteHsm)."""

    async def sign_checkpoint(self, size: int, root: bytes, proof: Sequence[bytes]) -> str:
        """Return the signed note of a head that extends the last."""
        command = SignCheckpoint(size, root, tuple(proof))
        return (await self._ask(command, CheckpointSigned)).note

    async def last_checkpoint(self) -> tuple[int, bytes]:
        """Return size and root of the last head signed."""
        head = await self._ask(LastCheckpoint(), TreeHead)
        return head.size, head.root

    async def sign_report(self, order: ReportOrder) -> str:
        """Return the signed statement about a report."""
        return (await self._ask(SignReport(order), ReportSigned)).statement


class Workers:
    """Every worker of a configuration (ports.WorkerDirectory)."""

    def __init__(self, settings: Settings) -> None:
        deadline = settings.hsm.deadline_seconds
        socket = settings.paths.worker_socket
        self._site = SiteWorker(socket(settings.site_token.label), deadline)
        self._spaces = {
            SpaceName(token.space): SpaceWorker(socket(token.label), deadline)
            for token in settings.space_tokens
        }
        labels = [settings.site_token.label, *(token.label for token in settings.space_tokens)]
        self._by_label = dict(zip(labels, (self._site, *self._spaces.values()), strict=True))

    def space(self, space: SpaceName) -> SpaceHsm:
        """Return a space's HSM; raise NotFound."""
        try:
            return self._spaces[space]
        except KeyError:
            raise NotFound("there is no such space") from None

    @property
    def site(self) -> SiteHsm:
        """The site's HSM."""
        return self._site

    def all(self) -> Iterator[RowKeeper]:
        """Return every worker, the site's first."""
        return iter((self._site, *self._spaces.values()))

    def loads(self) -> dict[str, Load]:
        """Return the load of each token by its label; call it on the event loop."""
        return {label: worker.load() for label, worker in self._by_label.items()}

    async def close(self) -> None:
        """Close all connections."""
        for worker in (self._site, *self._spaces.values()):
            await worker.close()
