"""What the offline verifier says of passkeys and sessions of the board: AV-20."""

from dataclasses import replace

import pytest

from kms.audit.checks import Check, Verdict
from kms.audit.leaf import Outcome
from kms.domain.passkeys import Purpose
from tests.fixtures.authenticator import PARTY
from tests.fixtures.evidence import named
from tests.fixtures.people import SECURITY
from tests.fixtures.told_passkeys import HOUR, NAME, told_passkeys
from tests.fixtures.verdicts import failed, find, retell, sealed, seqs, verdicts, verified


@pytest.fixture
def verify(tmp_path):
    return lambda told: verified(sealed(told.site), tmp_path)


@pytest.fixture
def told():
    return told_passkeys()


def test_the_whole_life_of_passkeys_passes(verify, told):
    made, admission = told.approving()
    told.approve(made, admission)
    first = told.device.made[0]
    auth = f"passkey:{first.credential}"
    told.tell("session.confirm", {"credential": first.credential, "counter": 0}, NAME, auth)
    told.tell("session.end", {"why": "signed out"}, NAME, auth)
    told.revoke(made)
    refused = {"code": "unauthenticated", "reason": "x", "address": "127.0.0.1", "closed": False}
    told.tell("session.refused", refused, "nobody", "board:none", outcome=Outcome.REFUSED)
    report = verify(told)
    assert failed(report) == set()
    assert verdicts(report)[Check.PASSKEYS] is Verdict.PASS


def test_whoever_signed_in_by_certificate_enrols_for_approvals(verify, told):
    auth = "tls:" + named("a certificate")
    told.tell("session.start", {"credential": "", "counter": 0, "address": "x"}, NAME, auth)
    told.enroll("", Purpose.APPROVAL, auth)
    assert failed(verify(told)) == set()


@pytest.mark.parametrize(("late", "found"), [(58, set()), (61, {Check.APPROVALS})])
def test_an_admission_that_ended_approves_for_the_length_of_a_call(verify, told, late, found):
    first = told.signed_in()
    made = told.enroll("", Purpose.APPROVAL, f"passkey:{first.credential}")
    admission = told.admit(made, expires=told.now + 20)
    told.approve(made, admission)
    told.wait(20 + late)
    told.site.times[-1] = told.site._now
    assert failed(verify(told)) == found


def _room(told):
    return told.site.open("investment-banking", "ann", "bob")


def _by(told, made):
    """Let the last leaf be written for whoever signed in by a passkey."""
    auth = f"passkey:{made.credential}"
    told.site.drafts[-1] = replace(told.site.drafts[-1], actor=NAME, auth=auth)


def _enrolled_by(told, made):
    told.enroll("", Purpose.APPROVAL, f"passkey:{made.credential}")


def test_what_began_before_a_revocation_may_end_whenever_it_does(verify, told):
    made, room = told.signed_in(), _room(told)
    seq = told.site.intent(room)
    _by(told, made)
    told.revoke(made)
    told.wait(600)
    told.site.result(room, seq, Outcome.INTERRUPTED)
    _by(told, made)
    told.tell("session.end", {"why": "signed out"}, NAME, f"passkey:{made.credential}")
    since = told.now - HOUR
    figures = dict.fromkeys(("bundle", "figures", "full", "statement"), named("a digest"))
    report = {"report": "r-1", "since": since, "until": told.now, "size": 1, **figures}
    told.tell("report.make", report, NAME, f"passkey:{made.credential}", resource="reports/r-1")
    assert failed(verify(told)) == set()


def test_an_invitation_and_an_admission_may_end_while_a_call_lasts(verify, told):
    told.invite(life=60)
    told.wait(60)
    told.site.times[-1] = told.site._now
    made = told.enroll(told.invite(Purpose.APPROVAL), Purpose.APPROVAL)
    told.admit(made, expires=told.now + 60)
    told.wait(60)
    told.site.times[-1] = told.site._now
    assert failed(verify(told)) == set()


def test_a_passkey_is_admitted_for_the_origin_of_its_site_as_it_is_now(verify, told):
    made = told.enroll(told.invite(Purpose.APPROVAL), Purpose.APPROVAL)
    told.admit(made, origin=f"{PARTY.origin}0")
    assert failed(verify(told)) == set()


def _admitted_for_another_site(told):
    made = told.enroll(told.invite(Purpose.APPROVAL), Purpose.APPROVAL)
    told.admit(made, rp_id="elsewhere", origin="https://elsewhere")


@pytest.mark.parametrize(
    ("passkeys", "found"), [(2, set()), (3, {Check.APPROVALS, Check.DESTRUCTION})]
)
def test_what_nothing_undoes_was_approved_by_one_credential(verify, told, passkeys, found):
    """Of the three who had a meeting destroyed."""
    admitted = []
    for told.person in SECURITY[:passkeys]:
        admitted.append((told.person, *told.approving()))
    room = _room(told)
    told.site.close(room)
    told.site.destroy(room)
    done = list(told.site.requests)[-1]
    for place, (told.person, made, admission) in enumerate(admitted):
        told.sign_instead(done, place, made, admission)
    assert failed(verify(told)) == found


def _by_nobody(told):
    told.invite(by="stranger")


def _by_a_colleague(told):
    told.invite(by=SECURITY[1])


def _expired(told):
    invitation = told.invite(life=60)
    told.wait(60 + 61)
    told.enroll(invitation)


def _twice(told):
    invitation = told.invite()
    told.enroll(invitation)
    told.enroll(invitation)


def _another_purpose(told):
    told.enroll(told.invite(), Purpose.APPROVAL)


def _another_person(told):
    told.enroll(told.invite(), person=SECURITY[1])


def _uninvited(told):
    told.enroll("", Purpose.SIGN_IN)


def _not_signed_in(told):
    told.enroll("", Purpose.APPROVAL, "tls:" + named("a certificate"))


def _enrolled_twice(told):
    made = told.enroll(told.invite())
    told.enroll(told.invite(), credential=made.credential)


def _no_key(told):
    told.enroll(told.invite(), spki="AAAA")


def _unknown(told):
    told.sign_in(told.device.enrolled())


def _another_than_told(told):
    made, other = told.signed_in(), told.signed_in()
    told.sign_in(made, credential=other.credential)


def _invited_twice(told):
    told.invite()
    told.codes -= 1
    told.invite()


def _approval_signs_in(told):
    made, _ = told.approving()
    told.sign_in(made)


def _in_anothers_name(told):
    made = told.signed_in()
    told.person = SECURITY[1]
    told.sign_in(made)


def _counter_back(told):
    made = told.enroll(told.invite())
    told.sign_in(made, 5)
    told.sign_in(made, 5)


def _after_revocation(told):
    made = told.signed_in()
    told.revoke(made)
    told.wait(61)
    told.sign_in(made)


def _acts_after_revocation(told):
    made = told.signed_in()
    told.revoke(made)
    told.wait(61)
    _enrolled_by(told, made)


def _ends_anothers_session(told):
    made = told.signed_in()
    told.person = SECURITY[1]
    told.tell("session.end", {"why": "x"}, SECURITY[1], f"passkey:{made.credential}")


def _admitted_again(told):
    made, _ = told.approving()
    told.admit(made, expires=told.now + 2 * HOUR)


def _revoked_twice(told):
    made = told.signed_in()
    told.revoke(made)
    told.revoke(made)


def _revoked_unknown(told):
    told.revoke(told.device.enrolled())


def _admitted_by_a_colleague(told):
    made = told.enroll(told.invite(Purpose.APPROVAL), Purpose.APPROVAL)
    told.admit(made, by=SECURITY[1])


def _admitted_for_sign_in(told):
    told.admit(told.signed_in())


def _admitted_another_key(told):
    made, _ = told.approving()
    told.admit(made, spki=told.device.enrolled().spki)


def _admitted_too_late(told):
    made, _ = told.approving()
    told.admit(made, issued=told.now - 2 * HOUR, expires=told.now - HOUR)


def _approved_after_revocation(told):
    made, admission = told.approving()
    told.revoke(made)
    told.wait(61)
    told.approve(made, admission)


def _approved_by_an_admission_untold(told):
    made = told.enroll(told.invite(Purpose.APPROVAL), Purpose.APPROVAL)
    seq = len(told.site.drafts)
    token = told.admit(made)
    del told.site.drafts[seq], told.site.times[seq]
    told.approve(made, token)


BROKEN = {case.__name__.strip("_"): case for case in (
    _by_nobody, _by_a_colleague, _invited_twice, _expired, _twice, _another_purpose,
    _another_person, _uninvited,
    _not_signed_in, _enrolled_twice, _no_key, _unknown, _another_than_told, _approval_signs_in,
    _in_anothers_name, _counter_back, _after_revocation, _acts_after_revocation, _revoked_twice,
    _revoked_unknown, _admitted_by_a_colleague, _admitted_for_sign_in, _admitted_another_key,
    _admitted_too_late, _admitted_again, _admitted_for_another_site,
    _ends_anothers_session, _approved_after_revocation, _approved_by_an_admission_untold,
)}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_have_been_fails(verify, told, name):
    BROKEN[name](told)
    assert failed(verify(told)) == {Check.PASSKEYS}


def test_words_of_an_unknown_shape_fail(verify, told):
    told.signed_in()
    for action in ("passkey.invite", "passkey.enroll", "session.start"):
        retell(told.site, find(told.site, action), more="x")
    report = verify(told)
    assert Check.ACTIONS in failed(report)
    assert len(seqs(report, Check.ACTIONS)) == 3


def test_a_tampered_approval_by_a_passkey_fails(verify, told):
    made, admission = told.approving()
    done = told.approve(made, admission)
    record = told.site.requests[done]
    header, payload, proof = record.approvals[0].split(".")
    forged = ".".join((header, payload, proof[:-2] + ("AA" if proof[-2:] != "AA" else "BB")))
    told.site.requests[done] = replace(record, approvals=(forged, *record.approvals[1:]))
    assert failed(verify(told)) & {Check.APPROVALS, Check.PASSKEYS}
