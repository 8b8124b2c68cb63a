"""Real sound and pictures through SFrame and a bad network: what arrives opens and decodes."""

import os
import random
import socket
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docs.examples.datagrams import CHUNK, MAX_FRAME, Joiner, cut
from kms.client.session import MediaSession
from kms.errors import FrameRefused
from tests.practice.issuer import MEETING, NOW, SPACE, Issuer, device_key
from tests.practice.media import Figures, Kind, MediaFrame, Player, record
from tests.practice.transport import FAIR, LossyRelay, Weather, loopback_socket

SECONDS = 3
ISSUER = Issuer()


@pytest.fixture(scope="module")
def recording() -> list[MediaFrame]:
    return record(SECONDS)


def session(reader: int, epoch_key: bytes) -> MediaSession:
    keys = [device_key(0), device_key(1)]
    issued = ISSUER.mint(keys, key=epoch_key)
    opener = ISSUER.opener(keys[reader])
    opened = opener.open(issued.token, issued.blobs[reader], space=SPACE, meeting=MEETING, epoch=0)
    return MediaSession(opened, clock=lambda: NOW + 1.0)


class Receiver:
    """Joins, opens and plays what comes to one socket."""

    def __init__(self, media: MediaSession) -> None:
        self.figures, self.joiner, self.player = Figures(), Joiner(), Player()
        self.media, self.socket = media, loopback_socket()

    def read(self) -> None:
        while True:
            try:
                joined = self.joiner.take(self.socket.recv(65536))
            except BlockingIOError:
                return
            if joined is not None:
                self.figures.delivered += 1
                self.open(joined[2])

    def open(self, sealed: bytes) -> None:
        try:
            opened = self.media.decrypt(sealed)
        except FrameRefused:
            return
        self.figures.opened += 1
        self.player.take(opened.frame)


def send(
    frames: list[MediaFrame], media: MediaSession, receiver: Receiver, weather: Weather
) -> int:
    """Send the recording through the network; return how many frames were sent."""
    target = receiver.socket.getsockname()
    with LossyRelay(target, seed=7, weather=weather) as relay, loopback_socket() as out:
        for number, frame in enumerate(frames):
            sealed = media.encrypt(frame.encode())
            for datagram in cut(0, number, sealed, frame.copies):
                out.sendto(datagram, relay.address)
            if number % 10 == 0:
                time.sleep(0.005)
                receiver.read()
        settle(receiver, weather.longest + 0.2)
    receiver.figures.decoded = receiver.player.play()
    receiver.socket.close()
    return len(frames)


def settle(receiver: Receiver, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        receiver.read()
        time.sleep(0.01)


def test_at_least_99_of_100_delivered_frames_decode_over_a_bad_network(
    recording: list[MediaFrame],
) -> None:
    key = os.urandom(32)
    receiver = Receiver(session(1, key))
    sent = send(recording, session(0, key), receiver, Weather(loss=0.04))
    figures = receiver.figures
    assert sent == SECONDS * 75
    assert sent * 0.9 <= figures.delivered <= sent
    assert figures.opened == figures.delivered
    assert figures.decoded >= figures.delivered * 0.99


def test_over_a_fair_network_every_frame_decodes(recording: list[MediaFrame]) -> None:
    key = os.urandom(32)
    receiver = Receiver(session(1, key))
    sent = send(recording, session(0, key), receiver, FAIR)
    assert receiver.figures == Figures(sent, sent, sent)


def test_an_outsider_with_another_key_opens_and_decodes_nothing(
    recording: list[MediaFrame],
) -> None:
    receiver = Receiver(session(1, os.urandom(32)))
    sent = send(recording, session(0, os.urandom(32)), receiver, FAIR)
    assert receiver.figures == Figures(sent, 0, 0)


def test_the_network_is_really_bad(recording: list[MediaFrame]) -> None:
    with loopback_socket() as sink, loopback_socket() as out:
        got = []
        with LossyRelay(sink.getsockname(), seed=1) as relay:
            for number in range(1000):
                out.sendto(number.to_bytes(2), relay.address)
                if number % 50 == 0:
                    time.sleep(0.002)
            time.sleep(0.2)
            got = drain(sink)
        assert relay.counts["lost"] > 5
        assert relay.counts["doubled"] > 5
        assert len(set(got)) == 1000 - relay.counts["lost"]
        assert got != sorted(got)


def drain(sink: socket.socket) -> list[int]:
    got = []
    while True:
        try:
            got.append(int.from_bytes(sink.recv(64)))
        except BlockingIOError:
            return got


class TestPlayer:
    def test_pictures_after_a_lost_one_wait_for_the_next_key_frame(
        self, recording: list[MediaFrame]
    ) -> None:
        pictures = [frame for frame in recording if frame.kind is Kind.VIDEO]
        assert [frame.key for frame in pictures[:8]] == [True, False, False, False] * 2
        player = Player()
        for frame in (*pictures[0:2], *pictures[3:8]):
            player.take(frame.encode())
        assert player.play() == 6, "number 3 was delivered but refers to number 2"

    def test_ciphertext_makes_no_pictures(self, recording: list[MediaFrame]) -> None:
        player = Player()
        for frame in recording:
            if frame.kind is Kind.VIDEO:
                player.take(replace(frame, data=os.urandom(len(frame.data))).encode())
        assert player.play() == 0

    def test_order_does_not_matter(self, recording: list[MediaFrame]) -> None:
        player, frames = Player(), list(recording)
        random.Random(3).shuffle(frames)
        for frame in frames:
            player.take(frame.encode())
        assert player.play() == len(recording)

    def test_a_recording_goes_on_after_another(self, recording: list[MediaFrame]) -> None:
        player = Player()
        for frame in (*recording, *record(1, start=SECONDS * 1000)):
            player.take(frame.encode())
        assert player.play() == (SECONDS + 1) * 75


class TestDatagrams:
    @given(frame=st.binary(min_size=1, max_size=5 * CHUNK), data=st.data())
    def test_a_frame_joins_from_its_datagrams_in_any_order_once(
        self, frame: bytes, data: st.DataObject
    ) -> None:
        datagrams = data.draw(st.permutations(cut(3, 9, frame, copies=2)))
        joiner = Joiner()
        joined = [found for found in map(joiner.take, datagrams) if found is not None]
        assert joined == [(3, 9, frame)]

    @given(size=st.integers(1, 5 * CHUNK), data=st.data())
    def test_one_of_three_may_be_lost(self, size: int, data: st.DataObject) -> None:
        frame = os.urandom(size)
        datagrams = cut(0, 0, frame)
        chunks = -(-size // CHUNK)
        groups = [
            [index for index in (first, first + 1) if index < chunks] + [chunks + first // 2]
            for first in range(0, chunks, 2)
        ]
        lost = {data.draw(st.sampled_from(group)) for group in groups}
        joiner = Joiner()
        kept = [datagrams[index] for index in range(len(datagrams)) if index not in lost]
        assert (0, 0, frame) in [joiner.take(datagram) for datagram in kept]

    @given(datagrams=st.lists(st.binary(max_size=40), max_size=20))
    def test_noise_is_survived(self, datagrams: list[bytes]) -> None:
        joiner, frame = Joiner(), b"frame"
        for datagram in datagrams:
            joiner.take(datagram)
        assert joiner.take(cut(65535, 2**32 - 1, frame)[0]) == (65535, 2**32 - 1, frame)

    @pytest.mark.parametrize("size", [0, MAX_FRAME + 1])
    def test_frames_of_impossible_size_are_refused(self, size: int) -> None:
        with pytest.raises(ValueError, match="a frame has"):
            cut(0, 0, bytes(size))
