"""Holds ceremonies on a practice site, each in a process of its own, by plans of a scenario."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kms.i18n import Language, speak
from kms.practice import PracticeSite
from kms.practice.ceremony import hold_plan
from kms.practice.people import CardFolder, ScriptedPeople
from tests.fixtures.isolated import run_isolated

SECURITY = ("wang-security", "sun-security", "zhou-security")
QUORUM = (*SECURITY, "qian-legal", "feng-legal")


def write_plan(
    site: PracticeSite,
    ceremony: str,
    name: str,
    parameters: str,
    officers: Iterable[str] = QUORUM,
    **others: str,
) -> Path:
    """Write a plan beside the site's own; ``parameters`` is TOML; return its path."""
    head = {
        "ceremony": ceremony,
        "id": name,
        "site": site.site_id,
        "purpose": "A scenario.",
        "administrator": "chen-admin",
        "witness": "liu-witness",
        "auditor": "zhao-auditor",
        **others,
    }
    expires = datetime.now(UTC) + timedelta(days=1)
    lines = ["version = 1"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in head.items()]
    lines += [f"officers = {json.dumps(list(officers))}", f"expires = {expires:%Y-%m-%dT%H:%M:%SZ}"]
    path = site.directory / "scenario-plans" / f"{name}.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([*lines, "", "[parameters]", parameters, ""]))
    return path


def hold(
    site: PracticeSite, plan: Path, slips: Mapping[str, Sequence[str]] | None = None
) -> tuple[Path, list[str]]:
    """Hold a ceremony in English; return its transcript and all that was said.

    ``slips`` maps the name of an asked share to what its holder gives before the right words.
    """
    given = {name: list(words) for name, words in (slips or {}).items()}
    return run_isolated(site.environment, _hold, site, plan, given)


class Slipping(ScriptedPeople):
    """Scripted people who give wrong words at first, and then those of their own card."""

    def __init__(self, folder: Path, slips: dict[str, list[str]]) -> None:
        super().__init__(CardFolder(folder))
        self.slips = slips

    def take_words(self, who: str, text: str) -> str:
        for name, left in self.slips.items():
            if name in text and left:
                return left.pop(0)
        return super().take_words(who, text)


def _hold(site: PracticeSite, plan: Path, slips: dict[str, list[str]]) -> tuple[Path, list[str]]:
    speak(Language.EN)
    people = Slipping(site.shares, slips)
    return hold_plan(site, site.config, plan, people), people.said
