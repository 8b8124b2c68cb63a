"""disk unlock, lock and so on: orders to the appliance, followed until they end."""

import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kms.cli.disk_view import (
    ORDERS,
    DiskArgument,
    DryRunOption,
    find_disk,
    order_row,
    show_disk,
)
from kms.cli.inputs import read_text
from kms.cli.output import word
from kms.cli.register import register
from kms.cli.session import Session
from kms.domain.disks import ENDED, OrderKind, OrderState
from kms.errors import InvalidInput, StateNotAllowed
from kms.i18n import _

if TYPE_CHECKING:
    from kms.client.api import Client
    from kms.wire.disks import DiskOut, OrderOut

_LOOK_SECONDS = 0.5
_SOON = 10.0
"""After so many seconds somebody wonders why nothing happens."""


class Level(StrEnum):
    """Which of a disk's keys is replaced."""

    KEK = "kek"
    SLOT = "slot"
    VOLUME = "volume"


NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Do not wait for the order's end.")]
OrderArgument = Annotated[str, typer.Argument(help="The order's id (UUIDv7).")]


def add(disks: typer.Typer) -> None:
    """Add the commands."""
    register(disks, "unlock", unlock)
    register(disks, "lock", lock)
    register(disks, "rotate", rotate)
    register(disks, "verify-recovery", verify_recovery)
    register(disks, "recover", recover)
    register(disks, "quarantine", quarantine)
    register(disks, "release", release)
    register(disks, "header-backup", header_backup)
    register(disks, "header-restore", header_restore)
    register(disks, "follow", follow)


def unlock(
    session: Session,
    disk: DiskArgument,
    dry_run: DryRunOption = False,
    no_wait: NoWaitOption = False,
) -> None:
    """Open a disk, and mount it where its policy says."""
    _order(session, OrderKind.UNLOCK, disk, dry_run=dry_run, wait=not no_wait)


def lock(
    session: Session,
    disk: DiskArgument,
    dry_run: DryRunOption = False,
    no_wait: NoWaitOption = False,
) -> None:
    """Unmount a disk and close it; it stays closed until somebody unlocks it."""
    _order(session, OrderKind.LOCK, disk, dry_run=dry_run, wait=not no_wait)


def rotate(
    session: Session,
    disk: DiskArgument,
    level: Annotated[
        Level,
        typer.Option(
            help="kek: in the HSM alone; slot: what opens the header; volume: what encrypts the "
            "data, all of which is written anew."
        ),
    ],
    dry_run: DryRunOption = False,
    no_wait: NoWaitOption = False,
) -> None:
    """Replace one of a disk's keys by the next; the disk stays in use."""
    if level is Level.KEK:
        _rotate_kek(session, disk, dry_run=dry_run)
        return
    kind = OrderKind.ROTATE_SLOT if level is Level.SLOT else OrderKind.ROTATE_VOLUME
    _order(session, kind, disk, dry_run=dry_run, wait=not no_wait)


def verify_recovery(
    session: Session,
    disk: DiskArgument,
    dry_run: DryRunOption = False,
    no_wait: NoWaitOption = False,
) -> None:
    """Give a disk another recovery key, test that it opens the disk, and put it under escrow."""
    _order(session, OrderKind.VERIFY_RECOVERY, disk, dry_run=dry_run, wait=not no_wait)


def recover(
    session: Session,
    disk: DiskArgument,
    file: Annotated[
        Path, typer.Option(help="What the ceremony recover-disk delivered; - reads stdin.")
    ],
    dry_run: DryRunOption = False,
    no_wait: NoWaitOption = False,
) -> None:
    """Open a disk with a recovery key that a quorum recovered, and give it all keys anew."""
    _order(session, OrderKind.RECOVER, disk, dry_run=dry_run, wait=not no_wait, file=file)


def quarantine(
    session: Session,
    disk: DiskArgument,
    dry_run: DryRunOption = False,
    no_wait: NoWaitOption = False,
) -> None:
    """Close a disk or device and leave it alone until somebody releases it."""
    _order(session, OrderKind.QUARANTINE, disk, dry_run=dry_run, wait=not no_wait)


def release(
    session: Session,
    disk: DiskArgument,
    dry_run: DryRunOption = False,
    no_wait: NoWaitOption = False,
) -> None:
    """Have a quarantined disk or device checked anew, and used again if it passes."""
    _order(session, OrderKind.RELEASE, disk, dry_run=dry_run, wait=not no_wait)


def header_backup(
    session: Session,
    disk: DiskArgument,
    dry_run: DryRunOption = False,
    no_wait: NoWaitOption = False,
) -> None:
    """Keep a copy of a disk's header at the appliance; it opens nothing without the keys."""
    _order(session, OrderKind.BACK_UP_HEADER, disk, dry_run=dry_run, wait=not no_wait)


def header_restore(
    session: Session,
    disk: DiskArgument,
    dry_run: DryRunOption = False,
    no_wait: NoWaitOption = False,
) -> None:
    """Write the registered header back from the appliance's copy, for a disk whose own is hurt."""
    _order(session, OrderKind.RESTORE_HEADER, disk, dry_run=dry_run, wait=not no_wait)


def follow(session: Session, order: OrderArgument) -> None:
    """Follow an order until it ends."""
    with session.client() as client:
        found = _followed(session, client, client.order(order))
    _show(session, found)


def _rotate_kek(session: Session, name: str, *, dry_run: bool) -> None:
    with session.client() as client:
        disk = find_disk(client, name)
        if dry_run:
            text = _("Would encrypt the keys of {label} by KEK version {version}.")
            session.output.note(text.format(label=disk.label, version=disk.kek + 1))
        else:
            disk = client.rotate_kek(disk.disk)
    show_disk(session.output, disk)


def _order(
    session: Session,
    kind: OrderKind,
    name: str,
    *,
    dry_run: bool,
    wait: bool,
    file: Path | None = None,
) -> None:
    """Order something, follow it to its end unless told otherwise, and show what became of it."""
    with session.client() as client:
        serial = _serial(client, kind, name)
        sealed = _recovered(find_disk(client, name), file) if file else None
        found = client.place_order(kind, serial, dry_run=dry_run, sealed_key=sealed)
        if wait:
            found = _followed(session, client, found)
    _show(session, found)
    if not wait:
        text = _("To follow it: {command}")
        session.output.note(text.format(command=f"conclave disk follow {found.order}"))


def _serial(client: "Client", kind: OrderKind, name: str) -> str:
    """Return the serial number of what is named: a disk, or for quarantine any device."""
    any_device = kind in {OrderKind.QUARANTINE, OrderKind.RELEASE}
    if any_device and any(one.serial == name for one in client.disks().devices):
        return name
    return find_disk(client, name).serial


def _recovered(disk: "DiskOut", file: Path) -> str:
    """Return the sealed recovery key of a ceremony's file; raise InvalidInput if another disk's."""
    from kms.statements.recovered import decode_recovered_disk  # noqa: PLC0415 -- heavy

    found = decode_recovered_disk(read_text(file).encode())
    if found.disk != disk.disk:
        raise InvalidInput(f"{file} holds the recovery key of another disk: {found.disk}")
    return found.sealed


def _followed(session: Session, client: "Client", order: "OrderOut") -> "OrderOut":
    """Return the order once it has ended; raise StateNotAllowed if it failed."""
    with session.output.bar(f"{word(order.kind)} {order.serial}") as tell:
        try:
            order = _ended(client, order, tell, lambda: _wonder(session))
        except KeyboardInterrupt:
            text = _("The order goes on without you. To follow it: {command}")
            command = f"conclave disk follow {order.order}"
            session.output.note(text.format(command=command))
            raise
    if order.state is OrderState.FAILED:
        raise StateNotAllowed(
            _("the order failed: {reason}").format(reason=f"[{order.code}] {_(order.message)}"),
            hint=_todo(order.code),
        )
    return order


def _ended(
    client: "Client",
    order: "OrderOut",
    tell: Callable[[int, str], None],
    wonder: Callable[[], None],
) -> "OrderOut":
    patience = time.monotonic() + _SOON
    while order.state not in ENDED:
        tell(order.progress, _(order.message) or word(order.state))
        if order.state is OrderState.WAITING and patience <= time.monotonic():
            wonder()
            patience = float("inf")
        time.sleep(_LOOK_SECONDS)
        order = client.order(order.order)
    return order


def _wonder(session: Session) -> None:
    session.output.note(
        _("The appliance has not taken the order yet. Does conclave-appliance run there?")
    )


def _show(session: Session, order: "OrderOut") -> None:
    document = order.model_dump(mode="json")
    if order.dry_run and order.state is OrderState.DONE:
        session.output.document(document, _(order.message))
        return
    session.output.record(document, order_row(order), ORDERS)


def _todo(code: str) -> str:
    """Return what people do next about an order that failed with this code."""
    known = {
        "no_device_mapper": _("The appliance's host has no device-mapper: load dm-crypt there."),
        "device_changed": _("The device was pulled out meanwhile: plug it in and order it again."),
        "program_failed": _("The appliance's log tells which program failed and what it said."),
        "program_too_slow": _("The device does not answer in time: look at it and its cable."),
        "disk_busy": _("Somebody still uses what lies on the disk: end that and order it again."),
        "header_refused": _(
            "The header is not the registered one, and nothing was touched: look at the disk, then "
            "have the header restored from its copy, or recover or erase the disk."
        ),
        "sealed": _("The ceremony unseal opens the space again."),
    }
    other = _("To see how the disk stands: {command}").format(command="conclave disk show")
    return known.get(code, other)
