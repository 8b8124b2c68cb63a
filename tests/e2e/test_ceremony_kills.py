"""kill -9 at some steps of every kind of ceremony; the acceptance test takes every step."""

from itertools import islice

import pytest

from tests.scenarios.ceremony_cases import CASES
from tests.scenarios.ceremony_kills import Ending, Stage
from tests.scenarios.doomed import Point, When


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage.fresh(tmp_path_factory.mktemp("ceremonies"))


def few(points: list[Point]) -> list[tuple[Point, Ending]]:
    """One point in the middle of what can be undone, resumed and aborted, and one past that."""
    back = [point for point in points if not point.forward and point.when is When.ACTED]
    forth = [point for point in points if point.forward]
    chosen = [(back[len(back) // 2], Ending.RESUMED), (back[-1], Ending.ABORTED)] if back else []
    return [*chosen, *((point, Ending.RESUMED) for point in islice(forth, 1, 2))]


@pytest.mark.parametrize("kind", CASES)
def test_a_killed_ceremony_harms_nothing_and_comes_to_an_end(stage: Stage, kind: str) -> None:
    case = CASES[kind]
    for point, ending in few(stage.points(case)):
        stage.trial(case, point, ending)
