"""The way of a server to the key API, whose client is synchronous, from an asyncio program."""

import argparse
import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from peer import say

from kms.client.api import Client
from kms.client.transport import mutual_tls
from kms.errors import ConclaveError
from kms.wire.replies import EventOut

_T = TypeVar("_T")


class Service:
    """Asks the key API in a thread of its own, since a client is for one thread at a time."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self.client = connect(options)
        self._thread = ThreadPoolExecutor(max_workers=1)

    async def ask(self, call: Callable[[Client], _T]) -> _T:
        """Return what ``call`` makes of the client; raise what it raises."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, call, self.client)

    async def events(self) -> AsyncIterator[EventOut]:
        """Yield the service's events from now on; they come over a connection of their own."""
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[EventOut]()

        def listen() -> None:
            with connect(self._options) as client:
                for event in client.events():
                    try:
                        loop.call_soon_threadsafe(queue.put_nowait, event)
                    except RuntimeError:  # the loop is closed: nobody listens any more
                        return

        threading.Thread(target=listen, daemon=True).start()
        while True:
            yield await queue.get()


async def attempt(change: Coroutine[Any, Any, None]) -> None:
    """Await a change; a refusal is said, and ends nothing."""
    try:
        await change
    except ConclaveError as error:
        say("refused", code=error.code, detail=error.message)


def connect(options: argparse.Namespace) -> Client:
    """Return a client of the key API as the command line says."""
    if options.api_socket:
        return Client.over_socket(options.api_socket)
    return Client.over_tls(
        options.api_url, mutual_tls(options.tls_cert, options.tls_key, options.tls_ca)
    )


def add_api_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that ``connect`` reads."""
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--api-socket", type=Path, help="Unix socket of the key API")
    way.add_argument("--api-url", help="https://ADDRESS:PORT of the key API")
    parser.add_argument("--tls-cert", type=Path, help="with --api-url: own certificate, PEM")
    parser.add_argument("--tls-key", type=Path, help="with --api-url: its key, PEM")
    parser.add_argument("--tls-ca", type=Path, help="with --api-url: the site's TLS CA, PEM")
