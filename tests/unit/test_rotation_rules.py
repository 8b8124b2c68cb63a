"""When the next epoch is due: examples, and what holds for all policies and times."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import URGENT, Epoch, RotationReason
from kms.domain.policies import RotationRules, check_rotation
from kms.domain.states import IN_USE, KeyState
from kms.usecases.rotation.rules import MARGIN, lifetime, next_due, quiet_end

NOON = 1_800_014_400  # 2027-01-15T12:00:00Z
HOUR, DAY = 3600, 86_400
HOURLY = RotationRules(interval_seconds=HOUR, maximum_age_seconds=DAY)
MEETING = MeetingId("01930000-0000-7000-8000-000000000001")


def epoch(activates: int = NOON, retires: int = NOON + DAY, **changes: object) -> Epoch:
    made = Epoch(
        SpaceName("treasury"), MEETING, 3, KeyState.ACTIVE, RotationReason.TIME,
        activates, retires, 1, "a.b.c",
    )  # fmt: skip
    return replace(made, **changes)


def due_at(rules: RotationRules, present: Epoch, uses: int = 0, now: int = NOON) -> int:
    due = next_due(rules, present, None, uses, now)
    assert due is not None
    return due.at


# --- examples ------------------------------------------------------------------------------------


def test_an_interval_ends_so_long_after_the_epoch_began_spread_over_a_minute_at_most() -> None:
    due = next_due(HOURLY, epoch(), None, 0, NOON)
    assert due is not None
    assert due.reason is RotationReason.TIME
    assert NOON + HOUR - 2 - 50 <= due.at <= NOON + HOUR - 2


def test_meetings_that_began_together_are_not_due_together() -> None:
    ids = [MeetingId(f"01930000-0000-7000-8000-{n:012x}") for n in range(500)]
    moments = [due_at(HOURLY, epoch(meeting=one)) for one in ids]
    assert max(moments.count(one) for one in set(moments)) < 30
    assert moments == [due_at(HOURLY, epoch(meeting=one)) for one in ids]


def test_without_an_interval_only_the_maximum_age_counts() -> None:
    rules = replace(HOURLY, interval_seconds=0)
    assert NOON + DAY - MARGIN - 2 - 50 <= due_at(rules, epoch()) <= NOON + DAY - MARGIN - 2


def test_an_interval_that_ends_in_quiet_hours_waits_for_their_end() -> None:
    quiet = replace(HOURLY, quiet_from=12 * 60 + 30, quiet_until=14 * 60)
    assert NOON + 2 * HOUR - 2 <= due_at(quiet, epoch()) <= NOON + 2 * HOUR - 2 + 50


def test_what_was_missed_before_quiet_hours_waits_for_their_end_too() -> None:
    quiet = replace(HOURLY, quiet_from=13 * 60 + 30, quiet_until=15 * 60)
    late = due_at(quiet, epoch(), now=NOON + HOUR + 40 * 60)
    assert NOON + 3 * HOUR - 2 <= late <= NOON + 3 * HOUR - 2 + 50


def test_the_maximum_age_holds_in_quiet_hours() -> None:
    quiet = replace(HOURLY, quiet_from=1, quiet_until=0)
    assert due_at(quiet, epoch()) < NOON + DAY


def test_a_shorter_age_of_the_present_epoch_counts_though_the_policy_has_changed() -> None:
    assert due_at(HOURLY, epoch(retires=NOON + 600)) < NOON + 600


def test_so_many_uses_are_enough_at_once() -> None:
    rules = replace(HOURLY, maximum_uses=5, quiet_from=1, quiet_until=0)
    assert due_at(rules, epoch(), 4, NOON + 9) > NOON + 9
    due = next_due(rules, epoch(), None, 5, NOON + 9)
    assert due is not None
    assert (due.at, due.reason) == (NOON + 9, RotationReason.USES)


@pytest.mark.parametrize("state", [KeyState.COMPROMISED, KeyState.DESTROYED])
def test_a_compromised_epoch_is_replaced_at_once_though_another_is_published(
    state: KeyState,
) -> None:
    quiet = replace(HOURLY, quiet_from=1, quiet_until=0)
    published = epoch(activates=NOON + 1, state=KeyState.PRE_ACTIVATION)
    due = next_due(quiet, epoch(state=state), published, 0, NOON)
    assert due is not None
    assert due.at <= NOON
    assert due.reason is RotationReason.COMPROMISE


def test_a_suspended_epoch_waits_for_people() -> None:
    rules = replace(HOURLY, maximum_uses=1)
    assert next_due(rules, epoch(state=KeyState.SUSPENDED), None, 9, NOON + 2 * DAY) is None


def test_nothing_is_due_while_the_next_epoch_waits_for_its_start() -> None:
    rules = replace(HOURLY, maximum_uses=1)
    soon = epoch(activates=NOON + 2, state=KeyState.PRE_ACTIVATION)
    assert next_due(rules, epoch(), soon, 9, NOON) is None
    late = epoch(activates=NOON + 2 * HOUR, state=KeyState.PRE_ACTIVATION)
    assert next_due(rules, epoch(), late, 0, NOON) == next_due(HOURLY, epoch(), None, 0, NOON)


def test_a_join_waits_for_the_present_epochs_age() -> None:
    rules = replace(HOURLY, join_age_seconds=600)
    assert lifetime(rules, RotationReason.JOIN, epoch(), NOON + 10)[0] == NOON + 600
    assert lifetime(rules, RotationReason.JOIN, epoch(), NOON + 900)[0] == NOON + 902
    assert lifetime(rules, RotationReason.LEAVE, epoch(), NOON + 10)[0] == NOON + 10
    assert lifetime(rules, RotationReason.TIME, epoch(), NOON + 10)[0] == NOON + 12


def test_a_join_does_not_wait_for_an_epoch_that_is_not_in_use() -> None:
    rules = replace(HOURLY, join_age_seconds=600)
    bad = epoch(state=KeyState.COMPROMISED)
    assert lifetime(rules, RotationReason.JOIN, bad, NOON + 10)[0] == NOON + 11


# --- what always holds ---------------------------------------------------------------------------

TIMES = st.integers(NOON, NOON + 3 * DAY)
MINUTES = st.integers(0, 1439)
STATES = st.sampled_from(sorted(KeyState))


@st.composite
def policies(make: st.DrawFn) -> RotationRules:
    age = make(st.integers(60, 3 * DAY))
    rules = RotationRules(
        interval_seconds=make(st.integers(0, age)),
        maximum_age_seconds=age,
        join_age_seconds=make(st.integers(0, age - 1)),
        maximum_uses=make(st.integers(0, 3)),
        quiet_from=make(MINUTES),
        quiet_until=make(MINUTES),
        publish_ahead_seconds=make(st.integers(1, 60)),
    )
    check_rotation(rules)
    return rules


@st.composite
def presents(make: st.DrawFn) -> Epoch:
    activates = make(TIMES)
    number = make(st.integers(1, 500))
    return epoch(
        activates=activates,
        retires=activates + make(st.integers(60, 3 * DAY)),
        meeting=MeetingId(f"01930000-0000-7000-8000-{number:012x}"),
        state=make(STATES),
    )


def quiet(rules: RotationRules, when: int) -> bool:
    """The plainest form: is the minute in the list of quiet minutes?"""
    minute, minutes = rules.quiet_from, []
    while minute != rules.quiet_until:
        minutes.append(minute)
        minute = (minute + 1) % 1440
    return when % DAY // 60 in minutes


@given(rules=policies(), when=TIMES)
def test_quiet_hours_end_at_the_first_minute_that_is_not_quiet(
    rules: RotationRules, when: int
) -> None:
    end = quiet_end(rules, when)
    assert not quiet(rules, end)
    if end != when:
        assert end % 60 == 0
        assert all(quiet(rules, moment) for moment in {when, end - 1, (when + end) // 2})


@given(rules=policies(), present=presents(), uses=st.integers(0, 4), now=TIMES)
def test_the_next_epoch_starts_before_the_present_one_ends(
    rules: RotationRules, present: Epoch, uses: int, now: int
) -> None:
    if present.state is KeyState.SUSPENDED:
        return
    due = next_due(rules, present, None, uses, now)
    assert due is not None
    minted = max(due.at, now)
    starts, ends = lifetime(rules, due.reason, present, minted)
    assert starts <= max(present.retires, minted + 1)
    assert ends - starts == rules.maximum_age_seconds
    assert (starts == minted) == (due.reason in URGENT)


@given(rules=policies(), present=presents(), now=TIMES)
def test_an_interval_never_starts_an_epoch_in_quiet_hours(
    rules: RotationRules, present: Epoch, now: int
) -> None:
    present = replace(present, state=KeyState.ACTIVE)
    without = replace(rules, maximum_uses=0)
    due = next_due(without, present, None, 0, now)
    only_age = next_due(replace(without, interval_seconds=0), present, None, 0, now)
    assert due is not None
    assert only_age is not None
    assert due.at <= only_age.at
    if due.at < only_age.at:
        starts = max(due.at, now) + rules.publish_ahead_seconds
        assert not quiet(rules, starts)
        assert due.at >= present.activates


@given(
    rules=policies(),
    present=presents(),
    uses=st.integers(0, 4),
    now=TIMES,
    later=st.one_of(st.integers(0, 200), st.integers(0, DAY)),
)
def test_time_that_passes_never_brings_a_rotation_forward(
    rules: RotationRules, present: Epoch, uses: int, now: int, later: int
) -> None:
    first = next_due(rules, present, None, uses, now)
    second = next_due(rules, present, None, uses, now + later)
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert max(first.at, now) <= max(second.at, now + later)


@given(rules=policies(), present=presents(), uses=st.integers(0, 4), now=TIMES)
def test_what_is_due_later_is_due_then(
    rules: RotationRules, present: Epoch, uses: int, now: int
) -> None:
    due = next_due(rules, present, None, uses, now)
    if due is not None and due.at > now:
        then = next_due(rules, present, None, uses, due.at)
        assert then is not None
        assert then.at <= due.at


@given(rules=policies(), present=presents(), now=TIMES, more=st.integers(0, 10))
def test_more_uses_never_put_a_rotation_off(
    rules: RotationRules, present: Epoch, now: int, more: int
) -> None:
    few, many = (next_due(rules, present, None, uses, now) for uses in (0, more))
    if few is not None:
        assert many is not None
        assert max(many.at, now) <= max(few.at, now)


@given(
    rules=policies(),
    present=presents(),
    reason=st.sampled_from(sorted(RotationReason)),
    now=TIMES,
)
def test_only_what_is_urgent_starts_at_once(
    rules: RotationRules, present: Epoch, reason: RotationReason, now: int
) -> None:
    starts, _ = lifetime(rules, reason, present, now)
    assert (starts == now) == (reason in URGENT)
    if reason not in URGENT and present.state in IN_USE:
        assert starts <= max(present.retires, now + 1)
