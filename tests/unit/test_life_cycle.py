"""Keys through their states, legal holds and retention, over a FAKE HSM."""

import asyncio
from dataclasses import replace

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from kms.audit.leaf import Outcome
from kms.domain.models import RotationReason
from kms.domain.rows import RowKind
from kms.domain.states import IN_USE, SERVED, TRANSITIONS, KeyState, MeetingState
from kms.errors import (
    ConclaveError,
    Forbidden,
    HsmUnavailable,
    IntegrityFailure,
    InvalidInput,
    NotFound,
    OnHold,
    Retained,
    StateNotAllowed,
)
from kms.usecases.events import follow
from kms.usecases.lifecycle.compromise import compromise_all
from kms.usecases.lifecycle.holds import check_no_hold, list_holds, lock_of_holds, place
from tests.fixtures.api import ALPHA, BETA, TREASURY, FakeSite, run_with_site
from tests.fixtures.lifecycle import OFFICER, Room, by, in_a_room, opened

K = KeyState


# --- suspension ----------------------------------------------------------------------------------


def test_a_suspended_key_is_not_served_until_it_is_resumed() -> None:
    async def work(room: Room) -> None:
        blob = await room.fetch()
        await room.suspend()
        with pytest.raises(StateNotAllowed, match="suspended"):
            await room.fetch()
        await room.resume(0)
        assert await room.fetch() == blob
        (leaf,) = room.leaves("epoch.suspend")
        assert leaf.details == {"epoch": 0, "reason": "a doubt"}
        assert list(leaf.rows) == [f"epoch/{TREASURY}/{room.meeting}/0"]

    run_with_site(in_a_room(work))


def test_only_the_present_key_is_suspended_and_only_with_a_reason() -> None:
    async def work(room: Room) -> None:
        await room.rotate()
        with pytest.raises(StateNotAllowed, match="present"):
            await room.suspend(0)
        with pytest.raises(NotFound):
            await room.suspend(7)
        await room.suspend(1)
        with pytest.raises(StateNotAllowed):
            await room.suspend(1)
        with pytest.raises(StateNotAllowed, match="present"):
            await room.resume(0)

    run_with_site(in_a_room(work))


def test_a_suspended_key_ends_with_the_next_one_and_stays_out_of_use() -> None:
    async def work(room: Room) -> None:
        await room.suspend()
        await room.rotate()
        assert await room.state(0) is K.DEACTIVATED
        with pytest.raises(StateNotAllowed):
            await room.resume(0)

    run_with_site(in_a_room(work))


def test_a_key_published_ahead_becomes_active_though_the_present_one_is_suspended() -> None:
    async def work(room: Room) -> None:
        await room.rotate(RotationReason.MANUAL)
        await room.suspend(0)
        await room.activate()
        assert (await room.record()).current_epoch == 1
        assert [await room.state(number) for number in (0, 1)] == [K.DEACTIVATED, K.ACTIVE]

    run_with_site(in_a_room(work))


# --- compromise ----------------------------------------------------------------------------------


def test_a_compromise_says_who_had_the_key_and_replaces_it_at_once() -> None:
    async def work(room: Room) -> None:
        await room.fetch()
        await room.fetch()
        found = await room.compromise()
        assert (found.rotated, await room.state(0)) == (1, K.COMPROMISED)
        (cascade,) = found.cascades
        assert (cascade.was, cascade.ends) == (K.ACTIVE, 0)
        assert set(cascade.readers) == {ALPHA, BETA}
        (fetched,) = cascade.fetched
        assert (fetched.actor, fetched.recipient, fetched.count) == ("server:alpha", ALPHA, 2)
        (leaf,) = room.leaves("epoch.compromise")
        assert leaf.details == {
            "epoch": 0,
            "reason": "a laptop is lost",
            "was": "active",
            "readers": list(cascade.readers),
            "served": 2,
        }
        assert room.leaves("epoch.rotate")[-1].details["reason"] == "compromise"
        with pytest.raises(StateNotAllowed, match="compromised"):
            await room.fetch(0)

    run_with_site(in_a_room(work))


def test_the_mark_stands_though_the_replacement_fails_and_the_error_says_so() -> None:
    async def work(room: Room) -> None:
        room.fail_mints()
        with pytest.raises(HsmUnavailable, match=r"marked compromised .* the fake is down"):
            await room.compromise()
        assert await room.state(0) is K.COMPROMISED
        with pytest.raises(StateNotAllowed):
            await room.fetch()
        assert [leaf.outcome for leaf in room.leaves("epoch.rotate")][-1] is Outcome.FAILED

    run_with_site(in_a_room(work))


def test_a_published_key_that_is_compromised_never_becomes_active() -> None:
    async def work(room: Room) -> None:
        await room.rotate(RotationReason.MANUAL)
        found = await room.compromise(1)
        assert (found.cascades[0].was, found.rotated) == (K.PRE_ACTIVATION, 2)
        record = await room.record()
        assert (record.current_epoch, record.next_epoch) == (2, None)
        await room.activate()
        assert await room.state(1) is K.COMPROMISED
        (leaf,) = room.leaves("epoch.compromise")
        assert leaf.rows.keys() == {
            f"epoch/{TREASURY}/{room.meeting}/1",
            f"meeting/{TREASURY}/{room.meeting}",
        }

    run_with_site(in_a_room(work))


def test_a_key_that_is_over_is_marked_without_a_rotation() -> None:
    async def work(room: Room) -> None:
        await room.rotate()
        found = await room.compromise(0)
        assert found.rotated is None
        assert found.cascades[0].ends > 0
        with pytest.raises(StateNotAllowed):
            await room.compromise(0)

    run_with_site(in_a_room(work))


def test_every_key_of_a_meeting_is_marked_at_once() -> None:
    async def work(room: Room) -> None:
        await room.rotate()
        await room.compromise(0)
        await room.rotate(RotationReason.MANUAL)
        call = by("meeting.compromise")
        found = await compromise_all(room.site.services, call, TREASURY, room.meeting, "a raid")
        assert [one.epoch for one in found.cascades] == [1, 2]
        assert found.rotated == 3
        assert [await room.state(number) for number in range(4)] == [*[K.COMPROMISED] * 3, K.ACTIVE]
        assert len(room.leaves("epoch.compromise")) == 3
        await room.close()
        await compromise_all(room.site.services, call, TREASURY, room.meeting, "again")
        with pytest.raises(StateNotAllowed):
            await compromise_all(room.site.services, call, TREASURY, room.meeting, "once more")

    run_with_site(in_a_room(work))


# --- the end -------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", sorted(IN_USE))
def test_closing_ends_a_key_in_use_and_tells_when(state: KeyState) -> None:
    async def work(room: Room) -> None:
        if state is K.SUSPENDED:
            await room.suspend()
        closed = await room.close()
        assert closed.closed == room.site.services.seconds()
        assert await room.state(0) is K.DEACTIVATED

    run_with_site(in_a_room(work))


def test_closing_leaves_a_compromised_key_as_it_is() -> None:
    async def work(room: Room) -> None:
        room.fail_mints()
        with pytest.raises(HsmUnavailable):
            await room.compromise()
        await room.close()
        assert await room.state(0) is K.COMPROMISED
        (leaf,) = room.leaves("meeting.close")
        assert list(leaf.rows) == [f"meeting/{TREASURY}/{room.meeting}"]

    run_with_site(in_a_room(work))


def test_what_is_destroyed_has_no_envelope_left() -> None:
    async def work(room: Room) -> None:
        await room.rotate()
        await room.destroy_epoch(0)
        assert (room.envelopes(0), await room.state(0)) == (0, K.DESTROYED)
        assert room.envelopes(1) > 0
        await room.close()
        await room.destroy()
        assert (room.envelopes(1), await room.state(1)) == (0, K.DESTROYED)
        assert (await room.record()).state is MeetingState.DESTROYED
        assert room.leaves("meeting.destroy")[0].details["epochs"] == 1

    run_with_site(in_a_room(work))


def test_a_key_that_may_be_used_is_not_destroyed() -> None:
    async def work(room: Room) -> None:
        await room.rotate(RotationReason.MANUAL)
        for number in (0, 1):
            with pytest.raises(StateNotAllowed):
                await room.destroy_epoch(number)
        await room.suspend(0)
        with pytest.raises(StateNotAllowed):
            await room.destroy_epoch(0)
        with pytest.raises(StateNotAllowed, match="only a closed one"):
            await room.destroy()

    run_with_site(in_a_room(work))


def test_a_compromised_key_without_a_successor_is_not_destroyed() -> None:
    async def work(room: Room) -> None:
        room.fail_mints()
        with pytest.raises(HsmUnavailable):
            await room.compromise()
        with pytest.raises(StateNotAllowed, match="no longer the present one"):
            await room.destroy_epoch(0)

    run_with_site(in_a_room(work))


# --- holds and retention -------------------------------------------------------------------------


@pytest.mark.parametrize("whole_space", [False, True])
def test_a_hold_forbids_destruction_until_it_is_lifted(whole_space: bool) -> None:
    async def work(room: Room) -> None:
        services = room.site.services
        meeting = "" if whole_space else room.meeting
        hold = await place(services, by("hold.place"), TREASURY, meeting, "a lawsuit")
        await room.rotate()
        await room.close()
        for destroy in (room.destroy, lambda: room.destroy_epoch(0)):
            with pytest.raises(OnHold, match="a lawsuit"):
                await destroy()
        await room.lift(hold.hold)
        with pytest.raises(StateNotAllowed):
            await room.lift(hold.hold)
        await room.destroy()
        (kept,) = await list_holds(services, by("hold.list"), TREASURY)
        assert kept == replace(hold, lifted=services.seconds())
        (leaf,) = room.leaves("hold.place")
        assert leaf.details == {"hold": hold.hold, "meeting": meeting, "reason": "a lawsuit"}

    run_with_site(in_a_room(work))


def test_a_hold_of_one_meeting_leaves_others_alone() -> None:
    async def work(site: FakeSite) -> None:
        held, other = await opened(site), await opened(site)
        await place(site.services, by("hold.place"), TREASURY, held.meeting, "a lawsuit")
        await check_no_hold(site.services, TREASURY, other.meeting)
        missing = other.meeting[:-4] + "0000"
        with pytest.raises(NotFound):
            await place(site.services, by("hold.place"), TREASURY, missing, "a lawsuit")
        with pytest.raises(InvalidInput):
            await place(site.services, by("hold.place"), TREASURY, "", "  ")
        with pytest.raises(NotFound):
            await held.lift("unknown")

    run_with_site(work)


def test_a_hold_that_vanished_from_the_disk_still_forbids() -> None:
    async def work(room: Room) -> None:
        await place(room.site.services, by("hold.place"), TREASURY, "", "a lawsuit")
        await room.close()
        room.site.store._database.writer.execute("DELETE FROM hold")
        with pytest.raises(IntegrityFailure):
            await room.destroy()

    run_with_site(in_a_room(work))


def test_retention_counts_from_the_end_and_is_told_with_its_date() -> None:
    async def work(site: FakeSite) -> None:
        rotation = msgspec.structs.replace(site.services.settings.rotation, retention_seconds=3600)
        keeping = msgspec.structs.replace(site.services.settings, rotation=rotation)
        room = await opened(replace(site, services=replace(site.services, settings=keeping)))
        await room.rotate()
        with pytest.raises(Retained, match=r"until 2027-01-15T09:00:00Z"):
            await room.destroy_epoch(0)
        room.pass_time(1800)
        await room.close()
        room.pass_time(3599)
        for destroy in (room.destroy, lambda: room.destroy_epoch(0)):
            with pytest.raises(Retained, match=r"until 2027-01-15T09:30:00Z"):
                await destroy()
        room.pass_time(1)
        await room.destroy()

    run_with_site(work)


def test_a_key_of_an_open_meeting_is_kept_from_when_the_next_one_came() -> None:
    async def work(site: FakeSite) -> None:
        rotation = msgspec.structs.replace(site.services.settings.rotation, retention_seconds=600)
        keeping = msgspec.structs.replace(site.services.settings, rotation=rotation)
        room = await opened(replace(site, services=replace(site.services, settings=keeping)))
        room.pass_time(1000)
        await room.rotate()
        room.pass_time(599)
        with pytest.raises(Retained):
            await room.destroy_epoch(0)
        room.pass_time(1)
        await room.destroy_epoch(0)

    run_with_site(work)


def test_a_hold_is_placed_after_a_destruction_that_has_begun() -> None:
    async def work(room: Room) -> None:
        services = room.site.services
        async with services.locks.of(lock_of_holds(TREASURY)):
            wish = asyncio.ensure_future(
                place(services, by("hold.place"), TREASURY, "", "a lawsuit")
            )
            await asyncio.sleep(0.05)
            assert not wish.done()
        await wish

    run_with_site(in_a_room(work))


# --- the table of transitions, held against any course of events ---------------------------------

EVENTS = ("rotate", "publish", "activate", "suspend", "resume", "compromise", "destroy", "close")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 5)), max_size=25))
def test_no_course_of_events_leaves_the_table(events: list[tuple[str, int]]) -> None:
    """What is allowed changes states by the table alone; what is refused changes nothing."""

    async def work(room: Room) -> None:
        states = {0: K.ACTIVE}
        for event, number in events:
            size, refused = room.site.store.tree_size(), False
            try:
                await happen(room, event, number)
            except (StateNotAllowed, NotFound, Forbidden):
                refused = True
            before, states = states, await now(room)
            for epoch, state in states.items():
                old = before.get(epoch)
                assert old in {None, state} or state in TRANSITIONS[old or state]
            assert not refused or (before == states and room.site.store.tree_size() == size)
            await check(room, states)

    run_with_site(in_a_room(work))


async def happen(room: Room, event: str, number: int) -> None:
    match event:
        case "rotate":
            await room.rotate()
        case "publish":
            await room.rotate(RotationReason.MANUAL)
        case "activate":
            await room.activate()
        case "suspend":
            await room.suspend(number)
        case "resume":
            await room.resume(number)
        case "compromise":
            await room.compromise(number)
        case "destroy":
            await room.destroy_epoch(number)
        case "close":
            await room.close()


async def now(room: Room) -> dict[int, KeyState]:
    rows = room.site.store.epochs(TREASURY, room.meeting, -1, 1000)
    return {int(row.row.key.rpartition("/")[2]): await room.state(number)
            for number, row in enumerate(rows)}  # fmt: skip


async def check(room: Room, states: dict[int, KeyState]) -> None:
    """What holds at every moment: one key in use, and envelopes exactly where a key still is."""
    record = await room.record()
    in_use = {number for number, state in states.items() if state in IN_USE}
    assert in_use <= {record.current_epoch}
    assert bool(in_use) is (record.state is MeetingState.OPEN)
    for number, state in states.items():
        assert bool(room.envelopes(number)) is (state is not K.DESTROYED)
        assert room.site.store.row_version(f"{RowKind.EPOCH}/{TREASURY}/{room.meeting}/{number}")
        try:
            await room.fetch(number)
            assert state in SERVED
        except ConclaveError:
            assert state not in SERVED


# --- what subscribers hear -----------------------------------------------------------------------


def test_subscribers_hear_of_every_state_and_which_key_must_not_be_used() -> None:
    async def work(room: Room) -> None:
        await room.suspend()
        await room.resume(0)
        await room.compromise()
        await room.destroy_epoch(0)
        heard = []
        async for event in follow(room.site.services, OFFICER, -1):
            heard.append((event.kind, event.epoch, event.state, event.cancelled))
            if event.kind == "epoch.destroy":
                break
        assert heard == [
            ("meeting.open", 0, "active", None),
            ("epoch.suspend", 0, "suspended", None),
            ("epoch.resume", 0, "active", None),
            ("epoch.compromise", 0, "compromised", 0),
            ("epoch.rotate", 1, "active", None),
            ("epoch.destroy", 0, "destroyed", None),
        ]

    run_with_site(in_a_room(work))
