"""Connections of browsers: silent ones end soon, and no address takes all of them."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from starlette.types import Receive, Scope, Send

from kms.api.server import limits_of_board, make_listener
from kms.settings import Api, Board

BOARD = Board(origin="http://localhost:20001", max_connections=8)
SHARE = 3
ASK = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _answers(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer; of /slow only the head."""
    head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    await send(head)
    if scope["path"] == "/slow":
        await send({"type": "http.response.body", "body": b"o", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    await send({"type": "http.response.body", "body": b"ok"})


@dataclass
class Door:
    """A served port of loopback, and the connections to it."""

    port: int
    wires: list[Wire] = field(default_factory=list)

    async def connect(self, address: str = "127.0.0.1") -> Wire:
        """Connect from an address of loopback."""
        wire = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))
        self.wires.append(wire)
        return wire

    async def close(self) -> None:
        """Close every connection."""
        for _reader, writer in self.wires:
            writer.close()
        await asyncio.gather(
            *(writer.wait_closed() for _reader, writer in self.wires), return_exceptions=True
        )


@asynccontextmanager
async def serving(api: Api) -> AsyncIterator[Door]:
    """Serve on a port of loopback."""
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    listener = make_listener(_answers, api, sock, None, SHARE)
    task = asyncio.create_task(listener.serve())
    await listener.listening.wait()
    door = Door(sock.getsockname()[1])
    try:
        yield door
    finally:
        await door.close()
        listener.should_exit = True
        await task


async def ask(wire: Wire, data: bytes = ASK) -> bytes:
    """Return the first line of the answer, empty if the connection is closed."""
    wire[1].write(data)
    try:
        return (await wire[0].readline()).strip()
    except ConnectionResetError:
        return b""


def test_silent_connections_of_an_address_give_way_to_its_next_one() -> None:
    async def work() -> None:
        async with serving(limits_of_board(Api(), BOARD)) as door:
            silent = [await door.connect() for _ in range(SHARE)]
            late = await door.connect()
            assert await ask(late) == b"HTTP/1.1 200 OK"
            assert await silent[0][0].read() == b"", "the oldest one is closed"
            assert await ask(silent[1]) == b"HTTP/1.1 200 OK"

    asyncio.run(work())


def test_one_address_does_not_take_the_connections_of_others() -> None:
    async def work() -> None:
        async with serving(limits_of_board(Api(), BOARD)) as door:
            busy = [await door.connect() for _ in range(SHARE)]
            for one in busy:
                assert await ask(one, ASK.replace(b"/ ", b"/slow ", 1)) == b"HTTP/1.1 200 OK"
            for _ in range(2 * BOARD.max_connections):
                assert b" 503 " in await ask(await door.connect()) + b" "
            assert await ask(await door.connect("127.0.0.2")) == b"HTTP/1.1 200 OK"

    asyncio.run(work())


@pytest.mark.parametrize("sent", [b"", b"GET / HT"])
def test_a_connection_that_asks_nothing_is_closed(sent: bytes) -> None:
    async def work() -> None:
        limits = limits_of_board(Api(request_seconds=0.2), BOARD)
        async with serving(limits) as door:
            reader, writer = await door.connect()
            writer.write(sent)
            assert b" 408 " in await asyncio.wait_for(reader.read(), 5)

    asyncio.run(work())


def test_browsers_have_less_time_than_callers() -> None:
    limits = limits_of_board(Api(), BOARD)
    assert limits.request_seconds <= 10 < Api().request_seconds
    assert limits.idle_seconds <= 20 < Api().idle_seconds
    assert limits.max_connections == BOARD.max_connections
