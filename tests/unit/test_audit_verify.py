"""The offline verifier: an honest log passes, and a bundle that was tampered with does not."""

import json
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.audit.checks import Check, Verdict
from kms.audit.merkle import EMPTY_ROOT
from kms.audit.verify import verify_bundle
from kms.errors import VerificationFailed
from tests.fixtures.evidence import Site, eventful_site, new_key
from tests.fixtures.verdicts import alter, failed, verdicts, verified


@pytest.fixture
def site():
    return eventful_site()


@pytest.fixture
def verify(tmp_path):
    return partial(verified, path=tmp_path)


def test_an_honest_log_passes_every_check(site, verify):
    report = verify(site, earlier=site.notes()[:2])
    assert set(verdicts(report).values()) == {Verdict.PASS}
    assert (report.leaves, report.protected) == (40, 40)
    report.raise_if_failed()


def test_the_report_speaks_chinese_first_and_english_on_request(site, verify):
    report = verify(site)
    chinese, english = report.to_text(), report.to_text("en")
    assert "结论" in chinese
    assert "Conclusion" in english
    for check in Check:
        assert check in chinese
        assert check in english


def test_the_report_is_json_for_programs(site, verify):
    report = verify(site, earlier=site.notes())
    told = json.loads(report.to_json())
    assert (told["verdict"], told["leaves"], told["root"]) == ("pass", 40, report.root)
    assert [check["id"] for check in told["checks"]] == list(Check)
    assert list(Check) == [f"AV-{n:02}" for n in range(1, len(Check) + 1)]


def test_progress_reaches_the_last_leaf(site, tmp_path):
    heard = []
    path = site.write(tmp_path / "e")
    verify_bundle(path, site.root_key.public_key(), (), lambda *told: heard.append(told))
    assert heard == [(40, 40)]


def test_without_an_earlier_checkpoint_the_report_says_what_cannot_be_ruled_out(site, verify):
    report = verify(site)
    assert report.verdict is Verdict.FINDING
    assert verdicts(report)[Check.EARLIER] is Verdict.FINDING
    report.raise_if_failed()


def test_leaves_behind_the_last_checkpoint_are_counted_as_a_finding(site, verify):
    site.start()
    report = verify(site, earlier=site.notes())
    assert verdicts(report)[Check.TAIL] is Verdict.FINDING
    assert (report.leaves, report.protected) == (41, 40)


def test_an_edited_leaf_is_found(site, verify):
    leaves = site.leaves()
    leaves[8] = leaves[8].replace(b"server:meet-1", b"server:meet-9")
    report = verify(site, leaves=leaves)
    assert Check.TREE in failed(report)
    with pytest.raises(VerificationFailed, match="AV-07"):
        report.raise_if_failed()


def test_a_leaf_deleted_in_the_middle_is_found(site, verify):
    leaves = site.leaves()
    del leaves[5]
    assert {Check.LEAVES, Check.TREE} <= failed(verify(site, leaves=leaves))


def test_two_leaves_swapped_are_found(site, verify):
    leaves = site.leaves()
    leaves[5], leaves[6] = leaves[6], leaves[5]
    assert {Check.LEAVES, Check.TREE} <= failed(verify(site, leaves=leaves))


def test_a_cut_tail_is_found_by_the_bundles_own_checkpoints(site, verify):
    assert failed(verify(site, leaves=site.leaves()[:-3])) >= {Check.TREE}


def test_a_tail_cut_together_with_its_checkpoint_is_found_given_an_earlier_one(site, verify):
    kept = site.notes()
    site.checkpoint_sizes.pop()
    leaves = site.leaves()[: site.checkpoint_sizes[-1]]
    site.manifests.popitem()
    notes = site.notes(leaves)
    assert Check.EARLIER in failed(verify(site, earlier=kept, leaves=leaves, notes=notes))


def test_a_full_recomputation_is_found_given_an_earlier_checkpoint(site, verify):
    kept = site.notes()[:1]
    alter(site, 9, actor="server:meet-9")
    report = verify(site, earlier=kept)
    assert failed(report) == {Check.EARLIER}


def test_a_full_recomputation_with_another_checkpoint_key_is_found(site, verify):
    listed = site.key_list()
    site.checkpoint_key = new_key()
    site.key_list = lambda: listed
    alter(site, 9, actor="server:meet-9")
    assert {Check.SIGNATURES, Check.TREE} <= failed(verify(site))


def test_a_whole_site_made_anew_is_found_by_the_pinned_root(site, verify):
    report = verify(site, root=new_key())
    assert {Check.KEY_LIST, Check.SIGNATURES, Check.TREE, Check.MANIFESTS} <= failed(report)


def test_checkpoints_of_another_site_vouch_for_nothing(site, verify):
    other = Site("branch.bank.example")
    other.checkpoint_key, other.checkpoint_sizes = site.checkpoint_key, site.checkpoint_sizes
    notes = other.notes(site.leaves())
    assert {Check.SIGNATURES, Check.TREE} <= failed(verify(site, notes=notes))


def test_a_forged_earlier_checkpoint_fails(site, verify):
    forged = site.notes()[0].replace("\n12\n", "\n13\n")
    assert failed(verify(site, earlier=[forged])) == {Check.EARLIER}


def test_an_earlier_checkpoint_of_another_tree_fails(site, verify):
    assert failed(verify(site, earlier=[site.note(5, EMPTY_ROOT)])) == {Check.EARLIER}


def test_a_log_without_checkpoints_fails(site, verify):
    site.checkpoint_sizes.clear()
    assert failed(verify(site)) == {Check.TREE}


def test_a_checkpoint_row_may_not_lie_about_its_size(site, verify):
    notes = site.notes()
    notes[0], notes[1] = notes[1], notes[0]
    assert Check.SIGNATURES in failed(verify(site, notes=notes))


def test_a_file_that_is_no_bundle_fails_and_nothing_counts_as_passed(site, tmp_path):
    (tmp_path / "e").write_bytes(b"not a bundle")
    report = verify_bundle(tmp_path / "e", site.root_key.public_key())
    assert verdicts(report).pop(Check.FORM) is Verdict.FAIL
    assert Verdict.PASS not in verdicts(report).values()
    assert report.verdict is Verdict.FAIL
    assert "未完成" in report.to_text()


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """A site and the bytes of its bundle."""
    site = eventful_site()
    return site, site.write(tmp_path_factory.mktemp("honest") / "e").read_bytes()


@given(st.data())
def test_no_damage_to_the_file_makes_the_verifier_itself_fail(honest, data):
    site, whole = honest
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 20))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "e"
        path.write_bytes(damaged[: data.draw(st.integers(0, len(whole)))])
        assert verify_bundle(path, site.root_key.public_key()).to_text()


LONE = {"server:meet-1": "\\ud800", "service.start": "\\udfff", '"rows":{}': '"rows":{"\\ud800":1}'}


@pytest.mark.parametrize("old", LONE)
def test_lone_surrogates_in_a_leaf_are_found(site, verify, old):
    leaves = [leaf.replace(old.encode(), LONE[old].encode()) for leaf in site.leaves()]
    assert Check.LEAVES in failed(verify(site, leaves=leaves, notes=site.notes(leaves)))


def test_a_forged_leaf_cannot_write_the_report_itself(site, verify):
    forged = "x\x1b[8m\nConclusion: everything holds."
    draft = next(draft for draft in site.drafts if draft.rows)
    draft.rows[forged] = 7
    text = verify(site).to_text("en")
    assert "\x1b" not in text
    assert "everything holds" not in text.splitlines()[-1]
    assert not any(line.startswith("Conclusion: everything") for line in text.splitlines())
