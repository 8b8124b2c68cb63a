"""The engine: every section is done, or as if it had not been begun, whatever comes between."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kms.ceremonies import engine
from kms.ceremonies.record.entries import (
    Aborted,
    Deviation,
    Resumed,
    SectionBegun,
    SectionUndone,
    Started,
    StepFailed,
    UndoFailed,
)
from kms.ceremonies.record.journal import Journal
from kms.ceremonies.record.request import make_request
from kms.ceremonies.step import Section, Step
from kms.errors import IntegrityFailure, InvalidInput, StateNotAllowed
from kms.i18n import Language, speak
from tests.fixtures.ceremonies import NOW, Cast, brief_of, file_step, made_up_script, room_of

BRIEF = brief_of(Cast())
SCRIPT = made_up_script(BRIEF)
MADE = ("four", "one", "three", "two")


@pytest.fixture(autouse=True)
def english():
    speak(Language.EN)
    yield
    speak(Language.ZH)


class Stage:
    """A journal that may act, and a room in which to."""

    def __init__(self, path):
        self.path = path
        self.journal = Journal.create(path / "trial-1", BRIEF.plan.raw, make_request(BRIEF, NOW))
        self.journal.append(Started(time=NOW, approvals={}))
        self.room = room_of(BRIEF, path)

    def again(self):
        """Return the stage as another process finds it."""
        other = object.__new__(Stage)
        other.path, other.room = self.path, room_of(BRIEF, self.path)
        other.journal = Journal.open(self.path / "trial-1")
        return other

    def run(self, script=SCRIPT):
        engine.run(script, self.room, self.journal)

    def made(self):
        return self.room.files.names()

    def told(self, kind):
        return [entry for entry in self.journal.entries() if isinstance(entry, kind)]


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


def changed(step_id, **changes):
    """Return the script with one step changed."""
    return tuple(
        replace(
            section,
            steps=tuple(
                replace(step, **changes) if step.id == step_id else step for step in section.steps
            ),
        )
        for section in SCRIPT
    )


def failing(error):
    def fail(*_):
        raise error

    return fail


class Death(BaseException):
    """Something that no handler of errors expects."""


def test_a_script_is_done_from_beginning_to_end(stage):
    stage.run()
    assert stage.made() == MADE
    assert stage.journal.done_sections() == ("prepare", "more", "finish")
    assert stage.room.facts["prepare/one"] == {"file": "one"}
    assert stage.room.people.confirmed == ["for good"]
    assert stage.told(Resumed) == []


def test_what_is_said_is_the_steps_own_text_with_its_values(stage):
    stage.run()
    assert stage.room.people.said[:3] == [
        "Prepare hello.",
        "Give the words.",
        "Make the file one.",
    ]


def test_secrets_leave_memory_and_pins_at_every_sections_end(stage):
    seen = {}

    def look(room):
        seen["memory"], seen["pin"] = dict(room.memory), room.pins.secret
        return {}

    within = Step("prepare/two", "witness", "Look.", look)
    after = Step(
        "more/three", "witness", "Look.", lambda room: seen.update(after=dict(room.memory)) or {}
    )
    first = replace(SCRIPT[0], steps=(*SCRIPT[0].steps[:2], within))
    stage.run((first,))
    assert seen == {"memory": {"secret": "acid acid"}, "pin": b"s" * 16}
    assert stage.room.memory == {}
    assert stage.room.pins.secret is None
    stage.run((first, replace(SCRIPT[1], steps=(after,))))
    assert seen["after"] == {}


@pytest.mark.parametrize("phase", ["check", "act", "verify"])
@pytest.mark.parametrize("step", ["prepare/secret", "prepare/one", "prepare/two", "more/three"])
@pytest.mark.parametrize(
    "error", [IntegrityFailure("no"), ValueError("x"), KeyboardInterrupt(), Death()]
)
def test_a_section_that_fails_is_undone_and_the_next_run_does_it(stage, phase, step, error):
    # A check that fails before anything is done is another test's matter.
    calls = iter([None, error])

    def fail(*_):
        outcome = next(calls, error) if phase == "check" else error
        if outcome:
            raise outcome

    with pytest.raises(type(error)) as caught:
        stage.run(changed(step, **{phase: fail}))
    assert caught.value is error
    assert stage.made() == (() if step.startswith("prepare") else ("one", "two"))
    assert stage.room.memory == {}
    assert stage.room.pins.secret is None
    assert [entry.step for entry in stage.told(StepFailed)] == [step]
    stage.again().run()
    assert stage.made() == MADE


def test_the_failure_is_journaled_by_its_code_and_a_foreign_one_by_its_type_alone(stage):
    with pytest.raises(IntegrityFailure):
        stage.run(changed("prepare/one", act=failing(IntegrityFailure("the blob is wrong"))))
    with pytest.raises(ValueError, match="secret"):
        stage.again().run(changed("prepare/one", act=failing(ValueError("a secret"))))
    entries = stage.again().told(StepFailed)
    assert [(entry.code, entry.message) for entry in entries] == [
        ("integrity_failure", "the blob is wrong"),
        ("internal_error", "ValueError"),
    ]


def test_steps_are_undone_last_first_the_failed_one_included(stage):
    undone = []
    steps = [
        Step(
            f"a/{n}",
            "witness",
            "Step.",
            failing(RuntimeError()) if n == 3 else lambda room: {},
            undo=lambda room, n=n: undone.append(n),
        )
        for n in range(1, 5)
    ]
    with pytest.raises(RuntimeError):
        stage.run((Section("a", "A.", tuple(steps)),))
    assert undone == [3, 2, 1]


def test_an_undo_that_fails_is_reported_and_does_not_hide_the_first_error(stage):
    script = changed("prepare/two", act=failing(IntegrityFailure("first")))
    script = (
        replace(
            script[0],
            steps=(
                script[0].steps[0],
                script[0].steps[1],
                replace(script[0].steps[2], undo=failing(InvalidInput("second"))),
            ),
        ),
        *script[1:],
    )
    with pytest.raises(IntegrityFailure, match="first") as caught:
        stage.run(script)
    assert caught.value.__notes__ == ["undoing failed too: second"]
    assert [(one.step, one.message) for one in stage.told(UndoFailed)] == [
        ("prepare/two", "second")
    ]
    assert any("could not be undone: second" in text for text in stage.room.people.said)
    # The other steps were undone all the same, and the next run undoes once more.
    assert stage.made() == ()
    assert stage.told(SectionUndone) == []
    again = stage.again()
    again.run()
    assert len(again.told(SectionUndone)) == 1
    assert stage.made() == MADE


def test_a_run_stops_if_what_an_earlier_one_left_cannot_be_undone(stage):
    with pytest.raises(Death):
        stage.run(changed("prepare/two", act=failing(Death()), undo=failing(Death())))
    with pytest.raises(InvalidInput):
        stage.again().run(changed("prepare/one", undo=failing(InvalidInput("stuck"))))
    assert stage.again().journal.progress.open == "prepare"


def test_a_forward_section_that_fails_is_not_undone_but_repeated_from_its_beginning(stage):
    with pytest.raises(RuntimeError):
        stage.run(changed("finish/look", act=failing(RuntimeError())))
    assert stage.made() == MADE
    again = stage.again()
    again.run()
    assert [entry.section for entry in again.told(SectionBegun)][-2:] == ["finish", "finish"]
    assert again.room.facts["finish/four"] == {"file": "four"}
    assert again.room.people.confirmed == ["for good"]


def test_a_repeated_steps_check_asks_for_the_beginning_and_so_is_left_out(stage):
    def check(room):
        if "four" in room.files.names():
            raise StateNotAllowed("four is there")

    with pytest.raises(RuntimeError):
        stage.run(changed("finish/four", check=check, verify=failing(RuntimeError())))
    stage.again().run(changed("finish/four", check=check))


def test_every_check_comes_before_the_first_act(stage):
    with pytest.raises(StateNotAllowed):
        stage.run(changed("finish/look", check=failing(StateNotAllowed("not now"))))
    assert stage.made() == ()
    assert stage.told(SectionBegun) == []


def test_the_dry_run_checks_everything_and_changes_nothing(stage):
    engine.check_all(SCRIPT, stage.room)
    assert stage.made() == ()
    stage.room.files.write_new("three", b"")
    with pytest.raises(StateNotAllowed):
        engine.check_all(SCRIPT, stage.room)
    engine.check_all(SCRIPT, stage.room, done={"more/three"})


def test_a_resumed_run_asks_the_administrator_what_happened(stage):
    with pytest.raises(RuntimeError):
        stage.run(changed("more/three", act=failing(RuntimeError())))
    again = stage.again()
    again.run()
    assert again.room.people.asked == ["chen-admin"]
    assert [entry.text for entry in again.told(Deviation)] == ["the power went out"]


def test_a_run_after_the_end_does_nothing(stage):
    stage.run()
    before = stage.made()
    again = stage.again()
    again.run()
    assert again.made() == before
    assert again.room.people.confirmed == []


def test_facts_without_canonical_form_fail_their_step(stage):
    with pytest.raises(InvalidInput):
        stage.run(changed("prepare/one", act=lambda room: {"ratio": 0.5}))
    assert stage.made() == ()


def test_facts_are_in_the_room_as_they_will_be_read_again(stage):
    stage.run(changed("prepare/one", act=lambda room: {"names": ("a", "b")}))
    assert stage.room.facts["prepare/one"] == {"names": ["a", "b"]}
    assert stage.again().journal.facts() == stage.room.facts


def test_who_does_not_confirm_can_still_give_up(stage):
    stage.room.people.confirm = failing(StateNotAllowed("not confirmed"))
    with pytest.raises(StateNotAllowed):
        stage.run()
    again = stage.again()
    engine.abort(SCRIPT, again.room, again.journal)
    assert again.made() == ()
    assert isinstance(again.journal.entries()[-1], Aborted)


def test_giving_up_is_refused_once_a_forward_section_has_begun(stage):
    with pytest.raises(RuntimeError):
        stage.run(changed("finish/look", act=failing(RuntimeError())))
    again = stage.again()
    with pytest.raises(StateNotAllowed):
        engine.abort(SCRIPT, again.room, again.journal)
    assert again.made() == MADE


def test_what_was_given_up_is_not_run_again(stage):
    engine.abort(SCRIPT, stage.room, stage.journal)
    with pytest.raises(StateNotAllowed):
        stage.again().run()


def test_giving_up_goes_on_after_an_undo_that_failed(stage):
    with pytest.raises(RuntimeError):
        stage.run(changed("finish/four", check=_twice(RuntimeError())))
    with pytest.raises(InvalidInput):
        engine.abort(
            changed("prepare/one", undo=failing(InvalidInput("stuck"))), stage.room, stage.journal
        )
    again = stage.again()
    assert again.journal.done_sections() == ("prepare",)
    engine.abort(SCRIPT, again.room, again.journal)
    assert again.made() == ()


def _twice(error):
    """Return a check that holds before anything is done, and no more later."""
    calls = iter([None])

    def check(_room):
        if next(calls, error):
            raise error

    return check


def test_a_journal_of_another_script_is_refused(stage):
    stage.run()
    with pytest.raises(StateNotAllowed):
        stage.again().run(tuple(reversed(SCRIPT)))


BAD_SCRIPTS = {
    "two steps of one name": (Section("a", "A.", (file_step("a/1", "x"), file_step("a/1", "y"))),),
    "a step named after another section": (Section("a", "A.", (file_step("b/1", "x"),)),),
    "an empty section": (Section("a", "A.", ()),),
}


@pytest.mark.parametrize("script", BAD_SCRIPTS.values(), ids=BAD_SCRIPTS)
def test_a_script_that_is_not_well_formed_is_refused(stage, script):
    with pytest.raises(InvalidInput):
        stage.run(script)


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_whatever_fails_however_often_the_last_run_finishes(tmp_path_factory, data):
    stage = Stage(tmp_path_factory.mktemp("stage"))
    steps = [step.id for section in SCRIPT for step in section.steps]
    for _ in range(data.draw(st.integers(0, 3))):
        step, phase = (
            data.draw(st.sampled_from(steps)),
            data.draw(st.sampled_from(["act", "verify"])),
        )
        changes = {phase: failing(Death())}
        if data.draw(st.booleans()):
            changes["undo"] = failing(Death())
        with suppress(Death):
            stage.run(changed(step, **changes))
        stage = stage.again()
    stage.run()
    assert stage.made() == MADE
    assert stage.journal.done_sections() == ("prepare", "more", "finish")
