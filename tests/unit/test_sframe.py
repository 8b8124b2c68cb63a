"""SFrame against the vectors of RFC 9605, and the properties that the vectors do not show."""

import json
import secrets
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.client.sframe import (
    MAX_CTR,
    MAX_KID,
    FrameOpener,
    FrameSealer,
    ReplayWindow,
    decode_header,
    encode_header,
    fresh_counter,
)
from kms.errors import FrameRefused, InvalidInput

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "sframe.json").read_text())
BASE_KEY = bytes(range(32))

uint64 = st.integers(0, MAX_KID)
frames = st.binary(max_size=300)


def pair(kid: int = 35, first: int = 0) -> tuple[FrameSealer, FrameOpener]:
    return FrameSealer(BASE_KEY, kid, first=first), FrameOpener(BASE_KEY, kid)


@pytest.mark.parametrize("vector", VECTORS["header"], ids=lambda v: v["encoded"])
def test_headers_are_those_of_the_rfc(vector: dict[str, Any]) -> None:
    encoded = bytes.fromhex(vector["encoded"])
    assert encode_header(vector["kid"], vector["ctr"]) == encoded
    assert decode_header(encoded + b"x") == (vector["kid"], vector["ctr"], len(encoded))


@pytest.mark.parametrize("vector", VECTORS["sframe"], ids=lambda v: f"suite-{v['cipher_suite']}")
def test_frames_are_those_of_the_rfc(vector: dict[str, Any]) -> None:
    base_key, metadata, plain, sealed, nonce, salt = (
        bytes.fromhex(vector[name])
        for name in ("base_key", "metadata", "pt", "ct", "nonce", "sframe_salt")
    )
    suite, kid, ctr = vector["cipher_suite"], vector["kid"], vector["ctr"]
    sealer = FrameSealer(base_key, kid, suite, first=ctr)
    assert sealer._nonce(0) == salt
    assert sealer._nonce(ctr) == nonce
    assert sealer.seal(plain, metadata) == sealed
    assert FrameOpener(base_key, kid, suite).open(sealed, metadata) == plain


@given(kid=uint64, ctr=uint64)
def test_a_header_decodes_to_what_was_encoded(kid: int, ctr: int) -> None:
    encoded = encode_header(kid, ctr)
    assert decode_header(encoded) == (kid, ctr, len(encoded))
    for cut in range(len(encoded)):
        with pytest.raises(FrameRefused):
            decode_header(encoded[:cut])


@given(kid=uint64, first=uint64, frame=frames, metadata=frames)
def test_what_is_sealed_opens_again(kid: int, first: int, frame: bytes, metadata: bytes) -> None:
    sealer, opener = pair(kid, first)
    assert opener.open(sealer.seal(frame, metadata), metadata) == frame


@given(frame=frames, first=uint64, data=st.data())
def test_any_flipped_bit_is_refused(frame: bytes, first: int, data: st.DataObject) -> None:
    sealer, opener = pair(first=first)
    sealed = bytearray(sealer.seal(frame, b"m"))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(FrameRefused):
        opener.open(bytes(sealed), b"m")


@given(frame=frames, data=st.data())
def test_a_cut_frame_is_refused(frame: bytes, data: st.DataObject) -> None:
    sealer, opener = pair()
    sealed = sealer.seal(frame)
    with pytest.raises(FrameRefused):
        opener.open(sealed[: data.draw(st.integers(0, len(sealed) - 1))])


@given(frame=frames)
def test_another_key_sender_or_metadata_opens_nothing(frame: bytes) -> None:
    sealed = pair()[0].seal(frame, b"m")
    for opener, metadata in (
        (FrameOpener(secrets.token_bytes(32), 35), b"m"),
        (FrameOpener(BASE_KEY, 36), b"m"),
        (FrameOpener(BASE_KEY, 35), b"n"),
    ):
        with pytest.raises(FrameRefused, match="the frame does not open"):
            opener.open(sealed, metadata)


@given(first=st.integers(0, MAX_CTR - 50), count=st.integers(2, 50))
def test_no_counter_is_used_twice(first: int, count: int) -> None:
    sealer, _ = pair(first=first)
    used = [decode_header(sealer.seal(b"same frame")).ctr for _ in range(count)]
    assert used == list(range(first, first + count))


def test_the_last_counter_is_used_and_then_the_sealer_refuses() -> None:
    sealer, opener = pair(first=MAX_CTR)
    assert opener.open(sealer.seal(b"last")) == b"last"
    for _ in range(2):
        with pytest.raises(FrameRefused, match="no counters left"):
            sealer.seal(b"one too many")


def test_a_sender_that_restarts_does_not_come_upon_its_old_counters() -> None:
    starts = [fresh_counter() for _ in range(100)]
    assert len(set(starts)) == 100
    assert all(0 < start < MAX_CTR for start in starts)
    assert max(starts) - min(starts) < 2**40, "the clock leads, so a later run starts higher"


def test_a_frame_opens_once() -> None:
    sealer, opener = pair()
    sealed = [sealer.seal(bytes([i])) for i in range(3)]
    assert [opener.open(sealed[i]) for i in (2, 0, 1)] == [b"\2", b"\0", b"\1"]
    for frame in sealed:
        with pytest.raises(FrameRefused):
            opener.open(frame)


def test_a_forged_frame_does_not_move_the_replay_window() -> None:
    sealer, opener = pair()
    frame = sealer.seal(b"real")
    forged = encode_header(35, MAX_CTR) + frame[2:]
    with pytest.raises(FrameRefused):
        opener.open(forged)
    assert opener.open(frame) == b"real"


@given(order=st.lists(st.integers(0, 3 * ReplayWindow.SIZE), max_size=200))
def test_the_window_admits_each_counter_once_and_none_that_it_cannot_remember(
    order: list[int],
) -> None:
    window, seen = ReplayWindow(), set[int]()
    for ctr in order:
        if ctr in seen or (seen and ctr <= max(seen) - ReplayWindow.SIZE):
            with pytest.raises(FrameRefused):
                window.admit(ctr)
        else:
            window.admit(ctr)
            seen.add(ctr)


@pytest.mark.parametrize(("kid", "suite"), [(-1, 5), (MAX_KID + 1, 5), (0, 1), (0, 6)])
def test_unknown_suites_and_impossible_kids_are_refused(kid: int, suite: int) -> None:
    with pytest.raises(InvalidInput):
        FrameOpener(BASE_KEY, kid, suite)
    with pytest.raises(InvalidInput):
        encode_header(kid if suite == 5 else -1, 0)


def test_no_key_stands_in_a_repr() -> None:
    sealer, opener = pair()
    for text in (repr(sealer), repr(opener), str(sealer)):
        assert text in {"<FrameSealer kid=35>", "<FrameOpener kid=35>"}
