"""The HTTP protocol: who is at the other end, and limits that must hold before there is a request.

uvicorn gives an application neither peer credentials nor client certificate, keeps half-sent
heads for ever and bounds neither head nor connections; this subclass does.
"""

import asyncio
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from kms.api.problem import problem
from kms.domain.addresses import neighbourhood
from kms.errors import ConclaveError, HeaderTooLarge, InvalidInput, RequestTimeout, Unavailable
from kms.statements.jws import spki_id

if TYPE_CHECKING:
    import ssl

EXTENSION = "conclave.peer"
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection.

    ``uid`` of a local process, or ``spki`` (SHA-256, base64url) of a client certificate that the
    TLS handshake has checked and that is valid until ``expires`` (seconds since 1970). ``since``:
    when it connected, on the monotonic clock.
    """

    uid: int | None = None
    spki: str = ""
    expires: float = 0.0
    since: float = field(default_factory=time.monotonic, compare=False)


class WholeReplies:
    """A transport that sends what one turn of the event loop wrote, head and body of a reply, by
    one system call: the peer is woken once. All else is the wrapped transport's own.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send at the end of this turn."""
        if not self._waiting:
            self._loop.call_soon(self._send)
        self._waiting.append(data)

    def close(self) -> None:
        """Close once everything is sent."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._waiting:
            self._transport.write(b"".join(self._waiting))
            self._waiting.clear()


class PeerProtocol(HttpToolsProtocol):
    """uvicorn's protocol with the peer in ``scope["extensions"]`` and bounds of its own."""

    max_header = 16 << 10
    head_seconds = 30.0
    max_connections = 1000
    max_of_address = 0
    """Most connections of one address, or of one /64 of IPv6; 0: all that there are."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._extensions: dict[str, object] = {}
        self._head_bytes = 0
        self._in_head = True
        self._head_timer: asyncio.TimerHandle | None = None
        self.since, self.shared = 0.0, ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # TCP or Unix
        """Identify the peer; turn it away when too many are connected."""
        super().connection_made(cast("asyncio.Transport", WholeReplies(transport, self.loop)))
        self.since = time.monotonic()
        self.shared = neighbourhood(self.client[0]) if self.client else ""
        if len(self.connections) > self.max_connections or not self._has_share():
            self._refuse(Unavailable("too many connections", hint="try again later"))
            return
        self._extensions = {EXTENSION: _peer(transport)}
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer too."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bound what is read, and for how long, before a head is complete."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if not self._in_head or not self._head_bytes:
            return
        if self._head_bytes > self.max_header:
            self._refuse(HeaderTooLarge(f"a request's head has at most {self.max_header} bytes"))
        elif self._head_timer is None:
            self._arm()

    def on_message_begin(self) -> None:
        """Start a scope that knows the peer."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = self._head_bytes or 1  # it may lie behind another in one chunk
        cast("dict[str, Any]", self.scope)["extensions"] = self._extensions

    def on_headers_complete(self) -> None:
        """From here on the application's own limits hold."""
        self._in_head = False
        self._disarm()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect another head."""
        super().on_message_complete()
        self._in_head = True
        self._head_bytes = 0

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 -- uvicorn's text is its own
        """Refuse what is not HTTP in the one error shape."""
        self._refuse(InvalidInput("not an HTTP/1.1 request"))

    def _has_share(self) -> bool:
        """Whether the address may have this connection too: the one of its own that has rested
        with nothing asked, and is the oldest, gives way.
        """
        if not self.max_of_address:
            return True
        own = [one for one in cast("set[PeerProtocol]", self.connections) if self._is_near(one)]
        if len(own) <= self.max_of_address:
            return True
        resting = [one for one in own if one is not self and one.is_resting()]
        if not resting:
            return False
        min(resting, key=lambda one: one.since).transport.close()
        return True

    def _is_near(self, other: "PeerProtocol") -> bool:
        return other.shared == self.shared and not other.transport.is_closing()

    def is_resting(self) -> bool:
        """Whether nothing is asked, or answered, on this connection now."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is None or cycle.response_complete

    def _arm(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._head_late)

    def _disarm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_late(self) -> None:
        self._head_timer = None
        if self.is_resting():
            self._refuse(RequestTimeout("the request's head did not arrive in time"))

    def _refuse(self, error: ConclaveError) -> None:
        if self.transport.is_closing():
            return
        status, body = problem(error)
        head = (
            f"HTTP/1.1 {status} {error.code}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()


def _peer(transport: asyncio.Transport) -> Peer:
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if tls is not None:
        return _certified(tls.getpeercert(binary_form=True))
    raw: socket.socket = transport.get_extra_info("socket")
    if raw.family != socket.AF_UNIX:
        return Peer()
    packed = raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return Peer(uid=_CREDENTIALS.unpack(packed)[1])


def _certified(der: bytes | None) -> Peer:
    if der is None:
        return Peer()
    try:
        certificate = x509.load_der_x509_certificate(der)
        expires = certificate.not_valid_after_utc.timestamp()
        return Peer(spki=spki_id(certificate.public_key()), expires=expires)
    except (ValueError, UnsupportedAlgorithm):  # a key or field that we cannot read names nobody
        return Peer()
