"""What the verifier holds against leaves, intents and results, rosters, rows and access."""

from functools import partial

import pytest

from kms.audit.checks import Check, Verdict
from kms.audit.leaf import Outcome
from kms.domain.models import RotationReason
from tests.fixtures.evidence import eventful_site, named
from tests.fixtures.verdicts import (
    SPACE,
    alter,
    failed,
    find,
    retell,
    sealed,
    seqs,
    small_site,
    verdicts,
    verified,
)


@pytest.fixture
def site():
    return eventful_site()


@pytest.fixture
def verify(tmp_path):
    return partial(verified, path=tmp_path)


def test_a_leaf_in_another_spelling_is_found(site, verify):
    leaves = site.leaves()
    leaves[3] = leaves[3].replace(b'"v":1', b'"v": 1')
    report = verify(site, leaves=leaves, notes=site.notes(leaves))
    assert Check.LEAVES in failed(report)
    assert seqs(report, Check.LEAVES) == [3]


def test_a_leaf_of_another_version_is_found(site, verify):
    leaves = site.leaves()
    leaves[3] = leaves[3].replace(b'"v":1', b'"v":2')
    assert Check.LEAVES in failed(verify(site, leaves=leaves, notes=site.notes(leaves)))


@pytest.mark.parametrize(
    "change",
    [
        {"action": "envelope.steal"},
        {"phase": "intent", "outcome": "pending"},
        {"outcome": "pending"},
        {"outcome": "interrupted"},
        {"outcome": "failed", "rows": {"space/x": 1}},
        {"intent": 1},
        {"space": "treasury"},
        {"space": ""},
        {"resource": "spaces/investment-banking/meetings/x/epochs/0"},
        {"details": {"epoch": 1, "recipient": named("ann")}},
        {"details": {"epoch": 0}},
        {"details": {"epoch": 0, "recipient": named("ann"), "extra": 1}},
        {"details": {"epoch": "0", "recipient": named("ann")}},
    ],
    ids=str,
)
def test_a_leaf_that_says_what_no_leaf_says_fails(site, verify, change):
    seq = find(site, "envelope.relay")
    kinds = {"phase": type(site.drafts[0].phase), "outcome": Outcome}
    alter(site, seq, **{name: kinds.get(name, lambda x: x)(v) for name, v in change.items()})
    report = verify(site)
    assert failed(report) == {Check.ACTIONS}
    assert seqs(report, Check.ACTIONS) == [seq]


def test_time_that_goes_back_is_found(site, verify):
    site.times[9] = site.times[7]
    report = verify(site)
    assert failed(report) == {Check.TIMES}
    assert seqs(report, Check.TIMES) == [9]


@pytest.mark.parametrize("time", [b"2026-02-30T09:00:00.000000Z", b"2026-01-05 09:00:00.000000Z"])
def test_what_is_no_time_is_found(site, verify, time):
    leaves = site.leaves()
    start = leaves[0].index(b'"time":"') + 8
    leaves[0] = leaves[0][:start] + time + leaves[0][start + 27 :]
    assert failed(verify(site, leaves=leaves, notes=site.notes(leaves))) == {Check.TIMES}


def test_an_intent_without_a_result_is_a_finding(verify):
    site, room = small_site()
    intent = site.intent(room)
    report = verify(sealed(site), earlier=site.notes())
    assert report.verdict is Verdict.FINDING
    assert seqs(report, Check.PAIRS) == [intent]


def test_an_interrupted_operation_is_a_finding_and_its_number_is_free(verify):
    site, room = small_site()
    site.result(room, site.intent(room), Outcome.INTERRUPTED)
    site.rotate(room)
    report = verify(sealed(site), earlier=site.notes())
    assert report.verdict is Verdict.FINDING
    assert verdicts(report)[Check.PAIRS] is Verdict.FINDING


def test_a_failed_operation_passes(verify):
    site, room = small_site()
    site.result(room, site.intent(room), Outcome.FAILED)
    site.rotate(room)
    assert verify(sealed(site), earlier=site.notes()).verdict is Verdict.PASS


def test_two_results_of_one_intent_fail(verify):
    site, room = small_site()
    intent = site.intent(room)
    site.result(room, intent, Outcome.FAILED)
    site.result(room, intent, Outcome.FAILED)
    assert failed(verify(sealed(site))) == {Check.PAIRS}


def test_a_result_without_an_intent_fails(verify):
    site, room = small_site()
    site.result(room, 0, Outcome.FAILED)
    assert failed(verify(sealed(site))) == {Check.PAIRS}


@pytest.mark.parametrize(
    "change", [{"actor": "server:x"}, {"auth": "x"}, {"request": "x"}], ids=str
)
def test_a_result_of_another_operation_than_its_intent_fails(site, verify, change):
    alter(site, find(site, "epoch.rotate"), **change)
    assert failed(verify(site)) == {Check.PAIRS}


@pytest.mark.parametrize(
    "change", [{"left": []}, {"joined": ["x"]}, {"reason": "suspicion"}], ids=str
)
def test_a_roster_change_that_is_told_differently_is_found(site, verify, change):
    retell(site, find(site, "roster.change"), **change)
    assert Check.ROSTERS in failed(verify(site))


def test_a_reader_who_comes_without_a_change_of_roster_is_found(verify):
    site, room = small_site()
    room.roster = (*room.roster, named("ghost"))
    site.rotate(room, RotationReason.SUSPICION)
    assert failed(verify(sealed(site))) == {Check.ROSTERS}


def test_a_roster_version_left_out_is_found(verify):
    site, room = small_site()
    room.roster_version = 2
    site.change(room, "ann")
    assert failed(verify(sealed(site))) == {Check.ROSTERS}


def test_a_roster_row_changed_without_a_new_epoch_is_found(site, verify):
    alter(site, find(site, "service.start"), rows={f"roster/{SPACE}/x": 1})
    assert failed(verify(site)) == {Check.ROWS}


@pytest.mark.parametrize("step", [0, 2, -1])
def test_a_row_version_replayed_or_left_out_is_found(site, verify, step):
    seq = find(site, "roster.change")
    rows = dict(site.drafts[seq].rows)
    key = next(key for key in rows if key.startswith("meeting/"))
    rows[key] += step - 1
    alter(site, seq, rows=rows)
    report = verify(site)
    assert failed(report) == {Check.ROWS}
    assert seqs(report, Check.ROWS)[0] == seq


def test_an_operation_that_hides_a_row_is_found(site, verify):
    seq = find(site, "epoch.activate")
    rows = dict(site.drafts[seq].rows)
    rows.popitem()
    alter(site, seq, rows=rows)
    assert Check.ROWS in failed(verify(site))


def test_a_fetch_that_changes_rows_is_found(site, verify):
    alter(site, find(site, "envelope.relay"), rows={"space/x": 1})
    assert failed(verify(site)) == {Check.ROWS}


@pytest.mark.parametrize(
    ("person", "epoch"), [("ghost", 0), ("vault investment-banking", 0), ("escrow", 0), ("ann", 9)]
)
def test_an_envelope_for_someone_whom_the_manifest_does_not_name_is_found(verify, person, epoch):
    site, room = small_site()
    site.fetch(room, person, epoch)
    assert failed(verify(sealed(site))) == {Check.ACCESS}


def test_an_envelope_for_someone_who_had_left_is_found(verify):
    site, room = small_site()
    site.change(room, "ann")
    site.fetch(room, "bob", 0)
    assert failed(verify(sealed(site))) == {Check.ACCESS}


def test_who_joins_does_not_get_the_epochs_before(verify):
    site, room = small_site()
    site.change(room, "ann", "bob", "cho")
    site.fetch(room, "cho", 0)
    assert failed(verify(sealed(site))) == {Check.ACCESS}


def test_an_envelope_of_a_cancelled_epoch_is_found(verify):
    site, room = small_site()
    site.rotate(room)
    site.change(room, "ann")
    site.fetch(room, "ann", 1)
    assert failed(verify(sealed(site))) == {Check.ACCESS}


def test_an_envelope_of_a_destroyed_meeting_is_found(verify):
    site, room = small_site()
    site.close(room)
    site.destroy(room)
    site.fetch(room, "ann", 0)
    assert failed(verify(sealed(site))) == {Check.ACCESS}


def test_a_server_that_fetches_in_a_roster_space_is_found(verify):
    site, room = small_site()
    site.fetch(room, "ann")
    alter(site, find(site, "envelope.relay"), action="envelope.fetch")
    assert failed(verify(sealed(site))) == {Check.ACCESS}


def test_many_problems_are_counted_and_the_first_twenty_told(verify):
    site, room = small_site()
    for _ in range(30):
        site.fetch(room, "ghost")
    report = verify(sealed(site))
    (result,) = [result for result in report.results if result.check is Check.ACCESS]
    assert (result.found, len(result.problems)) == (30, 20)
    assert "另有 10 处" in report.to_text()
