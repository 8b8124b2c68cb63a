"""``conclave policy`` without a service: checking, trying out, the words of explanations."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kms.cli.policy_words import sentences, space_fields
from kms.domain.ids import SpaceName
from kms.domain.policies import GroupNeed, Quorum, Threshold
from kms.i18n import Language, language, speak
from kms.settings import Rotation
from kms.statements.canonical import encode_record
from kms.usecases.policies import default_policy
from kms.wire.policies import (
    Explain,
    ExplanationOut,
    MissingOut,
    NearMissOut,
    PolicyEntry,
    PolicyOut,
    SpacePolicyOut,
)
from tests.fixtures.cli import Cli

OWN = '@id("own") forbid (principal, action == Action::"meeting.open", resource);\n'
CASES = """
[[case]]
name = "nobody opens a meeting"
operation = "meeting.open"
expect = "deny"
policies = ["own"]
principal = { roles = ["meeting-server"], spaces = ["treasury"] }
space = { name = "treasury" }
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    policies, cases = tmp_path / "site.cedar", tmp_path / "cases.toml"
    policies.write_text(OWN)
    cases.write_text(CASES)
    return policies, cases


def test_policies_that_fit_are_listed(cli: Cli, files: tuple[Path, Path]) -> None:
    ended = cli("policy", "check", files[0], "--json")
    assert ended.code == 0
    assert json.loads(ended.out) == {
        "items": [{"id": "own", "effect": "forbid", "source": "site.cedar"}]
    }


@pytest.mark.parametrize("wrong", ["meeting.dance", "nothing\nat all"])
def test_policies_that_do_not_fit_end_with_the_code_of_invalid_input(
    cli: Cli, files: tuple[Path, Path], wrong: str
) -> None:
    files[0].write_text(OWN.replace("meeting.open", wrong))
    ended = cli("policy", "check", files[0])
    assert (ended.code, ended.out) == (65, "")
    assert "site.cedar" in ended.err


def test_a_case_that_comes_out_otherwise_is_told_and_ends_with_an_error(
    cli: Cli, files: tuple[Path, Path]
) -> None:
    held = cli("--lang", "en", "policy", "test", files[1], "--policies", files[0])
    assert (held.code, held.out.count("as expected")) == (0, 1)
    failed = cli("--lang", "en", "policy", "test", files[1])
    assert (failed.code, failed.out.count("FAILED")) == (65, 1)
    assert "server-runs-meetings" in failed.out


# --- words ----------------------------------------------------------------------------------------

QUESTION = Explain(principal="anna", operation="meeting.open", space="treasury")
ENTRY = PolicyEntry(id="own", effect="forbid", source="site-policy")


def told(answer: ExplanationOut) -> list[str]:
    before = language()
    speak(Language.EN)
    try:
        return list(sentences(QUESTION, answer))
    finally:
        speak(before)


def near(*missing: tuple[str, str]) -> ExplanationOut:
    wants = tuple(MissingOut.model_validate({"lack": a, "wanted": b}) for a, b in missing)
    one = NearMissOut(id="p", effect="permit", source="f", missing=wants)
    return ExplanationOut(permitted=False, deciding=(), near=(one,))


@pytest.mark.parametrize(
    ("answer", "last"),
    [
        (ExplanationOut(permitted=True, deciding=(ENTRY,)), "Permitted by own (site-policy)."),
        (
            ExplanationOut(permitted=True, deciding=(), grant="g1"),
            "Only by the time-bound grant g1.",
        ),
        (
            ExplanationOut(permitted=False, deciding=(ENTRY,)),
            "Forbidden by own (site-policy), whatever else permits it.",
        ),
        (ExplanationOut(permitted=False, deciding=()), "No policy permits it to anybody."),
        (
            ExplanationOut(permitted=False, deciding=(), errors=("overflow",)),
            "The policies could not decide: overflow",
        ),
        (near(("role", "officer")), "p (f) would, but it is for the role officer."),
        (
            near(("resource", "Site"), ("condition", "when { x }")),
            "p (f) would, but it is for Site alone; it holds only when { x }.",
        ),
    ],
    ids=["permitted", "granted", "forbidden", "nobody", "undecided", "role", "conditions"],
)
def test_an_explanation_is_told_in_plain_sentences(answer: ExplanationOut, last: str) -> None:
    said = told(answer)
    may = "may do" if answer.permitted else "may not do"
    assert said[0] == f"anna {may} meeting.open in treasury."
    assert said[-1] == last


def test_a_spaces_policy_is_shown_with_dashes_for_what_is_not_said() -> None:
    policy = default_policy(SpaceName("treasury"), Rotation())
    shown = SpacePolicyOut.model_validate_json(encode_record(policy))
    _, row = space_fields(PolicyOut(space="treasury", version=0, policy=shown))
    assert (row["version"], row["quiet"], row["department"]) == (None, None, None)
    assert row["interval_seconds"] == 3600


def test_a_spaces_own_policy_is_shown_whole() -> None:
    policy = default_policy(SpaceName("treasury"), Rotation())
    needs = (GroupNeed("security", 2), GroupNeed("risk", 1, "markets"))
    own = replace(
        policy,
        rotation=replace(policy.rotation, quiet_from=22 * 60, quiet_until=6 * 60 + 30),
        quorums=(Quorum("hold.lift", needs),),
        thresholds=(Threshold("seal", 1),),
    )
    shown = SpacePolicyOut.model_validate_json(encode_record(own))
    _, row = space_fields(PolicyOut(space="treasury", version=3, policy=shown))
    assert (row["version"], row["quiet"]) == (3, "22:00-06:30")
    assert row["quorums"] == "hold.lift: 2 security, 1 risk (markets)"
    assert row["thresholds"] == "seal 1"
