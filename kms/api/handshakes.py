"""Accepts TLS connections. Who has not shown a certificate yet is nobody, and takes little room.

The event loop's own server lets any number of handshakes wait for their timeout: silent connections
alone could use up the process's descriptors, the Unix socket's among them.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

MOST = 256
"""Handshakes at a time. The oldest gives way to the newest: an honest one takes milliseconds."""
SECONDS = 10.0
"""How long a handshake may take."""

_BACKLOG = 1024
_PAUSE_SECONDS = 0.1
_LOG = logging.getLogger(__name__)


class TlsServer:
    """Serves a bound socket; closed like a server of asyncio."""

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, make: Callable[[], asyncio.Protocol]
    ) -> None:
        self._sock, self._context, self._make = sock, context, make
        self._handshakes: dict[asyncio.Task[None], socket.socket] = {}
        sock.listen(_BACKLOG)
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Accept nothing more; connections that are made go on."""
        self._accepting.cancel()
        for peer in self._handshakes.values():
            _hang_up(peer)

    async def wait_closed(self) -> None:
        """Wait until nothing is accepted any more."""
        await asyncio.gather(self._accepting, *self._handshakes, return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                peer, _ = await loop.sock_accept(self._sock)
            except OSError as error:
                _LOG.warning("no connection can be accepted: %s", error.strerror)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if len(self._handshakes) >= MOST:
                oldest = next(iter(self._handshakes))
                _hang_up(self._handshakes.pop(oldest))
            handshake = loop.create_task(self._shake_hands(peer))
            self._handshakes[handshake] = peer
            handshake.add_done_callback(lambda done: self._handshakes.pop(done, None))

    async def _shake_hands(self, peer: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                self._make, peer, ssl=self._context, ssl_handshake_timeout=SECONDS
            )
        except OSError:  # no TLS, no certificate of ours, too late or gone
            peer.close()


def _hang_up(peer: socket.socket) -> None:
    """End a connection that the loop owns: its handshake fails and everything is let go."""
    with suppress(OSError):
        peer.shutdown(socket.SHUT_RDWR)
