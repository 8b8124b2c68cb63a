"""Cuts sealed frames into datagrams and puts them together again: a stand-in for RTP.

A real media stack has its own packets. These here are as plain as possible, and like real ones
survive loss: every two chunks of a frame travel with their XOR, so that one of the three may be
lost, and frames that later frames refer to travel twice. A forwarding server reads none of it.

    datagram: source (2 bytes) | frame number (4) | frame size (4) | index (2) | chunk
    index:    0 .. n-1 for the n chunks of the frame, then n .. for the XORs of chunks 0^1, 2^3, ...
"""

import struct
from collections import OrderedDict

CHUNK = 1100
MAX_FRAME = 64 * CHUNK
_HEADER = struct.Struct("!HIIH")
_REMEMBERED = 512


def cut(source: int, number: int, frame: bytes, copies: int = 1) -> list[bytes]:
    """Return the datagrams of one frame; ``number`` counts the source's frames."""
    if not 0 < len(frame) <= MAX_FRAME:
        raise ValueError("a frame has 1 to MAX_FRAME bytes")
    chunks = [frame[at : at + CHUNK] for at in range(0, len(frame), CHUNK)]
    pairs = [(*chunks[at : at + 2], b"")[:2] for at in range(0, len(chunks), 2)]
    chunks += [_xor(first, second) for first, second in pairs]
    return [
        _HEADER.pack(source, number, len(frame), index) + chunk
        for _ in range(copies)
        for index, chunk in enumerate(chunks)
    ]


class Joiner:
    """Puts frames together from datagrams that come in any order, twice or not at all."""

    def __init__(self) -> None:
        self._partial: OrderedDict[tuple[int, int], _Partial] = OrderedDict()

    def take(self, datagram: bytes) -> tuple[int, int, bytes] | None:
        """Return (source, number, frame) when this datagram completes a frame, and only then."""
        if len(datagram) <= _HEADER.size:
            return None
        source, number, size, index = _HEADER.unpack_from(datagram)
        if not 0 < size <= MAX_FRAME:
            return None
        partial = self._partial.setdefault((source, number), _Partial(size))
        while len(self._partial) > _REMEMBERED:
            self._partial.popitem(last=False)
        frame = partial.take(index, datagram[_HEADER.size :])
        return None if frame is None else (source, number, frame)


class _Partial:
    """A frame of which some chunks are here, numbered as in the datagrams."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._count = -(-size // CHUNK)
        self._chunks: dict[int, bytes] = {}
        self._done = False

    def take(self, index: int, chunk: bytes) -> bytes | None:
        if self._done or index >= self._count + (self._count + 1) // 2:
            return None
        self._chunks[index] = chunk
        first = (index if index < self._count else 2 * (index - self._count)) & ~1
        self._mend(first, min(first + 1, self._count - 1), self._count + first // 2)
        if any(index not in self._chunks for index in range(self._count)):
            return None
        frame = b"".join(self._chunks[index] for index in range(self._count))
        self._done = True
        self._chunks.clear()
        return frame

    def _mend(self, first: int, second: int, both: int) -> None:
        """Make a missing chunk of a pair from the other and their XOR; a lone last chunk is it."""
        for missing, other in ((first, second), (second, first)):
            needed = {both} if first == second else {both, other}
            if missing not in self._chunks and needed <= self._chunks.keys():
                mixed = self._chunks[both]
                if first != second:
                    mixed = _xor(mixed, self._chunks[other])
                self._chunks[missing] = mixed[: self._size - missing * CHUNK]


def _xor(first: bytes, second: bytes) -> bytes:
    size = max(len(first), len(second))
    mixed = int.from_bytes(first.ljust(size, b"\0")) ^ int.from_bytes(second.ljust(size, b"\0"))
    return mixed.to_bytes(size)
