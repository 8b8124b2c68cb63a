"""Devices that are no disk of a space: told apart from those that claim to be one. Read only."""

from appliance.daemon.reports import Word
from appliance.storage.device import DeviceRef, pin
from appliance.storage.header import COPY_BYTES, claimed_uuid, claims_luks, read_region
from kms.domain.disks import DiskState, OrderKind
from kms.wire.disks import OrderToDo

_TOKEN = b'"conclave"'
"""The type of our LUKS2 token, wherever a header says it."""


def look_at_stranger(ref: DeviceRef, known: frozenset[str]) -> Word:
    """Return how a device stands that is no disk of a space; ``known`` are the ids of all disks.
    Raise DeviceChanged, OSError.
    """
    with pin(ref) as pinned:
        region = read_region(pinned.descriptor)
    if claimed_uuid(region) in known:
        return Word(
            DiskState.QUARANTINED,
            "disk_elsewhere",
            "it carries the header of a disk that is another device, or was erased",
        )
    if claims_luks(region) and _TOKEN in region[: 2 * COPY_BYTES]:
        return Word(
            DiskState.QUARANTINED, "foreign_disk", "it claims to be a disk, of another site maybe"
        )
    return Word(DiskState.UNKNOWN)


def stranger_after(order: OrderToDo) -> tuple[Word, ...]:
    """Return what to report of such a device after an order of people."""
    if order.kind is OrderKind.QUARANTINE:
        return (Word(DiskState.QUARANTINED, "by_order", "people put it aside"),)
    reason = "people say that it may be enrolled"
    return (
        Word(DiskState.SEEN, "released", reason),
        Word(DiskState.UNKNOWN, "released", reason),
    )
