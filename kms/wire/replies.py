"""What the service answers. Enumerations are those of the domain; times are RFC 3339 in UTC."""

from typing import Annotated, Any

from pydantic import Field

from kms.domain.alerts import Severity
from kms.domain.models import RecipientKind, ReleaseClass, RotationReason
from kms.domain.states import KeyState, MeetingState
from kms.wire.base import (
    MAX_BATCH,
    MAX_PAGE,
    Base64,
    Count,
    EpochNumber,
    Jws,
    Meeting,
    Recipient,
    Recipients,
    Space,
    Text,
    Time,
    Wire,
)

_Many = Field(max_length=10_000)
_Addenda = Annotated[tuple[Jws, ...], Field(max_length=1000)]


class Problem(Wire):
    """RFC 9457 problem details; ``code`` is stable, ``detail`` and ``hint`` are for people."""

    type: Text
    title: Text
    status: Annotated[int, Field(ge=400, le=599)]
    code: Text
    detail: Text
    hint: Text | None = None


class SpaceOut(Wire):
    """A department's key domain.

    ``retired``: since then no key is minted in it; ``destroyed``: since then its keys are gone;
    ``sealed``: since then it is out of service.
    """

    space: Space
    release_class: ReleaseClass
    token: Text
    created: Time
    retired: Time | None = None
    destroyed: Time | None = None
    sealed: Time | None = None


class SealOut(Wire):
    """What is sealed (without ``space``: the whole box), since when.

    ``durable``: a reboot does not undo it. ``logged``: it stands in the log. Else the service goes
    on trying, and restores neither key operations nor the worker meanwhile.
    """

    space: Space | None
    sealed: Time
    durable: bool
    logged: bool


class SpaceList(Wire):
    """The spaces that the caller may know of."""

    items: Annotated[tuple[SpaceOut, ...], _Many]


class RecipientOut(Wire):
    """A registered public key (``spki``: base64 DER)."""

    space: Space
    recipient: Recipient
    kind: RecipientKind
    name: Text
    version: Count
    spki: Base64
    registered: Time


class RecipientList(Wire):
    """The recipients of the spaces that the caller may know of."""

    items: Annotated[tuple[RecipientOut, ...], _Many]


class RosterOut(Wire):
    """Who may receive a meeting's keys; ``statement`` only in roster spaces.

    ``version`` counts the rosters; the ETag beside it is what If-Match wants.
    """

    version: Count
    recipients: Recipients
    statement: Jws | None = None


class EpochOut(Wire):
    """One period of a meeting with one key, and its signed manifest.

    ``addenda`` name keepers (vault, escrow) that received the key later.
    """

    epoch: EpochNumber
    state: KeyState
    reason: RotationReason
    activates: Time
    retires: Time
    roster_version: Count
    manifest: Jws
    addenda: _Addenda = ()


class EpochPage(Wire):
    """Epochs by number; ``next`` goes into ``after`` for the next page."""

    items: Annotated[tuple[EpochOut, ...], Field(max_length=MAX_PAGE)]
    next: int | None = None


class MeetingSummary(Wire):
    """A meeting without its roster. ``host``: only its invitations put devices on the roster (a
    confidential meeting); ``partner``: the space whose vault receives the keys too; ``media``: the
    cipher that its server last reported. Each is null if there is none.
    """

    space: Space
    meeting: Meeting
    state: MeetingState
    current_epoch: EpochNumber
    next_epoch: EpochNumber | None
    last_epoch: EpochNumber
    roster_version: Count
    created: Time
    host: Recipient | None = None
    partner: Space | None = None
    media: Text | None = None


class MeetingOut(MeetingSummary):
    """A meeting; ``current`` and ``next`` only while it is open."""

    roster: RosterOut
    current: EpochOut | None = None
    next: EpochOut | None = None


class MeetingPage(Wire):
    """Meetings by id; ``next`` goes into ``after`` for the next page."""

    items: Annotated[tuple[MeetingSummary, ...], Field(max_length=MAX_PAGE)]
    next: Meeting | None = None


class EnvelopeOut(Wire):
    """An envelope: the epoch's manifest with its addenda and the recipient's ``blob`` (base64)."""

    space: Space
    meeting: Meeting
    epoch: EpochNumber
    recipient: Recipient
    manifest: Jws
    blob: Base64
    addenda: _Addenda = ()


class BatchError(Wire):
    """Why one envelope of a batch was not served."""

    code: Text
    detail: Text


class BatchItem(Wire):
    """Either an envelope or the reason why not."""

    envelope: EnvelopeOut | None = None
    error: BatchError | None = None


class BatchOut(Wire):
    """The answers to a batch, in its order."""

    items: Annotated[tuple[BatchItem, ...], Field(max_length=MAX_BATCH)]


class EventOut(Wire):
    """A change of a meeting; ``cancelled`` is an epoch that must not be used any more. Or an alert
    (``alert.raise``, ``alert.clear``), for people's roles alone: it has no ``meeting``, and no
    ``space`` if it is the site's own.
    """

    seq: Count
    kind: Text
    at: Time
    space: Space | None
    meeting: Meeting | None
    epoch: EpochNumber | None = None
    state: KeyState | None = None
    cancelled: EpochNumber | None = None
    alert: Text | None = None
    severity: Severity | None = None
    subject: Text | None = None
    number: Count | None = None


class RotationOut(Wire):
    """An open meeting's present epoch. ``due``: when and ``why`` its next one is to be made, null
    while one is published or this one is suspended. ``overdue``: past its maximum age, or it should
    have been replaced a minute ago. ``uses`` counts the envelopes served of it; 0 as
    ``maximum_uses`` is any number. ``people`` counts the roster of a confidential meeting, of which
    operators see times and this number alone.
    """

    space: Space
    meeting: Meeting | None
    epoch: EpochNumber | None
    state: KeyState | None
    reason: RotationReason | None
    activated: Time
    due: Time | None = None
    why: RotationReason | None = None
    retires: Time
    overdue: bool
    uses: Count
    maximum_uses: Count
    next_epoch: EpochNumber | None = None
    next_activates: Time | None = None
    people: Count | None = None


class RotationPage(Wire):
    """A page of the open meetings that the caller may know of, by space and id. ``unknown`` are
    the spaces that are sealed or out of the configuration: nothing of them is listed.
    """

    items: Annotated[tuple[RotationOut, ...], _Many]
    next: Text | None = None
    unknown: Annotated[tuple[Space, ...], _Many] = ()


class GenerationOut(Wire):
    """An escrow generation; ``blob``: its private half, wrapped, lies in the state directory.
    ``epochs`` are those that no newer generation covers.
    """

    generation: Count
    made: Time
    destroyed: Time | None = None
    blob: bool
    epochs: Count


class SpaceCoverage(Wire):
    """How many of a space's keys there are, and how many could be recovered."""

    space: Space
    epochs: Count
    covered: Count


class GapOut(Wire):
    """A key that could not be recovered; of a confidential meeting operators see no more."""

    space: Space
    meeting: Meeting | None
    epoch: EpochNumber | None
    reason: Text


class HolderOut(Wire):
    """An officer, whose next drill is ``due``."""

    person: Text
    due: Time
    overdue: bool


class ObligationOut(Wire):
    """A generation to replace: a ceremony combined its SWK outside the offline image."""

    ceremony: Text
    generation: Count
    since: Time


class EscrowOut(Wire):
    """Escrow at a glance; ``attention``: people have to do something. Of ``gap_count`` gaps the
    first are listed. Of the spaces ``unknown`` no key was looked at: their token cannot be asked.
    """

    attention: bool
    epochs: Count
    covered: Count
    gap_count: Count
    gaps: Annotated[tuple[GapOut, ...], Field(max_length=20)]
    generations: Annotated[tuple[GenerationOut, ...], _Many]
    spaces: Annotated[tuple[SpaceCoverage, ...], _Many]
    unknown: Annotated[tuple[Space, ...], _Many] = ()
    last_drill: Time | None = None
    holders: Annotated[tuple[HolderOut, ...], _Many]
    obligations: Annotated[tuple[ObligationOut, ...], _Many]


class StatusOut(Wire):
    """The site at a glance: ``workers`` maps each token to "ready" or an error's code, ``channels``
    each notification channel to "ready" or why it does not deliver. ``alerts`` counts active ones.
    """

    site: Text
    banner: Text
    spaces: Count
    tree_size: Count
    checkpoint_size: Count
    key_operations: Text
    workers: dict[Text, Text]
    alerts: Count = 0
    channels: dict[Text, Text] = Field(default_factory=dict)


class Health(Wire):
    """``status`` is "live" or "ready"."""

    status: Text


class KeyListOut(Wire):
    """The site's signed key list."""

    key_list: Jws


class TokenOut(Wire):
    """What one token says of itself; ``objects`` are labels and attributes, never values."""

    token: Text
    space: Text
    manufacturer: Text
    model: Text
    serial: Text
    module_version: Text
    worker_pid: Count
    mechanisms: tuple[Text, ...]
    objects: tuple[dict[str, Any], ...]


class TokenList(Wire):
    """Every token, the site's first."""

    items: Annotated[tuple[TokenOut, ...], _Many]
