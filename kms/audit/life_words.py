"""Details of the leaves of the life cycle: approvals, states, policies, holds, seals, alerts."""

import msgspec

from kms.domain.models import Role
from kms.domain.states import KeyState


class _Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Details of one action; anything unknown in them is refused."""


class ByRequest(_Told, frozen=True):
    """What every approved action tells: the request's id and its digest (SHA-256, base64url)."""

    request: str
    digest: str


class EpochByRequest(ByRequest, frozen=True):
    """Details of epoch.resume and epoch.destroy."""

    epoch: int


class MeetingDestroyed(ByRequest, frozen=True):
    """Details of meeting.destroy: how many epochs were left to destroy."""

    epochs: int


class HoldLifted(ByRequest, frozen=True):
    """Details of hold.lift."""

    hold: str


class PolicyChanged(ByRequest, frozen=True):
    """Details of policy.change and site-policy.change: the row's new version."""

    version: int


class Granted(ByRequest, frozen=True):
    """Details of grant.create."""

    grant: str
    principal: str
    role: Role
    expires: int


class Shared(ByRequest, frozen=True):
    """Details of meeting.share."""

    partner: str


class Suspended(_Told, frozen=True):
    """Details of epoch.suspend."""

    epoch: int
    reason: str


class Compromised(_Told, frozen=True):
    """Details of epoch.compromise: the state before, who had the key, how often it was served."""

    epoch: int
    reason: str
    was: KeyState
    readers: tuple[str, ...]
    served: int


class Certified(_Told, frozen=True):
    """Details of destruction.certify: the SHA-256 of the certificate (JWS)."""

    request: str
    certificate: str


class HoldPlaced(_Told, frozen=True):
    """Details of hold.place; an empty ``meeting`` is the whole space."""

    hold: str
    meeting: str
    reason: str


class GrantRevoked(_Told, frozen=True):
    """Details of grant.revoke."""

    grant: str


class MediaReported(_Told, frozen=True):
    """Details of media.report."""

    cipher: str


class Requested(_Told, frozen=True):
    """Details of approval.request, approval.sign and approval.cancel: who did it."""

    operation: str
    digest: str
    person: str


class Sealing(_Told, frozen=True):
    """Details of space.seal and site.seal."""

    reason: str


class Unsealing(_Told, frozen=True):
    """Details of space.unseal and site.unseal."""

    ceremony: str


class VaultRetired(ByRequest, frozen=True):
    """Details of vault.retire."""

    version: int


class Jumped(_Told, frozen=True):
    """Details of clock.jump: by how much the wall clock jumped, and where to."""

    seconds: int
    wall: str


class AlertTold(_Told, frozen=True):
    """Details of alert.raise and alert.clear."""

    alert: str
    subject: str
    number: int = 0
    text: str = ""


class Nothing(_Told, frozen=True):
    """Details of an action that its resource says whole."""


DETAILS: dict[str, type[_Told]] = {
    "epoch.suspend": Suspended,
    "epoch.resume": EpochByRequest,
    "epoch.compromise": Compromised,
    "epoch.destroy": EpochByRequest,
    "meeting.destroy": MeetingDestroyed,
    "destruction.certify": Certified,
    "hold.place": HoldPlaced,
    "hold.lift": HoldLifted,
    "policy.change": PolicyChanged,
    "site-policy.change": PolicyChanged,
    "grant.create": Granted,
    "grant.revoke": GrantRevoked,
    "meeting.share": Shared,
    "media.report": MediaReported,
    "approval.request": Requested,
    "approval.sign": Requested,
    "approval.cancel": Requested,
    "space.seal": Sealing,
    "site.seal": Sealing,
    "space.unseal": Unsealing,
    "site.unseal": Unsealing,
    "vault.retire": VaultRetired,
    "reseal.pause": Nothing,
    "reseal.resume": Nothing,
    "clock.jump": Jumped,
    "alert.raise": AlertTold,
    "alert.clear": AlertTold,
}
"""The shape of each action's details."""
