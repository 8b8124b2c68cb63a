"""Transcripts: verified offline from the file and the pinned root; whatever is wrong is refused."""

import json
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kms.ceremonies.catalogue import CEREMONIES, read_brief
from kms.ceremonies.kinds import initialise_site
from kms.ceremonies.kinds.initialise_site import FoundSite
from kms.ceremonies.plan import parse_plan
from kms.ceremonies.record.entries import (
    Deviation,
    Recorded,
    Resumed,
    SectionBegun,
    SectionUndone,
    StepBegun,
    StepDone,
    StepFailed,
)
from kms.ceremonies.record.transcript import (
    PAYLOAD_TYPE,
    Result,
    decode_transcript,
    encode_transcript,
    read_unverified,
)
from kms.ceremonies.sitting import Sitting
from kms.ceremonies.verification.verdict import Check, TranscriptRefused
from kms.ceremonies.verification.verify import verify_transcript
from kms.domain.people import CredentialKind
from kms.errors import VerificationFailed
from kms.i18n import Language
from kms.statements.canonical import canonical, digest
from kms.statements.card import HeldCredential, credential_of, make_card
from kms.statements.dsse import decode_envelope, encode_envelope, signing_digest
from kms.statements.jws import private_signer, spki_id
from kms.statements.jws import sign as jws_sign
from kms.statements.register import TYP as REGISTER
from kms.statements.register import encode_register
from tests.fixtures.ceremonies import (
    BINDING,
    DAY,
    MADE_UP,
    NOW,
    OFFICERS,
    PARTS,
    PLAN,
    ROSTER,
    Cast,
    brief_of,
    called,
    new_key,
    room_of,
    signed_transcript,
)

CAST = Cast()
ROOT = CAST.root.public_key()


@pytest.fixture(autouse=True, scope="module")
def known_kind():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CEREMONIES, MADE_UP.name, MADE_UP)
        yield


@pytest.fixture(scope="module")
def envelope(tmp_path_factory):
    state = tmp_path_factory.mktemp("state")
    return signed_transcript(CAST, state, brief_of(CAST)).read_bytes()


def signed_by(payload, names=ROSTER, cast=CAST, **extra):
    """Return an envelope that these people signed, whatever it says."""
    value = signing_digest(payload, PAYLOAD_TYPE)
    signatures = {cast.kid(name): cast.signer(name)(value) for name in names}
    signatures |= {spki_id(key.public_key()): private_signer(key)(value) for key in extra.values()}
    return encode_envelope(payload, PAYLOAD_TYPE, signatures)


def told(envelope, **changes):
    """Return what everybody would have signed, had it been otherwise."""
    transcript = msgspec.structs.replace(read_unverified(envelope), **changes)
    return signed_by(encode_transcript(transcript))


def refused(check, envelope, root=ROOT, previous=None):
    with pytest.raises(TranscriptRefused) as caught:
        verify_transcript(envelope, root, previous)
    assert caught.value.check is check
    assert caught.value.message.startswith(f"{check}: ")
    return caught.value.message


# --- what holds ----------------------------------------------------------------------------------


def test_a_transcript_is_verified_from_its_file_and_the_pinned_root(envelope):
    verified = verify_transcript(envelope, ROOT)
    assert verified.signers == tuple(sorted(ROSTER))
    assert verified.transcript.result is Result.SUCCEEDED
    assert verified.sha256 == digest(decode_envelope(envelope, PAYLOAD_TYPE)[0])
    assert verified.site_root == spki_id(ROOT)
    assert verified.checks == tuple(Check)[:-1]


def test_the_report_speaks_both_languages_and_names_every_check(envelope):
    verified = verify_transcript(envelope, ROOT)
    chinese, english = verified.to_text(), verified.to_text(Language.EN)
    for check in verified.checks:
        assert check in chinese
        assert check in english
    assert "结论：全部通过。" in chinese
    assert "Conclusion: everything holds." in english


def test_a_ceremony_that_failed_on_its_way_is_verified_with_all_that_happened(tmp_path):
    brief = brief_of(CAST)
    sitting = called(CAST, tmp_path, brief, *ROSTER[:5])
    room = room_of(brief, tmp_path)
    for step in ("prepare/two", "more/three", "finish/look", "finish/four"):
        with pytest.raises(RuntimeError):
            Sitting.open(tmp_path, _failing(step), brief, NOW).hold(room)
    sitting.hold(room)
    CAST.sign(sitting.folder, *sitting.missing_signatures())
    verified = verify_transcript(sitting.finish().read_bytes(), ROOT)
    kinds = [type(entry) for entry in verified.transcript.entries]
    assert kinds.count(StepFailed) == kinds.count(Resumed) == kinds.count(Deviation) == 4
    assert kinds.count(SectionUndone) == 2
    assert verified.signers == tuple(sorted(ROSTER[:5]))


def test_a_ceremony_that_was_given_up_is_verified_as_such(tmp_path):
    brief = brief_of(CAST)
    sitting = called(CAST, tmp_path, brief)
    room = room_of(brief, tmp_path)
    with pytest.raises(RuntimeError):
        Sitting.open(tmp_path, _failing("more/three"), brief, NOW).hold(room)
    sitting.abort(room)
    CAST.sign(sitting.folder, *sitting.missing_signatures())
    verified = verify_transcript(sitting.finish().read_bytes(), ROOT)
    assert verified.transcript.result is Result.ABORTED


def test_a_transcript_follows_the_one_before_it(tmp_path, envelope):
    first = signed_transcript(CAST, tmp_path, brief_of(CAST)).read_bytes()
    (tmp_path / "made").rename(tmp_path / "elsewhere")
    second = signed_transcript(CAST, tmp_path, brief_of(CAST, "trial-2")).read_bytes()
    assert verify_transcript(second, ROOT, first).checks == tuple(Check)
    refused(Check.PREVIOUS, second, previous=second)
    refused(Check.PREVIOUS, second, previous=told(first, ended=NOW + 1))
    refused(Check.PREVIOUS, second, previous=envelope)


def _failing(step_id):
    def fail(_room):
        raise RuntimeError

    def script(brief):
        return tuple(
            replace(
                section,
                steps=tuple(
                    replace(one, act=fail) if one.id == step_id else one for one in section.steps
                ),
            )
            for section in MADE_UP.script(brief)
        )

    return replace(MADE_UP, script=script)


# --- forged by strangers -------------------------------------------------------------------------


@given(data=st.data())
@settings(max_examples=400, deadline=None)
def test_every_changed_bit_is_refused(envelope, data):
    bit = data.draw(st.integers(0, len(envelope) * 8 - 1))
    changed = bytearray(envelope)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(TranscriptRefused):
        verify_transcript(bytes(changed), ROOT)


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_every_changed_bit_of_the_plan_is_refused_though_all_signed_it(envelope, data):
    plan = bytearray(read_unverified(envelope).plan.encode())
    bit = data.draw(st.integers(0, len(plan) * 8 - 1))
    plan[bit // 8] ^= 1 << bit % 8
    text = plan.decode("utf-8", "replace")
    refused(Check.PLAN, told(envelope, plan=text))
    refused(Check.PLAN, told(envelope, plan=text, plan_sha256=digest(text.encode())))


@given(st.binary(max_size=200))
def test_no_other_bytes_are_taken_for_a_transcript(data):
    refused(Check.FORM, data)


def test_other_spellings_of_the_same_envelope_are_refused(envelope):
    fields = json.loads(envelope)
    first = fields["signatures"][0]
    spellings = [
        envelope + b"\n",
        b" " + envelope,
        json.dumps(fields).encode(),
        canonical({**fields, "more": 1}),
        canonical({**fields, "signatures": fields["signatures"][::-1]}),
        canonical({**fields, "signatures": [first, *fields["signatures"]]}),
        canonical({**fields, "signatures": [{**first, "cert": ""}, *fields["signatures"][1:]]}),
        canonical({**fields, "payloadType": "application/json"}),
        canonical({**fields, "payload": fields["payload"].rstrip("=") + "===="}),
        envelope.replace(b"payloadType", b"payload\\u0054ype"),
    ]
    for spelling in spellings:
        assert spelling != envelope
        refused(Check.FORM, spelling)


def test_another_root_is_refused(envelope):
    refused(Check.REGISTER, envelope, root=new_key().public_key())


@pytest.mark.parametrize("names", [ROSTER[1:], ROSTER[:-1], (*ROSTER[:2], *ROSTER[3:]), ()])
def test_a_missing_signature_is_refused(envelope, names):
    payload = decode_envelope(envelope, PAYLOAD_TYPE)[0]
    refused(Check.SIGNATURES, signed_by(payload, names))


def test_a_strangers_signature_is_refused(envelope):
    payload = decode_envelope(envelope, PAYLOAD_TYPE)[0]
    refused(Check.SIGNATURES, signed_by(payload, stranger=new_key()))


def test_a_signature_of_something_else_is_refused(envelope):
    payload, signatures = decode_envelope(envelope, PAYLOAD_TYPE)
    kid = CAST.kid("chen-admin")
    signatures[kid] = CAST.signer("chen-admin")(signing_digest(payload, "text/plain"))
    refused(Check.SIGNATURES, encode_envelope(payload, PAYLOAD_TYPE, signatures))
    refused(
        Check.SIGNATURES,
        encode_envelope(payload, PAYLOAD_TYPE, {**signatures, kid: bytes(64)}),
    )


# --- false, though everybody signed it -----------------------------------------------------------


@pytest.mark.parametrize("place", ["", "binding", "request"])
def test_an_unknown_field_is_refused(envelope, place):
    fields = json.loads(decode_envelope(envelope, PAYLOAD_TYPE)[0])
    (fields[place] if place else fields)["more"] = 1
    refused(Check.FORM, signed_by(canonical(fields)))


def test_an_unknown_entry_is_refused(envelope):
    fields = json.loads(decode_envelope(envelope, PAYLOAD_TYPE)[0])
    fields["entries"].append({"event": "looked-away", "time": NOW})
    refused(Check.FORM, signed_by(canonical(fields)))


def test_an_unknown_version_is_refused(envelope):
    fields = json.loads(decode_envelope(envelope, PAYLOAD_TYPE)[0])
    refused(Check.FORM, signed_by(canonical({**fields, "version": 2})))


def test_an_unknown_kind_is_refused(envelope, monkeypatch):
    monkeypatch.delitem(CEREMONIES, MADE_UP.name)
    refused(Check.SCRIPT, envelope)


def test_a_request_for_something_else_is_refused(envelope):
    request = read_unverified(envelope).request
    changes = {
        "site": "other.bank.example",
        "ceremony": "trial-9",
        "kind": "drill",
        "plan": digest(b""),
        "nonce": "AAAA",
        "roster": request.roster[:-1],
        "expires": request.expires + DAY,
        "issued": request.expires,
    }
    for field, value in changes.items():
        refused(Check.PLAN, told(envelope, request=replace(request, **{field: value})))
    refused(Check.REGISTER, told(envelope, request=replace(request, register=digest(b""))))


@pytest.mark.parametrize(
    ("check", "changes"),
    [
        (Check.PLAN, {"site": "other.bank.example"}),
        (Check.PLAN, {"ceremony": "trial-9"}),
        (Check.PLAN, {"kind": "drill"}),
        (Check.REGISTER, {"register": ""}),
        (Check.REGISTER, {"founded": CAST.register}),
        (Check.SCRIPT, {"binding": replace(BINDING, site="other.bank.example")}),
        (Check.STEPS, {"result": Result.ABORTED}),
        (Check.STEPS, {"entries": ()}),
        (Check.TIMES, {"begun": NOW - 1}),
        (Check.TIMES, {"ended": NOW + 1}),
        (Check.APPROVALS, {"approvals": {}}),
        (Check.NUMBER, {"sequence": 2}),
        (Check.NUMBER, {"previous": digest(b"")}),
    ],
)
def test_a_field_that_does_not_fit_the_others_is_refused(envelope, check, changes):
    refused(check, told(envelope, **changes))


def _without(entries, *kinds_and_names):
    return tuple(
        entry
        for entry in entries
        if not any(
            isinstance(entry, kind)
            and name in {getattr(entry, "step", ""), getattr(entry, "section", "")}
            for kind, name in kinds_and_names
        )
    )


def _swapped(entries, one, other):
    """Return the entries with two steps' names swapped."""
    names = {one: other, other: one}
    return tuple(
        msgspec.structs.replace(entry, step=names.get(entry.step, entry.step))
        if isinstance(entry, StepBegun | StepDone)
        else entry
        for entry in entries
    )


STORIES = {
    "a step left out": lambda entries: _without(
        entries, (StepBegun, "prepare/one"), (StepDone, "prepare/one")
    ),
    "the last step left out": lambda entries: _without(
        entries, (StepBegun, "finish/look"), (StepDone, "finish/look")
    ),
    "a step begun, not done": lambda entries: _without(entries, (StepDone, "prepare/one")),
    "a section left out": lambda entries: tuple(
        entry
        for entry in entries
        if not (getattr(entry, "step", "") or getattr(entry, "section", "")).startswith("more")
    ),
    "steps in another order": lambda entries: _swapped(entries, "prepare/one", "prepare/two"),
    "a step of no plan": lambda entries: _swapped(entries, "prepare/one", "prepare/ten"),
    "a forward section told of as one that can be undone": lambda entries: tuple(
        msgspec.structs.replace(entry, forward=False) if isinstance(entry, SectionBegun) else entry
        for entry in entries
    ),
    "a failure of no step": lambda entries: (
        *entries,
        StepFailed(time=NOW, step="more/four", code="x", message="x"),
    ),
    "its own recording": lambda entries: (*entries, Recorded(time=NOW, transcript="x")),
    "a section after the last": lambda entries: (
        *entries,
        SectionBegun(time=NOW, section="again", forward=True),
    ),
    "an end before its time": lambda entries: entries[:-3],
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_steps_other_than_the_plans_are_refused(envelope, story):
    refused(Check.STEPS, told(envelope, entries=story(read_unverified(envelope).entries)))


def test_a_time_that_goes_back_is_refused(envelope):
    entries = read_unverified(envelope).entries
    entries = (*entries[:5], msgspec.structs.replace(entries[5], time=NOW - 1), *entries[6:])
    refused(Check.STEPS, told(envelope, entries=entries))


def test_a_start_before_the_call_is_refused(envelope):
    entries = tuple(
        msgspec.structs.replace(entry, time=NOW - DAY)
        for entry in read_unverified(envelope).entries
    )
    refused(Check.TIMES, told(envelope, entries=entries, begun=NOW - DAY, ended=NOW - DAY))


def test_a_start_after_the_request_expired_is_refused(envelope):
    late = NOW + 5 * DAY
    entries = tuple(
        msgspec.structs.replace(entry, time=late) for entry in read_unverified(envelope).entries
    )
    refused(Check.APPROVALS, told(envelope, entries=entries, begun=late, ended=late))


def test_too_few_approvals_are_refused_whatever_was_done(envelope):
    transcript = read_unverified(envelope)
    few = {name: token for name, token in transcript.approvals.items() if name not in OFFICERS[1:]}
    first = msgspec.structs.replace(transcript.entries[0], approvals=few)
    changed = told(envelope, approvals=few, entries=(first, *transcript.entries[1:]))
    refused(Check.APPROVALS, changed)


# --- the ceremony that founds a site -------------------------------------------------------------


def founding_plan():
    """Return a plan that brings in everybody with a card of their own."""
    people = "".join(
        f"""
[[parameters.people]]
name = "{name}"
display = "{name}"
part = "{PARTS.get(name, "officer")}"
{f'group = "security"{chr(10)}share = {OFFICERS.index(name) + 1}' if name in OFFICERS else ""}
term_from = 2027-01-01T00:00:00Z
term_until = 2029-01-01T00:00:00Z
card = "{_card(name)}"
"""
        for name in ROSTER
    )
    head = PLAN.format(id="found-1", word="x").partition("[parameters]")[0]
    groups = '[[parameters.groups]]\nname = "security"\nthreshold = 2\n'
    return parse_plan((head + groups + people).encode())


def _card(name):
    credential = credential_of(CredentialKind.SOFTWARE, CAST.keys[name].public_key())
    held = HeldCredential(credential, CAST.signer(name))
    return _CARDS.setdefault(name, make_card(name, held))


_CARDS = {}
"""A card is made once: no two signatures are the same, and so no two plans would be."""


@pytest.fixture
def founded(tmp_path, monkeypatch):
    """Return the transcript of a made-up ceremony that founds a site, and the root that it made."""
    key = new_key()
    made = key.public_key()

    def act(room):
        register = initialise_site.founded(founding_plan(), room.brief.parameters, BINDING, NOW)
        payload, kid = encode_register(register), spki_id(made)
        token = jws_sign(payload, typ=REGISTER, kid=kid, signer=private_signer(key))
        return {"site_root": kid, "register": token}

    def script(_brief):
        section = MADE_UP.script(brief_of(CAST))[1]
        step = replace(section.steps[0], act=act, check=_pass)
        return (replace(section, steps=(step,)),)

    kind = replace(MADE_UP, parameters=FoundSite, script=script, makes_root="more/three")
    monkeypatch.setitem(CEREMONIES, MADE_UP.name, kind)
    brief = read_brief(founding_plan(), None, "", BINDING)
    sitting = Sitting.open(tmp_path, kind, brief, NOW)
    CAST.sign(sitting.folder, *ROSTER)
    sitting.hold(room_of(brief, tmp_path))
    CAST.sign(sitting.folder, *ROSTER)
    return sitting.finish().read_bytes(), made


def _pass(_room):
    pass


def test_a_founding_ceremony_is_verified_by_the_root_that_it_made(founded):
    envelope, made = founded
    verified = verify_transcript(envelope, made)
    assert verified.site_root == spki_id(made)
    assert verified.transcript.register == ""


def test_a_founding_ceremony_that_made_another_root_is_refused(founded):
    refused(Check.ROOT, founded[0], root=ROOT)


def test_a_founding_ceremony_that_names_no_root_is_refused(founded):
    transcript = read_unverified(founded[0])
    entries = tuple(
        msgspec.structs.replace(entry, facts={}) if isinstance(entry, StepDone) else entry
        for entry in transcript.entries
    )
    refused(Check.ROOT, told(founded[0], entries=entries), root=founded[1])


def test_nobody_founds_a_site_under_a_root_that_did_not_sign_their_register(founded):
    transcript = read_unverified(founded[0])
    forged = tuple(
        msgspec.structs.replace(entry, facts={"site_root": spki_id(ROOT)})
        if isinstance(entry, StepDone)
        else entry
        for entry in transcript.entries
    )
    said = refused(Check.ROOT, told(founded[0], entries=forged), root=ROOT)
    assert "did not sign the register" in said


def test_no_other_ceremony_names_a_site_root(envelope):
    transcript = read_unverified(envelope)
    theirs = spki_id(new_key().public_key())
    entries = tuple(
        msgspec.structs.replace(entry, facts={"site_root": theirs})
        if isinstance(entry, StepDone)
        else entry
        for entry in transcript.entries
    )
    assert verify_transcript(told(envelope, entries=entries), ROOT).site_root == spki_id(ROOT)


def test_a_founding_ceremony_of_other_people_than_the_plans_is_refused(founded):
    register = read_unverified(founded[0]).founded
    refused(Check.SCRIPT, told(founded[0], founded=replace(register, version=2)), root=founded[1])


def test_only_a_founding_ceremony_goes_without_a_register(envelope):
    request = replace(read_unverified(envelope).request, register="")
    changed = told(envelope, register="", founded=CAST.register, request=request)
    refused(Check.SCRIPT, changed)


def test_a_payload_alone_is_no_signed_transcript(envelope):
    payload = decode_envelope(envelope, PAYLOAD_TYPE)[0]
    assert decode_transcript(payload).kind == "made-up"
    with pytest.raises(VerificationFailed):
        read_unverified(payload)
