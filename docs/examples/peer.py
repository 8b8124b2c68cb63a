"""What the examples share: frames over UDP and their figures, JSON lines, the command line.

Frames come from a media module with ``record(seconds, voice, start)`` and ``Player``; the one
built in here only counts. A real application has its camera and its decoder there.
"""

import asyncio
import contextlib
import importlib
import json
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from datagrams import Joiner, cut

from kms.errors import FrameRefused

if TYPE_CHECKING:
    from kms.client.session import MediaSession

MAX_LINE = 4 << 20
Address = tuple[str, int]


class Frame(Protocol):
    """One encoded frame, to be sent ``time`` ms after the start, in as many ``copies``."""

    time: int

    @property
    def copies(self) -> int: ...  # noqa: D102 -- so named

    def encode(self) -> bytes: ...  # noqa: D102 -- so named


class Media(Protocol):
    """A media module."""

    def record(self, seconds: float, voice: int, start: int) -> Sequence[Frame]: ...  # noqa: D102 -- so named

    def Player(self) -> Any: ...  # noqa: D102, N802 -- a class in the module


@dataclass(frozen=True)
class Beep:
    """A frame of the built-in media."""

    time: int
    copies: int = 1

    def encode(self) -> bytes:
        """Return something to seal."""
        return f"beep at {self.time} ms".encode()


class Counter:
    """The built-in player: whatever was opened counts as decoded."""

    def __init__(self) -> None:
        self._taken = 0

    def take(self, _frame: bytes) -> None:
        """Take an opened frame."""
        self._taken += 1

    def play(self) -> int:
        """Return how many frames were taken since the last call."""
        taken, self._taken = self._taken, 0
        return taken


class Beeps:
    """The built-in media: fifty frames of text a second."""

    Player = Counter

    def record(self, seconds: float, _voice: int, start: int) -> list[Beep]:
        """Return the frames."""
        return [Beep(start + 20 * number) for number in range(int(seconds * 50))]


def load_media(module: str | None) -> Any:
    """Return the media module of that name, or the built-in one."""
    return importlib.import_module(module) if module else Beeps()


@dataclass
class Figures:
    """Frames of one source.

    ``delivered``: every byte arrived, counted once; ``opened``: by SFrame; ``decoded``: by the
    player.
    """

    delivered: int = 0
    opened: int = 0
    decoded: int = 0


class MediaPeer(asyncio.DatagramProtocol):
    """Seals and sends own frames, joins, opens and plays the others'."""

    def __init__(self, source: int, media: Media) -> None:
        self.source = source
        self.session: MediaSession | None = None
        self._media, self._joiner = media, Joiner()
        self._players: dict[int, Any] = defaultdict(media.Player)
        self._figures: dict[int, Figures] = defaultdict(Figures)
        self._number = self._recorded = self._sent = 0
        self._udp: asyncio.DatagramTransport | None = None

    async def start(self) -> Address:
        """Bind a UDP port on loopback and return its address."""
        loop = asyncio.get_running_loop()
        self._udp, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        host, port = self._udp.get_extra_info("sockname")
        return host, port

    def greet(self, to: Address) -> None:
        """Tell a forwarding server where this peer is: a datagram with the source alone."""
        if self._udp is not None:
            self._udp.sendto(self.source.to_bytes(2), to)

    async def send(self, seconds: float, to: Address) -> int:
        """Send frames at the pace of real time; return how many."""
        frames = await asyncio.to_thread(self._media.record, seconds, self.source, self._recorded)
        begin, first = asyncio.get_running_loop().time(), self._recorded
        for frame in frames:
            due = begin + (frame.time - first) / 1000
            await asyncio.sleep(max(0, due - asyncio.get_running_loop().time()))
            self._send_one(frame, to)
        self._recorded += round(seconds * 1000)
        return len(frames)

    def _send_one(self, frame: Frame, to: Address) -> None:
        if self.session is None or self._udp is None:
            raise FrameRefused("there is no key to send with")
        sealed = self.session.encrypt(frame.encode())
        for datagram in cut(self.source, self._number, sealed, frame.copies):
            self._udp.sendto(datagram, to)
        self._number += 1
        self._sent += 1

    def datagram_received(self, data: bytes, _address: Address) -> None:
        """Join, open, play."""
        joined = self._joiner.take(data)
        if joined is None:
            return
        source, _, sealed = joined
        figures = self._figures[source]
        figures.delivered += 1
        with contextlib.suppress(FrameRefused):  # forged, replayed or without a key: dropped
            if self.session is not None:
                self._players[source].take(self.session.decrypt(sealed).frame)
                figures.opened += 1

    def report(self) -> dict[str, Any]:
        """Return the figures since the last report."""
        for source, player in self._players.items():
            self._figures[source].decoded = player.play()
        figures, self._figures = self._figures, defaultdict(Figures)
        sent, self._sent = self._sent, 0
        total = {
            name: sum(asdict(one)[name] for one in figures.values()) for name in asdict(Figures())
        }
        sources = {str(source): asdict(one) for source, one in sorted(figures.items())}
        epochs = self.session.epochs if self.session else []
        return {"epochs": epochs, "sent": sent, **total, "sources": sources}


def say(event: str, **details: Any) -> None:
    """Write one JSON line to standard output."""
    print(json.dumps({"event": event, **details}), flush=True)


async def lines(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """Yield JSON lines until the other side closes."""
    while line := await reader.readline():
        yield json.loads(line)


async def commands(perform: dict[str, Callable[[dict[str, Any]], Awaitable[None]]]) -> None:
    """Perform the JSON lines of standard input one by one, until {"do": "stop"} or its end."""
    reader = asyncio.StreamReader(limit=MAX_LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for command in lines(reader):
        if command["do"] == "stop":
            return
        await perform[command["do"]](command)


def address(text: str) -> Address:
    """Return the address that HOST:PORT says."""
    host, _, port = text.rpartition(":")
    return host, int(port)


def read_rsa(path: Path) -> rsa.RSAPrivateKey:
    """Return the private RSA key of a PEM file."""
    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SystemExit(f"{path} is not an RSA key")
    return key


def read_root(path: Path) -> ec.EllipticCurvePublicKey:
    """Return the pinned site root of a PEM file."""
    key = load_pem_public_key(path.read_bytes())
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise SystemExit(f"{path} is not an EC key")
    return key
