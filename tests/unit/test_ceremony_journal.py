"""The journal of a ceremony: lines that are durable before anything else is done."""

import os
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kms.ceremonies.record.entries import (
    Aborted,
    Deviation,
    Recorded,
    Resumed,
    SectionBegun,
    SectionDone,
    SectionUndone,
    Started,
    StepBegun,
    StepDone,
    decode_entry,
    encode_entry,
)
from kms.ceremonies.record.journal import Journal
from kms.ceremonies.record.request import make_request
from kms.errors import (
    AlreadyExists,
    IntegrityFailure,
    InvalidInput,
    NotFound,
    StoreUnavailable,
)
from tests.fixtures.ceremonies import NOW, Cast, brief_of

BRIEF = brief_of(Cast())
REQUEST = make_request(BRIEF, NOW)

ENTRIES = [
    Started(time=1, approvals={}),
    SectionBegun(time=2, section="a", forward=False),
    StepBegun(time=3, step="a/1"),
    StepDone(time=4, step="a/1", facts={"n": 1}),
    SectionDone(time=5, section="a"),
    SectionBegun(time=6, section="b", forward=True),
    StepBegun(time=7, step="b/1"),
    Resumed(time=8),
    SectionBegun(time=9, section="b", forward=True),
    StepBegun(time=9, step="b/1"),
    StepDone(time=9, step="b/1", facts={"m": [2, "列"]}),
    SectionDone(time=10, section="b"),
    Recorded(time=11, transcript="x"),
]


def new(path):
    return Journal.create(path / "trial-1", BRIEF.plan.raw, REQUEST)


def filled(path, entries=ENTRIES):
    journal = new(path)
    for entry in entries:
        journal.append(entry)
    return journal


def test_what_was_appended_is_read_again(tmp_path):
    journal = filled(tmp_path)
    again = Journal.open(tmp_path / "trial-1")
    assert again.entries() == journal.entries() == tuple(ENTRIES)
    assert again.done_sections() == ("a", "b")
    assert again.facts() == {"a/1": {"n": 1}, "b/1": {"m": [2, "列"]}}


def test_a_folder_comes_whole_with_plan_and_request(tmp_path):
    new(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trial-1"]
    assert (tmp_path / "trial-1" / "plan.toml").read_bytes() == BRIEF.plan.raw


def test_a_folder_is_never_made_over_another(tmp_path):
    new(tmp_path).append(ENTRIES[0])
    with pytest.raises(AlreadyExists):
        new(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["trial-1"]
    assert Journal.open(tmp_path / "trial-1").entries() == (ENTRIES[0],)


def test_there_is_no_journal_where_no_ceremony_was_called(tmp_path):
    with pytest.raises(NotFound):
        Journal.open(tmp_path / "nothing")


def test_a_line_torn_anywhere_is_dropped_and_the_journal_goes_on(tmp_path):
    path = tmp_path / "trial-1" / "journal.jsonl"
    filled(tmp_path)
    data = path.read_bytes()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        journal = Journal.open(tmp_path / "trial-1")
        count = data[:size].count(b"\n")
        assert journal.entries() == tuple(ENTRIES[:count])
        journal.append(ENTRIES[count])
        assert Journal.open(tmp_path / "trial-1").entries() == tuple(ENTRIES[: count + 1])


def test_zeros_that_a_power_failure_left_at_the_end_are_dropped(tmp_path):
    filled(tmp_path, ENTRIES[:3])
    with (tmp_path / "trial-1" / "journal.jsonl").open("ab") as file:
        file.write(bytes(100))
    assert Journal.open(tmp_path / "trial-1").entries() == tuple(ENTRIES[:3])


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_an_altered_line_is_refused(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("journal")
    filled(folder, ENTRIES[:6])
    path = folder / "trial-1" / "journal.jsonl"
    lines = path.read_bytes().split(b"\n")
    change = data.draw(st.sampled_from(["drop", "double", "swap", "space", "field"]))
    place = data.draw(st.integers(0, 4))
    if change == "drop":
        del lines[place]
    elif change == "double":
        lines.insert(place, lines[place])
    elif change == "swap":
        lines[place], lines[place + 1] = lines[place + 1], lines[place]
    elif change == "space":
        lines[place] = lines[place].replace(b",", b", ", 1) + b" "
    else:
        lines[place] = lines[place][:-1] + b',"zz":1}'
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(IntegrityFailure):
        Journal.open(folder / "trial-1")


WRONG = {
    "acts before the start": [ENTRIES[1]],
    "starts twice": [ENTRIES[0], ENTRIES[0]],
    "a step outside a section": [ENTRIES[0], ENTRIES[2]],
    "a step done that was not begun": [*ENTRIES[:2], ENTRIES[3]],
    "a step begun twice": [*ENTRIES[:3], ENTRIES[2]],
    "a step begun within another": [*ENTRIES[:3], StepBegun(time=4, step="a/2")],
    "a section that ends within a step": [*ENTRIES[:3], ENTRIES[4]],
    "a section in a section": [*ENTRIES[:2], SectionBegun(time=3, section="b", forward=True)],
    "a section done twice": [*ENTRIES[:5], ENTRIES[4]],
    "a section begun again without undoing": [*ENTRIES[:2], ENTRIES[1]],
    "a done section begun again": [*ENTRIES[:5], SectionBegun(time=9, section="a", forward=False)],
    "a forward section undone": [*ENTRIES[:7], SectionUndone(time=9, section="b")],
    "an earlier section undone first": [
        *ENTRIES[:5],
        SectionBegun(time=6, section="c", forward=False),
        SectionUndone(time=7, section="a"),
    ],
    "given up, but not undone": [*ENTRIES[:5], Aborted(time=9)],
    "on after giving up": [
        ENTRIES[0],
        Aborted(time=2),
        SectionBegun(time=2, section="a", forward=False),
    ],
    "on after the end": [*ENTRIES, Resumed(time=12)],
}


@pytest.mark.parametrize("entries", WRONG.values(), ids=WRONG)
def test_an_entry_that_does_not_follow_is_refused_and_not_written(tmp_path, entries):
    journal = filled(tmp_path, entries[:-1])
    with pytest.raises(InvalidInput):
        journal.append(entries[-1])
    assert Journal.open(tmp_path / "trial-1").entries() == tuple(entries[:-1])


def test_facts_of_an_undone_section_are_gone(tmp_path):
    journal = filled(tmp_path, [*ENTRIES[:5], SectionUndone(time=9, section="a")])
    assert journal.facts() == {}
    assert journal.done_sections() == ()


def test_facts_without_canonical_form_are_refused(tmp_path):
    journal = filled(tmp_path, ENTRIES[:3])
    with pytest.raises(InvalidInput):
        journal.append(StepDone(time=4, step="a/1", facts={"ratio": 0.5}))


def test_nothing_is_written_after_a_write_that_failed(tmp_path, monkeypatch):
    journal = filled(tmp_path, ENTRIES[:2])

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailable):
        journal.append(ENTRIES[2])
    monkeypatch.undo()
    with pytest.raises(StoreUnavailable):
        journal.append(ENTRIES[3])


def test_people_can_put_a_deviation_on_the_exception_sheet(tmp_path):
    journal = filled(tmp_path, ENTRIES[:2])
    journal.add_exception("王官员的打印机卡纸，换了一台", 9)
    assert journal.entries()[-1] == Deviation(time=9, text="王官员的打印机卡纸，换了一台")


@pytest.mark.parametrize("text", ["", "  ", "x" * 2001])
def test_an_empty_or_endless_deviation_is_refused(tmp_path, text):
    with pytest.raises(InvalidInput):
        new(tmp_path).add_exception(text, 1)


def test_a_clock_that_was_set_back_does_not_turn_the_journal_back(tmp_path):
    journal = filled(tmp_path, ENTRIES[:3])
    journal.append(Resumed(time=1))
    assert journal.entries()[-1] == Resumed(time=3)


def test_a_journal_whose_time_goes_back_was_altered(tmp_path):
    filled(tmp_path, ENTRIES[:1])
    with (tmp_path / "trial-1" / "journal.jsonl").open("ab") as file:
        file.write(encode_entry(Resumed(time=0)) + b"\n")
    with pytest.raises(IntegrityFailure):
        Journal.open(tmp_path / "trial-1")


def test_two_programs_write_one_journal(tmp_path):
    journal = filled(tmp_path, ENTRIES[:3])
    other = Journal.open(tmp_path / "trial-1")
    other.add_exception("一号打印机卡纸", 8)
    journal.append(ENTRIES[3])
    other.add_exception("已换纸", 9)
    entries = Journal.open(tmp_path / "trial-1").entries()
    assert [entry.time for entry in entries[3:]] == [8, 8, 9]
    assert entries == other.entries()


@given(st.sampled_from(ENTRIES), st.integers(0, 1000), st.integers(0, 7))
def test_no_changed_bit_of_a_line_reads_as_the_same_entry(entry, place, bit):
    line = bytearray(encode_entry(entry))
    line[place % len(line)] ^= 1 << bit
    with suppress(InvalidInput):
        assert decode_entry(bytes(line)) != entry
