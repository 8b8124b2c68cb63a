"""Leaves: one canonical spelling, and nothing that this version did not write."""

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from kms.audit.leaf import (
    LeafDraft,
    Outcome,
    Phase,
    decode_exact_leaf,
    decode_leaf,
    encode_leaf,
)
from kms.errors import InvalidInput

TIME = "2026-01-05T09:00:00.000000Z"
DRAFT = LeafDraft(
    action="envelope.fetch",
    actor="server:会议",
    auth="tls:x",
    space="treasury",
    resource="spaces/treasury",
    phase=Phase.EVENT,
    outcome=Outcome.SUCCEEDED,
    rows={"space/treasury": 1},
    details={"epoch": 3, "nested": {"b": [1, None, True], "a": "\u2028"}},
)
LEAF = encode_leaf(DRAFT, 7, TIME)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
KEYS = st.text(st.characters(max_codepoint=0x7F))
SAFE = st.integers(-(2**53) + 1, 2**53 - 1)
DETAILS = st.dictionaries(KEYS, TEXT | SAFE | st.none() | st.booleans() | st.lists(TEXT))


@given(DETAILS, st.dictionaries(KEYS, SAFE), TEXT)
def test_a_leaf_is_rfc_8785_and_reads_back(details, rows, actor):
    draft = LeafDraft(
        "a", actor, "b", "c", "d", Phase.RESULT, Outcome.FAILED, "r", 2, rows, details
    )
    data = encode_leaf(draft, 3, TIME)
    leaf = decode_exact_leaf(data)
    assert (leaf.actor, leaf.rows, leaf.details, leaf.intent) == (actor, rows, details, 2)
    told = {name: getattr(leaf, name) for name in leaf.__struct_fields__}
    told |= {"phase": leaf.phase.value, "outcome": leaf.outcome.value}
    assert rfc8785.dumps(told) == data


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"epoch":3', b'"epoch": 3'),
        (b'"epoch":3', b'"epoch":3.0'),
        (b'"epoch":3', b'"epoch":3e0'),
        (b'"epoch":3', b'"epoch":9007199254740992'),
        (b'"epoch":3', b'"epoch":3,"epoch":3'),
        (b'"epoch":3', b'"\xc3\xa9":3'),
        (b'"a":"\xe2\x80\xa8"', b'"a":"\\u2028"'),
        (b'"a":"\xe2\x80\xa8","b":[1,null,true]', b'"b":[1,null,true],"a":"\xe2\x80\xa8"'),
        ("会议".encode(), b"\\u4f1a\\u8bae"),
        (b'"seq":7', b'"seq":7,"extra":1'),
        (b'"v":1', b'"v":1 '),
    ],
)
def test_any_other_spelling_of_a_leaf_is_refused(old, new):
    assert old in LEAF
    with pytest.raises(InvalidInput):
        decode_exact_leaf(LEAF.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"event"', b'"other"'),
        (b'"succeeded"', b'"perhaps"'),
        (b'"seq":7', b'"seq":"7"'),
        (b'"rows":{"space/treasury":1}', b'"rows":{"space/treasury":"1"}'),
        (b'"v":1', b'"w":1'),
        (b"}", b""),
        (b"treasury", b"\xff"),
    ],
)
def test_what_is_no_leaf_is_refused(old, new):
    assert old in LEAF
    with pytest.raises(InvalidInput):
        decode_leaf(LEAF.replace(old, new))


@pytest.mark.parametrize(
    "details", [{"x": 0.5}, {"x": 2**60}, {"é": 1}, {"x": b"y"}, {"x": "\ud800"}]
)
def test_details_without_an_exact_form_never_become_a_leaf(details):
    draft = LeafDraft("a", "", "", "", "", Phase.EVENT, Outcome.SUCCEEDED, details=details)
    with pytest.raises(InvalidInput):
        encode_leaf(draft, 0, TIME)
