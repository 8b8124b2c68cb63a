"""An order to the appliance: placed, followed until it ends, and shown."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from kms.cli.disk_view import ORDERS, find_disk, order_row, told
from kms.cli.inputs import read_text
from kms.cli.output import word
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


def place_order(
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
            found = followed(session, client, found)
    show_order(session, found)
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


def followed(session: Session, client: "Client", order: "OrderOut") -> "OrderOut":
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
            _("the order failed: {reason}").format(reason=f"[{order.code}] {told(order.message)}"),
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
        tell(order.progress, told(order.message) or word(order.state))
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


def show_order(session: Session, order: "OrderOut") -> None:
    """Print an order; of one that was only to say what it would do, what it said."""
    document = order.model_dump(mode="json")
    if order.dry_run and order.state is OrderState.DONE:
        session.output.document(document, told(order.message))
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
