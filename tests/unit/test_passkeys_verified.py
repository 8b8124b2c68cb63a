"""What the service takes in about passkeys is what the offline verifier takes, which looks at every
leaf after each test: over a FAKE HSM; authenticators are a test's own.
"""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from kms.audit.leaf import LeafDraft, Outcome, Phase
from kms.domain.passkeys import CODE_BYTES, Purpose, code_of
from kms.errors import AlreadyExists, StateNotAllowed, Unauthenticated, VerificationFailed
from kms.ports import Unit
from kms.statements.approval import TYP as APPROVAL
from kms.statements.approval import Approval
from kms.statements.canonical import digest, encode_record
from kms.statements.personal import challenge_of, join
from kms.usecases.approvals.requests import PASSKEY_SECONDS, sign_request, submit_request
from kms.usecases.approvals.views import read_request
from kms.usecases.passkeys.admitting import admit
from kms.usecases.passkeys.enrolling import approval_enrolment_options, enroll, enrolment_options
from kms.usecases.passkeys.inviting import invite
from kms.usecases.passkeys.register import Passkeys, board_leaf
from kms.usecases.passkeys.revoking import revoke
from kms.usecases.passkeys.signing_in import sign_out
from kms.usecases.passkeys.statements import assemble, signing_options
from kms.usecases.passkeys.writing import write
from kms.usecases.services import Services
from tests.fixtures.api import Clock
from tests.fixtures.approvals import EXAMPLES, NOW, Board
from tests.fixtures.authenticator import Authenticator
from tests.fixtures.passkeys import (
    HERE,
    OFFICER,
    PEOPLE,
    SITE,
    Desk,
    call,
    leaves,
    refused_by_verifier,
    run_with_board,
)
from tests.fixtures.people import held
from tests.fixtures.vouching import admission, invitation

REVOKE, ADMIT = call("passkey.revoke"), call("passkey.admit")
CODE = code_of(bytes(CODE_BYTES))


def later(services: Services, seconds: float) -> None:
    clock = services.clock
    assert isinstance(clock, Clock)
    clock.seconds += seconds


async def asked(services: Services) -> tuple[str, bytes]:
    """Return the id of a request that waits, and the payload of the officer's approval."""
    wanted = PEOPLE.request("site-policy.change", EXAMPLES["site-policy.change"], "", site=SITE)
    wanted = replace(wanted, parameters={"text": "", "version": 1}, expires=NOW + 7 * 86_400)
    await submit_request(services, call("approval.submit"), PEOPLE.signed(wanted))
    return wanted.id, encode_record(Approval(wanted.digest(), OFFICER, NOW))


async def forged(services: Services, action: str, person: str, auth: str, told: Any) -> None:
    """Write a leaf as somebody would who can write the database."""
    leaf = LeafDraft(
        action, person, auth, "", f"people/{person}", Phase.EVENT, Outcome.SUCCEEDED, details=told
    )
    await services.store.commit(Unit(leaves=(leaf,)))


def told_of(device: Authenticator, **changes: Any) -> dict[str, Any]:
    """Return what a leaf tells of an enrolment that nobody was invited to."""
    made = device.enrolled()
    return {
        "person": OFFICER,
        "purpose": "sign-in",
        "credential": made.credential,
        "spki": made.spki,
        "name": "mine",
        "invitation": "",
        "rp_id": made.party.id,
        "origin": made.party.origin,
        "counter": 0,
        **changes,
    }


def test_a_used_invitation_is_not_taken_in_again_also_after_a_restart() -> None:
    async def work(services: Services) -> None:
        token, device = invitation(OFFICER, code=CODE), Authenticator()
        await invite(services, call("passkey.invite"), token)
        ceremony = enrolment_options(services, CODE)
        await enroll(services, HERE, ceremony, device.create(ceremony.options), "one")
        for one in (services, replace(services, passkeys=Passkeys())):
            with pytest.raises(AlreadyExists):
                await invite(one, call("passkey.invite"), token)
            with pytest.raises(Unauthenticated):
                enrolment_options(one, CODE)

    run_with_board(work)


def test_an_approval_counts_by_the_very_admission_that_was_taken_in() -> None:
    async def work(services: Services) -> None:
        desk, thief = Desk(services, OFFICER), Authenticator()
        await desk.enrolled()
        made = await desk.approving(await desk.signed_in())
        request, payload = await asked(services)
        other = replace(thief.enrolled(), id=made.id)
        for device, key in ((desk.device, made), (thief, other)):
            own = admission(OFFICER, key, issued=NOW, expires=NOW + 100)
            token = join(payload, APPROVAL, own, device.sign(key, challenge_of(payload)))
            with pytest.raises(VerificationFailed, match="not admitted"):
                await sign_request(services, call("approval.sign"), request, token)

    run_with_board(work)


def test_whoever_revoked_the_passkey_of_a_session_signs_it_out_afterwards() -> None:
    async def work(services: Services) -> None:
        desk = Desk(services, OFFICER)
        await desk.enrolled()
        who = await desk.signed_in()
        await revoke(services, REVOKE, who.proof, "lost")
        later(services, 600)
        await sign_out(services, who, "ended by its person")
        leaf = replace(
            board_leaf("passkey.enroll", OFFICER, f"passkey:{who.proof}", {}),
            details=told_of(desk.device, purpose="approval"),
        )
        with pytest.raises(VerificationFailed, match="after it was revoked"):
            await write(services, leaf)
        assert len(leaves(services, "session.end")) == 1

    run_with_board(work)


def test_a_passkey_of_where_the_board_was_is_admitted_no_more() -> None:
    async def work(services: Services) -> None:
        desk = Desk(services, OFFICER)
        await desk.enrolled()
        who = await desk.signed_in()
        made = await desk.approving(who)
        board = services.settings.board
        assert board is not None
        for origin, rp_id in (
            ("https://new.bank", "new.bank"),
            ("http://localhost:9", "localhost"),
        ):
            there = msgspec.structs.replace(board, origin=origin)
            settings = msgspec.structs.replace(services.settings, board=there)
            moved = replace(services, settings=settings)
            with pytest.raises(StateNotAllowed, match="admitted"):
                signing_options(moved, who, b"x")
            later(services, 1)
            new = admission(OFFICER, made, rp_id=rp_id, origin=origin, issued=services.seconds())
            if rp_id == "localhost":
                await admit(moved, ADMIT, made.credential, new)
                assert signing_options(moved, who, b"x")
                continue
            with pytest.raises(StateNotAllowed, match="answers at localhost alone"):
                await admit(moved, ADMIT, made.credential, new)

    run_with_board(work)


def test_an_older_admission_does_not_take_the_place_of_a_newer() -> None:
    async def work(services: Services) -> None:
        desk = Desk(services, OFFICER)
        await desk.enrolled(Purpose.APPROVAL)
        made, now = desk.device.made[-1], services.seconds()
        long = admission(OFFICER, made, issued=now - 1, expires=now + 300 * 86_400)
        short = admission(OFFICER, made, issued=now, expires=now + 3600)
        for token in (long, short):
            await admit(services, ADMIT, made.credential, token)
        for token in (long, short):
            with pytest.raises(StateNotAllowed, match="no newer"):
                await admit(services, ADMIT, made.credential, token)
        assert services.passkeys.find(made.credential).admission == short

    run_with_board(work)


def test_an_approval_by_an_admission_that_has_ended_is_not_taken_in() -> None:
    async def work(services: Services) -> None:
        desk = Desk(services, OFFICER)
        await desk.enrolled(Purpose.APPROVAL)
        made, now = desk.device.made[-1], services.seconds()
        own = admission(OFFICER, made, issued=now, expires=now + 60)
        await admit(services, ADMIT, made.credential, own)
        request, payload = await asked(services)
        token = join(payload, APPROVAL, own, desk.device.sign(made, challenge_of(payload)))
        later(services, 60)
        with pytest.raises(VerificationFailed, match="has ended"):
            await sign_request(services, call("approval.sign"), request, token)

    run_with_board(work)


def test_a_second_approval_passkey_waits_until_the_first_is_admitted_or_revoked() -> None:
    async def work(services: Services) -> None:
        desk, thief = Desk(services, OFFICER), Authenticator()
        await desk.enrolled()
        who = await desk.signed_in()
        own, other = (approval_enrolment_options(services, who) for _ in range(2))
        theirs = await enroll(services, HERE, other, thief.create(other.options), "my approvals")
        with pytest.raises(StateNotAllowed, match=f"number {theirs.leaf} waits"):
            approval_enrolment_options(services, who)
        with pytest.raises(StateNotAllowed, match="waits"):
            await enroll(services, HERE, own, desk.device.create(own.options), "mine")
        await revoke(services, REVOKE, theirs.credential, "not mine")
        assert await desk.approving(who)
        assert approval_enrolment_options(services, who)

    run_with_board(work)


def test_leaves_that_nobody_vouched_for_enrol_admit_and_invite_nothing() -> None:
    async def work(services: Services) -> None:
        thief = Desk(services, OFFICER)
        told = told_of(thief.device)
        await forged(services, "passkey.enroll", OFFICER, "invitation:x", told)
        await forged(
            services, "passkey.enroll", OFFICER, "x", told_of(thief.device, invitation="x")
        )
        evil = invitation(OFFICER, by=held("stranger"), code=CODE)
        invited = {"person": OFFICER, "purpose": "sign-in", "statement": evil}
        await forged(services, "passkey.invite", "nobody", "x", invited)
        by_it = told_of(thief.device, invitation=digest(evil.encode()))
        await forged(services, "passkey.enroll", OFFICER, "x", by_it)
        await forged(services, "passkey.enroll", OFFICER, "x", {"credential": "x"})
        with pytest.raises(Unauthenticated):
            await thief.signed_in()
        with pytest.raises(Unauthenticated):
            enrolment_options(services, CODE)
        assert not services.passkeys.known
        assert len(refused_by_verifier(services)) >= 4

    run_with_board(work, tampered=True)


def test_an_enrolment_is_judged_by_the_register_that_was_in_force() -> None:
    async def work(services: Services) -> None:
        await changed(services, replace(PEOPLE, version=2, seconds=(OFFICER,)))
        token, device = invitation(OFFICER, by=held(f"{OFFICER} 2"), code=CODE), Authenticator()
        await invite(services, call("passkey.invite"), token)
        ceremony = enrolment_options(services, CODE)
        await enroll(services, HERE, ceremony, device.create(ceremony.options), "one")
        await changed(services, replace(PEOPLE, version=3))
        fresh = replace(services, passkeys=Passkeys())
        assert fresh.passkeys.read(fresh.store).known == services.passkeys.known
        assert (await Desk(fresh, OFFICER, device).signed_in()).name == OFFICER

    run_with_board(work)


async def changed(services: Services, people: Board) -> None:
    """Issue another register of people."""
    people.write(services.settings.paths.state)
    told = {"ceremony": "c", "version": people.version, "sha256": people.sha256}
    await forged(services, "register.change", "ceremony", "test", told)


def test_an_approval_by_passkey_is_signed_just_now() -> None:
    async def work(services: Services) -> None:
        desk, clock = Desk(services, OFFICER), services.clock
        await desk.enrolled()
        who = await desk.signed_in()
        await desk.approving(who)
        request, payload = await asked(services)
        challenge = signing_options(services, who, payload)
        signed = assemble(services, who, APPROVAL, payload, desk.device.get(challenge.options))
        assert isinstance(clock, Clock)
        clock.seconds += PASSKEY_SECONDS + 1
        with pytest.raises(VerificationFailed, match="not signed just now"):
            await sign_request(services, call("approval.sign"), request, signed)
        clock.seconds -= 1
        view = await sign_request(services, call("approval.sign"), request, signed)
        assert view.people == (OFFICER,)
        clock.seconds += 86_400  # the admission has ended
        later = await read_request(services, call("approval.read"), request)
        assert sum(one.count for one in later.missing) == 1 + sum(one.count for one in view.missing)

    run_with_board(work)
