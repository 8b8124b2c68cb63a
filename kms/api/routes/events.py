"""Server-sent events (HTML Living Standard, section 9.2), resumable by Last-Event-ID.

An event's id is its leaf's sequence number, so nothing is kept for a subscriber: one that is slow
reads the log at its own pace and holds up nobody. Who listens is asked again while the stream is
open: by the clock, whatever is told meanwhile, and before anything is told after a change of rules.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import msgspec
from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from kms.api.context import Context, Query
from kms.api.endpoints import Endpoint
from kms.api.identity import Identities
from kms.api.peer import EXTENSION
from kms.errors import ConclaveError, InvalidInput, Unavailable
from kms.policy.authorizer import Target
from kms.usecases.events import Event, follow
from kms.usecases.services import Services, authorize

HEARTBEAT_SECONDS = 15.0
MEDIA_TYPE = "text/event-stream"
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


class _EventStream(StreamingResponse):
    """A stream that is closed at once when its reader goes, wherever it stands."""

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self.body_iterator):  # type: ignore[type-var] # ours is a generator
            await super().stream_response(send)


class Streams:
    """The open streams: at most ``most``, ended together when the service stops."""

    def __init__(self, identities: Identities, most: int) -> None:
        self._identities = identities
        self._most = most
        self._open = 0
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End every stream; subscribers come back with Last-Event-ID."""
        self._stopping.set()

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the endpoint of events."""
        after = (("after", "an event's id, as Last-Event-ID; else only what is new"),)
        return (Endpoint("event.follow", self._follow, MEDIA_TYPE, query=after),)

    async def _follow(self, context: Context) -> Response:
        after = _after(context)
        await authorize(context.services, context.call, Target(), "events")
        if self._open >= self._most:
            raise Unavailable("too many streams are open", hint="try again later")
        return _EventStream(self._stream(context, after), 200, _HEADERS, MEDIA_TYPE)

    async def _stream(self, context: Context, after: int) -> AsyncIterator[bytes]:
        self._open += 1
        try:
            yield b": conclave\n\n"
            events = follow(context.services, context.principal, after)
            async with aclosing(events):
                async for chunk in self._beat(context, events):
                    yield chunk
        finally:
            self._open -= 1

    async def _beat(self, context: Context, events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
        stopping = asyncio.ensure_future(self._stopping.wait())
        coming = asyncio.ensure_future(_next(events))
        watch = _Watch(context.services)
        try:
            while not stopping.done():
                await asyncio.wait(
                    {coming, stopping}, timeout=watch.left(),
                    return_when=asyncio.FIRST_COMPLETED,
                )  # fmt: skip
                if stopping.done():
                    return
                if watch.is_due():
                    watch = _Watch(context.services)
                    if not await self._may_listen(context):
                        return
                    yield b": still here\n\n"
                elif coming.done():
                    yield _encode(coming.result())
                    coming = asyncio.ensure_future(_next(events))
        finally:
            for task in (coming, stopping):
                task.cancel()
            await asyncio.gather(coming, stopping, return_exceptions=True)

    async def _may_listen(self, context: Context) -> bool:
        """Whether the caller is still who it was when the stream began, and may still listen."""
        peer = context.request.scope["extensions"][EXTENSION]
        try:
            known = await self._identities.principal(peer)
            if replace(known, age=context.principal.age) != context.principal:
                return False
            call = replace(context.call, principal=self._identities.aged(known, peer))
            await authorize(context.services, call, Target(), "events")
        except ConclaveError:
            return False
        return True


class _Watch:
    """When it is time to ask again: after a while, or once the rules have changed."""

    def __init__(self, services: Services) -> None:
        self._cache, self._rules = services.cache, services.cache.rules
        self._until = time.monotonic() + HEARTBEAT_SECONDS

    def left(self) -> float:
        """Return for how many seconds nothing need be asked."""
        return max(0.0, self._until - time.monotonic())

    def is_due(self) -> bool:
        """Whether it is time."""
        return self._rules != self._cache.rules or not self.left()


async def _next(events: AsyncIterator[Event]) -> Event:
    return await anext(events)


def _after(context: Context) -> int:
    """Return the leaf after which the stream begins; raise InvalidInput."""
    query, last = context.query("after"), context.header("last-event-id")
    newest = context.services.store.tree_size() - 1
    if last is not None:
        query = Query({"after": last})
    after = query.number("after", newest)
    if after > newest:
        raise InvalidInput("the log has no such event yet")
    return after


def _encode(event: Event) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (
        event.seq,
        event.kind.encode("ascii"),
        msgspec.json.encode(event),
    )
