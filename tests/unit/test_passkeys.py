"""Enrolling passkeys and signing in with them, over a FAKE HSM; authenticators are a test's own."""

from dataclasses import replace
from typing import Any

import pytest

from kms.audit.leaf import LeafDraft, Outcome, Phase
from kms.domain.models import EVERY_SPACE, PrincipalKind, Role, Strength
from kms.domain.passkeys import Purpose
from kms.errors import (
    AlreadyExists,
    Forbidden,
    InvalidInput,
    StateNotAllowed,
    Unauthenticated,
    VerificationFailed,
)
from kms.ports import Unit
from kms.statements.approval import TYP as APPROVAL
from kms.statements.approval import Approval
from kms.statements.canonical import encode_record
from kms.usecases.approvals.registers import Registers
from kms.usecases.approvals.requests import sign_request, submit_request
from kms.usecases.approvals.views import read_request
from kms.usecases.passkeys.admitting import admit
from kms.usecases.passkeys.enrolling import approval_enrolment_options, enroll, enrolment_options
from kms.usecases.passkeys.inviting import invite
from kms.usecases.passkeys.register import Passkeys
from kms.usecases.passkeys.revoking import revoke
from kms.usecases.passkeys.signing_in import (
    confirm,
    present,
    sign_in,
    sign_in_options,
    sign_in_with_certificate,
    sign_out,
)
from kms.usecases.passkeys.statements import assemble, signing_options
from kms.usecases.services import Services
from tests.fixtures.api import Clock
from tests.fixtures.approvals import EXAMPLES, NOW, Board
from tests.fixtures.authenticator import Authenticator
from tests.fixtures.passkeys import (
    AUDITOR,
    CERTIFICATE,
    HERE,
    OFFICER,
    PEOPLE,
    SITE,
    Desk,
    call,
    caller,
    leaves,
    run_with_board,
)
from tests.fixtures.people import held
from tests.fixtures.vouching import admission, invitation

REVOKE = call("passkey.revoke")


async def changed(services: Services, people: Board) -> None:
    """Issue another register of people."""
    people.write(services.settings.paths.state)
    told = {"ceremony": "c", "version": people.version, "sha256": people.sha256}
    leaf = LeafDraft(
        "register.change", "ceremony", "test", "", "register", Phase.EVENT, Outcome.SUCCEEDED,
        details=told,
    )  # fmt: skip
    await services.store.commit(Unit(leaves=(leaf,)))


def test_an_officer_enrols_by_invitation_and_signs_in() -> None:
    async def work(services: Services) -> None:
        desk = Desk(services, OFFICER)
        passkey = await desk.enrolled()
        who = await desk.signed_in()
        assert (who.name, who.kind, who.proof) == (
            OFFICER, PrincipalKind.PASSKEY, passkey.credential,
        )  # fmt: skip
        assert (who.roles, who.spaces) == ({Role.OFFICER}, {EVERY_SPACE})
        assert who.strength is Strength.TWO_FACTORS
        assert await present(services, who) == who
        await sign_out(services, who, "signed out")
        assert [one.actor for one in leaves(services, "session.end")] == [OFFICER]

    run_with_board(work)


@pytest.mark.parametrize(
    ("person", "roles", "spaces"),
    [
        (AUDITOR, {Role.AUDITOR}, {EVERY_SPACE}),
        ("chen-admin", {Role.OPERATOR}, {EVERY_SPACE}),
        ("liu-witness", set(), set()),
        ("sun-security", {Role.OFFICER}, {"treasury"}),
    ],
)
def test_the_register_says_what_a_person_is(
    person: str, roles: set[Role], spaces: set[str]
) -> None:
    async def work(services: Services) -> None:
        desk = Desk(services, person)
        await desk.enrolled()
        who = await desk.signed_in()
        assert (who.roles, who.spaces) == (roles, spaces)

    run_with_board(work, replace(PEOPLE, spaces={"sun-security": ("treasury",)}))


def test_an_invitation_counts_once_and_in_time() -> None:
    async def work(services: Services) -> None:
        desk, clock = Desk(services, OFFICER), services.clock
        code = await desk.invited()
        first, second = (enrolment_options(services, code) for _ in range(2))
        await enroll(services, HERE, first, desk.device.create(first.options), "one")
        with pytest.raises(Unauthenticated, match="the invitation does not count"):
            await enroll(services, HERE, second, desk.device.create(second.options), "two")
        late = await desk.invited()
        slow = enrolment_options(services, late)
        assert isinstance(clock, Clock)
        clock.seconds += 3600
        with pytest.raises(Unauthenticated, match="the invitation does not count"):
            await enroll(services, HERE, slow, desk.device.create(slow.options), "late")
        for other in (code, late, "AAAA-" * 6, "nonsense"):
            with pytest.raises(Unauthenticated, match="the invitation does not count"):
                enrolment_options(services, other)

    run_with_board(work)


@pytest.mark.parametrize(
    ("by", "changes"),
    [
        ("stranger", {}),
        ("sun-security", {}),
        (OFFICER, {"site": "other.example"}),
        (OFFICER, {"issued": NOW - 10, "expires": NOW}),
        (OFFICER, {"expires": NOW + 86_401}),
    ],
)
def test_what_is_no_invitation_of_that_person_is_refused_and_logged(
    by: str, changes: dict[str, Any]
) -> None:
    async def work(services: Services) -> None:
        token = invitation(OFFICER, by=held(by), **changes)
        with pytest.raises(VerificationFailed):
            await invite(services, call("passkey.invite"), token)
        assert len(leaves(services, "access.refused")) == 1

    run_with_board(work)


def test_one_invitation_is_taken_in_once() -> None:
    async def work(services: Services) -> None:
        await invite(services, call("passkey.invite"), invitation(OFFICER))
        with pytest.raises(AlreadyExists):
            await invite(services, call("passkey.invite"), invitation(OFFICER))

    run_with_board(work)


def test_an_invitation_by_a_credential_that_left_the_register_counts_no_more() -> None:
    async def work(services: Services) -> None:
        people = replace(PEOPLE, version=2, seconds=(OFFICER,))
        await changed(services, people)
        code = "AAAAAAAAAAAAAAAAAAAAAAAA"
        token = invitation(OFFICER, by=held(f"{OFFICER} 2"), code=code)
        await invite(services, call("passkey.invite"), token)
        assert enrolment_options(services, code).person == OFFICER
        await changed(services, replace(PEOPLE, version=3))
        with pytest.raises(Unauthenticated):
            enrolment_options(services, code)

    run_with_board(work)


WRONG: list[dict[str, Any]] = [
    {"other": bytes(32)},
    {"origin": "http://localhost:1"},
    {"rp_id": "elsewhere"},
    {"type": "webauthn.create"},
    {"flags": 1},
    {"flags": 4},
    {"cross": True},
    {"counter": 1},
    {"key": Authenticator().enrolled().key},
]


@pytest.mark.parametrize("wrong", WRONG, ids=[next(iter(one)) for one in WRONG])
def test_a_wrong_answer_gets_the_one_refusal_and_the_log_the_reason(wrong: dict[str, Any]) -> None:
    async def work(services: Services) -> None:
        desk = Desk(services, OFFICER)
        await desk.enrolled()
        with pytest.raises(Unauthenticated) as refused:
            await desk.signed_in(**wrong)
        assert refused.value.message == "sign-in was refused"
        [leaf] = leaves(services, "session.refused")
        assert leaf.outcome is Outcome.REFUSED
        assert leaf.actor == OFFICER
        assert not leaves(services, "session.start")

    run_with_board(work)


def test_an_unknown_passkey_gets_the_same_answer() -> None:
    async def work(services: Services) -> None:
        desk = Desk(services, OFFICER)
        desk.device.enrolled()
        with pytest.raises(Unauthenticated, match="sign-in was refused"):
            await desk.signed_in()
        assert leaves(services, "session.refused")[0].actor == "nobody"

    run_with_board(work)


def test_an_approval_passkey_does_not_sign_in_nor_the_other_way_round() -> None:
    async def work(services: Services) -> None:
        desk = Desk(services, OFFICER)
        await desk.enrolled()
        who = await desk.signed_in()
        made = await desk.approving(who)
        with pytest.raises(Unauthenticated):
            await desk.signed_in(with_=made)
        first = desk.device.made[0]
        token = admission(OFFICER, first)
        with pytest.raises(StateNotAllowed):
            await admit(services, call("passkey.admit"), first.credential, token)
        payload = encode_record(Approval("r" * 43, OFFICER, NOW))
        options = signing_options(services, who, payload)
        answer = desk.device.get(options.options, with_=first)
        with pytest.raises(VerificationFailed, match="not admitted"):
            assemble(services, who, APPROVAL, payload, answer)

    run_with_board(work)


def test_a_revoked_passkey_and_a_removed_person_are_out_at_once() -> None:
    async def work(services: Services) -> None:
        desk, other = Desk(services, OFFICER), Desk(services, "sun-security")
        for one in (desk, other):
            await one.enrolled()
        who, second = await desk.signed_in(), await other.signed_in()
        await revoke(services, REVOKE, who.proof, "lost")
        with pytest.raises(Unauthenticated):
            await present(services, who)
        with pytest.raises(Unauthenticated):
            await desk.signed_in()
        clock = services.clock
        assert isinstance(clock, Clock)
        clock.seconds += 200 * 86_400
        with pytest.raises(Unauthenticated, match="not in office"):
            await present(services, second)

    run_with_board(work)


def test_a_copy_of_a_passkey_is_noticed_by_its_counter_after_a_restart_too() -> None:
    async def work(services: Services) -> None:
        desk = Desk(services, OFFICER)
        await desk.enrolled()
        await desk.signed_in(counter=9)
        fresh = replace(services, passkeys=Passkeys())
        challenge = sign_in_options(fresh)
        answer = desk.device.get(challenge.options, counter=9)
        with pytest.raises(Unauthenticated):
            await sign_in(fresh, HERE, challenge, answer)
        assert "copy" in leaves(services, "session.refused")[0].details["reason"]

    run_with_board(work)


def test_a_passkey_without_a_counter_signs_in_again_and_again() -> None:
    async def work(services: Services) -> None:
        desk = Desk(services, OFFICER, Authenticator(counts=False))
        await desk.enrolled()
        for _ in range(3):
            await desk.signed_in()

    run_with_board(work)


def test_identity_is_confirmed_by_the_same_persons_passkey_alone() -> None:
    async def work(services: Services) -> None:
        desk, other = Desk(services, OFFICER), Desk(services, "sun-security")
        for one in (desk, other):
            await one.enrolled()
        who = await desk.signed_in()
        for device, error in ((desk.device, None), (other.device, Unauthenticated)):
            challenge = sign_in_options(services)
            answer = device.get(challenge.options)
            if error is None:
                await confirm(services, HERE, who, challenge, answer)
                continue
            with pytest.raises(error):
                await confirm(services, HERE, who, challenge, answer)
        assert len(leaves(services, "session.confirm")) == 1

    run_with_board(work)


def test_a_certificate_signs_in_whom_the_configuration_names() -> None:
    async def work(services: Services) -> None:
        who = await sign_in_with_certificate(services, HERE, CERTIFICATE)
        assert (who.name, who.kind, who.strength) == (
            AUDITOR, PrincipalKind.TLS, Strength.CERTIFICATE,
        )  # fmt: skip
        assert who.labels.department == "audit"
        assert await present(services, who) == who
        with pytest.raises(Unauthenticated):
            await present(services, replace(who, name=OFFICER))
        for spki in ("", "d" * 43):
            with pytest.raises(Unauthenticated, match="sign-in was refused"):
                await sign_in_with_certificate(services, HERE, spki)

    run_with_board(work)


def test_any_officer_revokes_others_only_their_own() -> None:
    async def work(services: Services) -> None:
        desk = Desk(services, AUDITOR)
        passkey = await desk.enrolled()
        by = call("passkey.revoke", caller(Role.AUDITOR))
        with pytest.raises(Forbidden):
            await revoke(services, by, passkey.credential, "mine?")
        with pytest.raises(InvalidInput):
            await revoke(services, REVOKE, passkey.credential, " ")
        own = call("passkey.revoke", await desk.signed_in())
        assert (await revoke(services, own, passkey.credential, "lost")).revoked
        await revoke(services, REVOKE, passkey.credential, "again")
        assert len(leaves(services, "passkey.revoke")) == 1

    run_with_board(work)


def test_no_passkey_is_enrolled_by_whoever_lost_the_sign_in_meanwhile() -> None:
    async def work(services: Services) -> None:
        desk = Desk(services, OFFICER)
        await desk.enrolled()
        who = await desk.signed_in()
        ceremony = approval_enrolment_options(services, who)
        await revoke(services, REVOKE, who.proof, "stolen")
        with pytest.raises(Unauthenticated):
            await enroll(services, HERE, ceremony, desk.device.create(ceremony.options), "x")

    run_with_board(work)


@pytest.mark.parametrize(
    "changes",
    [
        {"spki": Authenticator().enrolled().spki},
        {"origin": "https://elsewhere.example"},
        {"rp_id": "elsewhere"},
        {"by": held("sun-security")},
        {"expires": NOW + 1, "issued": NOW - 1000, "site": "other.example"},
    ],
    ids=["key", "origin", "name", "signer", "site"],
)
def test_an_admission_of_something_else_is_refused(changes: dict[str, Any]) -> None:
    async def work(services: Services) -> None:
        desk = Desk(services, OFFICER)
        await desk.enrolled(Purpose.APPROVAL)
        made = desk.device.made[-1]
        token = admission(OFFICER, made, **changes)
        with pytest.raises(VerificationFailed):
            await admit(services, call("passkey.admit"), made.credential, token)
        assert not services.passkeys.read(services.store).find(made.credential).admission

    run_with_board(work)


def test_a_request_is_approved_at_the_board_until_the_passkey_is_revoked() -> None:
    async def work(services: Services) -> None:
        desk = Desk(services, OFFICER)
        await desk.enrolled()
        who = await desk.signed_in()
        made = await desk.approving(who)
        wanted = PEOPLE.request("site-policy.change", EXAMPLES["site-policy.change"], "", site=SITE)
        wanted = replace(wanted, parameters={"text": "", "version": 1})
        token = PEOPLE.signed(wanted)
        await submit_request(services, call("approval.submit"), token)
        payload = encode_record(Approval(wanted.digest(), OFFICER, NOW))
        challenge = signing_options(services, who, payload)
        signed = assemble(services, who, APPROVAL, payload, desk.device.get(challenge.options))
        view = await sign_request(services, call("approval.sign"), wanted.id, signed)
        assert view.people == (OFFICER,)
        await revoke(services, REVOKE, made.credential, "stolen")
        view = await read_request(services, call("approval.read"), wanted.id)
        assert view.standing.value == "outdated"
        with pytest.raises(StateNotAllowed):
            signing_options(services, who, payload)

    run_with_board(work)


def test_the_log_alone_gives_everything_back() -> None:
    async def work(services: Services) -> None:
        desk = Desk(services, OFFICER)
        await desk.enrolled()
        who = await desk.signed_in()
        await desk.approving(who)
        await revoke(services, REVOKE, who.proof, "old")
        await desk.invited()
        known = services.passkeys.read(services.store)
        fresh = replace(services, passkeys=Passkeys()).passkeys
        await fresh.catch_up(services.store)
        assert fresh == known
        registers = Registers()
        await registers.catch_up(services.store)
        assert registers.version == 1
        assert len(fresh.invited) == 1

    run_with_board(work)
