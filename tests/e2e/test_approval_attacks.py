"""Nothing is carried out that too few people, or the wrong ones, have approved: the attack list on
a served practice site with real tokens.
"""

import pytest

from tests.practice.service import Service
from tests.scenarios import approvals
from tests.scenarios.approvals import (
    AT_ONCE,
    BY_CALLERS,
    BY_PEOPLE,
    BY_WEB_PROCESS,
    Report,
)

MEANWHILE = (
    "the quorum changed meanwhile",
    "the register changed meanwhile",
    "an old register shown to the worker",
    "the same request again",
)


@pytest.fixture(scope="module")
def report(service: Service) -> Report:
    return approvals.run(service)


@pytest.mark.parametrize("attack", [*BY_PEOPLE, *BY_CALLERS, *BY_WEB_PROCESS, *MEANWHILE])
def test_it_is_refused_told_of_and_changes_nothing(report: Report, attack: str) -> None:
    attempt = report.attempts[attack]
    assert attempt.code
    assert attempt.code not in {"internal_error", "hsm_unavailable", "unavailable"}
    assert attempt.told
    assert attempt.stood


def test_what_enough_people_approved_is_carried_out_once_by_fifty_at_once(report: Report) -> None:
    assert (report.carried_out, report.refused_later) == (1, AT_ONCE - 1)
    assert report.destructions == 1
