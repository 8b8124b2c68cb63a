"""People, callers and a web process gone bad try to have something carried out that nobody, or too
few, approved: on a served practice site with real tokens.

The meeting that they want destroyed is closed and has been under a register that gives one officer
a second credential and binds another to a space of their own.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from kms.audit.leaf import decode_leaf
from kms.client.api import Client
from kms.domain.approvals import PolicyChange
from kms.domain.people import CredentialKind, Person, Register
from kms.domain.policies import (
    GroupNeed,
    Quorum,
)
from kms.practice.ceremony import practice_credentials
from kms.statements import jws
from kms.statements.canonical import digest
from kms.statements.card import HeldCredential, credential_of
from tests.practice.approving import ask_for
from tests.practice.service import Service
from tests.scenarios.approval_case import (
    BOUND,
    ELSEWHERE,
    SPACE,
    THREE,
    TWICE,
    Attack,
    Attempt,
    Case,
    another_id,
    closed_meeting,
    code_of,
)
from tests.scenarios.approval_forgeries import BY_WEB_PROCESS, POLICY, approved
from tests.scenarios.registers import issue_register

AT_ONCE = 50


@dataclass
class Report:
    """Every attack by its name; then the meeting's proper destruction by ``AT_ONCE`` callers."""

    attempts: dict[str, Attempt] = field(default_factory=dict)
    carried_out: int = 0
    refused_later: int = 0
    destructions: int = 0


def run(service: Service) -> Report:
    """Run every attack; the service is stopped and started for new registers."""
    report = Report()
    held = practice_credentials(service.site)
    held[f"{TWICE} 2"] = _new_credential()
    issue_register(service, lambda old: _with_people(old, held[f"{TWICE} 2"]))
    case = Case(service, closed_meeting(service), held)
    for name, attack in {**BY_PEOPLE, **BY_CALLERS}.items():
        report.attempts[name] = case.over_the_api(attack)
    for name, forge in BY_WEB_PROCESS.items():
        report.attempts[name] = case.at_the_worker(forge)
    report.attempts["the quorum changed meanwhile"] = _quorum_changed(case)
    report.attempts["the register changed meanwhile"] = _register_changed(case)
    report.attempts["an old register shown to the worker"] = _old_register(case)
    _carry_out(case, report)
    return report


# --- what people try ------------------------------------------------------------------------------


def _self_approval(case: Case, client: Client) -> object:
    wanted = case.made(requester="wang-security")
    submitted = client.submit_request(case.signed(wanted))
    return client.sign_request(submitted.id, case.approval(wanted, "wang-security"))


def _sign(name: str, by: str = "", **changes: Any) -> Attack:
    def attack(case: Case, client: Client) -> object:
        wanted = case.asked()
        return client.sign_request(wanted.id, case.approval(wanted, name, by, **changes))

    return attack


def _twice(by: str) -> Attack:
    def attack(case: Case, client: Client) -> object:
        wanted = case.asked(TWICE)
        return client.sign_request(wanted.id, case.approval(wanted, TWICE, by))

    return attack


def _of_another(case: Case, client: Client) -> object:
    one, two = case.asked(), case.asked()
    return client.sign_request(one.id, case.approval(two, THREE[0]))


BY_PEOPLE: dict[str, Attack] = {
    "self-approval": _self_approval,
    "the same person twice": _twice(TWICE),
    "the same person with two credentials": _twice(f"{TWICE} 2"),
    "an approver of another space": _sign(BOUND),
    "an approver of another group": _sign("qian-legal"),
    "somebody who is no officer": _sign("liu-witness"),
    "another's name": _sign("wang-security", by="wu-security"),
    "an approval of another request": _of_another,
    "an approval dated ahead": _sign("wang-security", signed=int(time.time()) + 3000),
}


# --- what callers try -----------------------------------------------------------------------------


def _too_few(case: Case, client: Client) -> object:
    return client.execute_request(case.asked(*THREE[:2]).id)


def _changed(case: Case, client: Client) -> object:
    """Hand in other parameters under the same id once the first have been approved."""
    wanted = case.asked(*THREE)
    other = replace(wanted, reason="something else")
    return client.submit_request(case.signed(other))


def _forged_quorum(case: Case, client: Client) -> object:
    weak = (GroupNeed("security", 1), GroupNeed("legal", 1))
    return client.submit_request(case.signed(case.made(quorum=weak)))


def _expired(case: Case, client: Client) -> object:
    wanted = case.made()
    short = replace(wanted, expires=int(time.time()) + 2)
    client.submit_request(case.signed(short))
    for name in THREE:
        client.sign_request(short.id, case.approval(short, name))
    time.sleep(max(0, short.expires - time.time()) + 0.1)
    return client.execute_request(short.id)


def _cancelled(case: Case, client: Client) -> object:
    wanted = case.asked(*THREE)
    client.cancel_request(wanted.id)
    return client.execute_request(wanted.id)


def _unknown(case: Case, client: Client) -> object:
    return client.execute_request(another_id())


def _anothers_name(case: Case, client: Client) -> object:
    return client.submit_request(case.signed(case.made(), by="wu-security"))


BY_CALLERS: dict[str, Attack] = {
    "too few approvals": _too_few,
    "parameters changed after approval": _changed,
    "a lower quorum asked for": _forged_quorum,
    "an expired request": _expired,
    "a cancelled request": _cancelled,
    "a request that is not there": _unknown,
    "a request in another's name": _anothers_name,
}


# --- what changes meanwhile -----------------------------------------------------------------------


def _quorum_changed(case: Case) -> Attempt:
    """A new policy asks more people than those who have approved."""
    wanted = case.asked(*THREE)
    more = (GroupNeed("security", 3), GroupNeed("legal", 2))
    policy = replace(POLICY, quorums=(Quorum("meeting.destroy", more),))
    parameters = msgspec.to_builtins(PolicyChange(policy, 1))
    change = ask_for(case.service, "policy.change", SPACE, parameters)
    people = (*THREE, "qian-legal", "feng-legal")
    with case.service.console() as client:
        for name in people:
            client.sign_request(change.id, case.approval(change, name))
        client.execute_request(change.id)
    return case.over_the_api(lambda _, client: client.execute_request(wanted.id))


def _register_changed(case: Case) -> Attempt:
    wanted = case.asked()
    with case.service.console() as client:
        for name in (*THREE, "qian-legal", "feng-legal"):
            client.sign_request(wanted.id, case.approval(wanted, name))
    issue_register(case.service, lambda old: old)
    return case.over_the_api(lambda _, client: client.execute_request(wanted.id))


def _old_register(case: Case) -> Attempt:
    """The worker was shown the newest register; the one before it no longer counts there."""
    carry_out_something(case)
    old = case.register(2)
    wanted = case.made(register=digest(old.encode()))
    return case.at_the_worker(
        approved(lambda one: one.executed(wanted, (*THREE, "qian-legal"), old))
    )


def carry_out_something(case: Case) -> None:
    """Have another meeting destroyed as it should be."""
    meeting = closed_meeting(case.service)
    wanted = ask_for(case.service, "meeting.destroy", SPACE, {"meeting": meeting})
    with case.service.console() as client:
        for name in (*THREE, "qian-legal", "feng-legal"):
            client.sign_request(wanted.id, case.approval(wanted, name))
        client.execute_request(wanted.id)


def _carry_out(case: Case, report: Report) -> None:
    """Let enough people approve, and fifty callers carry it out at once, then once more."""
    wanted = case.asked(*THREE, "qian-legal", "feng-legal")

    def execute(_: int) -> str:
        with case.service.console(60) as client:
            return code_of(lambda: client.execute_request(wanted.id))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        codes = list(pool.map(execute, range(AT_ONCE)))
    report.carried_out = codes.count("")
    report.refused_later = codes.count("state_not_allowed")
    again = case.over_the_api(lambda _, client: client.execute_request(wanted.id))
    report.attempts["the same request again"] = replace(again, stood=True)
    with case.service.console() as client:
        actions = [decode_leaf(leaf.encode()) for leaf in client.leaves()]
    report.destructions = sum(
        one.action == "meeting.destroy" and one.details["request"] == wanted.id for one in actions
    )


# --- people ---------------------------------------------------------------------------------------


def _new_credential() -> HeldCredential:
    key = ec.generate_private_key(ec.SECP256R1())
    credential = credential_of(CredentialKind.SOFTWARE, key.public_key())
    return HeldCredential(credential, jws.private_signer(key))


def _with_people(old: Register, second: HeldCredential) -> Register:
    def changed(person: Person) -> Person:
        if person.name == TWICE:
            return replace(person, credentials=(*person.credentials, second.credential))
        return replace(person, spaces=(ELSEWHERE,)) if person.name == BOUND else person

    return replace(old, people=tuple(map(changed, old.people)))
