"""disk enroll, replace, erase: what several people must approve, asked for with a signature."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from kms.cli.approval_sign import Asking, hand_in
from kms.cli.disk_view import DiskArgument, DryRunOption, find_disk, show_disk, size, to_erase
from kms.cli.output import Column, yes_no
from kms.cli.register import register
from kms.cli.session import Session
from kms.domain.disks import DiskState, Preparation, check_size
from kms.domain.ids import parse_mount_name, parse_serial
from kms.errors import InvalidInput, NotFound, StateNotAllowed
from kms.i18n import _

if TYPE_CHECKING:
    from kms.client.api import Client
    from kms.wire.disks import DeviceOut

_IN_PLACE = "ext4"
"""The file system that can be encrypted in place."""
_IN_USE = "device_in_use"
"""The code of a device that the appliance's own machine uses for something else."""
_WISH = (
    Column("Disk", "disk"),
    Column("Serial", "serial"),
    Column("Size", "size", size),
    Column("Preparation", "preparation"),
    Column("Label", "label"),
    Column("Mount", "mount"),
    Column("Replaces", "replaces"),
    Column("Overwritten", "overwrite", yes_no),
)

SerialArgument = Annotated[str, typer.Argument(help="The device's serial number.")]
LabelOption = Annotated[str, typer.Option(help="The disk's name among those of its space.")]
MountOption = Annotated[
    str | None, typer.Option(help="Mount it under this name below the mount root.")
]
ByHandOption = Annotated[
    bool, typer.Option("--by-hand", help="Do not open and mount it when it is plugged in.")
]
ReadOnlyOption = Annotated[bool, typer.Option("--read-only", help="Mount it read only.")]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Format it although there is something on it.")
]


def add(disks: typer.Typer) -> None:
    """Add the commands."""
    register(disks, "enroll", enroll)
    register(disks, "replace", replace)
    register(disks, "erase", erase)


def enroll(
    session: Session,
    serial: SerialArgument,
    asking: Asking,
    space: Annotated[str, typer.Option(help="The space that it shall belong to.")],
    label: LabelOption,
    mount: MountOption = None,
    by_hand: ByHandOption = False,
    read_only: ReadOnlyOption = False,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Keep its ext4 file system and encrypt that.")
    ] = False,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Ask for a device to become an encrypted disk of a space, and sign that.

    It is formatted, unless --in-place keeps its files. The appliance begins once the request is
    approved and carried out: conclave approval execute.
    """
    with session.client() as client:
        device = _device(client, serial)
        how = Preparation.ENCRYPT if in_place else Preparation.FORMAT
        _check_device(device, how, overwrite=overwrite)
        policy = _policy(mount, by_hand, read_only)
        wish = _wish(device, how, label, policy, overwrite=overwrite)
        _ask(session, client, asking, space, wish, dry_run=dry_run)


def replace(
    session: Session,
    disk: DiskArgument,
    serial: SerialArgument,
    asking: Asking,
    label: LabelOption,
    mount: MountOption = None,
    by_hand: ByHandOption = False,
    read_only: ReadOnlyOption = False,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Ask for a new device to take over a disk's files, and sign that.

    The new device is formatted and the files are copied while the old disk is open; the old one
    stays as it is. Erase it when you have looked at the new one.
    """
    with session.client() as client:
        old, device = find_disk(client, disk), _device(client, serial)
        _check_device(device, Preparation.FORMAT, overwrite=overwrite)
        policy = _policy(mount, by_hand, read_only)
        wish = _wish(
            device, Preparation.FORMAT, label, policy, replaces=old.disk, overwrite=overwrite
        )
        _ask(session, client, asking, old.space, wish, dry_run=dry_run)


def erase(
    session: Session,
    disk: DiskArgument,
    asking: Asking,
    absent: Annotated[
        bool, typer.Option("--absent", help="The device is lost or broken: erase its keys alone.")
    ] = False,
    dry_run: DryRunOption = False,
) -> None:
    """Ask for a disk to be erased by destroying its keys, and sign that.

    Nothing undoes it: only a header copied before, an old backup of the service and a quorum of
    escrow together could still open it.
    """
    with session.client() as client:
        found = find_disk(client, disk)
        if found.erased is not None:
            raise StateNotAllowed("the disk is erased already")
        if dry_run:
            session.output.note(_("This disk would be erased, with all that is on it."))
            show_disk(session.output, found)
            return
        session.output.to_sign(to_erase(found))
        given = {"disk": found.disk, "absent": absent}
        hand_in(session, client, asking, "disk.erase", found.space, given)


def _device(client: "Client", serial: str) -> "DeviceOut":
    """Return a device that was seen; raise NotFound, InvalidInput."""
    parse_serial(serial)
    for one in client.disks().devices:
        if one.serial == serial:
            return one
    raise NotFound(f"no device {serial} was seen", hint="plug it in; conclave disk list shows it")


def _check_device(device: "DeviceOut", how: Preparation, *, overwrite: bool) -> None:
    """Raise why a device cannot be prepared so, before anybody signs; the service checks again."""
    check_size(device.size)
    if device.state is not DiskState.UNKNOWN or device.code == _IN_USE:
        raise StateNotAllowed(
            f"the device cannot be enrolled: {device.code or device.state.value}",
            hint="conclave disk list tells what it is; one that is gone has to be plugged in",
        )
    if how is Preparation.ENCRYPT and device.content != _IN_PLACE:
        raise InvalidInput(f"only {_IN_PLACE} is encrypted in place", hint="leave out --in-place")
    if how is Preparation.FORMAT and device.content and not overwrite:
        raise InvalidInput(
            f"there is something on the device: {device.content}",
            hint="--overwrite loses it; --in-place keeps an ext4 file system",
        )


def _policy(name: str | None, by_hand: bool, read_only: bool) -> dict[str, Any]:
    """Return a mount policy in its exact form; raise InvalidInput."""
    known = parse_mount_name(name) if name else ""
    return {"name": known, "automatic": not by_hand, "read_only": read_only}


def _wish(
    device: "DeviceOut",
    how: Preparation,
    label: str,
    mount: dict[str, Any],
    *,
    overwrite: bool,
    replaces: str = "",
) -> dict[str, Any]:
    """Return the parameters of disk.enroll in their exact form; raise InvalidInput."""
    from uuid_utils import uuid7  # noqa: PLC0415 -- heavy

    return {
        "disk": str(uuid7()),
        "serial": device.serial,
        "size": device.size,
        "preparation": how.value,
        "label": parse_mount_name(label),
        "mount": mount,
        "replaces": replaces,
        "overwrite": overwrite,
    }


def _ask(
    session: Session,
    client: "Client",
    asking: Asking,
    space: str,
    wish: dict[str, Any],
    *,
    dry_run: bool,
) -> None:
    """Hand in the request, or show what it would ask for; raise NotFound for no space."""
    if space not in {one.space for one in client.spaces().items}:
        raise NotFound(f"no space is named {space}", hint="conclave space list shows them")
    if not dry_run:
        hand_in(session, client, asking, "disk.enroll", space, wish)
        return
    row = {**wish, "mount": wish["mount"]["name"] or None, "replaces": wish["replaces"] or None}
    session.output.record({"space": space, **wish}, row, _WISH)
