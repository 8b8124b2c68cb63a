"""kill -9 at every step of every kind of ceremony."""

from collections.abc import Callable

import pytest

from tests.scenarios.ceremony_kills import CASES, Stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("ceremonies"))


@pytest.mark.parametrize("kind", CASES)
def test_every_step_bears_kill_9(stage: Stage, kind: str, figure: Callable[[str], None]) -> None:
    """Killed with SIGKILL at the begin and after the act of each step, a ceremony is brought to
    its end by the same command, or undone; in between and afterwards the service starts, opens
    what was minted before, and mints; the transcript verifies."""
    stage.sweep(CASES[kind])
    for line in stage.report.figures():
        if line.startswith(f"{kind}:"):
            figure(line)
