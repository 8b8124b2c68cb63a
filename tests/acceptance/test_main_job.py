"""The main job: what has to be shown of it, a test for each line."""

from collections.abc import Callable
from pathlib import Path

from tests.scenarios import kills
from tests.scenarios.kill_points import PHASES
from tests.scenarios.site import fresh_site

KILLS = 50


def test_kills(tmp_path: Path, figure: Callable[[str], None]) -> None:
    """kill -9 of web process and of worker during mint, 50 seeded points, at least one in each
    phase: old state or new, never half; no acknowledged epoch lost; every surviving epoch opens
    through escrow; service back within 5 s by itself."""
    report = kills.run(fresh_site(tmp_path), tmp_path, seed=1, count=KILLS)
    for line in report.figures():
        figure(line)
    assert report.phases.total() == KILLS
    assert all(report.phases[phase] for phase in PHASES)
    assert set(report.victims) == {"web", "worker"}
    assert max(report.recoveries) < kills.RECOVERY_SECONDS
