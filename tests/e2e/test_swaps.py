"""Genuine envelopes of a served site handed to clients in the wrong place."""

import pytest

from tests.practice.service import Service
from tests.scenarios import swaps


@pytest.fixture(scope="module")
def outcomes(service: Service) -> dict[str, str]:
    return swaps.run(service)


@pytest.mark.parametrize("space", ["investment-banking", "treasury"])
@pytest.mark.parametrize("swap", swaps.SWAPS)
def test_every_swap_is_refused_with_the_one_error(
    outcomes: dict[str, str], space: str, swap: str
) -> None:
    assert outcomes[f"{space}: {swap}"] == "envelope_refused: the envelope does not open"


def test_every_genuine_envelope_opens(outcomes: dict[str, str]) -> None:
    controls = [outcome for name, outcome in outcomes.items() if "control" in name]
    assert controls == [swaps.OPENED] * 8
