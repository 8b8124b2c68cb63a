"""The life cycle against its model on real tokens; the acceptance tests do it at full size."""

from pathlib import Path

import pytest

from kms.audit.checks import Verdict
from tests.fixtures.many_spaces import ManySpaces
from tests.scenarios import life_machine, year


@pytest.fixture
def site(tmp_path: Path) -> ManySpaces:
    return ManySpaces.make(tmp_path / "site", 2)


def test_whatever_people_do_in_whatever_order_the_rules_hold(site: ManySpaces) -> None:
    world = life_machine.run(site, examples=6, steps=25)
    assert world.counts["minted: open"] >= 6
    assert world.counts["served"]


def test_a_week_of_meetings_keeps_to_the_rules_and_its_log_verifies(
    site: ManySpaces, tmp_path: Path
) -> None:
    told = year.run(site, meetings=12, days=8, seed=4, scratch=tmp_path)
    assert told.minted > 12
    found = {result.check: result.verdict for result in told.report.results}
    assert Verdict.FAIL not in found.values()
