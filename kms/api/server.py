"""The web process: ``python -m kms.api --config FILE``. No PIN, no PKCS#11.

One event loop serves the Unix socket and, where configured, mutual TLS. Of a sealed box it says
that it is sealed, with no workers, and with the store only to have the log say so.
"""

import argparse
import asyncio
import gc
import json
import logging
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

import msgspec
import uvicorn
import uvloop
from starlette.types import ASGIApp

from kms import settings
from kms.api.app import build
from kms.api.handshakes import TlsServer
from kms.api.peer import PeerProtocol
from kms.api.sealed import SealedApi
from kms.api.sockets import bind_tcp, bind_unix, board_context, tls_context
from kms.bootstrap import service
from kms.bootstrap.seal_marks import SealMarks
from kms.bootstrap.sealed_log import log_sealed_site
from kms.errors import ConclaveError, ConfigurationError, IntegrityFailure
from kms.hardening import harden
from kms.logs import configure
from kms.settings import Settings, split_origin
from kms.statements.sealing import BOX

EXIT_CONFIGURATION = 78
"""A restart cannot help (sysexits.h): the configuration or the stored state is at fault."""
EXIT_TEMPORARY = 75

_LOG = logging.getLogger(__name__)
_GRACE_SECONDS = 5
_LOG_SECONDS = 2.0
"""How long a sealed start waits for the log before it serves."""
_BOARD_HEAD_SECONDS, _BOARD_IDLE_SECONDS = 10.0, 20.0
_LEAST_SHARE, _SHARES = 16, 4
"""An address has at most a quarter of the board's connections, and no less than so many."""
_ALLOCATIONS_PER_COLLECTION = 20_000


class Listener(uvicorn.Server):
    """uvicorn on one socket of ours; signals are the process's business, not its own."""

    def __init__(
        self, config: uvicorn.Config, sock: socket.socket, tls: ssl.SSLContext | None
    ) -> None:
        super().__init__(config)
        self._sock = sock
        self._tls = tls
        self.listening = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; from now on callers can connect."""
        del sockets
        await self.lifespan.startup()
        loop = asyncio.get_running_loop()
        if self._tls is None:
            serving = (
                loop.create_unix_server
                if self._sock.family == socket.AF_UNIX
                else loop.create_server
            )
            backlog = self.config.backlog
            self.servers = [await serving(self._protocol, sock=self._sock, backlog=backlog)]
        else:
            server = TlsServer(self._sock, self._tls, self._protocol)
            self.servers = [server]  # type: ignore[list-item] # closed the same way
        self.started = True
        self.listening.set()

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg] # ours
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


class Served(Protocol):
    """What answers requests; ``board`` those of browsers, None if there is no board. ``stop`` ends
    what would go on for ever.
    """

    @property
    def asgi(self) -> ASGIApp:
        """The application of callers."""
        ...

    @property
    def board(self) -> ASGIApp | None:
        """The application of browsers."""
        ...

    def stop(self) -> None:
        """Let open replies end."""
        ...


def make_listener(
    asgi: ASGIApp,
    chosen: settings.Api,
    sock: socket.socket,
    tls: ssl.SSLContext | None,
    of_address: int = 0,
) -> Listener:
    """Return a listener for a bound socket, with the configured limits; ``of_address``: most
    connections of one address, 0 for all of them.
    """
    protocol = type(
        "LimitedProtocol",
        (PeerProtocol,),
        {
            "max_header": chosen.max_header,
            "head_seconds": chosen.request_seconds,
            "max_connections": chosen.max_connections,
            "max_of_address": of_address,
        },
    )
    config = uvicorn.Config(
        asgi,
        http=protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_keep_alive=max(1, int(chosen.idle_seconds)),
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    return Listener(config, sock, tls)


def limits_of_board(api: settings.Api, board: settings.Board) -> settings.Api:
    """Return the limits of the board's connections: anybody on its network opens them, so that
    silent ones are closed soon.
    """
    return msgspec.structs.replace(
        api,
        max_connections=board.max_connections,
        request_seconds=min(api.request_seconds, _BOARD_HEAD_SECONDS),
        idle_seconds=min(api.idle_seconds, _BOARD_IDLE_SECONDS),
    )


class Sockets:
    """The bound sockets of one configuration; the Unix one is removed at the end."""

    def __init__(self, chosen: Settings) -> None:
        """Bind; raise ConfigurationError."""
        self._path = chosen.paths.api_socket
        self._endpoints = chosen.paths.run / "endpoints.json"
        self.tls_context = tls_context(chosen.api.tls) if chosen.api.tls else None
        tls, board = chosen.api.tls, chosen.board
        self.tls = bind_tcp(tls.address, tls.port) if tls else None
        self.board_context = board_context(board) if board else None
        self.board = bind_tcp(board.address, split_origin(board.origin)[2]) if board else None
        self._origin = board.origin if board else ""
        self.unix = bind_unix(self._path, chosen.api.socket_group)
        self._inode = self._path.stat().st_ino

    def announce(self) -> None:
        """Write where callers connect, the port that was really given included."""
        where: dict[str, object] = {"socket": str(self._path)}
        if self.tls:
            address, port, *_ = self.tls.getsockname()
            where["tls"] = {"address": address, "port": port}
        if self.board:
            where["board"] = self._origin
        draft = self._endpoints.with_suffix(".new")
        draft.write_text(json.dumps(where) + "\n", "utf-8")
        draft.replace(self._endpoints)

    def close(self) -> None:
        """Close, and remove what is ours."""
        self.unix.close()
        for listener in (self.tls, self.board):
            if listener:
                listener.close()
        try:
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
                self._endpoints.unlink(missing_ok=True)
        except FileNotFoundError:
            return


async def serve(chosen: Settings, api: Served, sockets: Sockets, ready_fd: int | None) -> None:
    """Serve until SIGTERM or SIGINT, then let requests in progress end."""
    _calm_collector()
    async with _listening(chosen, api, sockets) as stopped:
        sockets.announce()
        if ready_fd is not None:
            os.write(ready_fd, b"\n")
            os.close(ready_fd)
        _LOG.info("serving on %s", chosen.paths.api_socket)
        await stopped.wait()


@asynccontextmanager
async def _listening(
    chosen: Settings, api: Served, sockets: Sockets
) -> AsyncIterator[asyncio.Event]:
    listeners = [make_listener(api.asgi, chosen.api, sockets.unix, None)]
    if sockets.tls:
        listeners.append(make_listener(api.asgi, chosen.api, sockets.tls, sockets.tls_context))
    if sockets.board and chosen.board and api.board:
        listeners.append(
            make_listener(
                api.board,
                limits_of_board(chosen.api, chosen.board),
                sockets.board,
                sockets.board_context,
                max(_LEAST_SHARE, chosen.board.max_connections // _SHARES),
            )
        )
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    tasks = [asyncio.create_task(listener.serve()) for listener in listeners]
    for task in tasks:
        task.add_done_callback(lambda _task: stopped.set())
    try:
        for listener in listeners:
            await _first(listener.listening, stopped)
        yield stopped
    finally:
        api.stop()
        for listener in listeners:
            listener.should_exit = True
        await asyncio.gather(*tasks)


async def _first(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


async def _main(chosen: Settings, ready_fd: int | None, *, sealed: bool) -> None:
    sockets = Sockets(chosen)
    try:
        if sealed or BOX in SealMarks(chosen.paths).sealed():
            async with _sealing_logged(chosen):
                await serve(chosen, SealedApi.of(chosen), sockets, ready_fd)
            return
        async with service.web(chosen) as services:
            await serve(chosen, build(services), sockets, ready_fd)
    finally:
        sockets.close()


@asynccontextmanager
async def _sealing_logged(chosen: Settings) -> AsyncIterator[None]:
    """Have the log say that the box is sealed, at once if it can, else as soon as it can."""
    task = asyncio.create_task(log_sealed_site(chosen))
    await asyncio.wait([task], timeout=_LOG_SECONDS)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _calm_collector() -> None:
    """Keep the garbage collector from stopping the process for a tenth of a second at a time.

    What the start made lives as long as the process: it is never looked at again. What requests
    make is freed by reference counts, so that cycles are few and looked for less often.
    """
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS_PER_COLLECTION)
    gc.enable()


def main(arguments: list[str] | None = None) -> int:
    """Run the web process; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m kms.api")
    parser.add_argument("--config", type=Path, default=settings.DEFAULT_PATH)
    parser.add_argument("--ready-fd", type=int)
    parser.add_argument("--sealed", action="store_true", help="only say that the box is sealed")
    options = parser.parse_args(arguments)
    harden(lock_memory=False)
    configure("web")
    try:
        chosen = settings.load(options.config)
        configure("web", chosen.log.format, chosen.log.level)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_main(chosen, options.ready_fd, sealed=options.sealed))
    except (ConfigurationError, IntegrityFailure) as error:
        _LOG.critical("%s %s", error.message, error.hint)
        return EXIT_CONFIGURATION
    except ConclaveError as error:
        _LOG.critical("%s %s", error.message, error.hint)
        return EXIT_TEMPORARY
    return 0
