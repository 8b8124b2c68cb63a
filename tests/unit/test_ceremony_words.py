"""Digests as words that people compare."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shamir_mnemonic.wordlist import WORD_INDEX_MAP

from kms.ceremonies.people.words import digest_words
from kms.errors import InvalidInput


@given(st.binary(min_size=32, max_size=32))
def test_the_words_are_the_first_80_bits(sha256):
    words = digest_words(sha256)
    assert len(words) == 8
    number = 0
    for word in words:
        number = number << 10 | WORD_INDEX_MAP[word]
    assert number == int.from_bytes(sha256[:10], "big")


def test_the_words_of_a_known_digest():
    words = digest_words(hashlib.sha256(b"").digest())
    assert words == (
        *("theater", "satisfy", "else", "pharmacy"),
        *("wisdom", "hush", "equation", "rival"),
    )


@pytest.mark.parametrize("size", [0, 10, 31, 33, 64])
def test_anything_but_a_sha256_is_refused(size):
    with pytest.raises(InvalidInput):
        digest_words(b"x" * size)
