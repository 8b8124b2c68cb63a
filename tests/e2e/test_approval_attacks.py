"""Nothing is carried out that too few people, or the wrong ones, have approved: the attack list on
a served practice site with real tokens.
"""

import pytest

from tests.practice.service import Service
from tests.scenarios import approvals
from tests.scenarios.approvals import AT_ONCE, Report

EXPECTED = {
    "self-approval": "verification_failed",
    "the same person twice": "already_exists",
    "the same person with two credentials": "already_exists",
    "an approver of another space": "verification_failed",
    "an approver of another group": "verification_failed",
    "somebody who is no officer": "verification_failed",
    "another's name": "verification_failed",
    "an approval of another request": "verification_failed",
    "an approval dated ahead": "verification_failed",
    "too few approvals": "quorum_not_met",
    "parameters changed after approval": "already_exists",
    "a lower quorum asked for": "verification_failed",
    "an expired request": "state_not_allowed",
    "a cancelled request": "state_not_allowed",
    "a request that is not there": "not_found",
    "a request in another's name": "verification_failed",
    "a destroyed meeting without a request": "approval_required",
    "a lifted hold without a request": "approval_required",
    "a policy without a request": "approval_required",
    "a grant without a request": "approval_required",
    "a share without a request": "approval_required",
    "an executed request alone": "approval_required",
    "too few approvals at the worker": "quorum_not_met",
    "one person's approval in the worker's list twice": "verification_failed",
    "another space's officer at the worker": "verification_failed",
    "a lower quorum at the worker": "verification_failed",
    "a register of another root": "verification_failed",
    "another meeting than approved": "forbidden",
    "a row more than approved": "forbidden",
    "a policy by a destruction's approvals": "forbidden",
    "parameters changed after approval at the worker": "verification_failed",
    "an expired request at the worker": "verification_failed",
    "an approved request at another space's token": "forbidden",
    "the site's policy without a request": "approval_required",
    "the quorum changed meanwhile": "verification_failed",
    "the register changed meanwhile": "verification_failed",
    "an old register shown to the worker": "verification_failed",
    "the same request again": "state_not_allowed",
}
"""By which code each attack is refused."""


@pytest.fixture(scope="module")
def report(service: Service) -> Report:
    return approvals.run(service)


@pytest.mark.parametrize("attack", EXPECTED)
def test_it_is_refused_told_of_and_changes_nothing(report: Report, attack: str) -> None:
    attempt = report.attempts[attack]
    assert attempt.code == EXPECTED[attack]
    assert attempt.told
    assert attempt.stood


def test_every_attack_is_expected(report: Report) -> None:
    assert set(report.attempts) == set(EXPECTED)


def test_what_enough_people_approved_is_carried_out_once_by_fifty_at_once(report: Report) -> None:
    assert (report.carried_out, report.refused_later) == (1, AT_ONCE - 1)
    assert report.destructions == 1
