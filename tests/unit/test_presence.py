"""Who shows to be at a device by the passkey that the host invited: what counts, and what not.

The authenticator is a software one, a test's own.
"""

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kms.errors import AssertionRequired, VerificationFailed
from kms.statements import jws
from kms.statements.approval import TYP as APPROVAL
from kms.statements.approval import Approval
from kms.statements.canonical import b64u, canonical, encode_record, unb64u
from kms.statements.invitation import host_spki, verify_invitation
from kms.statements.personal import join as personal_join
from kms.statements.presence import TYP, Presence, Proof, challenge_of, encode_presence, join
from kms.statements.request import check_approval
from kms.statements.roster import RosterStatement, peek_roster, sign_roster
from kms.statements.webauthn import check_assertion
from kms.usecases.assertions import Assertions, Door, refused
from tests.fixtures import vouching
from tests.fixtures.api import BANKING
from tests.fixtures.approvals import EXAMPLES, Board
from tests.fixtures.authenticator import FLAG
from tests.fixtures.confidential import (
    AT_MEETINGS,
    NOW,
    PARTY,
    SITE,
    asserted,
    assertions,
    device,
    host_id,
    host_key,
    invitation,
    meeting_id,
    named,
    passkey,
    roster,
    shown,
)

MEETING, OTHER = meeting_id(), meeting_id()
WHO, GUEST = device("host"), device("guest")
MADE, STRANGE = passkey(), passkey()
STRANGER = ec.generate_private_key(ec.SECP256R1())
INVITED = invitation(MEETING, WHO, MADE)
EVIL = "https://evil.example"


def door(*invited: str, **changes: Any) -> Door:
    """Return the device's door; ``invited`` is what the roster carries."""
    fields = {"site": SITE, "space": BANKING, "meeting": MEETING, "device": WHO.id}
    fields |= {"host": host_id(), "roster": _roster(invited or (INVITED,))}
    return Door(**{**fields, **changes})


def _roster(invited: tuple[str, ...]) -> str:
    """Return what the look at a roster needs: its own signature is the worker's to check."""
    return sign_roster(RosterStatement(BANKING, MEETING, 1, NOW, (), _host(), invited), host_key())


def accept(token: str, at: Door | None = None, by: Assertions | None = None, **more: Any) -> None:
    wanted = more.get("wanted", "a fetch")
    told = (by or assertions()).accept(token, at or door(), more.get("now", NOW), wanted)
    assert told == {"presence": token}


def refuse(token: str, at: Door | None = None, by: Assertions | None = None, **more: Any) -> None:
    with pytest.raises(AssertionRequired) as caught:
        accept(token, at, by, **more)
    assert (str(caught.value), caught.value.hint) == (str(refused()), refused().hint)


def test_a_fresh_statement_by_the_invited_passkey_counts() -> None:
    accept(shown(MEETING, WHO, MADE, INVITED))
    accept(shown(MEETING, WHO, MADE, INVITED, issued=NOW - 60))


STATED: dict[str, dict[str, Any]] = {
    "another site": {"site": "other.example"},
    "another space": {"space": "treasury"},
    "another meeting": {"meeting": OTHER},
    "another device": {"device": GUEST.id},
    "too old": {"issued": NOW - 61},
    "of the future": {"issued": NOW + 60},
    "before the service began": {"issued": NOW - 700},
}
ANSWERED: dict[str, dict[str, Any]] = {
    "nobody verified": {"flags": FLAG.UP},
    "nobody present": {"flags": FLAG.UV},
    "another origin": {"origin": EVIL},
    "in another site's page": {"cross": True},
    "another relying party": {"rp_id": "evil.example"},
    "another key": {"key": STRANGE.key},
    "another challenge": {"other": bytes(32)},
    "a registration": {"type": "webauthn.create"},
}
INVITED_TO: dict[str, dict[str, Any]] = {
    "another site": {"site": "other.example"},
    "another space": {"space": "treasury"},
    "another meeting": {"meeting": OTHER},
    "expired": {"issued": NOW - 99, "expires": NOW},
    "not yet": {"issued": NOW + 99},
    "no passkey": {"passkey": None},
    "another passkey": {"passkey": named(STRANGE)},
    "another's key": {"passkey": named(MADE, spki=STRANGE.spki)},
    "another origin": {"passkey": named(MADE, origin=EVIL)},
    "another party": {"passkey": named(MADE, rp_id="evil.example")},
    "by a stranger": {"by": STRANGER},
}


@pytest.mark.parametrize("wrong", STATED)
def test_what_is_stated_of_something_else_does_not_count(wrong: str) -> None:
    refuse(shown(MEETING, WHO, MADE, INVITED, **STATED[wrong]))


@pytest.mark.parametrize("wrong", ANSWERED)
def test_what_an_authenticator_answers_otherwise_does_not_count(wrong: str) -> None:
    refuse(shown(MEETING, WHO, MADE, INVITED, wrong=ANSWERED[wrong]))


@pytest.mark.parametrize("wrong", INVITED_TO)
def test_an_invitation_of_something_else_lets_nobody_in(wrong: str) -> None:
    invited = invitation(MEETING, WHO, MADE, **INVITED_TO[wrong])
    refuse(shown(MEETING, WHO, MADE, invited), door(invited))


def test_nobody_invites_himself() -> None:
    """With a host's key of one's own, also if the roster carried what it signed."""
    invited = invitation(MEETING, WHO, MADE, STRANGER)
    refuse(shown(MEETING, WHO, MADE, invited, STRANGER), door(invited))
    accept(
        shown(MEETING, WHO, MADE, invited, STRANGER),
        door(invited, host=jws.spki_id(STRANGER.public_key())),
    )


def test_the_site_says_where_passkeys_answer_whatever_the_host_invites() -> None:
    for place, wrong in (
        ({"origin": EVIL}, {"origin": EVIL}),
        ({"rp_id": "evil.example"}, {"rp_id": "evil.example"}),
    ):
        invited = invitation(MEETING, WHO, passkey=named(MADE, **place))
        refuse(shown(MEETING, WHO, MADE, invited, wrong=wrong), door(invited))


def test_an_invitation_that_ended_since_lets_nobody_in() -> None:
    invited = invitation(MEETING, WHO, MADE, issued=NOW - 99, expires=NOW - 10)
    token = shown(MEETING, WHO, MADE, invited, issued=NOW - 30)
    refuse(token, door(invited))
    accept(token, door(invited), now=NOW - 11)


def test_another_name_of_the_passkey_does_not_count() -> None:
    payload = encode_presence(Presence(SITE, BANKING, MEETING, WHO.id, NOW, b64u(bytes(16))))
    answer = AT_MEETINGS.sign(MADE, challenge_of(payload))
    refuse(join(payload, Proof(_host(), INVITED, replace(answer, credential=STRANGE.credential))))
    accept(join(payload, Proof(_host(), INVITED, answer)))


def test_another_devices_door_or_an_invitation_no_longer_on_the_roster_stays_shut() -> None:
    token = shown(MEETING, WHO, MADE, INVITED)
    for change in (
        {"site": "other.example"}, {"space": "treasury"}, {"meeting": OTHER},
        {"device": GUEST.id}, {"host": "x"}, {"host": ""}, {"roster": ""},
    ):  # fmt: skip
        refuse(token, door(**change))
    refuse(token, door(invitation(MEETING, WHO, STRANGE)))
    refuse(token, door(passkeys={MADE.credential}))
    accept(token, door(passkeys={STRANGE.credential}))


def test_what_the_roster_of_a_meeting_carries_is_found_there() -> None:
    statement = roster(MEETING, (WHO, GUEST), passkeys={"host": MADE})
    invited = peek_roster(statement).invitations[0]
    accept(shown(MEETING, WHO, MADE, invited), door(roster=statement))


def test_a_statement_is_used_once_but_the_same_request_may_look_again() -> None:
    by, token, first = assertions(), shown(MEETING, WHO, MADE, INVITED), object()
    accept(token, by=by, wanted=first)
    accept(token, by=by, wanted=first)
    refuse(token, by=by, wanted=object())
    _, payload, proof = token.split(".")
    again = AT_MEETINGS.sign(MADE, challenge_of(unb64u(payload)))
    signed_twice = join(unb64u(payload), Proof(_host(), INVITED, again))
    assert signed_twice.split(".")[2] != proof
    refuse(signed_twice, by=by, wanted=object())
    accept(shown(MEETING, WHO, MADE, INVITED), by=by, wanted=object())


def _host() -> str:
    return host_spki(host_key().public_key())


def test_what_may_have_been_used_before_a_restart_does_not_count() -> None:
    token = shown(MEETING, WHO, MADE, INVITED, issued=NOW + 3)
    refuse(token, by=assertions(NOW), now=NOW + 1)
    accept(shown(MEETING, WHO, MADE, INVITED, issued=NOW + 4), by=assertions(NOW), now=NOW + 1)


def test_a_site_may_have_the_one_way_or_the_other() -> None:
    token = shown(MEETING, WHO, MADE, INVITED)
    refuse(token, by=assertions(webauthn=None))
    alone = Assertions(assertions(issuer="", audience="", key=None).settings, None, NOW - 600)
    accept(token, by=alone)
    refuse(asserted(MEETING, WHO.id), by=alone)


def test_a_passkey_for_presence_neither_approves_nor_signs_in() -> None:
    """What it signed is of another record, whose challenge is no request's and no session's."""
    payload = encode_presence(Presence(SITE, BANKING, MEETING, WHO.id, NOW, b64u(bytes(16))))
    answer = AT_MEETINGS.sign(MADE, challenge_of(payload))
    board = Board(SITE, NOW)
    vow = vouching.admission(
        "wang-security", MADE, rp_id=PARTY.id, origin=PARTY.origin, site=board.register.site
    )
    wanted = board.request("epoch.destroy", EXAMPLES["epoch.destroy"], BANKING)
    with pytest.raises(VerificationFailed):
        check_approval(wanted, board.register, personal_join(payload, APPROVAL, vow, answer))
    approval = encode_record(Approval(wanted.digest(), "wang-security", NOW))
    with pytest.raises(VerificationFailed, match="another challenge"):
        check_approval(wanted, board.register, personal_join(approval, APPROVAL, vow, answer))
    with pytest.raises(VerificationFailed, match="another challenge"):
        check_assertion(answer, key_spki=MADE.spki, party=PARTY, challenge=bytes(32))


def test_an_approval_or_a_sign_in_shows_nobody_to_be_there() -> None:
    approval = canonical({"approved": NOW, "person": "wang-security", "request": "x"})
    sign_in = AT_MEETINGS.sign(MADE, bytes(32))
    vow = vouching.admission("wang-security", MADE)
    payload = encode_presence(Presence(SITE, BANKING, MEETING, WHO.id, NOW, b64u(bytes(16))))
    approved = AT_MEETINGS.sign(MADE, challenge_of(approval))
    for token in (
        personal_join(payload, TYP, vow, AT_MEETINGS.sign(MADE, challenge_of(payload))),
        personal_join(approval, APPROVAL, vow, approved),
        join(approval, Proof(_host(), INVITED, approved)),
        join(payload, Proof(_host(), INVITED, approved)),
        join(payload, Proof(_host(), INVITED, sign_in)),
        join(payload, Proof(_host(), vow, AT_MEETINGS.sign(MADE, challenge_of(payload)))),
    ):
        refuse(token)


def test_other_spellings_are_refused() -> None:
    token = shown(MEETING, WHO, MADE, INVITED)
    head, payload, proof = token.split(".")
    spaced = b64u(unb64u(payload).replace(b",", b", "))
    short = b64u(encode_record(Presence(SITE, BANKING, MEETING, WHO.id, NOW, b64u(b"short"))))
    for other in (
        head, f"{head}..", f"{head}.{payload}", f"{token}.{proof}", f"{head}.{spaced}.{proof}",
        f"{head}.{short}.{proof}", f"{head}.{payload}.{proof}=", f"{head}.{payload}.é",
        f"{head}.{payload}.{proof}{'A' * 9000}", f"{head}.{proof}.{payload}", f"{token}\n",
    ):  # fmt: skip
        refuse(other)


def test_a_passkey_that_cannot_be_verified_is_no_invitation() -> None:
    key = host_key().public_key()
    assert verify_invitation(INVITED, key).passkey == named(MADE)
    assert verify_invitation(invitation(MEETING, WHO), key).passkey is None
    for wrong in ({"credential": "short"}, {"spki": "AAAA"}, {"spki": ""}):
        token = invitation(MEETING, WHO, passkey=named(MADE, **wrong))
        with pytest.raises(VerificationFailed):
            verify_invitation(token, key)
    payload = jws.unverified_payload(invitation(MEETING, WHO), typ="conclave-invitation+jws")
    assert b"passkey" not in payload
    told = jws.sign(
        payload.replace(b'"site"', b'"passkey":null,"site"'), typ="conclave-invitation+jws",
        kid=host_id(), signer=jws.private_signer(host_key()),
    )  # fmt: skip
    with pytest.raises(VerificationFailed):
        verify_invitation(told, key)
