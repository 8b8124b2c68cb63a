"""The database taken away from a running service, filled up, or put back as an older copy."""

from pathlib import Path

import pytest

from kms.practice import PracticeSite
from tests.fixtures.softhsm import clone_site
from tests.practice.service import Service, serving
from tests.scenarios import store_faults
from tests.scenarios.store_faults import FAULTS, REFUSED, Report

CONFIGURATION = 78


@pytest.fixture(scope="module")
def report(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return store_faults.run(service, tmp_path_factory.mktemp("faults"))


@pytest.mark.parametrize("fault", FAULTS)
def test_every_key_operation_is_refused_while_it_lasts(report: Report, fault: str) -> None:
    assert set(report.faults[fault].codes) == {REFUSED}
    assert report.faults[fault].keys == 0


@pytest.mark.parametrize("fault", FAULTS)
def test_the_same_processes_go_on_when_it_is_mended(report: Report, fault: str) -> None:
    assert report.faults[fault].same_processes


def test_nothing_was_served_that_is_not_in_the_log(report: Report) -> None:
    assert report.served > len(FAULTS)
    assert report.unlogged == 0


def test_an_older_database_is_not_served_and_the_newest_is(
    service: Service, tmp_path: Path
) -> None:
    rollback = store_faults.roll_back(service, tmp_path)
    assert rollback.code == CONFIGURATION
    assert "rolled back" in rollback.message


def test_a_full_disk_refuses_what_does_not_fit_and_is_no_end(
    practice_master: PracticeSite, tmp_path: Path
) -> None:
    site = clone_site(practice_master, tmp_path / "site")
    with store_faults.on_small_disk(site.state), serving(site) as service:
        report = store_faults.run_full_disk(service, tmp_path)
    seen = report.faults["full"]
    assert seen.codes[REFUSED] > 0
    assert set(seen.codes) <= {REFUSED, "served"}
    assert (seen.keys, report.unlogged, seen.same_processes) == (0, 0, True)
