"""Evidence is obtainable in an incident: while a space is sealed, and while the whole box is."""

import json
import subprocess
import time
from pathlib import Path

from kms.practice import PracticeSite
from tests.practice.service import CONCLAVE, Service, serving
from tests.scenarios.rooms import rooms

SPACE = "treasury"


def conclave(site: PracticeSite, *words: str | Path, code: int = 0) -> dict[str, object]:
    command = [CONCLAVE, "--config", site.config, "--json", *words]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    found: dict[str, object] = json.loads(done.stdout or "{}")
    return found


def verified(site: PracticeSite, bundle: Path) -> None:
    conclave(site, "audit", "verify", bundle, "--site-root", site.site_root)


def all_signed(service: Service) -> None:
    with service.console() as console:
        size, deadline = console.status().tree_size, time.monotonic() + 30
        while console.checkpoint().size < size:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_evidence_can_be_taken_of_a_sealed_space_and_of_a_sealed_box(
    practice_site: PracticeSite, tmp_path: Path
) -> None:
    with serving(practice_site) as service:
        room = rooms(service)[1]
        next(one for one in room.wishes() if one.kind in {"open", "suspicion"}).send()
        with service.console() as console:
            console.seal_space(SPACE, "a stolen laptop")
        all_signed(service)
        told = conclave(practice_site, "audit", "export", tmp_path / "space.db")
        assert told["manifests"] == 1
        refused = conclave(
            practice_site, "audit", "export", "--offline", tmp_path / "no.db", code=69
        )
        assert refused == {}
        assert not (tmp_path / "no.db").exists()
        conclave(practice_site, "seal", "--site", "--yes", "--reason", "an intruder")
    told = conclave(practice_site, "audit", "export", "--offline", tmp_path / "box.db")
    assert told["manifests"] == 1
    for bundle in ("space.db", "box.db"):
        verified(practice_site, tmp_path / bundle)
