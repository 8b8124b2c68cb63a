"""The worker's loop: one thread, one request at a time, answers in order.

Only peers of the worker's own uid are heard. A malformed frame ends its connection, never the
worker. A request that outlasts its deadline ends the process: the kernel's alarm kills it even
while foreign code hangs.
"""

import logging
import os
import selectors
import signal
import socket
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from kms.errors import ConfigurationError, InvalidInput
from kms.hsm.channel import Frames, encode
from kms.hsm.messages import Answer, Command, Failed, Request, Response

_READ_BYTES = 1 << 16
_BACKLOG = 64
_UCRED = struct.Struct("3i")
_LOG = logging.getLogger(__name__)


class Handler(Protocol):
    """What answers commands; ``exit_code`` is set when the process has to end."""

    exit_code: int | None

    def answer(self, command: Command) -> Answer:
        """Return the answer; never raises."""
        ...


def listen(path: Path) -> socket.socket:
    """Return a listening socket that only its owner can reach from the first instant.

    Raise ConfigurationError if the place cannot be used or another worker serves there.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    mask = os.umask(0o177)
    try:
        _remove_stale(path)
        listener.bind(str(path))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"cannot listen on {path}: {error.strerror or error}") from error
    finally:
        os.umask(mask)
    return listener


def _remove_stale(path: Path) -> None:
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise ConfigurationError(f"{path} is there and is not a socket")
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise ConfigurationError(f"another worker serves on {path}")
    path.unlink()


class _Connection:
    """One peer: what it sent and did not finish, what it has not taken yet."""

    def __init__(self, peer: socket.socket) -> None:
        self.peer = peer
        self.frames = Frames(Request)
        self.unsent = bytearray()

    def read(self) -> list[Request] | None:
        """Return complete requests; None at the end of the stream or of our patience."""
        try:
            data = self.peer.recv(_READ_BYTES)
            return self.frames.feed(data) if data else None
        except BlockingIOError:
            return []
        except OSError:
            return None
        except InvalidInput as error:
            _LOG.warning("a connection is closed: %s", error.message)
            return None

    def send(self, data: bytes) -> None:
        """Send what the peer takes and keep the rest; raise OSError when it is gone."""
        self.unsent += data
        self.flush()

    def flush(self) -> None:
        """Send of the rest what the peer takes; raise OSError when it is gone."""
        try:
            del self.unsent[: self.peer.send(self.unsent)]
        except BlockingIOError:
            return


class Server:
    """Serves one handler until SIGTERM or until the handler cannot go on."""

    def __init__(self, listener: socket.socket, handler: Handler, deadline: float) -> None:
        self._listener = listener
        self._handler = handler
        self._deadline = deadline
        self._selector = selectors.DefaultSelector()
        self._terminated = False

    def run(self, ready: Callable[[], None]) -> int:
        """Call ``ready``, serve, and return the exit code."""
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, self._terminate)
        wakeup, waker = socket.socketpair()
        for end in (wakeup, waker):
            end.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        self._selector.register(wakeup, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        ready()
        while not self._ended():
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.data is not None:
                    self._serve(key.data)
        return self._handler.exit_code or 0

    def _ended(self) -> bool:
        return self._terminated or self._handler.exit_code is not None

    def _terminate(self, *_: object) -> None:
        self._terminated = True

    def _accept(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError:
            return
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        _, uid, _ = _UCRED.unpack(credentials)
        if uid != os.geteuid():
            _LOG.warning("a connection of uid %d is refused", uid)
            peer.close()
            return
        peer.setblocking(False)
        self._selector.register(peer, selectors.EVENT_READ, _Connection(peer))

    def _serve(self, connection: _Connection) -> None:
        """Answer every complete request of a readable connection, each as soon as it is done:
        the peer works on one answer while we work on the next.

        A peer that does not take its answers is not heard until it does.
        """
        requests = [] if connection.unsent else connection.read()
        if requests is None:
            self._close(connection)
            return
        try:
            if connection.unsent:
                connection.flush()
            for request in requests:
                if self._ended():
                    break
                connection.send(self._answer(request))
        except OSError:
            self._close(connection)
            return
        wanted = selectors.EVENT_WRITE if connection.unsent else selectors.EVENT_READ
        self._selector.modify(connection.peer, wanted, connection)

    def _answer(self, request: Request) -> bytes:
        signal.setitimer(signal.ITIMER_REAL, self._deadline)
        try:
            answer = self._handler.answer(request.command)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            return encode(Response(request.id, answer))
        except InvalidInput as error:
            return encode(Response(request.id, Failed(error.code, error.message)))

    def _close(self, connection: _Connection) -> None:
        self._selector.unregister(connection.peer)
        connection.peer.close()
