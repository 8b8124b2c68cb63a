"""disk: the encrypted disks of the appliance, and every device that it has seen."""

import time
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from kms.cli import disk_orders, disk_requests
from kms.cli.disk_view import (
    LIST,
    ORDERS,
    DiskArgument,
    DryRunOption,
    erased_disk,
    find_device,
    find_disk,
    list_rows,
    named_disk,
    needs_people,
    order_row,
    show_device,
    show_disk,
)
from kms.cli.exits import Exit
from kms.cli.inputs import checked
from kms.cli.register import group, register
from kms.cli.session import Session
from kms.errors import InvalidInput
from kms.i18n import _

if TYPE_CHECKING:
    from kms.wire.disks import DiskList, MountOut

_LOOK_SECONDS = 2.0


def add(app: typer.Typer) -> None:
    """Add the commands."""
    disks = group("Encrypted disks: enrol, unlock, rotate, recover, erase.")
    register(disks, "list", list_disks)
    register(disks, "show", show)
    register(disks, "watch", watch)
    disk_requests.add(disks)
    disk_orders.add(disks)
    register(disks, "change", change)
    register(disks, "orders", orders)
    app.add_typer(disks, name="disk")


def list_disks(session: Session) -> None:
    """List the encrypted disks, and the devices that are none.

    Exit code 3 if a device is quarantined, a recovery key is overdue for its test, or a space's
    disks are unknown.
    """
    with session.client() as client:
        found = client.disks()
    _show_all(session, found)
    if needs_people(found):
        raise typer.Exit(Exit.ATTENTION)


def show(session: Session, disk: DiskArgument) -> None:
    """Show a disk, or a device that is none, by its serial number."""
    with session.client() as client:
        listed = client.disks()
    found = named_disk(listed, disk) or erased_disk(listed, disk)
    if found is not None:
        show_disk(session.output, found)
    else:
        show_device(session.output, find_device(listed, disk))


def watch(session: Session) -> None:
    """List the disks and devices again whenever something changes, until you interrupt."""
    shown = None
    with session.client() as client:
        while True:
            found = client.disks()
            if found != shown:
                shown = found
                _show_all(session, found)
            time.sleep(_LOOK_SECONDS)


def change(
    session: Session,
    disk: DiskArgument,
    label: Annotated[str | None, typer.Option(help="Another label.")] = None,
    mount: Annotated[
        str | None, typer.Option(help="Mount it under this name below the mount root.")
    ] = None,
    no_mount: Annotated[bool, typer.Option("--no-mount", help="Mount it nowhere.")] = False,
    automatic: Annotated[
        bool | None,
        typer.Option("--automatic/--by-hand", help="Open and mount it when it is plugged in."),
    ] = None,
    read_only: Annotated[
        bool | None, typer.Option("--read-only/--read-write", help="How it is mounted.")
    ] = None,
    dry_run: DryRunOption = False,
) -> None:
    """Change a disk's label, or where and how it is mounted from the next time on."""
    from kms.wire.disks import ChangeDisk  # noqa: PLC0415 -- loads the validation library

    if mount is not None and no_mount:
        raise InvalidInput("--mount and --no-mount exclude each other")
    with session.client() as client:
        found = find_disk(client, disk)
        wanted = _mount(found.mount, mount, automatic, read_only, nowhere=no_mount)
        given = None if wanted == found.mount else wanted
        if label is None and given is None:
            raise InvalidInput("nothing is to be changed", hint="name another label or mount")
        body = checked(ChangeDisk, label=label, mount=given)
        if dry_run:
            found = found.model_copy(update={"label": label or found.label, "mount": wanted})
        else:
            found = client.change_disk(found.disk, body.label, body.mount)
    show_disk(session.output, found)


def orders(
    session: Session,
    disk: Annotated[
        str | None, typer.Option(help="Only about this disk: its id, serial number or label.")
    ] = None,
    last: Annotated[int, typer.Option(min=1, max=10_000, help="So many, the newest.")] = 20,
) -> None:
    """List orders to the appliance, newest first."""
    with session.client() as client:
        one = find_disk(client, disk).disk if disk else None
        pages = client.order_pages(one)
        found = list(islice((order for page in pages for order in page.items), last))
    items = [order.model_dump(mode="json") for order in found]
    rows = list(map(order_row, found))
    session.output.table({"items": items}, rows, ORDERS, empty=_("There is no order."))


def _show_all(session: Session, found: "DiskList") -> None:
    document, rows = found.model_dump(mode="json"), list_rows(found)
    session.output.table(document, rows, LIST, empty=_("No disk and no device was seen."))
    for space in found.unknown:
        text = _("UNKNOWN: the disks of {space} are not listed: it is sealed, or they do not check")
        session.output.banner(text.format(space=space))


def _mount(
    present: "MountOut",
    name: str | None,
    automatic: bool | None,
    read_only: bool | None,
    *,
    nowhere: bool,
) -> "MountOut":
    """Return the mount policy with what is given replaced; raise InvalidInput."""
    return checked(
        type(present),
        name=None if nowhere else name or present.name,
        automatic=present.automatic if automatic is None else automatic,
        read_only=present.read_only if read_only is None else read_only,
    )
