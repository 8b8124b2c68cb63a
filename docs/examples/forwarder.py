"""A selective forwarding unit in forty lines: it passes sealed frames on and reads none."""

import asyncio
from typing import Any

from peer import Address

_GREETING_BYTES = 2


class Forwarder(asyncio.DatagramProtocol):
    """Passes every datagram on to all other members.

    A member makes itself known by a datagram that holds its source number alone.
    """

    def __init__(self) -> None:
        self.forwarded = 0
        self._members: dict[int, Address] = {}
        self._shut: set[int] = set()
        self._udp: Any = None

    async def start(self, at: Address) -> Address:
        """Bind and return the address."""
        loop = asyncio.get_running_loop()
        self._udp, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=at)
        host, port = self._udp.get_extra_info("sockname")
        return host, port

    def shut_out(self, source: int) -> None:
        """Forward nothing to a member any more, and nothing from it."""
        self._shut.add(source)
        self._members.pop(source, None)

    def datagram_received(self, data: bytes, sender: Address) -> None:
        """Note a greeting, forward the rest."""
        source = int.from_bytes(data[:_GREETING_BYTES])
        if source in self._shut:
            return
        if len(data) == _GREETING_BYTES:
            self._members[source] = sender
            return
        for member, where in self._members.items():
            if member != source:
                self._udp.sendto(data, where)
                self.forwarded += 1
