"""Encrypted disks, as people see them, and what they order of the appliance."""

from starlette.responses import Response

from kms.api import disk_views as show
from kms.api.context import Context
from kms.api.endpoints import Endpoint, json_reply, render
from kms.api.idempotency import Idempotency
from kms.api.routes.meetings import Nothing
from kms.domain.disks import DiskOrder
from kms.domain.ids import parse_disk, parse_order
from kms.policy.authorizer import Target
from kms.usecases.disks import keys, orders, views
from kms.usecases.services import Call
from kms.wire import disks as wire

_PAGING = (
    ("disk", "only orders about this disk"),
    ("before", "the last page's `next`"),
    ("limit", "1 to 500, 100 if not given"),
)


def endpoints(idempotency: Idempotency) -> tuple[Endpoint, ...]:
    """Return the endpoints of disks."""

    async def place(context: Context) -> Response:
        context.query()
        wish = context.message(wire.OrderIn)

        async def make(call: Call) -> DiskOrder:
            return await orders.place(
                context.services, call, wish.kind, wish.serial, wish.dry_run, wish.sealed_key or ""
            )

        known = views.live_disk(context.services, wish.serial)
        target = Target(space=known.space if known else "")
        return await idempotency.create(
            context, target, make, lambda made: render(show.order(made))
        )

    return (
        Endpoint("disk.list", _list, wire.DiskList),
        Endpoint("disk.read", _read, wire.DiskOut),
        Endpoint("disk.change", _change, wire.DiskOut, wire.ChangeDisk),
        Endpoint("disk.rotate-kek", _rotate_kek, wire.DiskOut, Nothing),
        Endpoint("disk.order", place, wire.OrderOut, wire.OrderIn, status=201),
        Endpoint("disk.orders", _orders, wire.OrderPage, query=_PAGING),
        Endpoint("disk.follow", _follow, wire.OrderOut),
    )


async def _list(context: Context) -> Response:
    context.query()
    found = await views.disks(context.services, context.call)
    return json_reply(
        wire.DiskList(
            disks=tuple(map(show.disk, found.disks)),
            devices=tuple(map(show.device, found.devices)),
            unknown=tuple(found.unknown),
        )
    )


async def _read(context: Context) -> Response:
    context.query()
    return json_reply(show.disk(await views.disk(context.services, context.call, context.disk)))


async def _change(context: Context) -> Response:
    context.query()
    wish = context.message(wire.ChangeDisk)
    mount = show.mount_policy(wish.mount) if wish.mount else None
    changed = await views.change(context.services, context.call, context.disk, wish.label, mount)
    return json_reply(show.disk(changed))


async def _rotate_kek(context: Context) -> Response:
    context.query()
    context.message(Nothing)
    return json_reply(
        show.disk(await keys.rotate_kek(context.services, context.call, context.disk))
    )


async def _orders(context: Context) -> Response:
    query = context.query("disk", "before", "limit")
    limit, before, disk = query.limit(), query.text("before"), query.text("disk")
    if before:
        parse_order(before)
    if disk:
        parse_disk(disk)
    page = await orders.page(context.services, context.call, before, limit, disk)
    following = page[-1].order if len(page) == limit else None
    return json_reply(wire.OrderPage(items=tuple(map(show.order, page)), next=following))


async def _follow(context: Context) -> Response:
    context.query()
    return json_reply(show.order(await orders.one(context.services, context.call, context.order)))
