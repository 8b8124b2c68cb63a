"""Digests as words, so that people can compare them aloud. Words of the SLIP-39 list, which differ
in their first four letters.
"""

from shamir_mnemonic.wordlist import WORDLIST  # type: ignore[import-untyped] # it has no types

from kms.errors import InvalidInput

_WORDS = 8
_BITS = 10
_SHA256_BYTES = 32


def digest_words(sha256: bytes) -> tuple[str, ...]:
    """Return the first 80 bits of a SHA-256 as 8 words; raise InvalidInput for another length."""
    if len(sha256) != _SHA256_BYTES:
        raise InvalidInput("a SHA-256 has 32 bytes")
    number = int.from_bytes(sha256[: _WORDS * _BITS // 8], "big")
    places = range((_WORDS - 1) * _BITS, -1, -_BITS)
    return tuple(WORDLIST[number >> place & (1 << _BITS) - 1] for place in places)
