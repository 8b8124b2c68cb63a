"""What the watcher counts: slots of the clock, and a caller's habits."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from kms.audit.leaf import LeafDraft, Outcome, Phase, encode_leaf
from kms.domain.passkeys import Purpose
from kms.usecases.watch.history import HOUR, MINUTE, History, Past, Tally
from tests.fixtures.authenticator import Authenticator
from tests.fixtures.board import ORIGIN, BoardSite, enrol, run_with_board

WHO = ("treasury", "ms-a")


def served(time: str, actor: str = "ms-a", action: str = "envelope.fetch") -> bytes:
    draft = LeafDraft(
        action, actor, "tls:x", "treasury", "spaces/treasury/meetings/m/epochs/0",
        Phase.EVENT, Outcome.SUCCEEDED, details={"epoch": 0, "recipient": "r"},
    )  # fmt: skip
    return encode_leaf(draft, 0, time)


def test_a_slot_begins_anew_with_the_minute_and_the_highest_count_is_told_once() -> None:
    tally = Tally(MINUTE)
    for second in (10, 20, 30):
        tally.add(WHO, f"2027-01-15T08:00:{second}.000000Z")
    tally.add(WHO, "2027-01-15T08:01:00.000000Z")
    assert tally.take() == {WHO: 3}
    assert tally.take() == {}
    tally.add(WHO, "2027-01-15T08:01:59.000000Z")
    assert tally.take() == {WHO: 2}


@given(st.lists(st.integers(0, 600), max_size=200), st.integers(1, 20))
def test_however_often_it_is_asked_no_peak_is_missed(seconds: list[int], every: int) -> None:
    times = [f"2027-01-15T08:{at // 60:02}:{at % 60:02}.000000Z" for at in sorted(seconds)]
    tally, seen = Tally(MINUTE), 0
    for number, time in enumerate(times):
        tally.add(WHO, time)
        if number % every == 0:
            seen = max(seen, tally.take().get(WHO, 0))
    seen = max(seen, tally.take().get(WHO, 0))
    assert seen == max(Counter(time[:MINUTE] for time in times).values(), default=0)


def a_fortnight(per_hour: int, hours: range) -> Past:
    past = Past()
    for day in range(1, 15):
        for hour in hours:
            for _ in range(per_hour):
                past.learn(WHO, f"2027-01-{day:02}T{hour:02}:30:00.000000Z")
    return past


def fetched(past: Past, times: int, hour: int) -> dict[tuple[str, str], int]:
    for _ in range(times):
        past.add(WHO, f"2027-01-15T{hour:02}:15:00.000000Z")
    return past.take()


def test_four_times_as_much_as_ever_at_that_hour_is_unusual() -> None:
    assert fetched(a_fortnight(10, range(8, 18)), 39, 9) == {}
    assert fetched(a_fortnight(10, range(8, 18)), 40, 9) == {WHO: 40}


def test_anything_at_an_hour_without_a_past_is_told_with_its_number() -> None:
    assert fetched(a_fortnight(10, range(8, 18)), 1, 3) == {WHO: 1}


def test_the_hour_beside_a_busy_one_counts_as_its_past() -> None:
    assert fetched(a_fortnight(10, range(8, 18)), 39, 7) == {}


def test_a_new_caller_has_no_habits_for_a_week() -> None:
    past = Past()
    past.learn(WHO, "2027-01-10T08:00:00.000000Z")
    assert fetched(past, 5000, 9) == {}


def test_hours_that_matter_no_longer_are_forgotten() -> None:
    past = a_fortnight(1, range(24))
    for day in range(15, 29):
        for hour in range(24):
            past.add(WHO, f"2027-01-{day:02}T{hour:02}:00:00.000000Z")
            past.take()
    assert len(past.hours[WHO]) <= 16 * 24
    assert min(past.hours[WHO]) >= "2027-01-13"


def test_the_past_is_learned_without_being_told() -> None:
    history = History()
    history.learn(served("2027-01-15T08:00:00.000000Z"))
    assert history.past.hours[WHO]["2027-01-15T08:00:00"[:HOUR]] == 1
    assert history.past.take() == {}
    assert history.bulk.take() == {}


def test_totals_count_what_is_new() -> None:
    history = History()
    mint = LeafDraft(
        "epoch.rotate", "ms-a", "x", "treasury", "y", Phase.RESULT, Outcome.SUCCEEDED,
        intent=0, details={"reason": "leave"},
    )  # fmt: skip
    history.take(encode_leaf(mint, 1, "2027-01-15T08:00:00.000000Z"))
    refused = LeafDraft("access.refused", "eve", "x", "", "y", Phase.EVENT, Outcome.REFUSED)
    history.take(encode_leaf(refused, 2, "2027-01-15T08:00:00.000000Z"))
    assert (history.minted, history.refused) == (Counter({"leave": 1}), 1)
    assert history.refusals.take() == {("", "eve"): 1}


def test_an_approval_passkey_that_was_really_enrolled_is_counted_and_one_to_sign_in_is_not() -> (
    None
):
    async def work(site: BoardSite) -> None:
        history, store = History(), site.services.store
        for purpose in Purpose:
            await enrol(site.services, "wang-security", purpose, Authenticator(ORIGIN))
        for data in store.leaves(0, store.tree_size()):
            history.take(data)
        assert history.vouching.take() == {("", "wang-security"): 1}

    run_with_board(work)
