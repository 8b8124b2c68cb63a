"""Keys move to a new vault key while the service is killed; the acceptance test takes 20,000."""

import pytest

from kms.practice import PracticeSite
from tests.fixtures.softhsm import clone_site
from tests.scenarios import reseal
from tests.scenarios.reseal import Report

EPOCHS, KILLS = 80, 3


@pytest.fixture(scope="module")
def report(practice_master: PracticeSite, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """What a run saw; it fails by itself when an envelope is lost, doubled or not sound."""
    site = clone_site(practice_master, tmp_path_factory.mktemp("reseal") / "site")
    return reseal.run(site, epochs=EPOCHS, kills=KILLS, seed=4, per_second=40)


def test_every_kill_is_survived(report: Report) -> None:
    assert report.kills.total() == KILLS


def test_every_envelope_opens_by_the_new_vault_key(report: Report) -> None:
    assert report.opened == report.epochs == EPOCHS


def test_servers_go_on_reading_what_they_read(report: Report) -> None:
    assert report.served > 0


def test_the_old_vault_key_is_destroyed(report: Report) -> None:
    assert report.retired


def test_an_auditor_finds_nothing_wrong_with_the_log(report: Report) -> None:
    assert report.verdict in {"pass", "finding"}
