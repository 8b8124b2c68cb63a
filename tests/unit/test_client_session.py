"""A meeting's media across epochs: who opens what, and when a key is forgotten."""

from dataclasses import replace

import pytest

from kms.client.keys import EpochKey
from kms.client.session import LIVE_EPOCHS, MediaSession, OpenedFrame
from kms.client.sframe import FrameOpener, decode_header
from kms.errors import Conflict, FrameRefused
from tests.practice.issuer import MEETING, NOW, SPACE, Issued, Issuer, device_key

ALICE, BOB, CAROL = (device_key(n) for n in range(3))
ISSUER = Issuer()
IDS = [ISSUER.opener(key).recipient for key in (ALICE, BOB, CAROL)]


class Clock:
    """A fake clock that tests move by hand."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


def opened(issued: Issued, reader: int) -> EpochKey:
    epoch = int(issued.manifest.sub.rpartition("/")[2])
    opener = ISSUER.opener((ALICE, BOB, CAROL)[reader])
    blob = issued.blobs[reader]
    return opener.open(issued.token, blob, space=SPACE, meeting=MEETING, epoch=epoch)


def epoch(number: int, *, nbf: int = NOW, exp: int = NOW + 3600, readers: int = 2) -> Issued:
    return ISSUER.mint([ALICE, BOB, CAROL][:readers], number, nbf=nbf, exp=exp)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def sessions(clock: Clock, issued: Issued, count: int = 2) -> list[MediaSession]:
    return [MediaSession(opened(issued, n), clock=clock) for n in range(count)]


def adopt(issued: Issued, *members: MediaSession) -> None:
    for reader, session in enumerate(members):
        session.adopt(opened(issued, reader))


def test_members_open_each_others_frames_and_learn_the_sender(clock: Clock) -> None:
    alice, bob = sessions(clock, epoch(18))
    sealed = alice.encrypt(b"frame", b"meta")
    assert bob.decrypt(sealed, b"meta") == OpenedFrame(IDS[0], 18, b"frame")
    assert decode_header(sealed).kid == 0b0_0010
    assert decode_header(bob.encrypt(b"")).kid == 0b1_0010


def test_an_outsider_opens_nothing(clock: Clock) -> None:
    alice, _ = sessions(clock, epoch(0))
    outsider, _ = sessions(clock, epoch(0))
    frames = [alice.encrypt(bytes([n])) for n in range(100)]
    assert sum(opens(outsider, frame) for frame in frames) == 0


def opens(session: MediaSession, frame: bytes) -> bool:
    try:
        session.decrypt(frame)
    except FrameRefused:
        return False
    return True


def test_a_next_epoch_is_adopted_ahead_and_sent_in_from_its_start(clock: Clock) -> None:
    alice, bob = sessions(clock, epoch(0))
    adopt(epoch(1, nbf=NOW + 3), alice, bob)
    assert bob.decrypt(alice.encrypt(b"")).epoch == 0
    clock.now += 3
    assert bob.decrypt(alice.encrypt(b"")).epoch == 1


def test_a_device_with_a_slow_clock_opens_frames_of_an_epoch_that_it_has_adopted() -> None:
    slow, quick = Clock(), Clock()
    first, second = epoch(0), epoch(1, nbf=NOW + 3)
    alice = MediaSession(opened(first, 0), clock=quick)
    bob = MediaSession(opened(first, 1), clock=slow)
    adopt(second, alice, bob)
    quick.now += 3
    assert bob.decrypt(alice.encrypt(b"")).epoch == 1


def test_late_frames_of_a_superseded_epoch_open_within_the_grace_and_not_after(
    clock: Clock,
) -> None:
    alice, bob = sessions(clock, epoch(0))
    late = [alice.encrypt(b"1"), alice.encrypt(b"2")]
    adopt(epoch(1, nbf=NOW + 3), alice, bob)
    clock.now += 3 + 4.9
    assert bob.decrypt(late[0]).epoch == 0
    clock.now += 0.2
    with pytest.raises(FrameRefused):
        bob.decrypt(late[1])
    assert bob.epochs == [1]


def test_a_leaver_opens_nothing_of_the_next_epoch_by_any_use_of_its_old_key(clock: Clock) -> None:
    first = epoch(0, readers=3)
    alice, bob, carol = sessions(clock, first, 3)
    assert carol.decrypt(alice.encrypt(b"before")).frame == b"before"
    adopt(epoch(1, readers=2), alice, bob)
    after = alice.encrypt(b"after")
    assert bob.decrypt(after).frame == b"after"
    with pytest.raises(FrameRefused):
        carol.decrypt(after)
    with pytest.raises(FrameRefused):
        FrameOpener(opened(first, 2).base_key, decode_header(after).kid).open(after)


def test_a_leaver_is_not_heard_once_the_grace_is_over(clock: Clock) -> None:
    alice, bob, carol = sessions(clock, epoch(0, readers=3), 3)
    adopt(epoch(1, readers=2), alice, bob)
    clock.now += 5
    with pytest.raises(FrameRefused):
        alice.decrypt(carol.encrypt(b"still here"))


def test_a_cancelled_epoch_is_neither_sent_in_nor_opened(clock: Clock) -> None:
    alice, bob, carol = sessions(clock, epoch(0, readers=3), 3)
    adopt(epoch(1, nbf=NOW + 3, readers=3), alice, bob, carol)
    alice.cancel(1)
    clock.now += 3
    assert decode_header(alice.encrypt(b"")).kid == 0
    with pytest.raises(FrameRefused):
        alice.decrypt(carol.encrypt(b"under the cancelled key"))
    alice.cancel(1)


def test_cancelling_an_epoch_in_force_does_not_bring_the_older_key_back(clock: Clock) -> None:
    alice, bob, _ = sessions(clock, epoch(0, readers=3), 3)
    adopt(epoch(1), alice, bob)
    alice.cancel(1)
    with pytest.raises(FrameRefused, match="no epoch"):
        alice.encrypt(b"not for the leaver")
    adopt(epoch(2), alice, bob)
    assert bob.decrypt(alice.encrypt(b"")).epoch == 2


def test_an_epoch_that_a_later_one_forestalls_counts_as_cancelled(clock: Clock) -> None:
    alice, bob = sessions(clock, epoch(0))
    ahead, at_once = epoch(1, nbf=NOW + 3), epoch(2, nbf=NOW + 1)
    adopt(ahead, alice, bob)
    adopt(at_once, alice, bob)
    assert alice.epochs == [0, 2]
    adopt(ahead, alice, bob)
    assert bob.epochs == [0, 2], "also when its relay comes late"


def test_at_most_eight_epochs_live_and_the_oldest_goes(clock: Clock) -> None:
    (alice,) = sessions(clock, epoch(0), 1)
    for number in range(1, 20):
        adopt(epoch(number), alice)
    assert alice.epochs == list(range(12, 20))
    assert len(alice.epochs) == LIVE_EPOCHS


def test_no_two_live_epochs_share_a_ring_index(clock: Clock) -> None:
    (alice,) = sessions(clock, epoch(0), 1)
    for number in (1, 7, 16, 17, 23):
        adopt(epoch(number), alice)
        assert len({number % 16 for number in alice.epochs}) == len(alice.epochs)


def test_adopting_an_epoch_again_goes_on_with_its_counters(clock: Clock) -> None:
    issued = epoch(0)
    alice, bob = sessions(clock, issued)
    first = decode_header(alice.encrypt(b"1")).ctr
    adopt(issued, alice)
    sealed = alice.encrypt(b"2")
    assert decode_header(sealed).ctr == first + 1
    assert bob.decrypt(sealed).frame == b"2"


def test_a_second_key_for_a_live_epoch_is_refused(clock: Clock) -> None:
    (alice,) = sessions(clock, epoch(0), 1)
    with pytest.raises(Conflict, match="another key"):
        adopt(epoch(0), alice)


def test_a_key_of_another_meeting_is_refused(clock: Clock) -> None:
    (alice,) = sessions(clock, epoch(0), 1)
    meeting = MEETING[:-1] + "c"
    issued = ISSUER.mint([ALICE], 1, meeting=meeting)
    other = ISSUER.opener(ALICE).open(
        issued.token, issued.blobs[0], space=SPACE, meeting=meeting, epoch=1
    )
    with pytest.raises(Conflict, match="another meeting"):
        alice.adopt(other)


def test_nothing_is_sent_before_the_start_or_past_the_maximum_age(clock: Clock) -> None:
    alice, bob = sessions(clock, epoch(0, nbf=NOW + 1, exp=NOW + 10))
    with pytest.raises(FrameRefused, match="no epoch"):
        alice.encrypt(b"too early")
    clock.now = NOW + 9
    late = alice.encrypt(b"in time")
    clock.now = NOW + 10
    with pytest.raises(FrameRefused, match="no epoch"):
        alice.encrypt(b"too late")
    clock.now = NOW + 15
    with pytest.raises(FrameRefused):
        bob.decrypt(late)


def test_a_frame_of_a_sender_who_is_not_in_the_epoch_is_refused(clock: Clock) -> None:
    issued = epoch(0, readers=2)
    alice, _ = sessions(clock, issued)
    key = opened(issued, 1)
    stranger = EpochKey(SPACE, MEETING, 0, key.manifest, 2, {2: IDS[2]}, key.base_key)
    with pytest.raises(FrameRefused):
        alice.decrypt(MediaSession(stranger, clock=clock).encrypt(b"ghost"))


def test_a_reader_without_a_sender_index_cannot_send(clock: Clock) -> None:
    key = opened(epoch(0), 1)
    reader = EpochKey(SPACE, MEETING, 0, key.manifest, None, key.senders, key.base_key)
    with pytest.raises(FrameRefused, match="no epoch"):
        MediaSession(reader, clock=clock).encrypt(b"")


def under_roster(issued: Issued, version: int) -> EpochKey:
    key = opened(issued, 0)
    return replace(key, manifest=replace(key.manifest, roster_version=version))


def test_an_epoch_for_an_older_roster_is_refused_since_a_leaver_would_be_back(clock: Clock) -> None:
    alice = MediaSession(under_roster(epoch(0), 1), clock=clock)
    alice.adopt(under_roster(epoch(2), 3))
    with pytest.raises(Conflict):
        alice.adopt(under_roster(epoch(3), 2))
    alice.adopt(under_roster(epoch(1), 2))
    alice.adopt(under_roster(epoch(3), 3))
    assert alice.epochs == [0, 1, 2, 3]
    with pytest.raises(Conflict):
        MediaSession(under_roster(epoch(5), 3), clock=clock).adopt(under_roster(epoch(4), 4))
