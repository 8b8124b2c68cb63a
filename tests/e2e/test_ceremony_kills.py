"""kill -9 at some steps of every kind of ceremony; the acceptance test takes every step."""

import pytest

from kms.practice import PracticeSite
from tests.fixtures.softhsm import clone_site
from tests.scenarios.ceremony_cases import CASES
from tests.scenarios.ceremony_kills import Ending, Stage
from tests.scenarios.doomed import Point, When


@pytest.fixture(scope="module")
def stage(practice_master: PracticeSite, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    place = tmp_path_factory.mktemp("ceremonies")
    return Stage.of(clone_site(practice_master, place / "site"))


def one(points: list[Point]) -> tuple[Point, Ending]:
    """An act that can only be brought to its end; where there is none, the last, to be undone."""
    forth = [point for point in points if point.forward and point.when is When.ACTED]
    return (forth[len(forth) // 2], Ending.RESUMED) if forth else (points[-1], Ending.ABORTED)


@pytest.mark.parametrize("kind", CASES)
def test_a_killed_ceremony_harms_nothing_and_comes_to_an_end(stage: Stage, kind: str) -> None:
    point, ending = one(stage.points(CASES[kind]))
    stage.trial(CASES[kind], point, ending)


@pytest.mark.parametrize("kind", ["initialise-site", "replace-officer", "restore-site"])
def test_a_killed_ceremony_is_undone(stage: Stage, kind: str) -> None:
    back = [point for point in stage.points(CASES[kind]) if not point.forward]
    stage.trial(CASES[kind], back[-1], Ending.ABORTED)
