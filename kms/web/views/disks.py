"""Encrypted disks: how each stands, its keys, what the appliance is asked to do. Officers stop a
disk here at once; everything else is ordered at the machine.
"""

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from kms.domain.disks import Device, DiskOrder, DiskState, OrderKind, Work
from kms.domain.ids import parse_disk, parse_order, parse_serial
from kms.errors import InvalidInput
from kms.i18n import _
from kms.usecases.disks import orders, views
from kms.usecases.disks.views import DiskView
from kms.usecases.disks.views import Overview as DiskOverview
from kms.web.links import href
from kms.web.roles import OFFICERS, PEOPLE
from kms.web.visit import PAGE_ROWS, Kind, Page, Visit

_STOPS = {"lock": OrderKind.LOCK, "quarantine": OrderKind.QUARANTINE}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024
_MOST_ORDERS = 20


@dataclass(frozen=True, slots=True)
class Row:
    """A disk and what people have to know of it; ``state`` is a word of the board's."""

    view: DiskView
    state: str
    overdue: bool


async def _disks(visit: Visit) -> Response:
    return visit.show("disks.html", **await _values(visit))


async def _now(visit: Visit) -> Response:
    return visit.show("part-disks.html", **await _values(visit))


async def _values(visit: Visit) -> dict[str, Any]:
    found = await views.disks(visit.services, visit.call("disk.list"))
    after = visit.number("after", 0)
    strangers = _strangers(found)
    shown = found.disks[after : after + PAGE_ROWS]
    return {
        "rows": [_row(one, visit.services.seconds()) for one in shown],
        "total": len(found.disks),
        "strangers": strangers[:PAGE_ROWS],
        "more_strangers": max(0, len(strangers) - PAGE_ROWS),
        "unknown": found.unknown,
        "orders": await _recent(visit, ""),
        "size": size,
        "next": href("/disks", after=after + PAGE_ROWS)
        if after + PAGE_ROWS < len(found.disks)
        else "",
        "first": "/disks" if after else "",
    }


def _strangers(found: DiskOverview) -> list[Device]:
    """Return the devices that are no disk of a space; an erased disk is one once it is back."""
    living = {one.disk.serial for one in found.disks if not one.disk.erased}
    erased = {one.disk.serial for one in found.disks if one.disk.erased}
    away = {one.serial for one in found.devices if one.state is DiskState.GONE}
    return [one for one in found.devices if one.serial not in living | (erased & away)]


def _row(view: DiskView, now: int) -> Row:
    device = view.device
    state = "erased" if view.disk.erased else device.state.value if device else ""
    return Row(view, state, bool(view.recovery_due) and view.recovery_due <= now)


def size(count: int) -> str:
    """Return a number of bytes in its largest unit, with one decimal."""
    value, power = float(count), 0
    while power + 1 < len(_UNITS) and value >= _STEP:
        value, power = value / _STEP, power + 1
    return f"{value:.1f} {_UNITS[power]}".replace(".0 ", " ")


async def _recent(visit: Visit, disk: str) -> list[DiskOrder]:
    return await orders.page(visit.services, visit.call("disk.orders"), "", _MOST_ORDERS, disk)


# --- one disk ------------------------------------------------------------------------------------


async def _disk(visit: Visit) -> Response:
    return visit.show("disk.html", **await _disk_values(visit))


async def _disk_now(visit: Visit) -> Response:
    return visit.show("part-disk.html", **await _disk_values(visit))


async def _disk_values(visit: Visit) -> dict[str, Any]:
    name = parse_disk(visit.path("disk"))
    view = await views.disk(visit.services, visit.call("disk.read"), name)
    return {
        "row": _row(view, visit.services.seconds()),
        "disk": view.disk,
        "orders": await _recent(visit, name),
        "size": size,
        "idle": view.disk.work in {Work.NONE, Work.ERASE},
    }


async def _stop(visit: Visit) -> Response:
    """Have a device locked or quarantined at once: stopping is safe alone."""
    kind = _STOPS.get(visit.form("order"))
    if kind is None:
        raise InvalidInput("a disk is stopped by lock or by quarantine")
    serial = parse_serial(visit.form("serial"))
    placed = await orders.place(visit.services, visit.call("disk.order"), kind, serial, False, "")
    told = {
        OrderKind.LOCK: _("The disk is being locked."),
        OrderKind.QUARANTINE: _("The device is being quarantined."),
    }
    visit.tell(told[kind])
    return visit.go(f"/disks/orders/{placed.order}")


async def _order(visit: Visit) -> Response:
    return visit.show("disk-order.html", order=await _ordered(visit))


async def _order_now(visit: Visit) -> Response:
    return visit.show("part-disk-order.html", order=await _ordered(visit))


async def _ordered(visit: Visit) -> DiskOrder:
    name = parse_order(visit.path("order"))
    return await orders.one(visit.services, visit.call("disk.follow"), name)


PAGES = (
    Page("disks", "/disks", PEOPLE, _disks),
    Page("disks-now", "/parts/disks", PEOPLE, _now, Kind.FRAGMENT),
    Page("disk-order", "/disks/orders/{order}", PEOPLE, _order),
    Page("disk-order-now", "/parts/disks/orders/{order}", PEOPLE, _order_now, Kind.FRAGMENT),
    Page("disk-stop", "/disks/stop", OFFICERS, _stop, Kind.ACT),
    Page("disk", "/disks/{disk}", PEOPLE, _disk),
    Page("disk-now", "/parts/disks/{disk}", PEOPLE, _disk_now, Kind.FRAGMENT),
)
