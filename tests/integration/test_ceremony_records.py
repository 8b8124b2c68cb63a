"""The store in a ceremony's hands, on a practice site: real tokens seal and check its rows."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from kms.audit.leaf import Outcome, Phase, decode_leaf
from kms.bootstrap.clock import SystemClock
from kms.bootstrap.records import StoreRecords
from kms.ceremonies.plan import parse_plan
from kms.ceremonies.ports import Entry
from kms.ceremonies.room import Brief
from kms.domain.approvals import RequestState
from kms.domain.ids import SpaceName
from kms.domain.models import Envelope, ReleaseClass
from kms.domain.rows import RowKind
from kms.domain.states import KeyState, MeetingState
from kms.errors import ConclaveError, IntegrityFailure, NotFound
from kms.practice.ceremony import brief_of
from kms.settings import load
from kms.store.sqlite import SqliteStore
from tests.fixtures.enrolled import bare
from tests.fixtures.softhsm import SoftHsm
from tests.fixtures.store import (
    blob,
    epoch,
    grant,
    hold,
    meeting,
    meeting_id,
    policy,
    recipient_id,
    request,
    roster,
    share,
    site_policy,
)

TREASURY, BANKING = SpaceName("treasury"), SpaceName("investment-banking")
MEETINGS, EPOCHS = 3, 2
_OTHER = dict(zip(ReleaseClass, reversed(ReleaseClass), strict=True))


class Desk:
    """A store, opened as a ceremony does, and what it holds of ``Records``."""

    def __init__(self, softhsm: SoftHsm, brief: Brief) -> None:
        self.path = softhsm.site.state / "conclave.db"
        self.store = SqliteStore.open(self.path, SystemClock())
        self.records = StoreRecords(self.store, cache(softhsm.officer), brief)

    def close(self) -> None:
        self.records.close()
        self.store.close()


@pytest.fixture
def brief(softhsm: SoftHsm) -> Brief:
    site = softhsm.site
    (path,) = site.plans.glob("*-create-treasury.toml")
    text = path.read_text().replace('id = "create-treasury"', 'id = "another-run"')
    return brief_of(load(site.config), parse_plan(text.encode()))


@pytest.fixture
def desk(softhsm: SoftHsm, brief: Brief) -> Iterator[Desk]:
    with closing(Desk(softhsm, brief)) as opened:
        yield opened


def opening(number: int) -> Entry:
    """A meeting with its epochs and three envelopes each."""
    epochs = tuple(epoch(number, n) for n in range(EPOCHS))
    envelopes = tuple(
        Envelope(TREASURY, meeting_id(number), n, recipient_id(i), blob(number, n, i))
        for n in range(EPOCHS)
        for i in range(3)
    )
    records = (meeting(number), roster(number), *epochs)
    told = {"ceremony": "another-run", "number": number}
    return Entry("escrow.drill", "", f"meetings/{number}", told, records, envelopes)


@pytest.fixture
def filled(desk: Desk) -> Desk:
    for number in range(1, MEETINGS + 1):
        desk.records.write(opening(number))
    return desk


@pytest.fixture
def governed(filled: Desk) -> Desk:
    """A store with a row of every kind, the site's own among them."""
    told = {"ceremony": "another-run"}
    own = (policy(), grant(1), hold(1), hold(2, lifted=7), share(1), bare())
    asked = tuple(request(n, state) for n, state in enumerate(RequestState, 1))
    filled.records.write(Entry("escrow.drill", TREASURY, "treasury", told, (*own, *asked)))
    ours = (site_policy(), request(9, space=""), request(8, RequestState.EXECUTED, ""))
    filled.records.write(Entry("escrow.drill", "", "site", told, ours))
    return filled


def test_what_is_written_is_read_back_checked_by_the_space_s_token(filled: Desk) -> None:
    records = filled.records
    assert [one.space for one in records.spaces()] == ["investment-banking", "treasury"]
    assert {one.name for one in records.recipients(TREASURY)} == {
        *("vault", "escrow", "ms-a", "ms-b"),
    }
    assert list(records.meetings(TREASURY)) == [meeting(n) for n in range(1, MEETINGS + 1)]
    wanted = [epoch(number, n) for number in range(1, MEETINGS + 1) for n in range(EPOCHS)]
    assert list(records.epochs(TREASURY)) == wanted
    assert records.epoch(TREASURY, meeting_id(2), 1) == epoch(2, 1)
    assert records.envelope(TREASURY, meeting_id(1), 1, recipient_id(2)) == blob(1, 1, 2)
    with pytest.raises(NotFound):
        records.epoch(TREASURY, meeting_id(2), 7)


def test_a_write_is_a_leaf_in_the_ceremonys_name(desk: Desk, brief: Brief) -> None:
    seq = desk.records.write(opening(1))
    leaf = decode_leaf(desk.store.leaves(seq, 1)[0])
    assert (leaf.actor, leaf.auth) == ("ceremony/another-run", f"plan:{brief.plan.digest}")
    assert (leaf.phase, leaf.outcome) == (Phase.EVENT, Outcome.SUCCEEDED)
    assert set(leaf.rows.values()) == {1}
    assert len(leaf.rows) == 2 + EPOCHS


def test_what_was_written_before_a_crash_is_not_written_again(
    softhsm: SoftHsm, brief: Brief
) -> None:
    with closing(Desk(softhsm, brief)) as first:
        seq = first.records.write(opening(1))
        assert first.records.write(opening(1)) == seq
        size = first.store.tree_size()
    with closing(Desk(softhsm, brief)) as second:
        assert second.records.write(opening(1)) == seq
        assert second.store.tree_size() == size


def test_a_record_is_stored_as_its_next_version_and_an_envelope_dropped(filled: Desk) -> None:
    changed = replace(epoch(1, 0), addenda=("a.b.c",))
    gone = (TREASURY, meeting_id(1), 0, recipient_id(0))
    told = {"ceremony": "another-run"}
    filled.records.write(
        Entry("escrow.drill", "", "meetings/1", told, records=(changed,), dropped=(gone,))
    )
    assert filled.records.epoch(TREASURY, meeting_id(1), 0) == changed
    assert filled.store.row_version(f"epoch/treasury/{meeting_id(1)}/0") == 2
    assert filled.records.envelope(*gone) is None
    assert filled.records.envelope(*gone[:3], recipient_id(1)) == blob(1, 0, 1)


def test_what_is_destroyed_is_passed_over(filled: Desk) -> None:
    ended = replace(meeting(3), state=MeetingState.DESTROYED)
    epochs = tuple(replace(epoch(3, n), state=KeyState.DESTROYED) for n in range(EPOCHS))
    told = {"ceremony": "another-run"}
    filled.records.write(Entry("escrow.drill", "", "meetings/3", told, (ended, *epochs)))
    assert [one.meeting for one in filled.records.meetings(TREASURY)] == [
        meeting_id(1),
        meeting_id(2),
    ]
    assert len(list(filled.records.epochs(TREASURY))) == 2 * EPOCHS


EPOCH = f"meeting = '{meeting_id(2)}' AND epoch = 1"
TAMPERING = {
    "altered": "UPDATE epoch SET body = "
    f"CAST(replace(CAST(body AS TEXT), 'a.b.c', 'x.y.z') AS BLOB) WHERE {EPOCH}",
    "resealed by a stranger": f"UPDATE epoch SET mac = zeroblob(32) WHERE {EPOCH}",
    "of another version": f"UPDATE epoch SET version = 2 WHERE {EPOCH}",
    "gone": f"DELETE FROM epoch WHERE {EPOCH}",
    "gone with its meeting": f"DELETE FROM meeting WHERE meeting = '{meeting_id(2)}'",
}


def tamper(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(sql)
        connection.commit()


@pytest.mark.parametrize("sql", TAMPERING.values(), ids=TAMPERING)
def test_whatever_was_done_to_an_epochs_row_is_found(filled: Desk, sql: str) -> None:
    tamper(filled.path, sql)
    with pytest.raises(IntegrityFailure):
        list(filled.records.epochs(TREASURY))


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM recipient WHERE recipient = (SELECT min(recipient) FROM recipient)",
        "UPDATE recipient SET mac = zeroblob(32)",
        "UPDATE space SET mac = zeroblob(32)",
        "DELETE FROM space WHERE space = 'investment-banking'",
    ],
)
def test_whatever_was_done_to_spaces_and_recipients_is_found(filled: Desk, sql: str) -> None:
    tamper(filled.path, sql)
    with pytest.raises(IntegrityFailure):
        [filled.records.recipients(one.space) for one in filled.records.spaces()]


def test_without_tokens_the_epochs_of_a_meeting_are_read_as_they_lie_there(filled: Desk) -> None:
    tamper(filled.path, "UPDATE epoch SET mac = zeroblob(32)")
    found = list(filled.records.unverified_epochs(TREASURY, meeting_id(2)))
    assert found == [epoch(2, n) for n in range(EPOCHS)]


def test_a_space_s_row_is_held_against_the_log_whatever_the_token_sealed(desk: Desk) -> None:
    (record,) = (one for one in desk.records.spaces() if one.space == TREASURY)
    desk.records.check_space(replace(record, sealed=7))
    for changed in (
        replace(record, release_class=_OTHER[record.release_class], sealed=7),
        replace(record, token="space-other", sealed=7),
        replace(record, retired=7, sealed=7),
        replace(record, destroyed=7, sealed=7),
        replace(record, space=SpaceName("unheard-of"), sealed=7),
    ):
        with pytest.raises(IntegrityFailure):
            desk.records.check_space(changed)
    told = {"ceremony": "another-run"}
    retired = replace(record, retired=7)
    desk.records.write(Entry("space.retire", TREASURY, f"spaces/{TREASURY}", told, (retired,)))
    desk.records.check_space(retired)
    with pytest.raises(IntegrityFailure):
        desk.records.check_space(record)


def test_holds_and_policy_of_a_space_are_read_checked(governed: Desk) -> None:
    records = governed.records
    assert records.holds(TREASURY) == (hold(1), hold(2, lifted=7))
    assert records.policy(TREASURY) == policy()
    assert (records.holds(BANKING), records.policy(BANKING)) == ((), None)


@pytest.mark.parametrize(
    "sql",
    ["DELETE FROM hold", "UPDATE hold SET mac = zeroblob(32)", "UPDATE hold SET version = 2"],
)
def test_a_hold_that_somebody_removed_or_altered_is_missed(governed: Desk, sql: str) -> None:
    tamper(governed.path, sql)
    with pytest.raises(IntegrityFailure):
        governed.records.holds(TREASURY)


def test_disks_of_a_space_are_read_checked_and_missed(governed: Desk) -> None:
    assert governed.records.disks(TREASURY) == (bare(),)
    assert governed.records.disks(SpaceName("investment-banking")) == ()
    tamper(governed.path, "DELETE FROM disk")
    with pytest.raises(IntegrityFailure):
        governed.records.disks(TREASURY)


def test_a_policy_that_somebody_removed_is_missed(governed: Desk) -> None:
    tamper(governed.path, "DELETE FROM policy")
    with pytest.raises(IntegrityFailure):
        governed.records.policy(TREASURY)


def test_rows_that_lost_their_seals_are_sealed_anew_and_no_leaf_is_written(governed: Desk) -> None:
    for kind in RowKind:
        tamper(governed.path, f'UPDATE "{kind}" SET mac = zeroblob(32)')
    size, rows = governed.store.tree_size(), governed.store.row_count("")
    for _ in range(2):  # it bears being repeated
        assert governed.records.reseal_rows() == rows
    assert governed.store.tree_size() == size
    assert len(list(governed.records.epochs(TREASURY))) == MEETINGS * EPOCHS
    assert len(governed.records.spaces()) == 2
    for kind in RowKind:
        (lost,) = _rows(governed, f'SELECT count(*) FROM "{kind}" WHERE mac = zeroblob(32)')
        assert lost == (0,), kind


def _rows(desk: Desk, sql: str) -> list[tuple[int]]:
    with closing(sqlite3.connect(desk.path)) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.parametrize("kind", RowKind)
def test_nothing_is_sealed_anew_in_silence_where_a_row_is_gone(
    governed: Desk, kind: RowKind
) -> None:
    tamper(governed.path, f'DELETE FROM "{kind}" WHERE rowid = (SELECT max(rowid) FROM "{kind}")')
    with pytest.raises(IntegrityFailure):
        governed.records.reseal_rows()


def test_a_row_that_the_log_does_not_name_is_not_sealed(filled: Desk) -> None:
    tamper(filled.path, TAMPERING["of another version"])
    with pytest.raises(IntegrityFailure):
        filled.records.reseal_rows()


def test_the_head_is_signed_once(filled: Desk) -> None:
    assert filled.records.head()[0] == filled.store.tree_size()
    before = filled.store.last_checkpoint()
    filled.records.sign_head()
    signed = filled.store.last_checkpoint()
    assert signed != before
    assert signed is not None
    assert signed[0] == filled.store.tree_size() == filled.records.check_head()
    filled.records.sign_head()
    assert filled.store.last_checkpoint() == signed


def test_a_log_that_was_rolled_back_is_refused(softhsm: SoftHsm, brief: Brief) -> None:
    path = softhsm.site.state / "conclave.db"
    older = path.with_name("older")
    shutil.copy(path, older)
    with closing(Desk(softhsm, brief)) as desk:
        desk.records.write(opening(1))
        desk.records.sign_head()
    shutil.copy(older, path)
    with closing(Desk(softhsm, brief)) as desk:
        for act in (desk.records.check_head, lambda: _write_and_sign(desk)):
            with pytest.raises(IntegrityFailure):
                act()


def _write_and_sign(desk: Desk) -> None:
    for number in (1, 2):
        desk.records.write(opening(number))
    desk.records.sign_head()


def test_a_run_that_died_is_told_of_as_interrupted(softhsm: SoftHsm, brief: Brief) -> None:
    with closing(Desk(softhsm, brief)) as first:
        died = first.records.intent({"ceremony": "another-run"})
    with closing(Desk(softhsm, brief)) as second:
        intent = second.records.intent({"ceremony": "another-run"})
        assert second.store.open_intents() == [intent]
        second.records.result(intent, Outcome.SUCCEEDED, {"ceremony": "another-run"})
        leaves = [decode_leaf(one) for one in second.store.leaves(died, 9)]
        assert second.store.open_intents() == []
    assert [(one.outcome, one.intent) for one in leaves] == [
        (Outcome.PENDING, None),
        (Outcome.INTERRUPTED, died),
        (Outcome.PENDING, None),
        (Outcome.SUCCEEDED, intent),
    ]


def test_what_cannot_be_stored_leaves_no_leaf(desk: Desk) -> None:
    size = desk.store.tree_size()
    told = {"ceremony": "another-run"}
    orphan = Entry("escrow.drill", "", "meetings/9", told, (epoch(9),))
    with pytest.raises(ConclaveError):
        desk.records.write(orphan)
    assert desk.store.tree_size() == size
    desk.records.write(replace(orphan, records=(meeting(9), epoch(9))))
    assert desk.store.tree_size() == size + 1


def test_thousands_of_epochs_are_read_and_written_in_seconds(desk: Desk) -> None:
    count = 2000
    records = [one for n in range(count) for one in (meeting(n), epoch(n))]
    begun = time.monotonic()
    told = {"ceremony": "another-run"}
    desk.records.write(Entry("escrow.drill", "", "all", told, tuple(records)))
    assert sum(1 for _ in desk.records.epochs(TREASURY)) == count
    assert time.monotonic() - begun < 10
