"""One connection of the web process to a worker: requests pipelined, each with a deadline.

Every failure of connection, frame or deadline is HsmUnavailable. Nothing is ever sent twice.
"""

import asyncio
from collections import deque
from typing import cast

from kms.errors import HsmUnavailable, InvalidInput
from kms.hsm.channel import Frames, encode
from kms.hsm.messages import Answer, Command, Request, Response
from kms.ports import Load


class Meter:
    """Counts requests, and for how long at least one waits for its answer (loop's seconds)."""

    def __init__(self) -> None:
        self._requests, self._busy = 0, 0.0
        self._since: float | None = None

    def ask(self, now: float) -> None:
        """Count a request."""
        self._requests += 1
        if self._since is None:
            self._since = now

    def rest(self, now: float) -> None:
        """Note that nothing waits any more."""
        if self._since is not None:
            self._busy += now - self._since
            self._since = None

    def load(self, now: float) -> Load:
        """Return what was counted up to now."""
        waiting = now - self._since if self._since is not None else 0.0
        return Load(self._requests, self._busy + waiting)


class Link(asyncio.Protocol):
    """One connection: answers come in the order of requests.

    When the oldest request has waited for ``deadline`` seconds the worker hangs: the link breaks.
    """

    def __init__(self, deadline: float, meter: Meter) -> None:
        self._loop = asyncio.get_running_loop()
        self._meter = meter
        self._deadline = deadline
        self._frames = Frames(Response)
        self._waiting: deque[tuple[int, float, asyncio.Future[Answer]]] = deque()
        self._next_id = 0
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._failure = "the connection to the HSM worker was lost"

    @property
    def usable(self) -> bool:
        """Whether requests can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start (asyncio)."""
        # uvloop's transports are not asyncio's, but do what they do.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand answers to those who wait (asyncio)."""
        try:
            for response in self._frames.feed(data):
                self._deliver(response)
        except InvalidInput as error:
            self.fail(f"the HSM worker's answer is unreadable: {error.message}")

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail everything that waits (asyncio)."""
        del exc
        self._transport = None
        self._meter.rest(self._loop.time())
        if self._timer:
            self._timer.cancel()
        while self._waiting:
            _, _, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(HsmUnavailable(self._failure))

    def send(self, command: Command) -> asyncio.Future[Answer]:
        """Send a request; the future fails with HsmUnavailable only."""
        frame = encode(Request(self._next_id, command))
        future: asyncio.Future[Answer] = self._loop.create_future()
        if self._transport is None:
            raise HsmUnavailable(self._failure)
        now = self._loop.time()
        due = now + self._deadline
        self._meter.ask(now)
        self._waiting.append((self._next_id, due, future))
        self._next_id += 1
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._check_deadline)
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(frame)
        return future

    def _flush(self) -> None:
        """Send the requests of one turn of the event loop together: the worker is woken once."""
        if self._transport is not None:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def fail(self, message: str) -> None:
        """Break the connection; whoever waits gets HsmUnavailable."""
        self._failure = message
        if self._transport:
            self._transport.abort()

    def _deliver(self, response: Response) -> None:
        if not self._waiting or self._waiting[0][0] != response.id:
            raise InvalidInput("it answers nothing that was asked")
        _, _, future = self._waiting.popleft()
        if not self._waiting:
            self._meter.rest(self._loop.time())
        if not future.done():  # the caller may have given up
            future.set_result(response.answer)

    def _check_deadline(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        due = self._waiting[0][1]
        if due <= self._loop.time():
            self.fail("the HSM worker did not answer in time")
        else:
            self._timer = self._loop.call_at(due, self._check_deadline)
