"""``conclave ceremony`` at a practice site: its records, plans filled in from it, rehearsals."""

import json
import subprocess
from pathlib import Path

import pytest

from kms.ceremonies.catalogue import CEREMONIES
from kms.practice import PracticeSite
from kms.practice.people import read_share
from tests.fixtures.cli import Cli
from tests.practice.service import CONCLAVE

OF_THIS_LOG = {"recover", "recover-disk", "restore-site"}


def transcript(site: PracticeSite, name: str) -> Path:
    return site.state / "ceremonies" / name / "transcript.json"


def new_plan(cli: Cli, site: PracticeSite, kind: str, folder: Path) -> Path:
    """Let a plan be written; return it, past the check."""
    plan = folder / f"{kind}.toml"
    ended = cli("--config", site.config, "ceremony", "plan", "new", kind, "--out", plan)
    assert ended.code == 0, ended.err
    text, example = plan.read_text(), CEREMONIES[kind].example
    if "FILL IN" in text:
        head, mark, _ = text.partition("[parameters]\n")
        plan.write_text(head + mark + example.partition(mark)[2])
    if kind == "create-space":
        plan.write_text(plan.read_text().replace('"treasury"', '"lending"'))
        text = site.config.read_text()
        extra = '\n[[hsm.tokens]]\nlabel = "space-lending"\nspace = "lending"\n'
        (folder / "conclave.toml").write_text(text + extra)
    ended = cli("--config", config(site, folder), "ceremony", "plan", "check", plan)
    assert ended.code == 0, ended.err
    return plan


def config(site: PracticeSite, folder: Path) -> Path:
    own = folder / "conclave.toml"
    return own if own.exists() else site.config


def test_every_ceremony_that_made_the_site_verifies_and_follows_the_one_before(
    cli: Cli, practice_site: PracticeSite
) -> None:
    listed = cli("--config", practice_site.config, "ceremony", "list", "--json")
    files = [transcript(practice_site, one["id"]) for one in json.loads(listed.out)["items"]]
    assert files
    for file in files:
        ended = cli("ceremony", "verify", file, "--site-root", practice_site.site_root, "--json")
        assert ended.code == 0
        assert json.loads(ended.out)["verdict"] == "pass"


def test_a_transcript_out_of_its_order_is_refused_with_a_report(
    cli: Cli, practice_site: PracticeSite
) -> None:
    file, root = transcript(practice_site, "register-ms-a"), practice_site.site_root
    other = transcript(practice_site, "initialise-site")
    ended = cli("ceremony", "verify", file, "--site-root", root, "--previous", other)
    assert ended.code == 65
    assert "CV-11 [✗]" in ended.out


def test_a_transcript_is_printed_as_pdf(
    cli: Cli, practice_site: PracticeSite, tmp_path: Path
) -> None:
    out = tmp_path / "transcript.pdf"
    file = transcript(practice_site, "register-ms-a")
    assert cli("ceremony", "print", file, "--out", out).code == 0
    assert out.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("kind", sorted(set(CEREMONIES) - {"initialise-site"} - OF_THIS_LOG))
def test_a_new_plan_is_rehearsed_byte_by_byte_and_nothing_of_the_site_is_touched(
    cli: Cli, practice_site: PracticeSite, tmp_path: Path, kind: str
) -> None:
    plan = new_plan(cli, practice_site, kind, tmp_path)
    before = sorted(practice_site.state.rglob("*"))
    out = tmp_path / "rehearsal.json"
    place = config(practice_site, tmp_path)
    ended = cli("--config", place, "ceremony", "rehearse", plan, "--out", out, "--json")
    assert ended.code == 0, ended.err
    assert "REHEARSAL" in ended.err
    outline = json.loads(ended.out)
    assert outline["result"] == "succeeded"
    assert all(one["step"].startswith(f"{one['section']}/") for one in outline["steps"])
    assert sorted(practice_site.state.rglob("*")) == before
    refused = cli("ceremony", "verify", out, "--site-root", practice_site.site_root)
    assert refused.code == 65


@pytest.mark.parametrize("kind", sorted(OF_THIS_LOG))
def test_a_new_plan_that_needs_the_sites_own_log_is_not_rehearsed(
    cli: Cli, practice_site: PracticeSite, tmp_path: Path, kind: str
) -> None:
    plan = new_plan(cli, practice_site, kind, tmp_path)
    ended = cli("--config", practice_site.config, "ceremony", "rehearse", plan)
    assert ended.code == 75
    assert "cannot be rehearsed" in ended.err


def test_a_dry_run_prints_every_step_and_calls_nobody(
    cli: Cli, practice_site: PracticeSite, tmp_path: Path
) -> None:
    plan = new_plan(cli, practice_site, "register-recipient", tmp_path)
    with practice_site.pins.open("rb") as pins:
        words = ["--config", str(practice_site.config), "--json", "ceremony", "run", str(plan)]
        ended = subprocess.run(
            [CONCLAVE, *words, "--dry-run", "--pin-fd", str(pins.fileno())],
            pass_fds=[pins.fileno()],
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    assert len(json.loads(ended.stdout)["steps"]) == 7
    listed = json.loads(cli("--config", practice_site.config, "ceremony", "list", "--json").out)
    assert {one["state"] for one in listed["items"]} == {"done"}


def test_no_command_shows_words_of_a_share(cli: Cli, practice_site: PracticeSite) -> None:
    file = transcript(practice_site, "initialise-site")
    shown = file.read_text() + cli("ceremony", "show", "initialise-site", "--state",
                                   practice_site.state).out  # fmt: skip
    shares = list(practice_site.shares.glob("*.txt"))
    assert shares
    for path in shares:
        assert read_share(path) not in shown
