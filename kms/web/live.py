"""Live pages: a stream that says that something happened, never what. Pages then ask again, and the
use cases decide anew what this person may see.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from kms.errors import Unauthenticated, Unavailable
from kms.usecases.passkeys.signing_in import present
from kms.web.roles import PEOPLE
from kms.web.visit import Kind, Page, Visit

STREAM = "/live"
MOST_OF_PERSON = 8
SHARE = 2
"""One of so many connections may be a live page."""
_BEAT_SECONDS = 15.0
_PAUSE_SECONDS = 0.5
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


class Places:
    """Places for live pages: so many in all, and so many a person."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()

    def take(self, person: str) -> None:
        """Take a place; raise Unavailable."""
        if self._taken.total() >= self._most or self._taken[person] >= MOST_OF_PERSON:
            raise Unavailable("too many live pages are open", hint="close one of them")
        self._taken[person] += 1

    def give(self, person: str) -> None:
        """Give a place back."""
        self._taken[person] -= 1
        self._taken += Counter()  # whoever has none is not kept


class _Stream(StreamingResponse):
    """A stream that calls ``done`` once it is over, also if it never began."""

    def __init__(self, events: AsyncIterator[bytes], done: Callable[[], None]) -> None:
        super().__init__(events, 200, _HEADERS, "text/event-stream")
        self._done = done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._done()


async def _live(visit: Visit) -> Response:
    places: Places = visit.request.app.state.places
    person = visit.principal.name
    places.take(person)
    return _Stream(_events(visit), lambda: places.give(person))


async def _events(visit: Visit) -> AsyncIterator[bytes]:
    """Yield an event after each change of the log, at most two a second, while the session lives;
    no use of the session counts as the person's, so that a page left open does not keep it alive.
    """
    stopping = visit.request.app.state.stopping
    changed = asyncio.Event()
    stop = visit.services.store.subscribe(lambda _size: changed.set())
    beat = time.monotonic()
    try:
        yield b": conclave\n\n"
        while not stopping.is_set() and await _may_listen(visit):
            try:
                await asyncio.wait_for(changed.wait(), 1.0)
            except TimeoutError:
                if time.monotonic() - beat >= _BEAT_SECONDS:
                    beat = time.monotonic()
                    yield b": still here\n\n"
                continue
            changed.clear()
            yield b"data: changed\n\n"
            await asyncio.sleep(_PAUSE_SECONDS)
    finally:
        stop()


async def _may_listen(visit: Visit) -> bool:
    if not visit.sessions.is_alive(visit.session):
        return False
    try:
        await present(visit.services, visit.principal)
    except Unauthenticated:
        return False
    return True


PAGES = (Page("live", STREAM, PEOPLE, _live, Kind.STREAM),)
