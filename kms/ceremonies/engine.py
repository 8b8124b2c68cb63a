"""Does a script in a room, step by step, and puts every step into the journal before it is acted.

A section that fails, or that an earlier run left unfinished, is undone, last step first; a
``forward`` section is repeated by the next run. No secret outlives its section.
"""

from collections import Counter
from collections.abc import Container, Mapping
from contextlib import suppress

from kms.ceremonies.record.entries import (
    Aborted,
    Resumed,
    SectionBegun,
    SectionDone,
    SectionUndone,
    StepBegun,
    StepDone,
    StepFailed,
    UndoFailed,
)
from kms.ceremonies.record.journal import Journal
from kms.ceremonies.room import Room
from kms.ceremonies.step import Script, Section, Step
from kms.errors import ConclaveError, InvalidInput, StateNotAllowed
from kms.i18n import _

_LONGEST_ANSWER = 2000


def check_script(script: Script) -> None:
    """Raise InvalidInput unless every step lies in its section by name, once."""
    counts = Counter(step.id for section in script for step in section.steps)
    counts.update(section.id for section in script)
    twins = [name for name, count in counts.items() if count > 1]
    if twins:
        raise InvalidInput(f"the script has two of {twins[0]}")
    for section in script:
        if not section.steps:
            raise InvalidInput(f"section {section.id} has no step")
        for step in section.steps:
            if not step.id.startswith(f"{section.id}/"):
                raise InvalidInput(f"step {step.id} is not named after its section {section.id}")


def check_all(script: Script, room: Room, done: Container[str] = ()) -> None:
    """Let every step whose id is not ``done`` look at the site as it is; raise what it refuses."""
    check_script(script)
    for section in script:
        for step in section.steps:
            if step.id not in done:
                step.check(room)


def run(script: Script, room: Room, journal: Journal) -> None:
    """Do what is not done yet; raise the first error, after its section was undone."""
    check_script(script)
    _check_journal(script, journal)
    try:
        if journal.progress.aborted:
            raise StateNotAllowed("the ceremony was given up", hint="make a plan with another id")
        _resume(script, room, journal)
        check_all(script, room, journal.progress.begun())
        for section in script[len(journal.done_sections()) :]:
            _do_section(section, room, journal)
    finally:
        _forget(room)


def abort(script: Script, room: Room, journal: Journal) -> None:
    """Undo every section, last one first; raise StateNotAllowed once a forward one has begun."""
    _check_journal(script, journal)
    if journal.progress.aborted:
        return
    if journal.progress.forward:
        raise StateNotAllowed(
            "the ceremony cannot be undone any more", hint="run it again to bring it to its end"
        )
    _forget(room)
    for section in reversed(script[: len(journal.progress.attempts)]):
        _undo(section, room, journal)
    journal.append(Aborted(time=room.now()))


def _check_journal(script: Script, journal: Journal) -> None:
    begun = list(journal.progress.attempts)
    if begun != [section.id for section in script[: len(begun)]]:
        raise StateNotAllowed(
            "the journal does not fit the script of this plan",
            hint="go on with the version of the program that the ceremony began with",
        )


def _resume(script: Script, room: Room, journal: Journal) -> None:
    """Learn where an earlier run stopped, and undo what it left unfinished."""
    room.facts = journal.facts()
    if not any(isinstance(entry, SectionBegun | StepFailed) for entry in journal.entries()):
        return
    journal.append(Resumed(time=room.now()))
    question = _("The ceremony was interrupted. Say in one line what happened:")
    answer = room.people.ask(room.brief.plan.file.administrator, question).strip()
    journal.add_exception(answer[:_LONGEST_ANSWER] or "-", room.now())
    for section in script:
        if section.id == journal.progress.open and not section.forward:
            _undo(section, room, journal)


def _do_section(section: Section, room: Room, journal: Journal) -> None:
    room.people.say(_spoken(section.text, section.values))
    current = section.steps[0]
    try:
        for current in section.steps:
            _do_step(section, current, room, journal)
        journal.append(SectionDone(time=room.now(), section=section.id))
    except BaseException as error:
        _note_failure(current, error, room, journal)
        _forget(room)
        _undo_after(error, section, room, journal)
        raise
    _forget(room)


def _do_step(section: Section, step: Step, room: Room, journal: Journal) -> None:
    text = _spoken(step.text, step.values)
    room.people.say(text)
    if step.id not in journal.progress.begun():
        step.check(room)
    if step.confirm:
        room.people.confirm(room.brief.plan.file.administrator, step.confirm, text)
    # Only now: until somebody has confirmed it, a forward section can still be given up.
    if step is section.steps[0]:
        journal.append(SectionBegun(time=room.now(), section=section.id, forward=section.forward))
    journal.append(StepBegun(time=room.now(), step=step.id))
    facts = step.act(room)
    step.verify(room, facts)
    journal.append(StepDone(time=room.now(), step=step.id, facts=facts))
    room.facts = journal.facts()


def _note_failure(step: Step, error: BaseException, room: Room, journal: Journal) -> None:
    code, message = _named(error)
    # What cannot be written must not stop the undoing, nor hide what went wrong first.
    with suppress(ConclaveError):
        journal.append(StepFailed(time=room.now(), step=step.id, code=code, message=message))


def _undo_after(error: BaseException, section: Section, room: Room, journal: Journal) -> None:
    """Undo a section that failed; what goes wrong here is added to the error, not put before it."""
    if section.forward:
        return
    try:
        _undo(section, room, journal)
    except Exception as another:  # noqa: BLE001 -- said and journaled; the first error is raised
        error.add_note(f"undoing failed too: {_named(another)[1]}")


def _undo(section: Section, room: Room, journal: Journal) -> None:
    """Undo what was begun of a section, last step first; raise the first error after trying all."""
    attempt = journal.progress.attempts.get(section.id)
    if attempt is None:
        return
    steps = {step.id: step for step in section.steps}
    errors = [_undo_step(steps[name], room, journal) for name in reversed(attempt.begun)]
    for error in filter(None, errors):
        raise error
    journal.append(SectionUndone(time=room.now(), section=section.id))
    room.facts = journal.facts()
    _tell(room, _("The section is undone: everything is as it was before it."))


def _undo_step(step: Step, room: Room, journal: Journal) -> Exception | None:
    try:
        step.undo(room)
    except Exception as error:  # noqa: BLE001 -- the other steps are undone all the same
        code, message = _named(error)
        text = _("Step {step} could not be undone: {reason}. Run the ceremony again to try again.")
        _tell(room, text.format(step=step.id, reason=message))
        with suppress(ConclaveError):
            journal.append(UndoFailed(time=room.now(), step=step.id, code=code, message=message))
        return error
    return None


def _named(error: BaseException) -> tuple[str, str]:
    """Return code and text of an error; of foreign ones the type alone, which has no secrets."""
    if isinstance(error, ConclaveError):
        return error.code, error.message
    code = "interrupted" if isinstance(error, KeyboardInterrupt) else ConclaveError.code
    return code, type(error).__name__


def _spoken(text: str, values: Mapping[str, str]) -> str:
    return _(text).format_map(values)


def _tell(room: Room, text: str) -> None:
    """Say something while undoing: a terminal that is gone must not stop that."""
    with suppress(Exception):
        room.people.say(text)


def _forget(room: Room) -> None:
    room.memory.clear()
    room.pins.forget()
