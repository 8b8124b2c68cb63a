"""A token under a ceremony, as its steps need it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from kms.domain.models import (
    RecipientKind,
    ReleaseClass,
)
from kms.domain.rows import Row, SealedRow


class SigningUse(StrEnum):
    """What a signing key of the site or of a space signs."""

    SITE_ROOT = "site-root"
    CHECKPOINT = "checkpoint"
    MANIFEST = "manifest"


@dataclass(frozen=True, slots=True)
class EscrowPair:
    """A new escrow key: its public half (SPKI, DER) and the private half (PKCS#8) under AES-KWP."""

    spki: bytes
    blob: bytes


@dataclass(frozen=True, slots=True)
class EscrowOpener:
    """Opens escrow envelopes: the SWK (32 bytes) and the escrow key under it."""

    swk: bytes = field(repr=False)
    blob: bytes


@dataclass(frozen=True, slots=True)
class VaultOpener:
    """Opens vault envelopes by a vault key of the token."""

    version: int


@dataclass(frozen=True, slots=True)
class RewrapItem:
    """One envelope to open: its blob, and the commitment (16 bytes) over its context."""

    blob: bytes
    context: bytes
    commitment: bytes


class CeremonyToken(Protocol):
    """One token in the hands of its officers.

    Every method opens the session that it needs, refuses a label that is there (AlreadyExists),
    reads back what it made, attribute by attribute (IntegrityFailure), and closes the session.
    Keys come and go as SPKI in DER. What ``trust_*`` puts on the token, the token trusts.
    """

    @property
    def label(self) -> str:
        """The token's label."""
        ...

    def initialise(self) -> None:
        """Initialise the empty token and set its PINs; raise AlreadyExists, PinError."""
        ...

    def exists(self) -> bool:
        """Whether a token of that label is there."""
        ...

    def erase(self) -> None:
        """Initialise the token anew with PINs that nobody knows: everything on it is gone. A
        token that is not there is as good as erased.
        """
        ...

    def change_so_pin(self, new: str) -> None:
        """Set another PIN of the security officer; raise PinError."""
        ...

    def self_test(self) -> None:
        """Raise ProfileError unless the token answers as its profile says."""
        ...

    def random(self, size: int) -> bytes:
        """Return bytes from the token's generator."""
        ...

    def generate_vault(self, version: int) -> bytes:
        """Generate a vault pair; return its public half, which is not yet trusted."""
        ...

    def prove_vault(self, version: int, release_class: ReleaseClass) -> bytes:
        """Open with a vault key what was wrapped to its TRUSTED public half, and return that half;
        raise NotFound, IntegrityFailure.
        """
        ...

    def generate_signing(self, use: SigningUse, version: int) -> bytes:
        """Generate a P-256 signing pair; return its public half."""
        ...

    def generate_row_mac(self, version: int) -> None:
        """Generate the row-MAC key."""
        ...

    def generate_escrow(self, swk: bytes) -> EscrowPair:
        """Generate an escrow pair that leaves the token at once, wrapped by the SWK (32 bytes)."""
        ...

    def prove_escrow(self, swk: bytes, pair: EscrowPair) -> None:
        """Open the blob inside the token and open an epoch key with it; raise IntegrityFailure."""
        ...

    def generate_disk_escrow(self, swk: bytes) -> EscrowPair:
        """Generate a disk escrow pair that leaves the token at once, wrapped by the SWK."""
        ...

    def prove_disk_escrow(self, swk: bytes, pair: EscrowPair) -> None:
        """Open the blob inside the token and decrypt with it what its public half encrypted; raise
        IntegrityFailure.
        """
        ...

    def sign(self, use: SigningUse, version: int, digest: bytes) -> bytes:
        """Return r || s over a SHA-256 digest."""
        ...

    def trust_vault(self, version: int, release_class: ReleaseClass, spki: bytes) -> None:
        """Trust the token's own vault key, which fixes the space's release class."""
        ...

    def trust_escrow(self, generation: int, spki: bytes) -> None:
        """Trust an escrow key."""
        ...

    def trust_disk_escrow(self, generation: int, spki: bytes) -> None:
        """Trust a disk escrow key, for encrypting disks' recovery keys only."""
        ...

    def trust_signing(self, use: SigningUse, version: int, spki: bytes) -> None:
        """Keep the public half of an own signing key where only officers can change it."""
        ...

    def trust_recipient(self, kind: RecipientKind, name: str, spki: bytes) -> None:
        """Trust a meeting server's or recorder's RSA key of 3072 bits or more."""
        ...

    def trust_partner(self, space: str, version: int, spki: bytes) -> None:
        """Trust another space's vault key of that version."""
        ...

    def trust_roster_authority(self, name: str, spki: bytes) -> None:
        """Trust a P-256 key that signs rosters."""
        ...

    def trust_device_anchor(self, name: str, certificate: bytes) -> None:
        """Trust a certificate authority (DER) that issues device certificates."""
        ...

    def revoke(self, label: str) -> None:
        """Destroy a trusted object by its label; raise NotFound."""
        ...

    def destroy(self, label: str) -> int:
        """Destroy every object of a label, as user; return how many there were (0: none)."""
        ...

    def labels(self) -> tuple[str, ...]:
        """Return the labels of the service's objects on the token."""
        ...

    def dump(self, label: str = "") -> list[dict[str, Any]]:
        """Return every object of the service, or those of a label, with all attributes, secrets
        left out, sorted: canonical builtins for the transcript.
        """
        ...

    def rewrap(
        self,
        opener: EscrowOpener | VaultOpener,
        targets: Sequence[str],
        items: Iterable[RewrapItem],
    ) -> Iterator[tuple[bytes, ...]]:
        """Open each envelope inside the token, check its commitment, wrap the key to every TRUSTED
        key of ``targets`` (labels); yield the blobs in that order.

        Raise IntegrityFailure for an envelope that does not open or is of another context.
        """
        ...

    def recover_disk_key(self, opener: EscrowOpener, escrowed: bytes) -> bytes:
        """Return what was encrypted to a disk escrow key: a disk's recovery key (64 bytes) and the
        SHA-256 of what it is for (32). Raise IntegrityFailure if it does not open.
        """
        ...

    def seal_rows(self, rows: Sequence[Row]) -> tuple[SealedRow, ...]:
        """Return the rows with their MACs by the token's row-MAC key."""
        ...

    def check_rows(self, rows: Sequence[SealedRow]) -> None:
        """Raise IntegrityFailure unless every MAC holds."""
        ...

    def sign_checkpoint(self, origin: str, size: int, root: bytes, proof: Sequence[bytes]) -> str:
        """Return a signed note for a head of the log that extends the last one on the token."""
        ...

    def last_checkpoint(self, origin: str) -> tuple[int, bytes]:
        """Return size and root of the last head signed; (0, empty root) before the first."""
        ...

    def adopt_checkpoint(self, size: int, root: bytes) -> None:
        """Take over the head of a log that an earlier token signed; raise AlreadyExists if this
        token has signed one itself.
        """
        ...
