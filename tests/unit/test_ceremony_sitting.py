"""A ceremony from the call to the signed transcript, killed at every write."""

import shutil
from dataclasses import replace

import pytest

from kms.ceremonies.people.signing import What, due, sign_into
from kms.ceremonies.record.entries import Refused, Resumed
from kms.ceremonies.record.journal import Journal
from kms.ceremonies.record.transcript import Result, decode_transcript
from kms.ceremonies.sitting import Sitting
from kms.errors import (
    AlreadyExists,
    Forbidden,
    IntegrityFailure,
    InvalidInput,
    NotFound,
    QuorumNotMet,
    StateNotAllowed,
    VerificationFailed,
)
from kms.statements.approval import Approval, sign_approval
from kms.statements.canonical import digest
from tests.fixtures.ceremonies import (
    DAY,
    MADE_UP,
    NOW,
    OFFICERS,
    ROSTER,
    Cast,
    FakeRecords,
    FolderFiles,
    brief_of,
    called,
    counting,
    room_of,
    run_killed,
    signed_transcript,
)

CAST = Cast()
BRIEF = brief_of(CAST)
LATER = NOW + 5 * DAY
"""After the plan's expiry."""


def failing_on(step, error):
    """Return the made-up ceremony whose step fails."""

    def fail(_room):
        raise error

    def script(brief):
        return tuple(
            replace(
                section,
                steps=tuple(
                    replace(one, act=fail) if one.id == step else one for one in section.steps
                ),
            )
            for section in MADE_UP.script(brief)
        )

    return replace(MADE_UP, script=script)


def actions(room):
    return [(line["action"], line["outcome"]) for line in room.records.lines()]


def reopened(state, ceremony=MADE_UP, brief=BRIEF, now=NOW):
    return Sitting.open(state, ceremony, brief, now)


# --- the call ------------------------------------------------------------------------------------


def test_a_ceremony_that_was_called_is_found_again_with_the_same_request(tmp_path):
    first = reopened(tmp_path)
    assert reopened(tmp_path, now=NOW + 60).request == first.request
    assert first.request.plan == BRIEF.plan.digest
    assert first.request.roster == ROSTER


def test_another_plan_under_the_same_id_is_refused(tmp_path):
    reopened(tmp_path)
    with pytest.raises(AlreadyExists):
        reopened(tmp_path, brief=brief_of(CAST, word="other"))


def test_a_ceremony_called_under_another_register_is_refused(tmp_path):
    reopened(tmp_path)
    with pytest.raises(StateNotAllowed):
        reopened(tmp_path, brief=replace(BRIEF, register_token=BRIEF.register_token + "x"))


def test_a_plan_that_has_expired_is_not_called(tmp_path):
    with pytest.raises(InvalidInput):
        reopened(tmp_path, now=LATER)
    assert list(tmp_path.iterdir()) == []


def test_an_altered_request_is_refused(tmp_path):
    path = reopened(tmp_path).folder / "request.json"
    path.write_bytes(path.read_bytes().replace(b"made-up", b"made-it"))
    with pytest.raises(VerificationFailed):
        reopened(tmp_path)


# --- approvals -----------------------------------------------------------------------------------


def test_approvals_count_as_they_come_in(tmp_path):
    sitting = reopened(tmp_path)
    assert sitting.approvals(NOW).lacks
    CAST.sign(sitting.folder, *ROSTER[:4])
    some = sitting.approvals(NOW)
    assert set(some.accepted) == set(ROSTER[:4])
    assert some.lacks.groups == (("security", 1),)
    CAST.sign(sitting.folder, OFFICERS[2])
    assert not sitting.approvals(NOW).lacks


def test_what_is_due_first_is_the_request_that_everybody_compares(tmp_path):
    sitting = reopened(tmp_path)
    wanted = due(sitting.folder, "wang-security")
    assert wanted.what is What.APPROVAL
    assert wanted.sha256 == sitting.sha256
    assert wanted.plan == BRIEF.plan


def test_nobody_approves_twice(tmp_path):
    sitting = called(CAST, tmp_path, BRIEF, "wang-security")
    with pytest.raises(AlreadyExists):
        CAST.sign(sitting.folder, "wang-security")


def test_nobody_off_the_roster_signs(tmp_path):
    sitting = reopened(tmp_path)
    with pytest.raises(Forbidden):
        sign_into(sitting.folder, "mallory", CAST.kid("wang-security"), lambda _: b"", NOW)


def test_only_what_was_shown_is_signed(tmp_path):
    sitting = reopened(tmp_path)
    name = "wang-security"
    with pytest.raises(VerificationFailed):
        sign_into(sitting.folder, name, CAST.kid(name), CAST.signer(name), NOW, shown=b"x" * 32)
    sign_into(sitting.folder, name, CAST.kid(name), CAST.signer(name), NOW, shown=sitting.sha256)


def test_there_is_nothing_to_sign_outside_a_ceremonys_folder(tmp_path):
    with pytest.raises(NotFound):
        due(tmp_path, "wang-security")


def test_a_plan_changed_after_the_call_is_not_signed(tmp_path):
    sitting = reopened(tmp_path)
    path = sitting.folder / "plan.toml"
    path.write_bytes(path.read_bytes().replace(b"hello", b"jello"))
    with pytest.raises(VerificationFailed):
        due(sitting.folder, "wang-security")


def test_a_ceremony_without_its_quorum_is_refused_and_that_is_logged(tmp_path):
    sitting = called(CAST, tmp_path, BRIEF, *ROSTER[:4])
    room = room_of(BRIEF, tmp_path)
    with pytest.raises(QuorumNotMet):
        sitting.hold(room)
    assert actions(room) == [("ceremony.refused", "refused")]
    assert room.files.names() == ()


def test_a_ceremony_whose_request_expired_is_refused_and_that_is_logged(tmp_path):
    sitting = called(CAST, tmp_path, BRIEF)
    room = room_of(BRIEF, tmp_path, LATER)
    with pytest.raises(QuorumNotMet, match="expired"):
        sitting.hold(room)
    assert actions(room) == [("ceremony.refused", "refused")]


def test_an_approval_that_does_not_count_is_logged_once_and_stands_in_the_transcript(tmp_path):
    sitting = called(CAST, tmp_path, BRIEF, *ROSTER[:4])
    forged = sign_approval(
        Approval(sitting.request.digest(), "sun-security", NOW),
        CAST.kid("wang-security"),
        CAST.signer("wang-security"),
    )
    (sitting.folder / "approvals" / "sun-security.jws").write_text(forged)
    room = room_of(BRIEF, tmp_path)
    with pytest.raises(QuorumNotMet):
        sitting.hold(room)
    CAST.sign(sitting.folder, "zhou-security")
    payload = sitting.hold(room)
    refusals = [line["details"] for line in room.records.lines() if line["outcome"] == "refused"]
    assert [one.get("person") for one in refusals] == ["sun-security", None]
    told = [one for one in decode_transcript(payload).entries if isinstance(one, Refused)]
    assert [(one.person, one.approval) for one in told] == [
        ("sun-security", digest(forged.encode()))
    ]
    assert "sun-security" not in decode_transcript(payload).approvals


# --- holding it ----------------------------------------------------------------------------------


def test_a_ceremony_that_is_held_is_logged_with_its_transcript_and_the_head_is_signed(tmp_path):
    sitting = called(CAST, tmp_path, BRIEF)
    room = room_of(BRIEF, tmp_path)
    payload = sitting.hold(room)
    assert actions(room) == [
        ("intent", "pending"),
        ("result", "succeeded"),
        ("signed", "succeeded"),
    ]
    assert room.records.lines()[1]["details"] == {
        "ceremony": "trial-1",
        "intent": 0,
        "kind": "made-up",
        "transcript": digest(payload),
    }


def test_a_ceremony_that_was_logged_is_not_repeated(tmp_path):
    sitting = called(CAST, tmp_path, BRIEF)
    payload = sitting.hold(room_of(BRIEF, tmp_path))
    room = room_of(BRIEF, tmp_path, LATER)
    assert reopened(tmp_path, now=LATER).hold(room) == payload
    assert sitting.hold(room) == payload
    assert len(room.records.lines()) == 3
    assert room.people.said == []


def test_a_failure_is_logged_by_its_code_and_the_next_run_goes_on(tmp_path):
    called(CAST, tmp_path, BRIEF)
    room = room_of(BRIEF, tmp_path)
    broken = reopened(tmp_path, failing_on("more/three", IntegrityFailure("the blob is wrong")))
    with pytest.raises(IntegrityFailure):
        broken.hold(room)
    assert actions(room)[-1] == ("result", "failed")
    assert room.records.lines()[-1]["details"]["code"] == "integrity_failure"
    payload = reopened(tmp_path).hold(room)
    assert room.records.outcomes() == ["failed", "succeeded"]
    assert any(isinstance(entry, Resumed) for entry in decode_transcript(payload).entries)


def test_no_ceremony_begins_while_another_is_under_way(tmp_path):
    called(CAST, tmp_path, BRIEF)
    room = room_of(BRIEF, tmp_path)
    with pytest.raises(RuntimeError):
        reopened(tmp_path, failing_on("more/three", RuntimeError())).hold(room)
    other = brief_of(CAST, "trial-2")
    second = called(CAST, tmp_path, other)
    with pytest.raises(StateNotAllowed, match="trial-1 has begun"):
        second.hold(room_of(other, tmp_path))
    reopened(tmp_path).hold(room)
    with pytest.raises(StateNotAllowed, match="one is there"):  # the first one's own file
        second.hold(room_of(other, tmp_path))


def test_a_ceremony_that_did_nothing_or_is_undone_stands_in_nobodys_way(tmp_path):
    called(CAST, tmp_path, BRIEF)
    room = room_of(BRIEF, tmp_path)
    with pytest.raises(RuntimeError):
        reopened(tmp_path, failing_on("prepare/two", RuntimeError())).hold(room)
    other = brief_of(CAST, "trial-2")
    called(CAST, tmp_path, other).hold(room_of(other, tmp_path))


def test_the_kinds_own_look_at_the_site_comes_before_anything_is_done(tmp_path):
    called(CAST, tmp_path, BRIEF)
    looks = []
    careful = replace(MADE_UP, precheck=lambda room: looks.append(room.files.names()))
    reopened(tmp_path, careful).hold(room_of(BRIEF, tmp_path))
    assert looks == [()]


def test_a_late_run_is_refused_while_everything_can_still_be_undone(tmp_path):
    called(CAST, tmp_path, BRIEF)
    room = room_of(BRIEF, tmp_path)
    with pytest.raises(RuntimeError):
        reopened(tmp_path, failing_on("more/three", RuntimeError())).hold(room)
    late = room_of(BRIEF, tmp_path, LATER)
    with pytest.raises(QuorumNotMet):
        reopened(tmp_path, now=LATER).hold(late)
    payload = reopened(tmp_path, now=LATER).abort(late)
    assert decode_transcript(payload).result is Result.ABORTED


def test_a_forward_section_is_ended_however_late(tmp_path):
    called(CAST, tmp_path, BRIEF)
    with pytest.raises(RuntimeError):
        reopened(tmp_path, failing_on("finish/look", RuntimeError())).hold(room_of(BRIEF, tmp_path))
    reopened(tmp_path, now=LATER).hold(room_of(BRIEF, tmp_path, LATER))


def test_what_people_approved_at_the_start_is_what_counts_to_the_end(tmp_path):
    sitting = called(CAST, tmp_path, BRIEF, *ROSTER[:5])
    with pytest.raises(RuntimeError):
        reopened(tmp_path, failing_on("more/three", RuntimeError())).hold(room_of(BRIEF, tmp_path))
    CAST.sign(sitting.folder, "zhou-security")
    (sitting.folder / "approvals" / "sun-security.jws").unlink()
    payload = reopened(tmp_path).hold(room_of(BRIEF, tmp_path))
    assert set(decode_transcript(payload).approvals) == set(ROSTER[:5])


# --- what somebody who writes to the folder tries ------------------------------------------------


def test_a_folder_that_was_put_back_does_not_let_approvals_count_twice(tmp_path):
    sitting = called(CAST, tmp_path, BRIEF)
    room = room_of(BRIEF, tmp_path)
    sitting.hold(room)
    (sitting.folder / "transcript.payload.json").unlink()
    (sitting.folder / "journal.jsonl").write_bytes(b"")
    for name in room.files.names():
        room.files.remove(name)
    with pytest.raises(IntegrityFailure, match="the log tells of this ceremony's end"):
        reopened(tmp_path).hold(room)
    assert room.files.names() == ()


def test_no_number_is_given_twice_when_the_newest_transcript_is_gone(tmp_path):
    first = called(CAST, tmp_path, BRIEF)
    room = room_of(BRIEF, tmp_path)
    first.hold(room)
    for name in room.files.names():
        room.files.remove(name)
    shutil.move(first.folder, tmp_path / "away")
    other = brief_of(CAST, "trial-2")
    second = called(CAST, tmp_path, other)
    with pytest.raises(IntegrityFailure, match="names last is gone"):
        second.hold(room_of(other, tmp_path))
    shutil.move(tmp_path / "away", first.folder)
    assert decode_transcript(second.hold(room_of(other, tmp_path))).sequence == 2


def test_a_transcript_that_somebody_put_there_is_not_logged(tmp_path):
    made = called(CAST, tmp_path / "elsewhere", BRIEF)
    payload = made.hold(room_of(BRIEF, tmp_path / "elsewhere"))
    sitting = called(CAST, tmp_path, BRIEF, "chen-admin")
    (sitting.folder / "transcript.payload.json").write_bytes(payload)
    room = room_of(BRIEF, tmp_path)
    with pytest.raises(StateNotAllowed, match="nothing was done yet"):
        sitting.hold(room)
    *lines, _recorded = (made.folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (sitting.folder / "journal.jsonl").write_bytes(b"".join(lines))
    with pytest.raises(VerificationFailed, match="not this ceremony's"):
        reopened(tmp_path).hold(room)
    assert "succeeded" not in room.records.outcomes()


def test_a_transcript_that_says_otherwise_than_the_journal_is_not_logged(tmp_path):
    sitting = called(CAST, tmp_path, BRIEF)
    room = room_of(BRIEF, tmp_path)
    room.records.result = failing_on("", StateNotAllowed("the disk is full")).script
    with pytest.raises(TypeError):
        sitting.hold(room)
    path = sitting.folder / "transcript.payload.json"
    path.write_bytes(path.read_bytes().replace(b'"names":["four"', b'"names":["five"'))
    again = room_of(BRIEF, tmp_path)
    with pytest.raises(VerificationFailed, match="not this ceremony's"):
        reopened(tmp_path).hold(again)
    assert "succeeded" not in again.records.outcomes()


# --- giving up -----------------------------------------------------------------------------------


def test_a_ceremony_that_is_given_up_leaves_nothing_but_its_transcript(tmp_path):
    called(CAST, tmp_path, BRIEF)
    room = room_of(BRIEF, tmp_path)
    with pytest.raises(RuntimeError):
        reopened(tmp_path, failing_on("more/three", RuntimeError())).hold(room)
    assert room.files.names() == ("one", "two")
    sitting = reopened(tmp_path)
    payload = sitting.abort(room)
    assert room.files.names() == ()
    assert room.records.outcomes() == ["failed", "failed"]
    assert sitting.abort(room) == payload
    with pytest.raises(StateNotAllowed):
        sitting.hold(room)
    CAST.sign(sitting.folder, *sitting.missing_signatures())
    assert sitting.finish().name == "transcript.json"


def test_what_was_not_begun_or_is_over_cannot_be_given_up(tmp_path):
    sitting = called(CAST, tmp_path, BRIEF)
    room = room_of(BRIEF, tmp_path)
    with pytest.raises(StateNotAllowed):
        sitting.abort(room)
    sitting.hold(room)
    with pytest.raises(StateNotAllowed):
        sitting.abort(room)


# --- signing the transcript ----------------------------------------------------------------------


def test_everybody_who_approved_signs_the_transcript(tmp_path):
    sitting = called(CAST, tmp_path, BRIEF, *ROSTER[:5])
    with pytest.raises(StateNotAllowed):
        sitting.missing_signatures()
    payload = sitting.hold(room_of(BRIEF, tmp_path))
    wanted = due(sitting.folder, "chen-admin")
    assert wanted.what is What.TRANSCRIPT
    assert wanted.payload == payload
    assert sorted(sitting.missing_signatures()) == sorted(ROSTER[:5])
    CAST.sign(sitting.folder, *ROSTER[:4])
    with pytest.raises(QuorumNotMet, match="sun-security"):
        sitting.finish()
    with pytest.raises(StateNotAllowed):
        due(sitting.folder, "zhou-security")
    CAST.sign(sitting.folder, "sun-security")
    with pytest.raises(AlreadyExists):
        CAST.sign(sitting.folder, "sun-security")
    assert sitting.finish() == sitting.finish()


def test_a_signature_by_anothers_key_is_refused_by_name(tmp_path):
    sitting = called(CAST, tmp_path, BRIEF)
    sitting.hold(room_of(BRIEF, tmp_path))
    thief = "sun-security"
    sign_into(sitting.folder, "wang-security", CAST.kid(thief), CAST.signer(thief), NOW)
    with pytest.raises(VerificationFailed, match="in the name of wang-security"):
        sitting.missing_signatures()


def test_transcripts_form_a_chain(tmp_path):
    first = signed_transcript(CAST, tmp_path, BRIEF)
    (tmp_path / "made").rename(tmp_path / "elsewhere")
    signed_transcript(CAST, tmp_path, brief_of(CAST, "trial-2"))
    payloads = [
        (tmp_path / "ceremonies" / name / "transcript.payload.json").read_bytes()
        for name in ("trial-1", "trial-2")
    ]
    one, two = map(decode_transcript, payloads)
    assert (one.sequence, one.previous) == (1, "")
    assert (two.sequence, two.previous) == (2, digest(payloads[0]))
    assert first.is_file()


def test_a_chain_with_an_altered_transcript_is_not_continued(tmp_path):
    signed_transcript(CAST, tmp_path, BRIEF)
    (tmp_path / "made").rename(tmp_path / "elsewhere")
    path = tmp_path / "ceremonies" / "trial-1" / "transcript.payload.json"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(IntegrityFailure):
        signed_transcript(CAST, tmp_path, brief_of(CAST, "trial-2"))


# --- kill -9 at every write ----------------------------------------------------------------------


def whole(state):
    """Do everything that is left, as the programs of all its people would."""
    sitting = reopened(state)
    approved = sitting.approvals(NOW).accepted
    if not (sitting.folder / "transcript.payload.json").exists():
        CAST.sign(sitting.folder, *(name for name in ROSTER if name not in approved))
    sitting.hold(room_of(BRIEF, state))
    CAST.sign(sitting.folder, *sitting.missing_signatures())
    sitting.finish()


def check_whole(state):
    assert FolderFiles(state / "made").names() == ("four", "one", "three", "two")
    sitting = reopened(state)
    payload = sitting.hold(room_of(BRIEF, state))
    succeeded = [
        line["details"]["transcript"]
        for line in FakeRecords(state / "log.jsonl").lines()
        if (line["action"], line["outcome"]) == ("result", "succeeded")
    ]
    # The one write between the log's and our own note of it may be told twice, of one transcript.
    assert set(succeeded) == {digest(payload)}
    assert len(succeeded) <= 2
    assert decode_transcript(payload).result is Result.SUCCEEDED
    assert Journal.open(sitting.folder).done_sections() == ("prepare", "more", "finish")
    assert (sitting.folder / "transcript.json").is_file()


def test_a_run_killed_at_any_write_is_finished_by_the_next(tmp_path):
    kill_at, finished = 1, False
    while not finished:
        state = tmp_path / str(kill_at)
        state.mkdir()
        finished = run_killed(lambda state=state: whole(state), kill_at)
        with counting(0):
            whole(state)
        check_whole(state)
        kill_at += 1
    assert kill_at > 60


@pytest.mark.parametrize("stride", [3, 7, 11, 19])
def test_a_ceremony_killed_again_and_again_is_finished_in_the_end(tmp_path, stride):
    for n in range(1, 100):
        if run_killed(lambda: whole(tmp_path), stride + n % 5):
            break
    with counting(0):
        whole(tmp_path)
    check_whole(tmp_path)
