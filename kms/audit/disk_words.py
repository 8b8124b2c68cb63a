"""Details of the leaves about encrypted disks, and which disk a leaf is about."""

import re

import msgspec

from kms.audit.checks import Broken, Check
from kms.audit.leaf import Leaf
from kms.audit.life_words import ByRequest
from kms.domain.disks import DiskState, OrderKind, OrderState, Preparation, Work

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
_DISK = re.compile(rf"spaces/([a-z][a-z0-9-]{{1,31}})/disks/({_UUID})", re.ASCII)


class _Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Details of one action; anything unknown in them is refused."""


class Enrolled(ByRequest, frozen=True):
    """Details of disk.enroll; ``replaces`` is the disk whose files it takes over, or empty."""

    disk: str
    serial: str
    preparation: Preparation
    replaces: str


class Erased(ByRequest, frozen=True):
    """Details of disk.erase."""

    disk: str
    serial: str
    absent: bool


class Described(_Told, frozen=True):
    """Details of disk.change: label and mount policy."""

    label: str
    mount: str
    automatic: bool
    read_only: bool


class Begun(_Told, frozen=True):
    """Details of disk.begin; ``kek`` is the highest KEK version of the disk afterwards, ``escrow``
    the generation that the new recovery key is encrypted to, 0 if the work brings none.
    """

    work: Work
    kek: int
    escrow: int


class Committed(_Told, frozen=True):
    """Details of disk.commit."""

    work: Work


class Finished(_Told, frozen=True):
    """Details of disk.finish; ``header`` is the SHA-256 of the header region."""

    work: Work
    header: str


class KekRotated(_Told, frozen=True):
    """Details of disk.rotate-kek: the disk's new KEK version."""

    kek: int


class KeysReleased(_Told, frozen=True):
    """Details of disk.keys; ``version`` is that of the disk's row."""

    serial: str
    version: int
    work: Work


class Ordered(_Told, frozen=True):
    """Details of disk.order."""

    order: str
    kind: OrderKind
    serial: str
    dry_run: bool


class OrderEnded(_Told, frozen=True):
    """Details of disk-order.report."""

    order: str
    kind: OrderKind
    serial: str
    state: OrderState
    code: str


class DeviceReported(_Told, frozen=True):
    """Details of device.report; ``before`` is the state last told of, empty at first."""

    serial: str
    state: DiskState
    before: str
    code: str


class ErasureCertified(_Told, frozen=True):
    """Details of erasure.certify: the SHA-256 of the certificate (JWS)."""

    request: str
    disk: str
    certificate: str


DETAILS: dict[str, type[msgspec.Struct]] = {
    "disk.enroll": Enrolled,
    "disk.erase": Erased,
    "disk.change": Described,
    "disk.begin": Begun,
    "disk.commit": Committed,
    "disk.finish": Finished,
    "disk.rotate-kek": KekRotated,
    "disk.keys": KeysReleased,
    "disk.order": Ordered,
    "disk-order.report": OrderEnded,
    "device.report": DeviceReported,
    "erasure.certify": ErasureCertified,
}
"""The shape of each action's details."""

KEY_ACTIONS = frozenset({"disk.keys", "disk.begin", "disk.rotate-kek"})
"""What makes or releases keys: announced by an intent before it happens."""


def disk_place(leaf: Leaf) -> tuple[str, str]:
    """Return (space, disk) of a leaf about a disk; raise Broken."""
    match = _DISK.fullmatch(leaf.resource)
    if match is None:
        raise Broken(Check.ACTIONS, "资源不是磁盘", "the resource is not a disk")
    return match[1], match[2]


def disk_row(space: str, disk: str) -> str:
    """Return the row key of a disk."""
    return f"disk/{space}/{disk}"
