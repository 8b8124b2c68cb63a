"""disk unlock, lock and so on: orders to the appliance."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kms.cli.disk_following import followed, place_order, show_order
from kms.cli.disk_view import DiskArgument, DryRunOption, find_disk, show_disk
from kms.cli.register import register
from kms.cli.session import Session
from kms.domain.disks import OrderKind
from kms.i18n import _


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
    place_order(session, OrderKind.UNLOCK, disk, dry_run=dry_run, wait=not no_wait)


def lock(
    session: Session,
    disk: DiskArgument,
    dry_run: DryRunOption = False,
    no_wait: NoWaitOption = False,
) -> None:
    """Unmount a disk and close it; it stays closed until somebody unlocks it."""
    place_order(session, OrderKind.LOCK, disk, dry_run=dry_run, wait=not no_wait)


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
    place_order(session, kind, disk, dry_run=dry_run, wait=not no_wait)


def verify_recovery(
    session: Session,
    disk: DiskArgument,
    dry_run: DryRunOption = False,
    no_wait: NoWaitOption = False,
) -> None:
    """Give a disk another recovery key, test that it opens the disk, and put it under escrow."""
    place_order(session, OrderKind.VERIFY_RECOVERY, disk, dry_run=dry_run, wait=not no_wait)


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
    place_order(session, OrderKind.RECOVER, disk, dry_run=dry_run, wait=not no_wait, file=file)


def quarantine(
    session: Session,
    disk: DiskArgument,
    dry_run: DryRunOption = False,
    no_wait: NoWaitOption = False,
) -> None:
    """Close a disk or device and leave it alone until somebody releases it."""
    place_order(session, OrderKind.QUARANTINE, disk, dry_run=dry_run, wait=not no_wait)


def release(
    session: Session,
    disk: DiskArgument,
    dry_run: DryRunOption = False,
    no_wait: NoWaitOption = False,
) -> None:
    """Have a quarantined disk or device checked anew, and used again if it passes."""
    place_order(session, OrderKind.RELEASE, disk, dry_run=dry_run, wait=not no_wait)


def header_backup(
    session: Session,
    disk: DiskArgument,
    dry_run: DryRunOption = False,
    no_wait: NoWaitOption = False,
) -> None:
    """Keep a copy of a disk's header at the appliance; it opens nothing without the keys."""
    place_order(session, OrderKind.BACK_UP_HEADER, disk, dry_run=dry_run, wait=not no_wait)


def header_restore(
    session: Session,
    disk: DiskArgument,
    dry_run: DryRunOption = False,
    no_wait: NoWaitOption = False,
) -> None:
    """Write the registered header back from the appliance's copy, for a disk whose own is hurt."""
    place_order(session, OrderKind.RESTORE_HEADER, disk, dry_run=dry_run, wait=not no_wait)


def follow(session: Session, order: OrderArgument) -> None:
    """Follow an order until it ends."""
    with session.client() as client:
        found = followed(session, client, client.order(order))
    show_order(session, found)


def _rotate_kek(session: Session, name: str, *, dry_run: bool) -> None:
    with session.client() as client:
        disk = find_disk(client, name)
        if dry_run:
            text = _("Would encrypt the keys of {label} by KEK version {version}.")
            session.output.note(text.format(label=disk.label, version=disk.kek + 1))
        else:
            disk = client.rotate_kek(disk.disk)
    show_disk(session.output, disk)
