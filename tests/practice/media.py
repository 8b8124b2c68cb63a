"""Real media for practice and tests: Opus speech-like sound and VP8 moving pictures, and decoders.

A frame goes through SFrame as ``MediaFrame.encode()``. Counts mean:
delivered: frames of which the network brought every byte, each counted once;
opened:    delivered frames that SFrame opened;
decoded:   opened frames that the decoder turned into 20 ms of sound or a picture. A VP8 picture
           refers to the one before, so after a lost picture the player feeds the decoder nothing
           until the next key frame: pictures skipped so count as delivered, not as decoded.
"""

import math
import random
import struct
from array import array
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from fractions import Fraction
from functools import cache
from itertools import islice
from typing import Any, Self

import av
from av.audio.codeccontext import AudioCodecContext
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext

RATE = 48_000
AUDIO_MS = 20
WIDTH, HEIGHT, FPS, KEY_EVERY = 256, 160, 25, 4
_HEADER = struct.Struct("!BBII")


class Kind(IntEnum):
    AUDIO = 0
    VIDEO = 1


@dataclass(frozen=True)
class MediaFrame:
    """One encoded frame; ``number`` counts the frames of its kind, ``time`` is in ms."""

    kind: Kind
    number: int
    time: int
    key: bool
    data: bytes = field(repr=False)

    @property
    def copies(self) -> int:
        """How often it is sent: twice if later frames refer to it."""
        return 2 if self.kind is Kind.VIDEO else 1

    def encode(self) -> bytes:
        return _HEADER.pack(self.kind, self.key, self.number, self.time) + self.data

    @classmethod
    def decode(cls, data: bytes) -> Self:
        kind, key, number, time = _HEADER.unpack_from(data)
        return cls(Kind(kind), number, time, bool(key), data[_HEADER.size :])


def record(seconds: float, voice: int = 0, start: int = 0) -> list[MediaFrame]:
    """Return both kinds of frames in order of time; ``voice`` varies pitch and picture.

    ``start`` numbers the frames on from an earlier recording: it is that one's end in ms and a
    multiple of 1000.
    """
    frames = [*_sound(seconds, voice), *_pictures(seconds, voice)]
    per_second = {Kind.AUDIO: 1000 // AUDIO_MS, Kind.VIDEO: FPS}
    moved = (
        MediaFrame(f.kind, f.number + start * per_second[f.kind] // 1000, f.time + start, f.key,
                   f.data)
        for f in frames
    )  # fmt: skip
    return sorted(moved, key=lambda frame: (frame.time, frame.kind))


def _sound(seconds: float, voice: int) -> Iterator[MediaFrame]:
    encoder: Any = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = RATE, "mono", "s16"
    encoder.bit_rate, encoder.time_base = 24_000, Fraction(1, RATE)
    size = RATE * AUDIO_MS // 1000

    def packets() -> Iterator[av.Packet]:
        for number in range(int(seconds * 1000) // AUDIO_MS):
            frame = av.AudioFrame("s16", "mono", size)
            frame.sample_rate, frame.pts, frame.time_base = RATE, number * size, encoder.time_base
            frame.planes[0].update(_speech(number * size, size, voice))
            yield from encoder.encode(frame)
        yield from encoder.encode(None)

    for number, packet in enumerate(islice(packets(), int(seconds * 1000) // AUDIO_MS)):
        yield MediaFrame(Kind.AUDIO, number, number * AUDIO_MS, True, bytes(packet))


def _speech(first: int, count: int, voice: int) -> bytes:
    """Return samples like a voice: three harmonics of a wavering pitch, four syllables a second."""
    samples = array("h")
    for index in range(first, first + count):
        t = index / RATE
        phase = 2 * math.pi * (110 + 25 * voice) * t + 3 * math.sin(2 * math.pi * 2.5 * t)
        loud = 6000 * math.sin(math.pi * 4 * t) ** 2
        wave = math.sin(phase) + 0.5 * math.sin(2 * phase) + 0.3 * math.sin(3 * phase)
        samples.append(int(loud * wave))
    return samples.tobytes()


def _pictures(seconds: float, voice: int) -> Iterator[MediaFrame]:
    encoder: Any = av.CodecContext.create("libvpx", "w")
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FPS), Fraction(FPS)
    encoder.bit_rate, encoder.gop_size = 400_000, KEY_EVERY
    encoder.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0",
                       "auto-alt-ref": "0"}  # fmt: skip

    def packets() -> Iterator[av.Packet]:
        for number in range(int(seconds * FPS)):
            frame = _picture(number, voice)
            frame.pts, frame.time_base = number, encoder.time_base
            yield from encoder.encode(frame)
        yield from encoder.encode(None)

    for number, packet in enumerate(packets()):
        time = number * 1000 // FPS
        yield MediaFrame(Kind.VIDEO, number, time, packet.is_keyframe, bytes(packet))


def _picture(number: int, voice: int) -> av.VideoFrame:
    """Return a texture that moves sideways behind a bright bar that moves down."""
    frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
    texture, bar = _texture(voice), number * 2 % HEIGHT
    starts = (number * 3 + row // 2 for row in range(HEIGHT))
    rows = [texture[start % WIDTH : start % WIDTH + WIDTH] for start in starts]
    rows[bar : bar + 8] = [b"\xe0" * WIDTH] * len(rows[bar : bar + 8])
    luma, blue, red = frame.planes
    luma.update(b"".join(row.ljust(luma.line_size, b"\0") for row in rows))
    blue.update(bytes([96 + 16 * voice]) * blue.buffer_size)
    red.update(bytes([160 - number % 64]) * red.buffer_size)
    return frame


@cache
def _texture(voice: int) -> bytes:
    """Return two picture widths of the same uneven line."""
    draw = random.Random(voice).randrange
    line = [value for _ in range(WIDTH // 32) for value in [draw(40, 200)] * 32]
    return bytes(line * 2)


@dataclass
class Figures:
    """Counts of one source's frames; see above."""

    delivered: int = 0
    opened: int = 0
    decoded: int = 0


class Player:
    """Decodes one source's frames. It waits for all frames of a phase, as an endless jitter
    buffer would, so that reordering costs nothing and only loss counts.
    """

    def __init__(self) -> None:
        self._waiting: dict[Kind, dict[int, MediaFrame]] = defaultdict(dict)
        self._next_picture: int | None = None
        self._sound: Any = AudioCodecContext.create("libopus", "r")
        self._sound.sample_rate, self._sound.layout = RATE, "mono"
        self._pictures: Any = VideoCodecContext.create("vp8", "r")

    def take(self, frame: bytes) -> None:
        """Take an opened frame."""
        media = MediaFrame.decode(frame)
        self._waiting[media.kind][media.number] = media

    def play(self) -> int:
        """Decode what is waiting, in order; return the number of frames that came out."""
        waiting, self._waiting = self._waiting, defaultdict(dict)
        decoded = sum(_decode(self._sound, f.data) for _, f in sorted(waiting[Kind.AUDIO].items()))
        for number, frame in sorted(waiting[Kind.VIDEO].items()):
            if frame.key or number == self._next_picture:
                decoded += _decode(self._pictures, frame.data)
                self._next_picture = number + 1
        return decoded


def _decode(decoder: Any, data: bytes) -> int:
    """Return 1 if the decoder made a sound or a picture of the frame, else 0."""
    try:
        return min(1, len(decoder.decode(av.Packet(data))))
    except FFmpegError:
        return 0
