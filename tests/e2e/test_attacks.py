"""An attacker with the user PIN at the vault envelope of a meeting that the service has opened."""

import pytest

from tests.fixtures.attacks import OFFICERS_ONLY, POSSIBLE, REFUSED
from tests.practice.service import Service
from tests.scenarios import attacks
from tests.scenarios.attacks import Outcomes


@pytest.fixture(scope="module")
def outcomes(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    return attacks.run(service, tmp_path_factory.mktemp("attacks"))


@pytest.mark.parametrize("attack", [one.name for one in (*REFUSED, *OFFICERS_ONLY)])
def test_the_token_refuses_it_and_a_control_yields(outcomes: Outcomes, attack: str) -> None:
    assert not outcomes.refused[attack]
    assert outcomes.controls[attack]


@pytest.mark.parametrize("attack", [one.name for one in POSSIBLE])
def test_what_remains_possible_is_possible(outcomes: Outcomes, attack: str) -> None:
    assert outcomes.possible[attack]
