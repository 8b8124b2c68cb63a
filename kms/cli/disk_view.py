"""Shows disks, devices and orders to the appliance; finds the disk that somebody names."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kms.cli.output import Column, Output, word, yes_no
from kms.errors import ConclaveError, InvalidInput, NotFound
from kms.i18n import _

if TYPE_CHECKING:
    from kms.client.api import Client
    from kms.statements.request import OperationRequest
    from kms.wire.disks import DeviceOut, DiskList, DiskOut, OrderOut

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024

DiskArgument = Annotated[
    str, typer.Argument(help="The disk's id, serial number or label.", show_default=False)
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


def size(count: int) -> str:
    """Return a number of bytes in its largest whole unit."""
    power = 0
    while power + 1 < len(_UNITS) and count >= _STEP and count % _STEP == 0:
        count, power = count // _STEP, power + 1
    return f"{count} {_UNITS[power]}"


def state(value: str) -> str:
    """Return how a device stands as a word; a meeting's state has the same word "open"."""
    return _("open, not mounted") if value == "open" else word(value)


LIST = (
    Column("Label", "label"),
    Column("Space", "space"),
    Column("Serial", "serial"),
    Column("Size", "size", size),
    Column("State", "state", state),
    Column("Work under way", "work", word),
    Column("Mounted at", "mounted"),
    Column("Recovery test due", "recovery_due"),
    Column("Why", "why"),
    Column("Disk", "disk"),
)
DETAIL = (
    Column("Disk", "disk"),
    *LIST[:7],
    Column("Mount name", "mount_name"),
    Column("Opened when plugged in", "automatic", yes_no),
    Column("Read only", "read_only", yes_no),
    Column("KEK version", "kek"),
    Column("Slot key made", "key_made"),
    Column("Volume key version", "volume"),
    Column("Escrow generation", "generation"),
    Column("Recovery key tested", "tested"),
    Column("Recovery test due", "recovery_due"),
    Column("SHA-256 of the header", "header"),
    Column("Replaces", "replaces"),
    Column("Enrolled", "enrolled"),
    Column("Erased", "erased"),
    Column("Seen", "seen"),
    Column("Why", "why"),
)
DEVICE = (
    Column("Serial", "serial"),
    Column("Node", "node"),
    Column("Model", "model"),
    Column("Size", "size", size),
    Column("State", "state", state),
    Column("Content", "content"),
    Column("Why", "why"),
    Column("Disk", "disk"),
    Column("Seen", "changed"),
)
ORDERS = (
    Column("Order", "order"),
    Column("What", "kind", word),
    Column("Serial", "serial"),
    Column("State", "state", word),
    Column("Percent", "progress"),
    Column("Only said", "dry_run", yes_no),
    Column("Asked for by", "principal"),
    Column("Asked for at", "created"),
    Column("Ended", "ended"),
    Column("Result", "result"),
)


def disk_row(disk: "DiskOut") -> dict[str, Any]:
    """Return a disk's fields as people read them."""
    document = disk.model_dump(mode="json")
    return {
        **document,
        "state": "erased" if disk.erased else document["state"],
        "work": None if disk.work in {"none", "erase"} else document["work"],
        "mounted": disk.mounted or None,
        "why": _why(disk.code, disk.reason),
        "mount_name": disk.mount.name,
        "automatic": disk.mount.automatic,
        "read_only": disk.mount.read_only,
    }


def device_row(device: "DeviceOut") -> dict[str, Any]:
    """Return the fields of a device that is no disk of a space."""
    document = device.model_dump(mode="json")
    why = _why(device.code, device.reason)
    return {**document, "mounted": device.mounted or None, "why": why or device.content or None}


def show_device(output: Output, device: "DeviceOut") -> None:
    """Print a device that is no disk."""
    output.record(device.model_dump(mode="json"), device_row(device), DEVICE)


def order_row(order: "OrderOut") -> dict[str, Any]:
    """Return an order's fields as people read them."""
    result = _why(order.code, order.message)
    return {**order.model_dump(mode="json"), "result": result}


def list_rows(found: "DiskList") -> list[dict[str, Any]]:
    """Return a row for every disk, then one for every device that is none of them."""
    known = {one.serial for one in found.disks if one.erased is None}
    return [
        *map(disk_row, found.disks),
        *(device_row(one) for one in found.devices if one.serial not in known),
    ]


def show_disk(output: Output, disk: "DiskOut") -> None:
    """Print a disk."""
    output.record(disk.model_dump(mode="json"), disk_row(disk), DETAIL)


def needs_people(found: "DiskList") -> bool:
    """Whether a device is quarantined, a recovery key overdue for its test, or a space unknown."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    overdue = any(one.recovery_due and one.recovery_due <= now for one in found.disks)
    return (
        overdue or bool(found.unknown) or any(one.state == "quarantined" for one in found.devices)
    )


def note_target(output: Output, client: "Client", wanted: "OperationRequest") -> None:
    """Show which disk an erasure is about: what is signed names its id alone."""
    if wanted.operation != "disk.erase":
        return
    try:
        disk = client.disk(str(wanted.parameters["disk"]))
    except ConclaveError as error:
        text = _("The service does not show the disk: {reason}")
        output.to_sign(text.format(reason=error.message))
        return
    output.to_sign(_("The disk, as the service shows it (not part of what is signed):"))
    output.to_sign(to_erase(disk))


def to_erase(disk: "DiskOut") -> str:
    """Return which disk is to be erased, as people know it."""
    text = _("To erase: {label}, serial number {serial}, {state}")
    stands = "erased" if disk.erased else (disk.state or "gone")
    return text.format(label=disk.label, serial=disk.serial, state=state(stands))


def find_disk(client: "Client", name: str) -> "DiskOut":
    """Return the disk that an id, a serial number or a label names; raise NotFound, InvalidInput.

    An erased disk is found by its id alone: what replaced it may bear its label or serial number.
    """
    disk = named_disk(client.disks(), name)
    if disk is None:
        raise NotFound(f"no disk is named {name}", hint="conclave disk list shows them")
    return disk


def named_disk(listed: "DiskList", name: str) -> "DiskOut | None":
    """Return the disk of that id, or the living one of that serial number or label."""
    disks = listed.disks
    found = [one for one in disks if one.disk == name]
    found = found or [one for one in disks if not one.erased and name in {one.serial, one.label}]
    if len(found) > 1:
        raise InvalidInput(f"{name} names several disks", hint=_ids(found))
    return found[0] if found else None


def erased_disk(listed: "DiskList", name: str) -> "DiskOut | None":
    """Return the disk of that serial number or label that was erased last."""
    found = (one for one in listed.disks if one.erased and name in {one.serial, one.label})
    return max(found, key=lambda one: one.erased or "", default=None)


def find_device(listed: "DiskList", name: str) -> "DeviceOut":
    """Return the device of that serial number; raise NotFound."""
    for one in listed.devices:
        if one.serial == name:
            return one
    raise NotFound(f"no disk is named {name}", hint="conclave disk list shows them")


def _ids(disks: Iterable["DiskOut"]) -> str:
    return "; ".join(f"{one.disk} ({one.space}, {one.serial})" for one in disks)


def _why(code: str, text: str) -> str | None:
    """Return a code and its explanation in one line; None for neither."""
    said = "; ".join(told(text).splitlines())
    return " ".join(filter(None, [f"[{code}]" if code else "", said])) or None


def told(text: str) -> str:
    """Return what the appliance said, a sentence a line, in the language of the screen."""
    return "\n".join(_(line) for line in text.splitlines())
