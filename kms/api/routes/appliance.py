"""What the appliance daemon alone asks: its orders, disk keys, and what it reports of devices."""

import asyncio
from collections.abc import Awaitable

from starlette.responses import Response

from kms.api import disk_views as show
from kms.api.context import Context
from kms.api.endpoints import Endpoint, json_reply
from kms.domain.disks import Device
from kms.errors import InvalidInput
from kms.statements.canonical import unb64u
from kms.usecases.disks import devices, keys, orders, works
from kms.usecases.disks.orders import OrderBatch
from kms.wire import disks as wire

MOST_SECONDS = 60
"""A question for orders waits no longer for its answer."""
_WAITING = (
    ("version", "that of the last answer; without it, or for another, the answer comes at once"),
    ("wait", "how many seconds to wait for another version, 0 to 60; 0 if not given"),
)


class Polls:
    """Questions that wait for an answer; all are answered when the service stops."""

    def __init__(self) -> None:
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Answer every question at once with how things stand."""
        self._stopping.set()

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the endpoints of the appliance daemon."""
        return (
            Endpoint("disk-order.take", self._take, wire.Orders, query=_WAITING),
            Endpoint("disk-order.report", _report_order, wire.OrderOut, wire.OrderReport),
            Endpoint("device.report", _report_device, wire.DeviceOut, wire.DeviceIn),
            Endpoint("disk.keys", _keys, wire.KeysOut, wire.AskKeys),
            Endpoint("disk.begin", _begin, wire.DiskOut, wire.Begin),
            Endpoint("disk.commit", _commit, wire.DiskOut, wire.Commit),
            Endpoint("disk.finish", _finish, wire.DiskOut, wire.Finish),
        )

    async def _take(self, context: Context) -> Response:
        query = context.query("version", "wait")
        version, wait = query.number("version", 0), query.number("wait", 0)
        if wait > MOST_SECONDS:
            raise InvalidInput(f"wait is 0 to {MOST_SECONDS} seconds")
        services, call = context.services, context.call
        found = await self._unless_over(context, orders.take(services, call, version, wait))
        if found is None:
            found = await orders.take(services, call, version, 0)
        return json_reply(show.batch(found))

    async def _unless_over(
        self, context: Context, answer: Awaitable[OrderBatch]
    ) -> OrderBatch | None:
        """Return the answer; None if the service stops or the asker goes away before it."""
        asked = asyncio.ensure_future(answer)
        over = [asyncio.ensure_future(self._stopping.wait()), asyncio.ensure_future(_gone(context))]
        try:
            await asyncio.wait({asked, *over}, return_when=asyncio.FIRST_COMPLETED)
            return asked.result() if asked.done() else None
        finally:
            for task in (asked, *over):
                task.cancel()
            await asyncio.gather(asked, *over, return_exceptions=True)


async def _gone(context: Context) -> None:
    while (await context.request.receive())["type"] != "http.disconnect":
        pass


async def _report_order(context: Context) -> Response:
    context.query()
    told = context.message(wire.OrderReport)
    found = await orders.report(
        context.services, context.call, context.order,
        told.state, told.progress, told.code, told.message,
    )  # fmt: skip
    return json_reply(show.order(found))


async def _report_device(context: Context) -> Response:
    context.query()
    told = context.message(wire.DeviceIn)
    device = Device(
        serial=context.serial,
        node=told.node,
        size=told.size,
        model=told.model,
        content=told.content,
        state=told.state,
        disk=told.disk or "",
        code=told.code,
        reason=told.reason,
        mounted=told.mounted,
    )
    found = await devices.report(context.services, context.call, device)
    return json_reply(show.device(found))


async def _keys(context: Context) -> Response:
    context.query()
    nonce = unb64u(context.message(wire.AskKeys).nonce)
    view, release = await keys.fetch(context.services, context.call, context.disk, nonce)
    return json_reply(wire.KeysOut(disk=show.disk(view), release=release))


async def _begin(context: Context) -> Response:
    context.query()
    work = context.message(wire.Begin).work
    found = await works.begin(context.services, context.call, context.disk, work)
    return json_reply(show.disk(found))


async def _commit(context: Context) -> Response:
    context.query()
    proof = context.message(wire.Commit).proof
    found = await works.commit(context.services, context.call, context.disk, proof)
    return json_reply(show.disk(found))


async def _finish(context: Context) -> Response:
    context.query()
    told = context.message(wire.Finish)
    found = await works.finish(
        context.services, context.call, context.disk, told.header, told.proof
    )
    return json_reply(show.disk(found))
