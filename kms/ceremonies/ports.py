"""What ceremony steps need from outside: a token under ceremony, and people who keep shares."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from kms.domain.models import RecipientKind, ReleaseClass


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

    def self_test(self) -> None:
        """Raise ProfileError unless the token answers as its profile says."""
        ...

    def random(self, size: int) -> bytes:
        """Return bytes from the token's generator."""
        ...

    def generate_vault(self, version: int) -> bytes:
        """Generate a vault pair; return its public half, which is not yet trusted."""
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

    def sign(self, use: SigningUse, version: int, digest: bytes) -> bytes:
        """Return r || s over a SHA-256 digest."""
        ...

    def trust_vault(self, version: int, release_class: ReleaseClass, spki: bytes) -> None:
        """Trust the token's own vault key, which fixes the space's release class."""
        ...

    def trust_escrow(self, generation: int, spki: bytes) -> None:
        """Trust an escrow key."""
        ...

    def trust_signing(self, use: SigningUse, version: int, spki: bytes) -> None:
        """Keep the public half of an own signing key where only officers can change it."""
        ...

    def trust_recipient(self, kind: RecipientKind, name: str, spki: bytes) -> None:
        """Trust a meeting server's or recorder's RSA key of 3072 bits or more."""
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

    def labels(self) -> tuple[str, ...]:
        """Return the labels of the service's objects on the token."""
        ...


@dataclass(frozen=True, slots=True)
class ShareGroup:
    """A group of share holders: ``threshold`` of its ``count`` are needed, and every group is."""

    name: str
    threshold: int
    count: int


@dataclass(frozen=True, slots=True)
class Share:
    """One share: group, place in it from 1, and its 33 words (SLIP-39). The words are secret."""

    group: str
    index: int
    words: str = field(repr=False)


class Custodians(Protocol):
    """The share holders, one at a time."""

    def hand_over(self, share: Share) -> None:
        """Give a share to its holder, who writes it down."""
        ...

    def read_back(self, group: str, index: int) -> str:
        """Return the words as the holder reads them."""
        ...
