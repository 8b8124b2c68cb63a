"""Holds ceremonies at a practice site, in processes of their own that may be killed on the way."""

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kms.bootstrap.ceremony import ceremony_room, site_binding
from kms.bootstrap.files import StateFiles
from kms.ceremonies.catalogue import CEREMONIES, ceremony_of, read_brief
from kms.ceremonies.plan import Plan, parse_plan
from kms.ceremonies.record.entries import Entry, StepDone
from kms.ceremonies.record.folder import CEREMONIES as FOLDER
from kms.ceremonies.record.folder import Folder
from kms.ceremonies.record.journal import Journal
from kms.ceremonies.room import Brief
from kms.ceremonies.sitting import Sitting, sign_into
from kms.ceremonies.steps.state import current_register, register_of
from kms.errors import HsmUnavailable, NotFound
from kms.i18n import Language, speak
from kms.practice import PracticeSite, material
from kms.practice.ceremony import practice_credentials, practice_pins
from kms.practice.config import draft_config
from kms.practice.files import write_new
from kms.practice.people import CardFolder, ScriptedPeople
from kms.practice.site import PROFILE, SITE_ID
from kms.settings import Settings, load
from tests.fixtures.ceremonies import KILLED
from tests.fixtures.isolated import run_isolated

Held = dict[str, dict[str, Any]]
"""The facts of a ceremony's steps, by step id."""


def plan_of(kind: str, *changes: tuple[str, str], name: str = "") -> str:
    """Return a kind's example plan with changes, good from today on, under a name of its own."""
    text = CEREMONIES[kind].example
    soon = datetime.now(UTC) + timedelta(days=2)
    for old, new in (
        *changes,
        (re.search(r"(?m)^id = .*$", text)[0], f'id = "{name or kind}"'),
        (re.search(r"(?m)^expires = .*$", text)[0], f"expires = {soon:%Y-%m-%dT00:00:00Z}"),
    ):
        assert old in text, old
        text = text.replace(old, new)
    return re.sub(r"(?m)^term_until = .*$", "term_until = 2099-01-01T00:00:00Z", text)


@dataclass
class SlipOfTheHand(ScriptedPeople):
    """People the first of whom gives somebody else's card, then one with a wrong word."""

    slips: int = 2

    def take_words(self, who: str, text: str) -> str:
        right = super().take_words(who, text)
        self.slips -= 1
        if self.slips == 1:
            return next(words for words in self.box.words().values() if words != right)
        return right.replace(right.split()[4], "xylophone", 1) if self.slips == 0 else right


@dataclass
class OldCards(ScriptedPeople):
    """People who give the cards of the first split, whatever is asked for."""

    seen: list[str] = field(default_factory=list)

    def take_words(self, who: str, text: str) -> str:
        return super().take_words(who, re.sub(r"split \d+", "split 1", text))


def unfounded(directory: Path) -> tuple[PracticeSite, Path, str]:
    """Return a site of which nothing but people exists, its configuration, and the plan of its
    first ceremony.
    """
    site = PracticeSite(directory, SITE_ID)
    write_new(site.mark, b"")
    material.write_softhsm(site)
    material.write_appliance_key(site)
    cards, servers = material.write_people(site), material.write_tls_and_servers(site)
    material.write_plans(site, cards, servers, material.write_device_ca(site), time.time())
    plan = (site.plans / "01-initialise-site.toml").read_text()
    return site, draft_config(site, PROFILE), plan


def hold(
    site: PracticeSite,
    text: str,
    *,
    die_after: str = "",
    people: type[ScriptedPeople] = ScriptedPeople,
    config: Path | None = None,
) -> Held:
    """Hold a plan; raise HsmUnavailable if it was killed, else what it raised."""
    place = config or site.config
    return run_isolated(site.environment, _hold, site, place, text, die_after, people)


def interrupt(site: PracticeSite, text: str, step: str, config: Path | None = None) -> None:
    """Hold a plan in a process that dies right after the act of a step."""
    with pytest.raises(HsmUnavailable, match="died"):
        hold(site, text, die_after=step, config=config)


def _hold(
    site: PracticeSite, config: Path, text: str, die_after: str, cast: Callable[..., ScriptedPeople]
) -> Held:
    speak(Language.EN)
    _die_after(die_after)
    settings, plan = load(config), parse_plan(text.encode())
    brief = _brief(settings, plan)
    sitting = Sitting.open(settings.paths.state, ceremony_of(plan), brief, int(time.time()))
    approved = sitting.approvals(int(time.time())).accepted
    _sign(site, sitting, [one for one in plan.file.roster if one not in approved])
    people = cast(CardFolder(site.shares))
    if Folder(sitting.folder).payload() is None:
        with ceremony_room(settings, brief, people, practice_pins(site)) as room:
            sitting.hold(room)
    _sign(site, sitting, list(sitting.missing_signatures()))
    sitting.finish()
    return Journal.open(sitting.folder).facts()


def _brief(settings: Settings, plan: Plan) -> Brief:
    """Return the brief, with the register that the ceremony was called under."""
    files, binding = StateFiles(settings.paths.state), site_binding(settings)
    try:
        wanted = Folder(settings.paths.state / FOLDER / plan.file.id).request().register
        register, token = register_of(files, wanted) if wanted else (None, "")
    except NotFound:
        try:
            register, token = current_register(files)
        except NotFound:
            register, token = None, ""
    return read_brief(plan, register, token, binding)


def _sign(site: PracticeSite, sitting: Sitting, names: list[str]) -> None:
    credentials = practice_credentials(site)
    for name in names:
        held = credentials[name]
        sign_into(sitting.folder, name, held.credential.kid, held.signer, int(time.time()))


def _die_after(step: str) -> None:
    """Let this process die when a step's act is done and the journal does not say so yet."""
    append = Journal.append

    def last(journal: Journal, entry: Entry) -> None:
        if isinstance(entry, StepDone) and entry.step == step:
            os._exit(KILLED)
        append(journal, entry)

    Journal.append = last
