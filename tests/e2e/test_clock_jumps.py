"""The wall clock of a running service moves by a month back and by more than a year ahead."""

from pathlib import Path

import pytest

from kms.practice import PracticeSite
from tests.scenarios import clock_jumps
from tests.scenarios.clock_jumps import DAY


@pytest.mark.parametrize("days", [-30, 400])
def test_no_jump_of_the_wall_clock_moves_the_service(
    practice_site: PracticeSite, tmp_path: Path, days: int
) -> None:
    report = clock_jumps.run(practice_site, tmp_path, days * DAY)
    assert len(report.figures()) == 3
