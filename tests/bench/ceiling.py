"""The fair ceiling of a fetch: a bare ASGI application that does only what any fetch has to do.

One indexed read, one leaf appended and awaited until it is durable (group commit in a thread of
its own, synchronous FULL), one reply of 5 KB. No identity, no policy, no parsing, no checks.
"""

import argparse
import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import uvicorn

ROWS = 10_000
REPLY = 5_000
LEAF = 300
PATH = "/fetch/"

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def make_database(path: Path) -> None:
    """Make the table to read from and the table of leaves."""
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE envelope (key TEXT PRIMARY KEY, body BLOB) WITHOUT ROWID")
        database.execute("CREATE TABLE leaf (seq INTEGER PRIMARY KEY, body BLOB)")
        rows = ((str(number), b"e" * REPLY) for number in range(ROWS))
        database.executemany("INSERT INTO envelope VALUES (?, ?)", rows)
    database.close()


class LeafWriter:
    """Appends leaves: everything queued while the last batch was syncing goes into the next."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._queue: deque[asyncio.Future[None]] = deque()
        self._wake = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def append(self) -> asyncio.Future[None]:
        """Return a future that is done once the leaf is durable."""
        future = self._loop.create_future()
        self._queue.append(future)
        self._wake.set()
        return future

    def _run(self) -> None:
        database = sqlite3.connect(self._path, isolation_level=None)
        database.execute("PRAGMA synchronous=FULL")
        leaf = b"l" * LEAF
        while True:
            self._wake.wait()
            self._wake.clear()
            batch = [self._queue.popleft() for _ in range(len(self._queue))]
            if not batch:
                continue
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT INTO leaf (body) VALUES (?)", ((leaf,) for _ in batch))
            database.execute("COMMIT")
            self._loop.call_soon_threadsafe(_settle, batch)


def _settle(batch: Iterable[asyncio.Future[None]]) -> None:
    for future in batch:
        if not future.done():
            future.set_result(None)


class Ceiling:
    """The application; it answers ``GET /fetch/<number>``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader = sqlite3.connect(path, isolation_level=None)
        self._writer: LeafWriter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._writer is None:
            self._writer = LeafWriter(self._path)
        key = scope["path"][len(PATH) :]
        found = self._reader.execute("SELECT body FROM envelope WHERE key = ?", (key,)).fetchone()
        await self._writer.append()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(found[0])),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": found[0]})


def main() -> None:
    """Serve on a Unix socket until ended by a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", type=Path, required=True)
    directory = parser.parse_args().directory
    make_database(directory / "ceiling.db")
    uvicorn.run(
        Ceiling(directory / "ceiling.db"),
        uds=str(directory / "ceiling.sock"),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
