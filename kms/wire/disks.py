"""Messages about encrypted disks, of people and of the appliance daemon."""

from typing import Annotated

from pydantic import Field, StringConstraints

from kms.domain.disks import DiskState, OrderKind, OrderState, Work
from kms.wire.base import Count, Jws, Meeting, Space, Text, Time, Wire

_Many = Field(max_length=10_000)
_Devices = Field(max_length=11_000)
DiskUuid = Meeting
"""A UUIDv7; it is the disk's LUKS UUID too."""
Serial = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:+-]{0,63}$")]
MountName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
Sealed = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$", max_length=4096)]
Nonce = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{22}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]


class MountOut(Wire):
    """Where a disk is mounted: a name below the appliance's mount root; null: nowhere."""

    name: MountName | None = None
    automatic: bool = True
    read_only: bool = False


class DiskOut(Wire):
    """An enrolled disk. ``state``, ``code`` and ``reason`` are the appliance's last word, ``seen``
    its time (null: never seen here). ``header`` is the SHA-256 of the registered header region,
    ``generation`` that of the disk escrow key its recovery key is encrypted to, ``tested`` when
    that key last opened the disk.
    """

    disk: DiskUuid
    space: Space
    serial: Serial
    size: Count
    label: MountName
    mount: MountOut
    work: Work
    committed: bool
    state: DiskState | None
    code: Text = ""
    reason: Text = ""
    mounted: Text = ""
    seen: Time | None = None
    header: Sha256 | None
    kek: Count
    volume: Count
    generation: Count
    enrolled: Time
    key_made: Time | None
    tested: Time | None
    recovery_due: Time | None
    replaces: DiskUuid | None
    erased: Time | None


class DeviceIn(Wire):
    """How a device stands, by its serial number (in the path)."""

    node: Text
    size: Count
    model: Text
    content: Text
    state: DiskState
    disk: DiskUuid | None = None
    code: Text = ""
    reason: Text = ""
    mounted: Text = ""


class DeviceOut(DeviceIn):
    """A device as it was last reported."""

    serial: Serial
    changed: Time


class DiskList(Wire):
    """Disks of the spaces that the caller may know of, and every device (operators, officers of
    all spaces, auditors and the appliance see those that are no disk of a space). Of the spaces
    ``unknown`` no disk is listed: they are sealed or out of the configuration, their token does
    not answer, or a disk's row is missing or was altered.
    """

    disks: Annotated[tuple[DiskOut, ...], _Many]
    devices: Annotated[tuple[DeviceOut, ...], _Devices]
    unknown: Annotated[tuple[Space, ...], _Many] = ()


class ChangeDisk(Wire):
    """Another label or mount policy; what is null stays."""

    label: MountName | None = None
    mount: MountOut | None = None


class OrderIn(Wire):
    """An order about a device. ``sealed_key``: for ``recover``, what the ceremony wrote."""

    kind: OrderKind
    serial: Serial
    dry_run: bool = False
    sealed_key: Sealed | None = None


class OrderOut(Wire):
    """An order and how it stands; ``progress`` in percent."""

    order: DiskUuid
    kind: OrderKind
    serial: Serial
    disk: DiskUuid | None
    space: Space | None
    principal: Text
    created: Time
    state: OrderState
    dry_run: bool
    progress: Annotated[int, Field(ge=0, le=100)]
    code: Text
    message: Text
    ended: Time | None


class OrderPage(Wire):
    """Orders, newest first; ``next`` continues."""

    items: Annotated[tuple[OrderOut, ...], _Many]
    next: DiskUuid | None = None


class OrderToDo(Wire):
    """An order as the appliance gets it."""

    order: DiskUuid
    kind: OrderKind
    serial: Serial
    disk: DiskUuid | None
    dry_run: bool
    sealed_key: Sealed | None


class Orders(Wire):
    """What waits for the appliance, oldest first, running ones included (after a restart it goes on
    with those). ``sealed`` are the spaces whose disks are to be closed at once and stay closed;
    ``version`` changes when any of this does: the next question names it and waits for another.
    """

    version: Count
    orders: Annotated[tuple[OrderToDo, ...], _Many]
    sealed: Annotated[tuple[Space, ...], _Many]


class OrderReport(Wire):
    """How far an order is."""

    state: OrderState
    progress: Annotated[int, Field(ge=0, le=100)] = 0
    code: Text = ""
    message: Text = ""


class AskKeys(Wire):
    """Ask for a disk's keys; the release is for this nonce (16 bytes, base64url) alone."""

    nonce: Nonce


class KeysOut(Wire):
    """A disk as it stands, and the signed release of its keys (statements/release.py): of what it
    is about to touch the appliance believes that alone.
    """

    disk: DiskOut
    release: Jws


class Begin(Wire):
    """Which work begins."""

    work: Work


class Commit(Wire):
    """The appliance's proof that the work's keys open the disk (statements/diskkeys.py)."""

    proof: Sha256


class Finish(Wire):
    """The SHA-256 of the header region that the disk has now, and the appliance's proof of it."""

    header: Sha256
    proof: Sha256
