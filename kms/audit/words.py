"""What a single leaf may say: known action, phase and outcome, a resource of its space, details
of the known shape. Nothing here knows other leaves.
"""

import re
from typing import Any, TypeVar

import msgspec

from kms.audit.actions import ACTIONS
from kms.audit.checks import Broken, Check
from kms.audit.leaf import Leaf, Outcome, Phase
from kms.domain.models import RotationReason
from kms.domain.states import KeyState

_OUTCOMES = {
    Phase.INTENT: (Outcome.PENDING,),
    Phase.RESULT: (Outcome.SUCCEEDED, Outcome.REFUSED, Outcome.FAILED, Outcome.INTERRUPTED),
    Phase.EVENT: (Outcome.SUCCEEDED, Outcome.REFUSED, Outcome.FAILED),
}
_ALLOWED = frozenset(
    (name, phase, outcome)
    for name, action in ACTIONS.items()
    for phase in action.phases
    for outcome in _OUTCOMES[phase]
)
_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
_EPOCH = re.compile(
    rf"spaces/([a-z][a-z0-9-]{{1,31}})/meetings/({_UUID})/epochs/(0|[1-9][0-9]{{0,9}})", re.ASCII
)
_MEETING = re.compile(rf"spaces/([a-z][a-z0-9-]{{1,31}})/meetings/({_UUID})", re.ASCII)

_EPOCH_ROW = re.compile(
    rf"epoch/([a-z][a-z0-9-]{{1,31}})/({_UUID})/(0|[1-9][0-9]{{0,9}})", re.ASCII
)

_T = TypeVar("_T")


class Minted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Details of a succeeded mint. ``manifest`` is the SHA-256 of the JWS, ``recipients`` are all
    that the manifest names, ``joined`` and ``left`` stand in a change of roster.
    """

    epoch: int
    state: KeyState
    reason: RotationReason
    manifest: str
    cancelled: int | None
    recipients: tuple[str, ...]
    roster_version: int
    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class Activated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Details of epoch.activate."""

    epoch: int
    deactivated: int


class Closed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Details of meeting.close."""

    cancelled: int | None
    deactivated: int


class Served(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Details of envelope.fetch and envelope.relay. Of a confidential meeting one of two tells who
    was at the device: ``assertion`` is the SHA-256 of a JWT, ``presence`` a whole statement.
    """

    epoch: int
    recipient: str
    assertion: str = ""
    presence: str = ""


class Rewrapped(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Details of escrow.rewrap and vault.rewrap: the keeper by its id and ``version`` (an escrow
    key's generation); ``addenda`` are the SHA-256 of the epochs' addenda, by the rows' keys.
    ``ceremony`` is empty where the running service wrapped.
    """

    ceremony: str
    recipient: str
    version: int
    addenda: tuple[str, ...]


class Generation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Details of escrow.generate (``spki`` and ``disk_spki``: ids of the keys for meetings and for
    disks), escrow.destroy, escrow.drill.
    """

    ceremony: str
    generation: int
    spki: str = ""
    disk_spki: str = ""
    certificate: str = ""
    officers: tuple[str, ...] = ()


class Recovered(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Details of escrow.recover: which epochs of the meeting, for whom, from which generations;
    ``offline_image`` whether that took place where the SWK cannot stay behind.
    """

    ceremony: str
    epochs: tuple[int, ...]
    recipient: str
    generations: tuple[int, ...]
    offline_image: bool


class RecoveredDisk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Details of escrow.recover-disk: for which appliance (its X25519 key), from which generation;
    ``offline_image`` as in Recovered.
    """

    ceremony: str
    disk: str
    appliance: str
    generations: tuple[int, ...]
    offline_image: bool


class Restored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Details of site.restore: the log's head that the new token took over, the new root's id."""

    ceremony: str
    size: int
    root: str
    site_root: str


class Issued(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Details of register.change and key-list.issue: the statement's SHA-256."""

    ceremony: str
    version: int
    sha256: str


class SpaceMade(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Details of space.create."""

    release_class: str
    token: str
    ceremony: str = ""


class SpaceEnded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Details of space.retire and space.destroy (whose ``certificate`` is named by SHA-256)."""

    ceremony: str
    certificate: str = ""


class RecipientTold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Details of recipient.register and recipient.revoke."""

    kind: str
    name: str
    ceremony: str = ""


class Held(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Details of a ceremony's successful end: the SHA-256 of its transcript."""

    ceremony: str
    kind: str
    transcript: str


def check_words(leaf: Leaf) -> None:
    """Raise Broken unless the leaf's own words fit together."""
    if leaf.action not in ACTIONS:
        raise Broken(Check.ACTIONS, "未知动作", "an unknown action")
    if (leaf.action, leaf.phase, leaf.outcome) not in _ALLOWED:
        raise Broken(Check.ACTIONS, "动作的阶段或结果不合规定", "no such phase or outcome here")
    if (leaf.intent is not None) != (leaf.phase is Phase.RESULT):
        raise Broken(Check.ACTIONS, "只有结果可以指向意图", "only a result names an intent")
    if leaf.rows and leaf.outcome is not Outcome.SUCCEEDED:
        raise Broken(Check.ACTIONS, "未成功的操作改了数据行", "rows changed without success")
    space = leaf.resource.split("/", 2)[1] if leaf.resource.startswith("spaces/") else ""
    if space != leaf.space:
        raise Broken(Check.ACTIONS, "资源不属于所记空间", "the resource is of another space")


def epoch_place(leaf: Leaf, epoch: int) -> tuple[str, str]:
    """Return (space, meeting) of a leaf about that epoch; raise Broken."""
    match = _EPOCH.fullmatch(leaf.resource)
    if match is None or int(match[3]) != epoch:
        raise Broken(
            Check.ACTIONS, "资源与所述密钥周期不符", "the resource is not the epoch told of"
        )
    return match[1], match[2]


def meeting_place(leaf: Leaf) -> tuple[str, str]:
    """Return (space, meeting) of a leaf about a meeting; raise Broken."""
    match = _MEETING.fullmatch(leaf.resource)
    if match is None:
        raise Broken(Check.ACTIONS, "资源不是会议", "the resource is not a meeting")
    return match[1], match[2]


def row_place(key: str) -> tuple[str, str, int]:
    """Return (space, meeting, epoch) of an epoch's row key; raise Broken."""
    match = _EPOCH_ROW.fullmatch(key)
    if match is None:
        raise Broken(Check.ROWS, "数据行不是密钥周期", "the row is not an epoch's")
    return match[1], match[2], int(match[3])


def details(leaf: Leaf, kind: type[_T]) -> _T:
    """Return the leaf's details; raise Broken for anything unknown or missing in them."""
    told: dict[str, Any] = leaf.details
    try:
        return msgspec.convert(told, kind)
    except msgspec.ValidationError as error:
        raise Broken(Check.ACTIONS, "细节字段不合规定", "details of an unknown shape") from error
