"""Leaves on their way into the log, and the log read back at start."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from kms.audit.leaf import Phase, encode_leaf
from kms.audit.merkle import MerkleTree, leaf_hash
from kms.errors import IntegrityFailure, InvalidInput
from kms.store.log import form_leaf, leaf_time, load
from kms.store.versions import Versions
from tests.fixtures.store import draft

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
TRICKY = st.sampled_from([',"seq":0,"space":', '","time":"","v":1}', "\\", '"', "\u2028", "会议"])
VALUES = st.recursive(
    TEXT | TRICKY | st.integers(-(2**53) + 1, 2**53 - 1) | st.none() | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["seq", "space", "time", "v", "rows"]), inner)
    ),
    max_leaves=8,
)
TIME = "2027-01-15T08:00:00.250000Z"


@given(
    space=TEXT | TRICKY,
    resource=TEXT | TRICKY,
    details=st.dictionaries(st.sampled_from(["a", "seq", "space", "time"]), VALUES),
    seq=st.integers(0, 2**40),
)
def test_a_placed_form_is_the_leaf_that_the_log_defines(space, resource, details, seq) -> None:
    one = draft(space=space, resource=resource, details=details, rows={"k/1": 3})
    assert form_leaf(one).place(seq, TIME.encode()) == encode_leaf(one, seq, TIME)


@pytest.mark.parametrize("bad", [1.5, 2**53, "\ud800", b"x", {"é": 1}, {1: 2}])
def test_a_draft_without_canonical_form_is_refused_before_it_waits(bad: object) -> None:
    with pytest.raises(InvalidInput):
        form_leaf(draft(details={"a": bad}))


def test_times_have_microseconds_even_when_they_are_zero() -> None:
    assert leaf_time(1_800_000_000_250_000) == TIME.encode()
    assert leaf_time(1_800_000_000_000_000) == b"2027-01-15T08:00:00.000000Z"


def log() -> list[bytes]:
    drafts = [
        draft(rows={"a": 1, "b": 1}),
        draft(phase=Phase.INTENT),
        draft(phase=Phase.INTENT),
        draft(phase=Phase.RESULT, intent=1, rows={"a": 2}),
    ]
    return [encode_leaf(one, seq, TIME) for seq, one in enumerate(drafts)]


def test_reading_the_log_gives_tree_row_versions_open_intents_and_time() -> None:
    tree, facts, micros = load(log())
    assert tree.root(4) == MerkleTree(map(leaf_hash, log())).root(4)
    assert [facts.versions.of(key) for key in "abc"] == [2, 1, 0]
    assert facts.intents == {2}
    assert facts.size == 4
    assert micros == 1_800_000_000_250_000


@pytest.mark.parametrize(
    "damage",
    [
        lambda leaves: leaves[1:],
        lambda leaves: [leaves[0], leaves[2], leaves[1], leaves[3]],
        lambda leaves: [*leaves[:3], leaves[3].replace(b",", b", ", 1)],
        lambda leaves: [*leaves[:3], leaves[3].replace(b'"v":1', b'"v":1,"w":1')],
        lambda leaves: [*leaves[:3], b"{}"],
        lambda leaves: [*leaves[:3], b""],
        lambda leaves: [*leaves[:3], leaves[3].replace(b"2027", b"2026")],
        lambda leaves: [*leaves[:3], leaves[3].replace(b"2027-01-15", b"2027-99-15")],
        lambda leaves: [*leaves[:3], b"\xff" + leaves[3]],
    ],
    ids=[
        "start-missing",
        "swapped",
        "spaced",
        "extra-field",
        "empty-object",
        "empty",
        "back-in-time",
        "no-time",
        "no-utf8",
    ],
)
def test_a_log_that_the_service_did_not_write_is_refused(damage) -> None:
    with pytest.raises(IntegrityFailure):
        load(damage(log()))


@given(st.dictionaries(st.from_regex(r"(a|b)/(x/)?[yz]{1,3}", fullmatch=True), st.integers(1, 9)))
def test_rows_are_counted_by_kind_and_space(rows: dict[str, int]) -> None:
    versions = Versions()
    for key, version in rows.items():
        versions.learn({key: version})
        versions.learn({key: version})
    for prefix in ("", "a/", "b/", "a/x/", "b/x/", "c/"):
        assert versions.count(prefix) == sum(key.startswith(prefix) for key in rows)
    assert versions.spaces("a") == ({"x"} if any(key.startswith("a/x/") for key in rows) else set())
