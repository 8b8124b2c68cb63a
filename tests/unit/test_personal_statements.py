"""Requests and approvals signed by passkeys: what counts from the register alone, and what not."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from kms.domain.approvals import Request
from kms.domain.asked import IRREVOCABLE
from kms.domain.policies import GroupNeed
from kms.errors import ConclaveError, QuorumNotMet, VerificationFailed
from kms.statements import request as statements
from kms.statements.approval import TYP as APPROVAL
from kms.statements.approval import Approval
from kms.statements.canonical import b64u, canonical, encode_record, unb64u
from kms.statements.passkeys import DAY, MAX_ADMISSION_SECONDS
from kms.statements.personal import challenge_of, join, peek_proof, verify_personal
from kms.statements.request import TYP as REQUEST
from kms.statements.request import CheckedRequest, check_approval, check_quorum, verify_request
from tests.fixtures.approvals import ADMIN, EXAMPLES, NOW, SECURITY, SITE, SPACE, Board
from tests.fixtures.authenticator import Authenticator, Made
from tests.fixtures.people import held
from tests.fixtures.vouching import admission

BOARD = Board(SITE, NOW, seconds=("wang-security",))
NAME = "wang-security"
DEVICE = Authenticator()
MADE = DEVICE.enrolled()
WANTED = BOARD.request("epoch.destroy", EXAMPLES["epoch.destroy"], SPACE)
APPROVED = Approval(WANTED.digest(), NAME, NOW + 1)


def approve(
    made: Made = MADE,
    vow: str = "",
    typ: str = APPROVAL,
    approved: Approval = APPROVED,
    **wrong: Any,
) -> str:
    payload = encode_record(approved)
    assertion = DEVICE.sign(made, wrong.pop("asked", challenge_of(payload)), **wrong)
    return join(payload, typ, vow or admission(NAME, MADE), assertion)


def checked(operation: str, passkeys: int) -> CheckedRequest:
    """Return a request with two approvals, so many of them by passkeys."""
    wanted = BOARD.request(operation, EXAMPLES[operation], SPACE)
    tokens = []
    for number, name in enumerate(SECURITY[:2]):
        if number < passkeys:
            said = Approval(wanted.digest(), name, NOW + 1)
            tokens.append(approve(vow=admission(name, MADE), approved=said))
        else:
            tokens.append(BOARD.approve(name, wanted))
    record = Request(SPACE, wanted.id, BOARD.signed(wanted), tuple(tokens))
    return verify_request(record, SITE, BOARD.register, BOARD.sha256)


def refused(token: str, match: str, board: Board = BOARD, **changes: Any) -> None:
    with pytest.raises(VerificationFailed, match=match):
        check_approval(WANTED, replace(board.register, **changes), token)


def test_a_passkeys_approval_counts_like_a_credentials() -> None:
    person, found = check_approval(WANTED, BOARD.register, approve())
    assert (person.name, found) == (NAME, APPROVED)


@pytest.mark.parametrize("operation", sorted(IRREVOCABLE - {"meeting.share"}))
def test_what_nothing_undoes_wants_one_credential_of_the_register(operation: str) -> None:
    check_quorum(checked(operation, 1), BOARD.register, NOW + 2)
    with pytest.raises(QuorumNotMet, match="with a credential of the register") as found:
        check_quorum(checked(operation, 2), BOARD.register, NOW + 2)
    assert "conclave approval sign" in found.value.hint


def test_other_operations_are_approved_by_passkeys_alone() -> None:
    check_quorum(checked("epoch.resume", 2), BOARD.register, NOW + 2)


def test_whoever_signed_with_a_credential_is_in_office_still() -> None:
    register = BOARD.register
    gone = tuple(
        replace(one, term_until=NOW + 2) if one.name == SECURITY[1] else one
        for one in register.people
    )
    found = checked("epoch.destroy", 1)
    enough = replace(found, wanted=replace(found.wanted, quorum=(GroupNeed("security", 1),)))
    check_quorum(enough, register, NOW + 2)
    with pytest.raises(QuorumNotMet, match="with a credential"):
        check_quorum(enough, replace(register, people=gone), NOW + 2)


def test_a_whole_request_holds_with_passkeys_beside_credentials() -> None:
    payload = encode_record(WANTED)
    signed = DEVICE.sign(MADE, unb64u(WANTED.digest()))
    asked = join(payload, REQUEST, admission(ADMIN, MADE), signed)
    tokens = (approve(), BOARD.approve(SECURITY[1], WANTED))
    record = Request(SPACE, WANTED.id, asked, tokens)
    checked = verify_request(record, SITE, BOARD.register, BOARD.sha256)
    check_quorum(checked, BOARD.register, NOW + 2)
    assert checked.requester.name == ADMIN
    proof = peek_proof(asked, REQUEST)
    assert proof is not None
    assert proof.assertion.credential == MADE.credential
    assert not peek_proof(tokens[1], APPROVAL)


def test_a_passkey_counts_until_its_admission_ends_whenever_it_says_that_it_signed() -> None:
    asked = join(
        encode_record(WANTED), REQUEST, admission(ADMIN, MADE, expires=NOW + 1000),
        DEVICE.sign(MADE, unb64u(WANTED.digest())),
    )  # fmt: skip
    brief = approve(vow=admission(NAME, MADE, expires=NOW + 60))
    for requested, token, ends, error in (
        (BOARD.signed(WANTED), brief, NOW + 60, QuorumNotMet),
        (asked, BOARD.approve(SECURITY[0], WANTED), NOW + 1000, VerificationFailed),
    ):
        record = Request(SPACE, WANTED.id, requested, (token, BOARD.approve(SECURITY[1], WANTED)))
        checked = verify_request(record, SITE, BOARD.register, BOARD.sha256)
        check_quorum(checked, BOARD.register, ends - 1)
        with pytest.raises(error):
            check_quorum(checked, BOARD.register, ends)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"asked": unb64u(WANTED.digest())}, "another challenge"),
        ({"origin": "http://localhost:1"}, "another origin"),
        ({"rp_id": "elsewhere"}, "another site"),
        ({"cross": True}, "another site's page"),
        ({"type": "webauthn.create"}, "webauthn.get"),
        ({"flags": 1}, "did not verify"),
        ({"flags": 4}, "nobody touched"),
        ({"key": DEVICE.enrolled().key}, "signature"),
    ],
)
def test_what_the_authenticator_did_otherwise_is_refused(wrong: dict[str, Any], said: str) -> None:
    refused(approve(**wrong), said)


def test_an_approval_of_one_request_is_none_of_another() -> None:
    other = replace(WANTED, nonce="m" * 21 + "g")
    with pytest.raises(VerificationFailed, match="another request"):
        check_approval(other, BOARD.register, approve())


def test_the_time_of_an_approval_is_signed_too() -> None:
    header, _, proof = approve().split(".")
    later = b64u(encode_record(replace(APPROVED, signed=NOW + 2)))
    refused(f"{header}.{later}.{proof}", "another challenge")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"site": "other.example"}, "another site"),
        ({"issued": NOW - 2 * DAY, "expires": NOW + 1}, "not vouched for at that time"),
        ({"issued": NOW + 400}, "not vouched for at that time"),
        ({"origin": "https://board.example"}, "another origin"),
        ({"rp_id": "board.example"}, "another site"),
        ({"credential": b64u(bytes(32))}, "another passkey"),
        ({"spki": DEVICE.enrolled().spki}, "signature"),
    ],
)
def test_an_admission_that_fits_otherwise_is_refused(changes: dict[str, Any], said: str) -> None:
    refused(approve(vow=admission(NAME, MADE, **changes)), said)


def test_an_admission_by_a_stranger_or_another_person_is_refused() -> None:
    refused(approve(vow=admission(NAME, MADE, by=held("stranger"))), "nobody's in the register")
    refused(approve(vow=admission(NAME, MADE, by=held("sun-security"))), "another's name")


def test_somebody_elses_passkey_does_not_approve_in_ones_name() -> None:
    refused(approve(vow=admission("sun-security", MADE)), "signed by sun-security")


def test_every_credential_of_the_person_admits() -> None:
    vow = admission(NAME, MADE, by=held(f"{NAME} 2"))
    check_approval(WANTED, BOARD.register, approve(vow=vow))


def test_whoever_is_out_of_office_signs_by_no_passkey_either() -> None:
    people = tuple(
        replace(one, removed=NOW) if one.name == NAME else one for one in BOARD.register.people
    )
    refused(approve(), "out of office", people=people)


def test_a_credential_that_left_the_register_vouches_no_more() -> None:
    people = tuple(
        replace(one, credentials=(held("new one").credential,)) if one.name == NAME else one
        for one in BOARD.register.people
    )
    refused(approve(), "nobody's in the register", people=people)


def test_an_admission_lasts_no_longer_than_allowed() -> None:
    with pytest.raises(ConclaveError, match="at most"):
        admission(NAME, MADE, expires=NOW + MAX_ADMISSION_SECONDS + 1)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("change", ["{}=", "{}\n", "{}A", " {}"])
def test_a_statement_has_one_spelling(place: int, change: str) -> None:
    parts = approve().split(".")
    parts[place] = change.format(parts[place])
    with pytest.raises(ConclaveError):
        check_approval(WANTED, BOARD.register, ".".join(parts))


def test_more_json_than_said_is_refused() -> None:
    header, payload, proof = approve().split(".")
    told = msgspec.json.decode(unb64u(proof))
    for other in (
        canonical({**told, "more": 1}),
        canonical(told).replace(b",", b", ", 1),
        canonical({**told, "assertion": {**told["assertion"], "user": "x"}}),
    ):
        refused(f"{header}.{payload}.{b64u(other)}", "not a statement signed by a passkey")


def test_a_header_that_says_more_or_another_type_is_refused() -> None:
    header = {"alg": "WebAuthn", "typ": APPROVAL}
    _, payload, proof = approve().split(".")
    for other in ({**header, "kid": "x"}, {**header, "alg": "none"}, {**header, "typ": REQUEST}):
        refused(f"{b64u(canonical(other))}.{payload}.{proof}", "not a statement")


def test_an_approval_is_no_request_whatever_its_header_says() -> None:
    token = approve(typ=REQUEST)
    with pytest.raises(ConclaveError):
        statements.peek_request(token)


def test_each_payload_is_answered_anew() -> None:
    signed = verify_personal(approve(), APPROVAL, BOARD.register, NOW + 1)
    assert (signed.passkey, signed.credential) == (True, MADE.credential)
    assert signed.payload == encode_record(APPROVED)
