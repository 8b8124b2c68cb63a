"""The store in a ceremony's hands: what it reads, and the entries that it writes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from kms.audit.leaf import Outcome
from kms.domain.disks import Disk
from kms.domain.grants import Hold
from kms.domain.ids import MeetingId, RecipientId, SpaceName
from kms.domain.models import (
    Envelope,
    Epoch,
    Meeting,
    Recipient,
    Space,
)
from kms.domain.policies import SpacePolicy
from kms.domain.rows import Record


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
    """What the site issues by number."""

    REGISTER = "register"
    KEY_LIST = "key-list"
    ESCROW = "escrow"
    DISK_ESCROW = "disk-escrow"


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

    def disks(self, space: SpaceName) -> tuple[Disk, ...]:
        """Return every disk of a space, erased ones too."""
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

    def check_space(self, record: Space) -> None:
        """Raise IntegrityFailure unless the log tells the same of a space: release class and token
        since it was made, whether it was retired and destroyed.
        """
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
