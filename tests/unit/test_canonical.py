"""canonical() against the rfc8785 package, and everything that it must refuse."""

import itertools
import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from kms.domain.models import Recipient, RecipientKind
from kms.domain.rows import Row, RowKind
from kms.errors import InvalidInput
from kms.statements.canonical import (
    b64u,
    canonical,
    decode_record,
    digest,
    encode_record,
    make_row,
    read_row,
    unb64u,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "canonical.json").read_text())
SAFE = 2**53 - 1
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
KEYS = st.text(st.characters(max_codepoint=0x7F))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-SAFE, SAFE) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
    max_leaves=30,
)


@given(VALUES)
def test_it_equals_an_independent_rfc_8785_encoder(value):
    assert canonical(value) == rfc8785.dumps(value)


AWKWARD = [*map(chr, range(0x20)), *'\x7f\x80\u2028\u2029\ufeff/"\\<\U0001f512\uffff']


@pytest.mark.parametrize("char", AWKWARD, ids=lambda char: f"U+{ord(char):04X}")
def test_awkward_characters_are_written_as_rfc_8785_wants(char):
    value = {"k" + char if char.isascii() else "k": [char, char * 3]}
    assert canonical(value) == rfc8785.dumps(value)
    assert json.loads(canonical(value)) == value


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_published_vectors(vector):
    assert canonical(vector["value"]) == vector["canonical"].encode()
    assert digest(canonical(vector["value"])) == vector["sha256"]


def test_tuples_are_arrays():
    assert canonical({"a": (1, (True, None))}) == b'{"a":[1,[true,null]]}'


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        math.nan,
        math.inf,
        SAFE + 1,
        -SAFE - 1,
        2**70,
        b"bytes",
        {1: "a"},
        {"é": 1},
        {None: 1},
        {"a", "b"},
        object(),
        [1, [2, [3.5]]],
        {"deep": {"deeper": 2**53}},
        "\ud800",
        ["a\udfffb"],
        {"k": "\udc00"},
        RowKind.EPOCH,
    ],
    ids=itertools.count(),
)
def test_what_has_no_exact_form_is_refused(value):
    with pytest.raises(InvalidInput):
        canonical(value)


@dataclass(frozen=True)
class Note:
    name: str
    count: int
    tags: tuple[str, ...]


@given(st.builds(Note, TEXT, st.integers(-SAFE, SAFE), st.lists(TEXT).map(tuple)))
def test_a_record_comes_back_as_it_was(note):
    assert decode_record(encode_record(note), Note) == note


@pytest.mark.parametrize(
    "data",
    [
        b'{"name":"a","count":1,"tags":[]}',
        b'{"count":1,"name":"a","tags":[] }',
        b'{"count":1,"name":"a","tags":[]}\n',
        b'{"count":1,"count":1,"name":"a","tags":[]}',
        b'{"count":1,"extra":0,"name":"a","tags":[]}',
        b'{"count":1.0,"name":"a","tags":[]}',
        b'{"count":"1","name":"a","tags":[]}',
        b'{"count":1,"name":"\\u0061","tags":[]}',
        b'{"count":1,"name":"a"}',
        b'{"count":9007199254740992,"name":"a","tags":[]}',
        b"\xff",
        b'{"count":1,"name":"\xff","tags":[]}',
        b'{"count":1,"name":"a","other":' + b"[" * 100_000 + b"]" * 100_000 + b',"tags":[]}',
        b"",
    ],
    ids=lambda data: repr(data[:40]),
)
def test_any_other_spelling_of_a_record_is_refused(data):
    with pytest.raises(InvalidInput):
        decode_record(data, Note)


def test_a_rows_body_must_belong_to_its_key():
    record = Recipient("treasury", "r" * 43, RecipientKind.SERVER, "meet", 1, "", "", 0)
    row = make_row(record, 1)
    assert read_row(row) == record
    with pytest.raises(InvalidInput):
        read_row(Row(row.kind, row.key.replace("treasury", "research"), row.version, row.body))


@given(st.binary())
def test_base64url_comes_back(data):
    assert unb64u(b64u(data)) == data


@pytest.mark.parametrize(
    "text", ["QQ==", "QR", "Q", "Q Q", "QQ\n", "+A", "/w", "é", "Q=Q", "\ud800"]
)
def test_other_spellings_of_base64url_are_refused(text):
    with pytest.raises(InvalidInput):
        unb64u(text)
