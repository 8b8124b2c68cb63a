"""Orders to the appliance: placed by people and by what they approved, taken and reported by the
daemon. An order opens nothing: keys are released by the disk's checked row alone.
"""

import asyncio
import hashlib
from dataclasses import dataclass, replace
from typing import Any

from uuid_utils import uuid7

from kms.audit.leaf import LeafDraft, Outcome, Phase
from kms.domain.disks import ENDED, Disk, DiskOrder, OrderKind, OrderState
from kms.domain.models import Principal
from kms.domain.text import visible
from kms.errors import InvalidInput, NotFound, StateNotAllowed
from kms.policy.authorizer import NOT_THERE, Target
from kms.ports import Change, PutOrder, Unit
from kms.statements.canonical import canonical
from kms.usecases.disks.common import disk_path, load, lock_of_device
from kms.usecases.disks.erasing import certified
from kms.usecases.disks.placing import check_order
from kms.usecases.disks.views import live_disk, sees
from kms.usecases.services import Call, Services, authorize, log_refusal, uninterrupted

MOST_SECONDS = 60.0
"""How long one question for orders waits at most."""
_LOOK_SECONDS = 0.1
_MOST_CODE = 64


@dataclass(frozen=True, slots=True)
class OrderBatch:
    """What waits for the appliance, oldest first, running ones included; ``sealed``: the spaces
    whose disks are to be closed. ``version`` changes when any of it does.
    """

    version: int
    orders: tuple[DiskOrder, ...]
    sealed: tuple[str, ...]


# --- people ---------------------------------------------------------------------------------------


@uninterrupted
async def place(
    services: Services, call: Call, kind: OrderKind, serial: str, dry_run: bool, sealed_key: str
) -> DiskOrder:
    """Place an order about a device; ``sealed_key`` is empty but for ``recover``.

    Raise NotFound for a device that was never reported, Sealed, InvalidInput, StateNotAllowed,
    IntegrityFailure.
    """
    known = live_disk(services, serial)
    space = known.space if known else ""
    await authorize(services, call, Target(space=space), _path(serial, known))
    async with services.locks.of(lock_of_device(serial)):
        disk = (await load(services, known.disk)).disk if known else None
        check_order(services, disk, kind, serial, sealed_key)
        order = new_order(call.principal, kind, serial, disk, services.seconds())
        order = replace(order, dry_run=dry_run, sealed_key=sealed_key)
        await put(services, call, order)
        return order


async def page(
    services: Services, call: Call, before: str, limit: int, disk: str
) -> list[DiskOrder]:
    """Return a page of orders that the caller may know of, newest first, before one (empty: the
    newest), of one disk or (empty) of all.
    """
    await authorize(services, call, Target(), "disk-orders")
    found: list[DiskOrder] = []
    while len(found) < limit and (known := services.store.disk_orders(disk, before, limit)):
        found += [one for one in known if sees(call.principal, one.space)]
        before = known[-1].order
    return found[:limit]


async def one(services: Services, call: Call, order: str) -> DiskOrder:
    """Return one order; raise NotFound, Forbidden."""
    await authorize(services, call, Target(), f"disk-orders/{order}")
    known = services.store.disk_order(order)
    if known is None or not sees(call.principal, known.space):
        raise NotFound(NOT_THERE)
    return known


def new_order(
    principal: Principal, kind: OrderKind, serial: str, disk: Disk | None, now: int
) -> DiskOrder:
    """Return an order that is new."""
    return DiskOrder(
        order=str(uuid7()),
        kind=kind,
        serial=serial,
        disk=disk.disk if disk else "",
        space=disk.space if disk else "",
        principal=principal.name,
        created=now,
    )


async def put(services: Services, call: Call, order: DiskOrder) -> None:
    """Make a new order durable, with the leaf that tells of it."""
    services.gate()
    details = {"order": order.order, "kind": order.kind.value, "serial": order.serial}
    leaf = _leaf(call, "disk.order", order, {**details, "dry_run": order.dry_run})
    reply: tuple[Change, ...] = (call.remember(order),) if call.remember else ()
    await services.store.commit(Unit((PutOrder(order), *reply), (leaf,)))


# --- the appliance --------------------------------------------------------------------------------


async def take(services: Services, call: Call, version: int, wait: float) -> OrderBatch:
    """Return what waits: at once if its version is not ``version``, else as soon as it is another,
    or after ``wait`` seconds (MOST_SECONDS at most).
    """
    await authorize(services, call, Target(), "disk-orders")
    loop = asyncio.get_running_loop()
    until = loop.time() + min(wait, MOST_SECONDS)
    while True:
        batch = _batch(services, call)
        if batch.version != version or loop.time() >= until:
            return batch
        await asyncio.sleep(_LOOK_SECONDS)


def _batch(services: Services, call: Call) -> OrderBatch:
    reaches = call.principal.reaches
    orders = [one for one in services.store.open_orders() if not one.space or reaches(one.space)]
    spaces = (token.space for token in services.settings.space_tokens)
    sealed = sorted(one for one in spaces if reaches(one) and services.seals.holds(one))
    form = canonical({"orders": [one.order for one in orders], "sealed": sealed})
    version = int.from_bytes(hashlib.sha256(form).digest()[:6], "big")
    return OrderBatch(version, tuple(orders), tuple(sealed))


@uninterrupted
async def report(
    services: Services,
    call: Call,
    order: str,
    state: OrderState,
    progress: int,
    code: str,
    message: str,
) -> DiskOrder:
    """Remember how far an order is, or its end, which is told once; the end of an erasure is
    durable together with its certificate.

    Raise NotFound, StateNotAllowed for an order that ended otherwise, InvalidInput; for an erasure
    Sealed, HsmUnavailable too: then the end is to be reported again.
    """
    path = f"disk-orders/{order}"
    await authorize(services, call, Target(), path)
    async with services.locks.of(f"order:{order}"):
        known = services.store.disk_order(order)
        if known is None:
            error = NotFound(NOT_THERE)
            await log_refusal(services, call, "", path, error)
            raise error
        code = visible(code)[:_MOST_CODE]
        told = replace(known, state=state, progress=progress, code=code, message=message)
        if known.state in ENDED:
            _check_same(known, told)
            return known
        if state is OrderState.WAITING:
            raise InvalidInput("an order that was taken does not wait")
        return await _kept(services, call, told)


def _check_same(known: DiskOrder, told: DiskOrder) -> None:
    if (known.state, known.code) != (told.state, told.code):
        raise StateNotAllowed("the order is {state}", about={"state": known.state})


async def _kept(services: Services, call: Call, told: DiskOrder) -> DiskOrder:
    """Return an order once what is told of it is durable; a key that it carried goes at its end."""
    if told.state not in ENDED:
        await services.store.commit(Unit((PutOrder(told),)))
        return told
    ended = replace(told, ended=services.seconds(), sealed_key="")
    changes, leaves = await certified(services, call, ended)
    details = {
        "order": ended.order,
        "kind": ended.kind.value,
        "serial": ended.serial,
        "state": ended.state.value,
        "code": ended.code,
    }
    leaf = _leaf(call, "disk-order.report", ended, details)
    await services.store.commit(Unit((PutOrder(ended), *changes), (leaf, *leaves)))
    return ended


def _path(serial: str, disk: Disk | None) -> str:
    return disk_path(disk.space, disk.disk) if disk else f"devices/{serial}"


def _leaf(call: Call, action: str, order: DiskOrder, details: dict[str, Any]) -> LeafDraft:
    place = disk_path(order.space, order.disk) if order.disk else f"devices/{order.serial}"
    return call.leaf(
        order.space, place, Phase.EVENT, Outcome.SUCCEEDED, action=action, details=details
    )
