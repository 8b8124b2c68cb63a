"""The channel's codec: what one end writes the other reads, however the stream is cut."""

import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.domain.models import (
    Meeting,
    Roster,
    RotationReason,
)
from kms.domain.rows import Row, RowKind, SealedRow
from kms.domain.states import MeetingState
from kms.errors import InvalidInput
from kms.hsm import messages
from kms.hsm.channel import Frames, encode
from kms.ports import MintOrder

texts = st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=40)
numbers = st.integers(0, 2**53 - 1)
blobs = st.binary(max_size=64)
row_kinds = st.sampled_from(RowKind)
rows = st.builds(Row, row_kinds, texts, numbers, blobs)
sealed = st.builds(SealedRow, rows, blobs)
meetings = st.builds(
    Meeting, texts, texts, st.sampled_from(MeetingState), numbers, st.none() | numbers,
    numbers, numbers, numbers,
)  # fmt: skip
rosters = st.builds(Roster, texts, texts, numbers, st.lists(texts).map(tuple), texts)
orders = st.builds(
    MintOrder, texts, meetings, numbers, rosters, numbers, st.sampled_from(RotationReason),
    numbers, numbers, numbers, st.lists(rows, max_size=3).map(tuple),
)  # fmt: skip
commands = st.one_of(
    st.builds(messages.Mint, orders),
    st.builds(messages.SealRows, st.lists(rows, max_size=3).map(tuple)),
    st.builds(messages.CheckRows, st.lists(sealed, max_size=3).map(tuple)),
    st.builds(messages.SignCheckpoint, numbers, blobs, st.lists(blobs).map(tuple)),
    st.just(messages.LastCheckpoint()),
    st.just(messages.Describe()),
)
requests = st.builds(messages.Request, numbers, commands)


@given(st.lists(requests, max_size=4), st.lists(st.integers(1, 200), min_size=1, max_size=8))
def test_requests_survive_the_channel_however_the_stream_is_cut(sent, cuts):
    stream = b"".join(encode(request) for request in sent)
    frames, received, at, turn = Frames(messages.Request), [], 0, 0
    while at < len(stream):
        step = cuts[turn % len(cuts)]
        received += frames.feed(stream[at : at + step])
        at, turn = at + step, turn + 1
    assert received == sent


@given(st.binary(max_size=300))
def test_arbitrary_bodies_are_refused_or_are_what_we_would_write(body):
    frames = Frames(messages.Request)
    try:
        received = frames.feed(struct.pack(">I", len(body)) + body)
    except InvalidInput:
        return
    assert [encode(request)[4:] for request in received] == [body]


@given(requests, st.data())
def test_a_changed_byte_never_raises_anything_but_invalid_input(request, data):
    frame = bytearray(encode(request))
    place = data.draw(st.integers(4, len(frame) - 1))
    frame[place] ^= data.draw(st.integers(1, 255))
    try:
        received = Frames(messages.Request).feed(bytes(frame))
    except InvalidInput:
        return
    assert [encode(item) for item in received] == [bytes(frame)]


def framed(value: object) -> bytes:
    body = msgspec.msgpack.encode(value)
    return struct.pack(">I", len(body)) + body


@pytest.mark.parametrize(
    "value",
    [
        {"id": 1, "command": {"type": "describe"}, "more": 1},
        {"id": 1, "command": {"type": "describe", "more": 1}},
        {"id": 1, "command": {"type": "sign", "data": b"x"}},
        {"id": "1", "command": {"type": "describe"}},
        {"command": {"type": "describe"}, "id": 1},
        {"id": 1},
        [],
    ],
)
def test_other_shapes_are_refused(value):
    with pytest.raises(InvalidInput):
        Frames(messages.Request).feed(framed(value))


def test_a_field_unknown_to_an_inner_record_is_refused():
    row = {"kind": "meeting", "key": "k", "version": 1, "body": b"", "more": 1}
    value = {"id": 1, "command": {"type": "seal-rows", "rows": [row]}}
    with pytest.raises(InvalidInput):
        Frames(messages.Request).feed(framed(value))


def test_a_frame_over_the_limit_is_refused_before_its_body_comes():
    with pytest.raises(InvalidInput):
        Frames(messages.Request).feed(struct.pack(">I", messages.MAX_FRAME + 1))


def test_a_message_over_the_limit_is_not_sent():
    row = Row(RowKind.MEETING, "k", 1, b"x" * messages.MAX_FRAME)
    with pytest.raises(InvalidInput):
        encode(messages.Request(1, messages.SealRows((row,))))


def test_deep_nesting_is_refused():
    with pytest.raises(InvalidInput):
        Frames(messages.Request).feed(struct.pack(">I", 100_000) + b"\x91" * 100_000)
