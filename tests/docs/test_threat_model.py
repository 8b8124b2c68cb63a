"""The threat model names every attempt of the attack list, and what came of it."""

from pathlib import Path

import pytest

from tests.fixtures.attacks import threat_table

TEXT = (Path(__file__).parents[2] / "docs" / "threat-model.md").read_text("utf-8")
POSSIBLE, REFUSED = TEXT.partition("## What root with the user PIN can still do")[2].split(
    "This the token **refuses**"
)


@pytest.mark.parametrize(("attempt", "result", "why"), threat_table())
def test_every_attempt_stands_where_it_belongs(attempt: str, result: str, why: str) -> None:
    place = POSSIBLE if result == "possible" else REFUSED
    assert f"\n| {attempt} | {why} |\n" in place


def test_nothing_is_listed_that_is_not_tried() -> None:
    rows = [line for part in (POSSIBLE, REFUSED) for line in part.split("\n") if line[:2] == "| "]
    assert len(rows) == len(threat_table()) + len((POSSIBLE, REFUSED))
