"""Framing of the channel, for both ends: a 4-byte big-endian length, then one msgpack message.

Refuses frames over the limit before reading them, and every body that is not exactly what this
version would write (unknown or repeated fields, other spellings of a number). Decoding never
raises anything but InvalidInput.
"""

import struct
from typing import Generic, TypeVar

import msgspec

from kms.errors import InvalidInput
from kms.hsm.messages import MAX_FRAME, Request, Response

_HEADER = struct.Struct(">I")
_ENCODER = msgspec.msgpack.Encoder()
_T = TypeVar("_T", Request, Response)


def encode(message: Request | Response) -> bytes:
    """Return a message's frame; raise InvalidInput if it is larger than MAX_FRAME."""
    try:
        body = _ENCODER.encode(message)
    except (OverflowError, UnicodeEncodeError) as error:
        raise InvalidInput("the message holds a value that has no form on the channel") from error
    if len(body) > MAX_FRAME:
        raise InvalidInput("the message is larger than a frame may be")
    return _HEADER.pack(len(body)) + body


class Frames(Generic[_T]):
    """Turns a stream of bytes, cut anywhere, into messages of one type."""

    def __init__(self, kind: type[_T]) -> None:
        self._decoder: msgspec.msgpack.Decoder[_T] = msgspec.msgpack.Decoder(kind)
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[_T]:
        """Return the messages that ``data`` completes, in order.

        Raise InvalidInput for a frame that is malformed or too large; the stream is then useless.
        """
        self._rest += data
        messages: list[_T] = []
        at = 0
        while len(self._rest) - at >= _HEADER.size:
            (length,) = _HEADER.unpack_from(self._rest, at)
            if length > MAX_FRAME:
                raise InvalidInput("the frame is too large")
            end = at + _HEADER.size + length
            if end > len(self._rest):
                break
            messages.append(self._decode(bytes(self._rest[at + _HEADER.size : end])))
            at = end
        del self._rest[:at]
        return messages

    def _decode(self, body: bytes) -> _T:
        try:
            message = self._decoder.decode(body)
            exact = _ENCODER.encode(message) == body
        except (msgspec.DecodeError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidInput("the frame is malformed") from error
        if not exact:
            raise InvalidInput("the frame is not in its one form")
        return message
