"""What the service keeps: spaces, recipients, meetings, rosters, epochs, envelopes.

Times are whole seconds since 1970 (UTC). Nothing here is secret: keys exist only as blobs.
"""

from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum

from kms.domain.ids import MeetingId, RecipientId, SpaceName
from kms.domain.states import KeyState, MeetingState, check_transition


class ReleaseClass(StrEnum):
    """Who may receive a space's meeting keys; fixed at the space's ceremony."""

    TRUSTED = "trusted"
    ROSTER = "roster"


class RecipientKind(StrEnum):
    """What kind of key pair a recipient is."""

    VAULT = "vault"
    ESCROW = "escrow"
    SERVER = "server"
    RECORDER = "recorder"
    PARTNER = "partner"
    DEVICE = "device"


class RotationReason(StrEnum):
    """Why an epoch was minted."""

    OPEN = "open"
    JOIN = "join"
    LEAVE = "leave"
    MANUAL = "manual"
    SUSPICION = "suspicion"
    TIME = "time"
    USES = "uses"
    COMPROMISE = "compromise"


URGENT = frozenset(
    {
        RotationReason.OPEN,
        RotationReason.LEAVE,
        RotationReason.SUSPICION,
        RotationReason.COMPROMISE,
    }
)
"""Reasons whose epoch starts at once instead of being published ahead."""


@dataclass(frozen=True, slots=True)
class Space:
    """A department's key domain and the token that keeps its keys.

    ``retired``: since then nothing is minted in it; ``destroyed``: since then its token is empty
    and its keys are gone; ``sealed``: since then it is out of service. Each is 0 otherwise.
    """

    space: SpaceName
    release_class: ReleaseClass
    token: str
    created: int
    retired: int = 0
    destroyed: int = 0
    sealed: int = 0


@dataclass(frozen=True, slots=True)
class Recipient:
    """A registered public key of a space (devices come with a roster and are not registered).

    ``spki`` is base64 DER. ``tls_spki`` is the RecipientId-style hash of the key in the TLS
    certificate that the recipient's program connects with; empty for vault and escrow.
    ``revoked``: since then it receives nothing (0 before).
    """

    space: SpaceName
    recipient: RecipientId
    kind: RecipientKind
    name: str
    version: int
    spki: str
    tls_spki: str
    registered: int
    revoked: int = 0


@dataclass(frozen=True, slots=True)
class Meeting:
    """One meeting. ``next_epoch`` is published but not yet active; ``last_epoch`` the highest
    number ever minted, since a cancelled epoch's number is not used again.

    ``closed``: when it ended, else 0. ``host``: the host's device, if only its invitations put
    devices on the roster (a confidential meeting), else empty. ``partner``: the space whose vault
    receives the keys too, else empty. ``media``: the media cipher that its server last reported.
    """

    space: SpaceName
    meeting: MeetingId
    state: MeetingState
    current_epoch: int
    next_epoch: int | None
    last_epoch: int
    roster_version: int
    created: int
    closed: int = 0
    host: str = ""
    partner: str = ""
    media: str = ""


@dataclass(frozen=True, slots=True)
class Roster:
    """Who may receive a meeting's keys.

    In a ``roster`` space ``statement`` is the signed roster (statements/roster.py) that the HSM
    worker checks itself; in a ``trusted`` space it is empty and the token decides.
    """

    space: SpaceName
    meeting: MeetingId
    version: int
    recipients: tuple[RecipientId, ...]
    statement: str


@dataclass(frozen=True, slots=True)
class Epoch:
    """One period of a meeting with one key; ``manifest`` is the signed statement (JWS), ``addenda``
    those about keepers that received the key later (statements/addendum.py), in their order.
    """

    space: SpaceName
    meeting: MeetingId
    epoch: int
    state: KeyState
    reason: RotationReason
    activates: int
    retires: int
    roster_version: int
    manifest: str
    addenda: tuple[str, ...] = ()

    def moved(self, state: KeyState) -> "Epoch":
        """Return the epoch in another state; raise StateNotAllowed."""
        check_transition(self.state, state)
        return replace(self, state=state)


@dataclass(frozen=True, slots=True)
class Envelope:
    """An epoch key wrapped for one recipient."""

    space: SpaceName
    meeting: MeetingId
    epoch: int
    recipient: RecipientId
    blob: bytes


class PrincipalKind(StrEnum):
    """How a caller proved who it is."""

    SOCKET = "socket"
    TLS = "tls"
    PASSKEY = "passkey"


class Strength(IntEnum):
    """How strong a caller's proof is: the kernel's word for a local user, a private key's
    signature in the TLS handshake, two factors of a person.
    """

    LOCAL = 1
    CERTIFICATE = 2
    TWO_FACTORS = 3


@dataclass(frozen=True, slots=True)
class CallerLabels:
    """What the policy engine knows of a caller beside its roles; empty: not said."""

    department: str = ""
    business_type: str = ""
    region: str = ""
    staff_number: str = ""


class Role(StrEnum):
    """What a principal is to the service."""

    MEETING_SERVER = "meeting-server"
    AUDITOR = "auditor"
    OFFICER = "officer"
    OPERATOR = "operator"
    APPLIANCE = "appliance"


EVERY_SPACE = "*"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller. ``spaces`` holds names, or only EVERY_SPACE; ``recipient`` is set
    for a registered meeting server, ``proof`` says by what it was recognised (uid or SPKI).
    ``age``: whole minutes since the connection was made, in seconds; 0 where nothing asks for it.
    """

    name: str
    kind: PrincipalKind
    proof: str
    roles: frozenset[Role]
    spaces: frozenset[str]
    recipient: RecipientId | None = None
    labels: CallerLabels = CallerLabels()
    strength: Strength = Strength.LOCAL
    age: int = field(default=0, compare=False)

    def reaches(self, space: str) -> bool:
        """Whether anything of the space may be known to this caller."""
        return space in self.spaces or EVERY_SPACE in self.spaces
