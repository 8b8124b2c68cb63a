"""A compliance report of the real service: made, exported and verified by the command line."""

import json
from pathlib import Path

from kms.practice import PracticeSite
from tests.fixtures.cli import Cli
from tests.practice.service import serving


def test_one_step_yields_a_report_that_verifies(
    cli: Cli, practice_site: PracticeSite, tmp_path: Path
) -> None:
    config = ("--config", practice_site.config, "--json")
    with serving(practice_site):
        early = cli(*config, "report")
        assert early.code == 75, early.err  # last quarter's log is not there
        made = cli(*config, "report", "--period", "this-year", "--out", tmp_path)
        assert made.code == 0, made.err
        listed = json.loads(cli(*config, "report", "list").out)["items"]
        shown = json.loads(cli(*config, "report", "show", listed[0]["report"]).out)
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
    _altered(Path(files["figures"]))
    assert cli("report", "verify", *wanted).code != 0


def _altered(path: Path) -> None:
    path.write_text(path.read_text().replace('"masked":true', '"masked":false'))
