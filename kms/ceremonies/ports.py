"""What ceremony steps need from outside: tokens under ceremony, people, files, records."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from kms.audit.leaf import Outcome
from kms.domain.grants import Hold
from kms.domain.ids import MeetingId, RecipientId, SpaceName
from kms.domain.models import (
    Envelope,
    Epoch,
    Meeting,
    Recipient,
    RecipientKind,
    ReleaseClass,
    Space,
)
from kms.domain.policies import SpacePolicy
from kms.domain.rows import Record, Row, SealedRow


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

    def dump(self) -> list[dict[str, Any]]:
        """Return every object of the service with all its attributes, secrets left out, sorted:
        canonical builtins for the transcript.
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


@dataclass(frozen=True, slots=True)
class ShareGroup:
    """A group of share holders: ``threshold`` of its ``count`` are needed, and every group is."""

    name: str
    threshold: int
    count: int


@dataclass(frozen=True, slots=True)
class Share:
    """One share: group, place in it from 1, and its words (SLIP-39). The words are secret."""

    group: str
    index: int
    words: str = field(repr=False)


class SharedSecret(StrEnum):
    """What is split: the key over the escrow key, or what the SO PINs are derived from."""

    ESCROW = "escrow"
    SO = "so"


@dataclass(frozen=True, slots=True)
class ShareCard:
    """One share as its holder gets it. ``fingerprint`` is the head of the share's SHA-256."""

    site: str
    secret: SharedSecret
    generation: int
    split: int
    group: ShareGroup
    index: int
    holder: str
    display: str
    fingerprint: str
    words: str = field(repr=False)


class People(Protocol):
    """The people in the room, at the ceremony's terminal. Texts are already in their language."""

    def say(self, text: str) -> None:
        """Tell everybody what is going on."""
        ...

    def confirm(self, who: str, phrase: str, text: str) -> None:
        """Go on only once ``who`` typed the phrase; raise Abandoned."""
        ...

    def ask(self, who: str, text: str) -> str:
        """Return one line that is not secret, such as the number of a bag."""
        ...

    def give_card(self, card: ShareCard) -> None:
        """Give a share to its holder alone, on paper or screen; return once they have it."""
        ...

    def take_words(self, who: str, text: str) -> str:
        """Return a share as its holder types or scans it, unseen by the others."""
        ...

    def progress(self, text: str, done: int, total: int) -> None:
        """Show how far long work is."""
        ...


class PinBox(Protocol):
    """PINs of this ceremony, in memory alone."""

    def set_so_secret(self, secret: bytes, generation: int) -> None:
        """Derive the SO PINs of all tokens from this secret (16 bytes) until ``forget``."""
        ...

    def so_pin(self, token: str) -> str:
        """Return a token's SO PIN; raise PinError if the officers' secret is not here."""
        ...

    def user_pin(self, token: str) -> str:
        """Return a token's user PIN; raise PinError."""
        ...

    def draw_user_pin(self, token: str) -> None:
        """Draw a new token's user PIN (128 bits) unless it is known."""
        ...

    def deliver_user_pins(self, tokens: Sequence[str]) -> None:
        """Hand the PINs of new tokens to where the configuration's owner said."""
        ...

    def forget(self) -> None:
        """Forget the officers' secret."""
        ...


class Files(Protocol):
    """The state directory. Outputs are created exclusively and synced, never overwritten. A name
    may lie in folders (``certificates/c-1.json``), which are made when need be.
    """

    def write_new(self, name: str, data: bytes) -> None:
        """Create a file; raise AlreadyExists."""
        ...

    def read(self, name: str) -> bytes:
        """Return a file's bytes; raise NotFound."""
        ...

    def names(self) -> tuple[str, ...]:
        """Return the names of all files, sorted."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is as good as removed."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A leaf of the log in the ceremony's name, with what commits together with it.

    ``records`` are stored as their next versions; ``envelopes`` are added, ``dropped`` ones
    (space, meeting, epoch, recipient) deleted.
    """

    action: str
    space: str
    resource: str
    details: dict[str, Any] = field(default_factory=dict)
    records: tuple[Record, ...] = ()
    envelopes: tuple[Envelope, ...] = ()
    dropped: tuple[tuple[SpaceName, MeetingId, int, RecipientId], ...] = ()
    outcome: Outcome = Outcome.SUCCEEDED


class Issued(StrEnum):
    """What the site issues by number, as actions of the log."""

    REGISTER = "register.change"
    KEY_LIST = "key-list.issue"
    ESCROW = "escrow.generate"


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that was issued: its number, and the SHA-256 (base64url) of the statement or key;
    (0, empty) before the first.
    """

    number: int
    sha256: str


class Records(Protocol):
    """The store in a ceremony's hands: it holds the writer's lock, so the service stands still.

    Reads check row MACs with the tokens; raise IntegrityFailure, StoreUnavailable.
    """

    def spaces(self) -> tuple[Space, ...]:
        """Return every space."""
        ...

    def recipients(self, space: SpaceName) -> tuple[Recipient, ...]:
        """Return a space's registered recipients."""
        ...

    def unverified_recipients(self, space: SpaceName) -> tuple[Recipient, ...]:
        """Return a space's recipients WITHOUT checking their MACs, for a site whose tokens are
        gone: only to choose what no recipient had before.
        """
        ...

    def epochs(self, space: SpaceName) -> Iterator[Epoch]:
        """Yield a space's epochs that are not destroyed, meeting by meeting."""
        ...

    def meetings(self, space: SpaceName) -> Iterator[Meeting]:
        """Yield a space's meetings that are not destroyed."""
        ...

    def holds(self, space: SpaceName) -> tuple[Hold, ...]:
        """Return every legal hold of a space, lifted ones too."""
        ...

    def policy(self, space: SpaceName) -> SpacePolicy | None:
        """Return a space's own policy, None if it has the defaults of the configuration."""
        ...

    def epoch(self, space: SpaceName, meeting: MeetingId, epoch: int) -> Epoch:
        """Return one epoch; raise NotFound."""
        ...

    def unverified_epochs(self, space: SpaceName, meeting: MeetingId) -> Iterator[Epoch]:
        """Yield a meeting's epochs that are not destroyed, by number, WITHOUT checking their MACs:
        for a site whose tokens are gone. What their statements prove is all that they prove.
        """
        ...

    def envelope(
        self, space: SpaceName, meeting: MeetingId, epoch: int, recipient: RecipientId
    ) -> bytes | None:
        """Return one envelope's blob."""
        ...

    def site_sealed(self) -> bool:
        """Whether the log's last word about the whole box is that it was sealed."""
        ...

    def write(self, entry: Entry) -> int:
        """Make an entry durable; return its leaf's number.

        Bears being repeated: an entry whose action, resource and details a leaf since this
        ceremony's intent has already is not written again. Details name the ceremony.
        """
        ...

    def intent(self, details: dict[str, Any]) -> int:
        """Write the ceremony's intent leaf (``ceremony.run``); return its number."""
        ...

    def result(self, intent: int, outcome: Outcome, details: dict[str, Any]) -> None:
        """Write the result leaf of an intent."""
        ...

    def ended(self) -> str:
        """Return the digest of the transcript with which this ceremony ended, as the log has it;
        empty if it has not.
        """
        ...

    def head(self) -> tuple[int, bytes]:
        """Return size and root of the log."""
        ...

    def newest(self, what: Issued) -> Issue:
        """Return what the log names last of a kind, apart from this ceremony's own."""
        ...

    def check_log(self, size: int, root: bytes) -> None:
        """Raise IntegrityFailure unless the first ``size`` leaves have this root and this ceremony
        alone wrote what follows.
        """
        ...

    def last_transcript(self) -> str:
        """Return the digest of the transcript of the last ceremony that ended before this one;
        empty if there is none.
        """
        ...

    def sign_head(self) -> None:
        """Let the site's token sign the log's head, and store the checkpoint; nothing if the token
        is lost.
        """
        ...

    def reseal_rows(self) -> int:
        """Seal every row anew with the tokens as they are now, without checking the old MACs, in
        steps that can be repeated; return how many. For a site whose tokens are gone. Raise
        IntegrityFailure for a row that is not of the version that the log names, or gone.
        """
        ...
