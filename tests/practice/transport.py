"""A bad network in between: loses, doubles and reorders UDP datagrams on loopback, by a seed.

``LossyRelay`` stands before a UDP address; each peer that sends to the relay gets an address of
its own behind it, so replies find their way back through the same losses.
"""

import heapq
import random
import selectors
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Self

Address = tuple[str, int]
LOOPBACK: Address = ("127.0.0.1", 0)
BUFFER_BYTES = 4 << 20
_STEP = 0.002


@dataclass(frozen=True)
class Weather:
    """How bad the network is: chances for each datagram, and the longest delay in seconds."""

    loss: float = 0.02
    double: float = 0.02
    delay: float = 0.10
    longest: float = 0.03


FAIR = Weather(0, 0, 0)


def loopback_socket() -> socket.socket:
    """Return a bound UDP socket with room for a burst."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    made.bind(LOOPBACK)
    made.setblocking(False)
    return made


class LossyRelay:
    """Relays between many peers and one target in a thread of its own; a context manager.

    ``counts`` tells how many datagrams it carried, lost, doubled and delayed.
    """

    def __init__(self, target: Address, seed: int, weather: Weather = Weather()) -> None:
        self.counts: Counter[str] = Counter()
        self._target, self._weather = target, weather
        self._random = random.Random(seed)
        self._front = loopback_socket()
        self._behind: dict[Address, socket.socket] = {}
        self._peers: dict[socket.socket, Address] = {}
        self._due: list[tuple[float, int, socket.socket, Address, bytes]] = []
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._front, selectors.EVENT_READ)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def address(self) -> Address:
        """Where peers send to instead of the target."""
        host, port = self._front.getsockname()
        return host, port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._selector.close()
        for one in (self._front, *self._behind.values()):
            one.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            for key, _ in self._selector.select(_STEP):
                assert isinstance(key.fileobj, socket.socket)
                self._read(key.fileobj)
            while self._due and self._due[0][0] <= time.monotonic():
                _, _, sender, to, datagram = heapq.heappop(self._due)
                self._send(sender, to, datagram)

    def _read(self, source: socket.socket) -> None:
        while True:
            try:
                datagram, peer = source.recvfrom(65536)
            except (BlockingIOError, ConnectionRefusedError):
                return
            if source is self._front:
                self._carry(self._behind_of(peer), self._target, datagram)
            else:
                self._carry(self._front, self._peers[source], datagram)

    def _behind_of(self, peer: Address) -> socket.socket:
        if peer not in self._behind:
            made = self._behind[peer] = loopback_socket()
            self._peers[made] = peer
            self._selector.register(made, selectors.EVENT_READ)
        return self._behind[peer]

    def _carry(self, sender: socket.socket, to: Address, datagram: bytes) -> None:
        weather, draw = self._weather, self._random.random
        if draw() < weather.loss:
            self.counts["lost"] += 1
            return
        twice = draw() < weather.double
        self.counts["doubled"] += twice
        for _ in range(1 + twice):
            if draw() < weather.delay:
                self.counts["delayed"] += 1
                due = time.monotonic() + draw() * weather.longest
                order = self.counts["delayed"]  # breaks ties, since sockets do not compare
                heapq.heappush(self._due, (due, order, sender, to, datagram))
            else:
                self._send(sender, to, datagram)

    def _send(self, sender: socket.socket, to: Address, datagram: bytes) -> None:
        try:
            sender.sendto(datagram, to)
        except (BlockingIOError, ConnectionRefusedError):
            self.counts["lost"] += 1
        else:
            self.counts["carried"] += 1
