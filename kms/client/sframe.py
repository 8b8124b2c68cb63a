"""SFrame (RFC 9605) with the AES-GCM suites: header, key schedule, sealing and opening of frames.

The sealer owns its counter, so that no nonce comes twice; the opener refuses every frame that it
has opened before. Keys stand in no repr.
"""

import secrets
import time
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from kms.errors import FrameRefused, InvalidInput

AES_128_GCM_SHA256_128 = 4
AES_256_GCM_SHA512_128 = 5
MAX_KID = MAX_CTR = 2**64 - 1

_NONCE = 12
_INLINE = 8  # values below this lie in the configuration byte itself
_REFUSED: Final = "the frame does not open"


class _Suite(NamedTuple):
    key_bytes: int
    hash: type[hashes.HashAlgorithm]


_SUITES = {
    AES_128_GCM_SHA256_128: _Suite(16, hashes.SHA256),
    AES_256_GCM_SHA512_128: _Suite(32, hashes.SHA512),
}


# --- header (RFC 9605, section 4.3) --------------------------------------------------------------


class Header(NamedTuple):
    """A frame's header; ``size`` is the number of bytes that it takes."""

    kid: int
    ctr: int
    size: int


def encode_header(kid: int, ctr: int) -> bytes:
    """Return X KKK Y CCC, then the bytes of KID and CTR that do not fit; raise InvalidInput."""
    if not (0 <= kid <= MAX_KID and 0 <= ctr <= MAX_CTR):
        raise InvalidInput("KID and CTR are unsigned 64-bit integers")
    kid_nibble, kid_bytes = _encode_field(kid)
    ctr_nibble, ctr_bytes = _encode_field(ctr)
    return bytes([kid_nibble << 4 | ctr_nibble]) + kid_bytes + ctr_bytes


def _encode_field(value: int) -> tuple[int, bytes]:
    if value < _INLINE:
        return value, b""
    size = (value.bit_length() + 7) // 8
    return _INLINE | (size - 1), value.to_bytes(size, "big")


def decode_header(frame: bytes) -> Header:
    """Return the header that a frame begins with; raise FrameRefused if it is cut short."""
    if not frame:
        raise FrameRefused(_REFUSED)
    kid, end = _decode_field(frame, frame[0] >> 4, 1)
    ctr, end = _decode_field(frame, frame[0] & 0x0F, end)
    return Header(kid, ctr, end)


def _decode_field(frame: bytes, nibble: int, start: int) -> tuple[int, int]:
    if nibble < _INLINE:
        return nibble, start
    end = start + (nibble & 0x07) + 1
    if end > len(frame):
        raise FrameRefused(_REFUSED)
    return int.from_bytes(frame[start:end], "big"), end


# --- keys (RFC 9605, sections 4.4.2 and 4.4.3) ----------------------------------------------------


class _FrameKey:
    """What one sender's frames are sealed with in one epoch."""

    __slots__ = ("_aead", "_salt", "kid")

    def __init__(self, base_key: bytes, kid: int, suite: int) -> None:
        if suite not in _SUITES or not 0 <= kid <= MAX_KID:
            raise InvalidInput("not a suite or KID that is implemented here")
        key_bytes, algorithm = _SUITES[suite]
        secret = HKDF.extract(algorithm(), b"", base_key)
        context = kid.to_bytes(8, "big") + suite.to_bytes(2, "big")

        def expand(label: bytes, length: int) -> bytes:
            return HKDFExpand(algorithm(), length, label + context).derive(secret)

        self.kid = kid
        self._aead = AESGCM(expand(b"SFrame 1.0 Secret key ", key_bytes))
        self._salt = int.from_bytes(expand(b"SFrame 1.0 Secret salt ", _NONCE), "big")

    def _nonce(self, ctr: int) -> bytes:
        return (self._salt ^ ctr).to_bytes(_NONCE, "big")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} kid={self.kid}>"


def fresh_counter() -> int:
    """Return a counter to start from that no earlier run of this sender has reached.

    A device that restarts in the middle of an epoch has the same key again and must not repeat a
    counter. The second of the clock stands in the upper half, so later runs start higher, and
    random bits in the lower half keep runs apart even when the clock was set back.
    """
    return int(time.time()) << 32 | secrets.randbits(32)


class FrameSealer(_FrameKey):
    """Seals one sender's frames, each under the next counter. Use one per key and sender."""

    __slots__ = ("_next",)

    def __init__(
        self, base_key: bytes, kid: int, suite: int = AES_256_GCM_SHA512_128, *, first: int
    ) -> None:
        """``first`` is the first counter; see ``fresh_counter``."""
        super().__init__(base_key, kid, suite)
        self._next = first

    def seal(self, frame: bytes, metadata: bytes = b"") -> bytes:
        """Return header, ciphertext and tag; ``metadata`` is authenticated, not carried.

        Raise FrameRefused when the counters are used up: only a new epoch helps then.
        """
        ctr = self._next
        if ctr > MAX_CTR:
            raise FrameRefused("this key has no counters left", hint="rotate the epoch")
        self._next = ctr + 1
        header = encode_header(self.kid, ctr)
        return header + self._aead.encrypt(self._nonce(ctr), frame, header + metadata)


class FrameOpener(_FrameKey):
    """Opens one sender's frames, each once, in any order within the replay window."""

    __slots__ = ("_window",)

    def __init__(self, base_key: bytes, kid: int, suite: int = AES_256_GCM_SHA512_128) -> None:
        super().__init__(base_key, kid, suite)
        self._window = ReplayWindow()

    def open(self, sealed: bytes, metadata: bytes = b"") -> bytes:
        """Return the frame; raise FrameRefused if it is forged, another sender's or a replay."""
        header = decode_header(sealed)
        if header.kid != self.kid:
            raise FrameRefused(_REFUSED)
        aad = sealed[: header.size] + metadata
        try:
            frame = self._aead.decrypt(self._nonce(header.ctr), sealed[header.size :], aad)
        except InvalidTag:
            raise FrameRefused(_REFUSED) from None
        self._window.admit(header.ctr)
        return frame


class ReplayWindow:
    """Which counters were seen (RFC 9605, section 9.3): the newest and ``SIZE`` below it."""

    SIZE = 1024
    __slots__ = ("_newest", "_seen")

    def __init__(self) -> None:
        self._newest = -1
        self._seen = 0  # bit i: the counter newest - i was seen

    def admit(self, ctr: int) -> None:
        """Note an authentic frame's counter; raise FrameRefused if seen, or too old to tell."""
        ahead = ctr - self._newest
        if ahead > 0:
            kept = self._seen << ahead if ahead < self.SIZE else 0
            self._newest, self._seen = ctr, (kept | 1) & ((1 << self.SIZE) - 1)
            return
        bit = 1 << -ahead if -ahead < self.SIZE else 0
        if not bit or self._seen & bit:
            raise FrameRefused(_REFUSED)
        self._seen |= bit
