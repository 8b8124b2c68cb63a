"""A compliance report of the real service: made, exported and verified by the command line."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from kms.errors import InvalidInput
from kms.practice import PracticeSite
from tests.fixtures.cli import Cli
from tests.practice.approving import carry_out
from tests.practice.service import serving


def test_one_step_yields_a_report_that_verifies(
    cli: Cli, practice_site: PracticeSite, tmp_path: Path
) -> None:
    config = ("--config", practice_site.config, "--json")
    with serving(practice_site) as service:
        early = cli(*config, "report", "--period", "last-quarter")
        assert early.code == 75, early.err  # last quarter's log is not there
        made = cli(*config, "report", "--out", tmp_path)  # so it is this month's
        assert made.code == 0, made.err
        listed = json.loads(cli(*config, "report", "list").out)["items"]
        report = listed[0]["report"]
        shown = json.loads(cli(*config, "report", "show", report).out)
        done = carry_out(service, "report.unmask", "", {"report": report})
        full = tmp_path / "full"
        full.mkdir()
        asked = (*config, "report", "export", report, "--out", full, "--request")
        assert cli(*asked, report).code != 0  # no such request
        unmasked = cli(*asked, done.id)
        assert unmasked.code == 0, unmasked.err
        with service.console() as client, pytest.raises(InvalidInput, match="not being taken"):
            client._to.ask("report.evidence", query={"offset": 1}, report=report)
        taken = json.loads(cli(*config, "audit", "search", "--action", "report.evidence").out)
        assert len(taken["items"]) == 2
    files = json.loads(made.out)
    root = ("--site-root", practice_site.site_root)
    wanted = (files["figures"], files["bundle"], *root, "--pdf", files["paper"])
    verified = cli("--json", "report", "verify", *wanted)
    assert verified.code == 0, verified.out + verified.err
    assert [one["holds"] for one in json.loads(verified.out)["checks"]] == [True] * 6
    assert cli("audit", "verify", files["bundle"], *root).code == 0
    assert Path(files["figures"]).read_text() == json.dumps(
        shown, ensure_ascii=False, separators=(",", ":"), sort_keys=True
    )
    _check_unmasked(json.loads(unmasked.out), done.id)
    _altered(Path(files["figures"]))
    assert cli("report", "verify", *wanted).code != 0


def _check_unmasked(files: dict[str, str], request: str) -> None:
    """Raise AssertionError unless figures and paper show names, and the paper by which request."""
    figures = json.loads(Path(files["figures"]).read_text())
    assert figures["masked"] is False
    paper = ["pdftotext", "-raw", "-nodiag", files["paper"], "-"]
    text = subprocess.run(paper, capture_output=True, check=True, text=True).stdout
    assert request in "".join(text.split())
    assert re.search(f"by {figures['maker']}$", text, re.MULTILINE), text[:900]


def _altered(path: Path) -> None:
    path.write_text(path.read_text().replace('"masked":true', '"masked":false'))
