"""kill -9 in the middle of a mint, once in each phase; the acceptance test takes fifty points."""

import os
import select
import signal
from pathlib import Path

import pytest

from kms.practice import PracticeSite
from tests.fixtures.softhsm import clone_site
from tests.practice.service import serving
from tests.scenarios import kills
from tests.scenarios.kill_points import PHASES
from tests.scenarios.kills import RECOVERY_SECONDS, Report

SEED = 8
OFTEN = 9


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kills")


@pytest.fixture(scope="module")
def site(practice_master: PracticeSite, place: Path) -> PracticeSite:
    return clone_site(practice_master, place / "site")


@pytest.fixture(scope="module")
def report(site: PracticeSite, place: Path) -> Report:
    """What a run saw; it fails by itself when anything acknowledged, whole or sealed is lost."""
    return kills.run(site, place, seed=SEED, count=len(PHASES))


def test_every_phase_of_a_mint_is_killed_in(report: Report) -> None:
    assert report.phases == dict.fromkeys(PHASES, 1)


def test_key_operations_are_possible_again_soon(report: Report) -> None:
    assert max(report.recoveries) < RECOVERY_SECONDS


def test_every_epoch_that_survives_opens_through_escrow(report: Report) -> None:
    assert report.escrowed > 0


def test_a_process_that_is_killed_often_is_back_as_soon_every_time(
    practice_site: PracticeSite,
) -> None:
    with serving(practice_site) as service:
        for _ in range(OFTEN):
            victim = service.pids()["site"]
            with os.fdopen(os.pidfd_open(victim)) as death:
                os.kill(victim, signal.SIGKILL)
                select.select([death], [], [])
            assert service.await_ready() < RECOVERY_SECONDS
            assert service.pids()["site"] != victim
