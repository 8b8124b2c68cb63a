"""The database edited behind the service's back."""

import pytest

from tests.practice.service import Service
from tests.scenarios import tampering


@pytest.fixture(scope="module")
def answers(service: Service) -> dict[str, str]:
    return tampering.run(service)


@pytest.mark.parametrize("edit", tampering.EDITS)
def test_every_edit_is_refused_with_the_same_error(answers: dict[str, str], edit: str) -> None:
    assert answers[edit] == "integrity_failure"


def test_an_untouched_meeting_is_served(answers: dict[str, str]) -> None:
    assert answers["untouched"] == "served"


def test_every_edit_stands_in_the_log(answers: dict[str, str], service: Service) -> None:
    assert len(tampering.logged(service)) == len(tampering.EDITS) == len(answers) - 1
