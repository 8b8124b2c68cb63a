"""Disks in a virtual machine: the story of one, and cuts of its power; the acceptance test takes
thirty, in every work, and what a thief could try.
"""

from pathlib import Path

import pytest

from kms.domain.disks import Work
from kms.practice import PracticeSite
from tests.fixtures.softhsm import clone_site
from tests.practice.service import serving
from tests.scenarios import disks, power_cuts
from tests.scenarios.bays import machine_bay
from tests.vm.tools import require

SEED, CUTS = 7, 2
WORKS = (Work.VOLUME, Work.ERASE)
"""The works whose half states are the worst. tests/integration/test_disk_work.py cuts the others
off at every step; each further one takes the emulated machine most of a minute.
"""
REPLUG_SECONDS = 6.0
"""Beside other tests on the same processors the emulated machine is slower."""


@pytest.fixture
def site(practice_master: PracticeSite, tmp_path: Path) -> PracticeSite:
    require()
    return clone_site(practice_master, tmp_path / "site")


def test_a_disk_gives_nothing_away_and_comes_back(site: PracticeSite, tmp_path: Path) -> None:
    with serving(site) as service, machine_bay(service, tmp_path) as bay:
        story = disks.run(bay, SEED, steal=False)
    story.check()
    assert story.seconds[disks.REPLUGGED] <= REPLUG_SECONDS


def test_a_power_cut_leaves_one_set_of_keys(site: PracticeSite, tmp_path: Path) -> None:
    with serving(site) as service, machine_bay(service, tmp_path) as bay:
        told = power_cuts.run(bay, CUTS, SEED, WORKS)
    assert set(told.cuts) == set(WORKS)
