"""What any store must do. A store joins by adding its opener to STORES."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kms.audit.leaf import Outcome, Phase, decode_leaf
from kms.audit.merkle import EMPTY_ROOT, leaf_hash, verify_consistency, verify_inclusion
from kms.domain.models import Envelope
from kms.domain.rows import RowKind, SealedRow
from kms.domain.states import KeyState
from kms.errors import Conflict, InvalidInput, StoreUnavailable
from kms.ports import (
    Clock,
    DropEnvelope,
    DropEnvelopes,
    PutCheckpoint,
    PutEnvelopes,
    PutMac,
    PutReply,
    PutRow,
    Store,
    Unit,
)
from kms.store.sqlite import SqliteStore
from tests.fixtures.store import (
    TREASURY,
    TestClock,
    blob,
    draft,
    envelopes,
    epoch,
    meeting,
    meeting_id,
    opening,
    put,
    recipient,
    recipient_id,
    roster,
    sealed,
    space,
)

pytestmark = pytest.mark.anyio

Open = Callable[[Path, Clock], SqliteStore]
STORES: dict[str, Open] = {"sqlite": lambda path, clock: SqliteStore.open(path / "c.db", clock)}
"""Openers: they take a directory of the test's own and give the same store for it each time."""

EPOCH = f"epoch/treasury/{meeting_id()}/0"
MEETING = f"meeting/treasury/{meeting_id()}"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture(params=STORES)
def opener(request: pytest.FixtureRequest) -> Open:
    return STORES[request.param]


@pytest.fixture
async def store(opener: Open, tmp_path: Path, clock: TestClock) -> AsyncIterator[SqliteStore]:
    opened = opener(tmp_path, clock)
    await opened.commit(put((space(), 1)))
    yield opened
    opened.close()


def times(store: Store) -> list[str]:
    return [decode_leaf(one).time for one in store.leaves(0, 1000)]


async def test_it_is_a_store(store: Store) -> None:
    assert store.tree_size() == 1


async def test_a_unit_can_be_read_as_soon_as_it_is_acknowledged(store: Store) -> None:
    assert await store.commit(opening()) == (1,)
    assert store.row(RowKind.MEETING, MEETING) == sealed(meeting())
    assert store.row(RowKind.EPOCH, EPOCH) == sealed(epoch())
    assert store.row(RowKind.ROSTER, f"roster/treasury/{meeting_id()}") == sealed(roster())
    assert store.envelope(TREASURY, meeting_id(), 0, recipient_id(2)) == blob(1, 0, 2)
    assert store.row_version(EPOCH) == 1


async def test_what_is_missing_is_none(store: Store) -> None:
    assert store.row(RowKind.MEETING, MEETING) is None
    assert store.envelope(TREASURY, meeting_id(), 0, recipient_id(1)) is None
    assert store.reply("server:alpha", "key") is None
    assert store.last_checkpoint() is None
    assert store.row_version(MEETING) == 0


@pytest.mark.parametrize(
    "key",
    [
        EPOCH + "0",
        EPOCH[:-1] + "+0",
        EPOCH[:-1] + "٠",
        EPOCH[:-1] + "9" * 30,
        EPOCH + "/0",
        "epoch",
    ],
)
async def test_only_the_exact_key_finds_a_row(store: Store, key: str) -> None:
    await store.commit(opening())
    assert store.row(RowKind.EPOCH, key) is None
    assert store.row(RowKind.MEETING, EPOCH) is None


async def test_the_order_of_changes_within_a_unit_does_not_matter(store: Store) -> None:
    unit = opening()
    await store.commit(Unit(unit.changes[::-1], unit.leaves))
    assert store.row(RowKind.EPOCH, EPOCH) == sealed(epoch())


@pytest.mark.parametrize("version", [0, 1, 3])
async def test_a_version_that_does_not_follow_is_a_conflict(store: Store, version: int) -> None:
    await store.commit(opening())
    with pytest.raises(Conflict):
        await store.commit(put((meeting(), version)))
    assert store.row(RowKind.MEETING, MEETING) == sealed(meeting(), 1)
    assert store.tree_size() == 2


async def test_a_first_version_other_than_one_is_a_conflict(store: Store) -> None:
    with pytest.raises(Conflict):
        await store.commit(put((meeting(), 2)))
    assert store.meetings(TREASURY, "", 10) == []


async def test_versions_follow_each_other(store: Store) -> None:
    await store.commit(opening())
    for version in range(2, 6):
        await store.commit(put((meeting(), version)))
        assert store.row(RowKind.MEETING, MEETING) == sealed(meeting(), version)
        assert store.row_version(MEETING) == version


@pytest.mark.parametrize(
    "change",
    [
        PutRow(sealed(meeting(2), 2)),
        PutRow(sealed(epoch(9))),
        PutEnvelopes(envelopes(9)),
        PutEnvelopes(envelopes()),
        PutReply("server:alpha", "key", "other", 200, b"", 2),
        PutCheckpoint(1, "other"),
    ],
    ids=["version", "no-meeting", "no-epoch", "envelope-twice", "reply-twice", "checkpoint-twice"],
)
async def test_a_conflict_leaves_nothing_of_its_unit(store: Store, change) -> None:
    await store.commit(opening())
    await store.commit(
        Unit((PutReply("server:alpha", "key", "r", 201, b"{}", 1), PutCheckpoint(1, "note")))
    )
    good = put((meeting(3), 1))
    with pytest.raises(Conflict):
        await store.commit(Unit((*good.changes, change), good.leaves))
    assert [one.row.key for one in store.meetings(TREASURY, "", 10)] == [MEETING]
    assert store.tree_size() == 2
    assert store.row_version(f"meeting/treasury/{meeting_id(3)}") == 0


async def test_only_the_culprit_of_a_batch_fails(store: Store) -> None:
    units = [put((meeting(n), 1)) for n in range(1, 40)]
    units[7:7] = [put((meeting(99), 2)), put((epoch(98), 1)), put((meeting(3), 1))]
    results = await asyncio.gather(*(store.commit(unit) for unit in units), return_exceptions=True)
    failed = [place for place, one in enumerate(results) if isinstance(one, Exception)]
    assert failed == [7, 8, 9]
    assert all(isinstance(results[place], Conflict) for place in failed)
    sequences = [one[0] for one in results if not isinstance(one, BaseException)]
    assert sequences == list(range(1, 40))
    assert len(store.meetings(TREASURY, "", 100)) == 39


@pytest.mark.parametrize(
    "change",
    [
        PutReply("a", "b", "\ud800", 200, b"", 1),
        PutReply("a", "b", "c", 2**70, b"", 1),
        PutCheckpoint(2**64, "note"),
    ],
)
async def test_a_value_that_cannot_be_stored_fails_alone(store: Store, change) -> None:
    bad = Unit((change,), (draft(),))
    results = await asyncio.gather(
        store.commit(Unit(leaves=(draft(),))),
        store.commit(bad),
        store.commit(Unit(leaves=(draft(),))),
        return_exceptions=True,
    )
    assert results[0] == (1,)
    assert isinstance(results[1], InvalidInput)
    assert results[2] == (2,)


async def test_a_row_whose_body_is_anothers_is_refused(store: Store) -> None:
    one, other = sealed(meeting(1)), sealed(meeting(2))
    swapped = type(one)(type(one.row)(one.row.kind, one.row.key, 1, other.row.body), one.mac)
    with pytest.raises(InvalidInput):
        await store.commit(Unit((PutRow(swapped),)))


async def test_pages_are_ordered_and_bounded(store: Store) -> None:
    for n in (3, 1, 2, 5, 4):
        await store.commit(opening(n))
    ids = [one.row.key for one in store.meetings(TREASURY, "", 3)]
    assert ids == [f"meeting/treasury/{meeting_id(n)}" for n in (1, 2, 3)]
    rest = store.meetings(TREASURY, meeting_id(3), 10)
    assert [one.row.key for one in rest] == [f"meeting/treasury/{meeting_id(n)}" for n in (4, 5)]
    assert store.meetings(TREASURY, "", -1) == []


async def test_epochs_are_ordered_by_number_not_by_text(store: Store) -> None:
    await store.commit(opening())
    await store.commit(put(*[(epoch(1, n), 1) for n in range(1, 12)]))
    page = store.epochs(TREASURY, meeting_id(), 1, 10)
    assert page == [sealed(epoch(1, n)) for n in range(2, 12)]
    assert len(store.epochs(TREASURY, meeting_id(), -1, 100)) == 12


async def test_spaces_do_not_see_each_other(store: Store) -> None:
    other = type(TREASURY)("brokerage")
    await store.commit(put((space(other), 1), (meeting(1, other), 1), (recipient(1, other), 1)))
    await store.commit(put((recipient(2), 1)))
    assert store.meetings(TREASURY, "", 10) == []
    assert store.recipients(TREASURY) == [sealed(recipient(2))]
    assert store.recipients(other) == [sealed(recipient(1, other))]
    assert store.spaces() == [sealed(space(other)), sealed(space())]


async def test_pending_epochs_are_those_in_pre_activation(store: Store) -> None:
    await store.commit(opening())
    waiting = epoch(1, 1, KeyState.PRE_ACTIVATION)
    await store.commit(put((waiting, 1)))
    assert store.pending_epochs() == [sealed(waiting)]
    await store.commit(put((epoch(1, 1), 2)))
    assert store.pending_epochs() == []


async def test_dropping_deletes_the_envelopes_of_one_epoch_only(store: Store) -> None:
    await store.commit(opening())
    next_one = put((epoch(1, 1), 1))
    await store.commit(Unit((*next_one.changes, PutEnvelopes(envelopes(1, 1))), next_one.leaves))
    await store.commit(Unit((DropEnvelopes(TREASURY, meeting_id(), 0),), (draft(),)))
    assert store.envelope(TREASURY, meeting_id(), 0, recipient_id(1)) is None
    assert store.envelope(TREASURY, meeting_id(), 1, recipient_id(1)) == blob(1, 1, 1)


async def test_dropping_one_envelope_leaves_the_others(store: Store) -> None:
    await store.commit(opening())
    one = DropEnvelope(TREASURY, meeting_id(), 0, recipient_id(1))
    for _ in range(2):  # one that is gone is as good as dropped
        await store.commit(Unit((one,), (draft(),)))
    found = [store.envelope(TREASURY, meeting_id(), 0, recipient_id(n)) for n in range(3)]
    assert found == [blob(1, 0, 0), None, blob(1, 0, 2)]


async def test_a_row_gets_another_mac_and_keeps_everything_else(store: Store) -> None:
    await store.commit(opening())
    for record in (space(), meeting(), roster(), epoch()):
        again = replace(sealed(record), mac=b"\1" * 32)
        await store.commit(Unit((PutMac(again),)))
        assert store.row(again.row.kind, again.row.key) == again


@pytest.mark.parametrize("stale", [sealed(epoch(), 2), sealed(epoch(state=KeyState.DEACTIVATED))])
async def test_only_the_row_as_it_is_stored_gets_another_mac(
    store: Store, stale: SealedRow
) -> None:
    await store.commit(opening())
    with pytest.raises(Conflict):
        await store.commit(Unit((PutMac(stale),)))
    assert store.row(RowKind.EPOCH, EPOCH) == sealed(epoch())


async def test_the_rows_that_the_log_names_are_counted_by_how_they_begin(store: Store) -> None:
    await store.commit(opening())
    await store.commit(put((epoch(1, 1), 1)))
    await store.commit(put((epoch(1, 1), 2)))
    assert store.row_count("epoch/treasury/") == 2
    assert store.row_count("epoch/treasurer/") == 0
    assert store.row_count("") == 5
    assert store.row_spaces(RowKind.EPOCH) == {TREASURY}
    assert store.row_spaces(RowKind.DISK) == set()


async def test_a_unit_of_many_envelopes_is_stored_whole(store: Store) -> None:
    await store.commit(opening(count=300))
    found = [store.envelope(TREASURY, meeting_id(), 0, recipient_id(n)) for n in range(300)]
    assert found == [blob(1, 0, n) for n in range(300)]


async def test_replies_and_checkpoints_are_remembered(store: Store) -> None:
    await store.commit(Unit((PutReply("server:alpha", "key", "digest", 201, b"{}", 9),)))
    await store.commit(Unit((PutCheckpoint(1, "one"), PutCheckpoint(10, "ten"))))
    found = store.reply("server:alpha", "key")
    assert found is not None
    assert (found.request, found.status, found.body) == ("digest", 201, b"{}")
    assert store.reply("server:beta", "key") is None
    assert store.checkpoints(0, 10) == [(1, "one"), (10, "ten")]
    assert store.checkpoints(1, 10) == [(10, "ten")]
    assert store.last_checkpoint() == (10, "ten")


async def test_leaves_lie_in_the_log_as_they_were_numbered(store: Store) -> None:
    sequences = await store.commit(Unit(leaves=(draft("a"), draft("b"))))
    later = await asyncio.gather(*(store.commit(Unit(leaves=(draft(f"c{n}"),))) for n in range(90)))
    assert sequences == (1, 2)
    assert sorted(seq for (seq,) in later) == list(range(3, 93))
    leaves = [decode_leaf(one) for one in store.leaves(1, 200)]
    assert [one.seq for one in leaves] == list(range(1, 93))
    assert [one.action for one in leaves[:2]] == ["a", "b"]
    assert {leaves[seq - 1].action for (seq,) in later} == {f"c{n}" for n in range(90)}
    assert store.leaves(93, 10) == []


async def test_the_tree_is_over_the_leaves_bytes(store: Store) -> None:
    await asyncio.gather(*(store.commit(Unit(leaves=(draft(),))) for _ in range(20)))
    root = store.root(21)
    for seq, body in enumerate(store.leaves(0, 100)):
        verify_inclusion(leaf_hash(body), seq, 21, store.inclusion_proof(seq, 21), root)
    verify_consistency(6, store.root(6), 21, root, store.consistency_proof(6, 21))
    assert store.root(0) == EMPTY_ROOT


async def test_an_intent_is_open_until_its_result(store: Store) -> None:
    (first,) = await store.commit(Unit(leaves=(draft(phase=Phase.INTENT),)))
    (second,) = await store.commit(Unit(leaves=(draft(phase=Phase.INTENT),)))
    assert store.open_intents() == [first, second]
    result = draft(phase=Phase.RESULT, intent=first, outcome=Outcome.FAILED)
    await store.commit(Unit(leaves=(result,)))
    assert store.open_intents() == [second]


async def test_times_in_the_log_never_go_back(store: Store, clock: TestClock) -> None:
    for seconds in (1_800_000_001.5, 1_799_999_000.0, 1_800_000_002.0):
        clock.seconds = seconds
        await store.commit(Unit(leaves=(draft(),)))
    assert times(store)[1:] == [
        "2027-01-15T08:00:01.500000Z",
        "2027-01-15T08:00:01.500000Z",
        "2027-01-15T08:00:02.000000Z",
    ]


async def test_a_listener_hears_of_each_commit_once_it_can_be_read(store: Store) -> None:
    heard: list[tuple[int, int]] = []
    undo = store.subscribe(lambda size: heard.append((size, len(store.leaves(0, 100)))))
    await store.commit(Unit(leaves=(draft(), draft())))
    await store.commit(Unit(leaves=(draft(),)))
    undo()
    await store.commit(Unit(leaves=(draft(),)))
    assert heard == [(3, 3), (4, 4)]


async def test_a_caller_that_gives_up_does_not_disturb_the_others(store: Store) -> None:
    tasks = [asyncio.create_task(store.commit(Unit(leaves=(draft(),)))) for _ in range(10)]
    await asyncio.sleep(0)
    tasks[4].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(one, asyncio.CancelledError) for one in results) == 1
    await store.commit(Unit(leaves=(draft(),)))
    assert store.tree_size() == 12


async def test_everything_is_there_after_it_was_closed_and_opened_again(
    store: SqliteStore, opener: Open, tmp_path: Path, clock: TestClock
) -> None:
    await store.commit(opening())
    await store.commit(put((meeting(), 2)))
    await store.commit(Unit(leaves=(draft(phase=Phase.INTENT),)))
    size, root = store.tree_size(), store.root(store.tree_size())
    store.close()
    clock.seconds -= 3600
    again = opener(tmp_path, clock)
    try:
        assert (again.tree_size(), again.root(size)) == (size, root)
        assert again.row(RowKind.MEETING, MEETING) == sealed(meeting(), 2)
        assert again.row_version(MEETING) == 2
        assert again.open_intents() == [size - 1]
        assert await again.commit(Unit(leaves=(draft(),))) == (size,)
        assert times(again)[-1] == times(again)[0]
    finally:
        again.close()


async def test_units_that_wait_when_it_closes_are_written(
    opener: Open, tmp_path: Path, clock: TestClock
) -> None:
    store = opener(tmp_path, clock)
    tasks = [asyncio.create_task(store.commit(Unit(leaves=(draft(),)))) for _ in range(50)]
    await asyncio.sleep(0)
    store.close()
    assert [await task for task in tasks] == [(n,) for n in range(50)]
    with pytest.raises(StoreUnavailable):
        await store.commit(Unit(leaves=(draft(),)))


async def test_a_second_writer_is_refused(
    store: SqliteStore, opener: Open, tmp_path: Path, clock: TestClock
) -> None:
    with pytest.raises(StoreUnavailable, match="another process"):
        opener(tmp_path, clock)
    await store.commit(Unit(leaves=(draft(),)))


async def test_an_envelope_needs_its_exact_name(store: Store) -> None:
    await store.commit(opening())
    assert store.envelope(TREASURY, meeting_id(2), 0, recipient_id(1)) is None
    assert store.envelope(TREASURY, meeting_id(), 1, recipient_id(1)) is None
    moved = Envelope(TREASURY, meeting_id(), 0, recipient_id(77), b"x")
    await store.commit(Unit((PutEnvelopes((moved,)),)))
    assert store.envelope(TREASURY, meeting_id(), 0, recipient_id(77)) == b"x"


async def test_a_row_and_its_version_agree_at_every_moment(store: Store) -> None:
    await store.commit(opening())
    task = asyncio.create_task(store.commit(put((meeting(), 2))))
    await asyncio.sleep(0)
    deadline, seen = time.monotonic() + 5, 1
    while seen == 1 and time.monotonic() < deadline:  # the loop is held: nothing is published
        row = store.row(RowKind.MEETING, MEETING)
        assert row is not None
        seen = row.row.version
        assert store.row_version(MEETING) == seen
        assert len(store.leaves(0, 10)) == store.tree_size() == 2
    assert not task.done()
    assert seen == 2
    await task
