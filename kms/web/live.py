"""Live pages: a stream that says that something happened, never what. Pages then ask again, and the
use cases decide anew what this person may see.
"""

import asyncio
import time
from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse

from kms.errors import Unauthenticated, Unavailable
from kms.usecases.passkeys.signing_in import present
from kms.web.roles import PEOPLE
from kms.web.visit import Kind, Page, Visit

STREAM = "/live"
_MOST_OF_SESSION = 4
_BEAT_SECONDS = 15.0
_PAUSE_SECONDS = 0.5
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


async def _live(visit: Visit) -> Response:
    if visit.session.streams >= _MOST_OF_SESSION:
        raise Unavailable("too many live pages are open", hint="close one of them")
    return StreamingResponse(_events(visit), 200, _HEADERS, "text/event-stream")


async def _events(visit: Visit) -> AsyncIterator[bytes]:
    """Yield an event after each change of the log, at most two a second, while the session lives;
    no use of the session counts as the person's, so that a page left open does not keep it alive.
    """
    session, stopping = visit.session, visit.request.app.state.stopping
    changed = asyncio.Event()
    stop = visit.services.store.subscribe(lambda _size: changed.set())
    session.streams += 1
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
        session.streams -= 1
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
