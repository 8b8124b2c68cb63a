"""What must never count in a ceremony: each attempt is refused, and stands in the log."""

import json
import os
import re
import shlex
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pexpect

from kms.bootstrap.ceremony import ceremony_room
from kms.ceremonies.catalogue import ceremony_of
from kms.ceremonies.people.software import new_software_credential, open_software_credential
from kms.ceremonies.plan import parse_plan
from kms.ceremonies.record.folder import Folder
from kms.ceremonies.sitting import Sitting, sign_into
from kms.errors import ConclaveError
from kms.i18n import Language, speak
from kms.practice import PracticeSite
from kms.practice.ceremony import brief_of, practice_credentials, practice_pins
from kms.practice.people import CardFolder, ScriptedPeople
from kms.settings import load
from kms.statements.card import HeldCredential, make_card
from tests.faults.build import preload, shim
from tests.fixtures.isolated import run_isolated
from tests.practice.service import CONCLAVE
from tests.scenarios.held import QUORUM, SECURITY, hold, write_plan

OTHERS = ("chen-admin", "liu-witness", "zhao-auditor")
SPACE = 'space = "treasury"'
YEARS = 3 * 365 * 86_400
"""Seconds after which every term of a practice site is over."""


@dataclass
class Report:
    """By attempt: why it was refused, and whether the log says the same."""

    refused: dict[str, str] = field(default_factory=dict)
    logged: dict[str, bool] = field(default_factory=dict)


class Attempts:
    """A practice site at which wu-security was replaced by he-security."""

    def __init__(self, site: PracticeSite) -> None:
        self.site = site
        self.report = Report()
        added = self._newcomer("he-security", "security", 4, "2099-01-01")
        gone = 'remove = ["wu-security"]\n'
        hold(site, write_plan(site, "replace-officer", "replace-one", gone + added))

    def run(self) -> Report:
        """Try everything."""
        self._refused_plans()
        self._refused_approvals()
        return self.report

    # plans, by the command that people use

    def _refused_plans(self) -> None:
        held = open_software_credential(self.site.person_key("sun-security"), bytes)
        twin = _person("hu-security", "security", 4, "2099-01-01", make_card("hu-security", held))
        self._plan("one key under two names", 'remove = ["he-security"]\n' + twin)
        second = self._newcomer("sun-security", "security", 6, "2099-01-01")
        self._plan("one person with two credentials", second)
        officers = ("wu-security", "sun-security", "zhou-security")
        self._plan("a removed officer", SPACE, "retire-space", officers)
        skew = self.site.directory / "skew"
        skew.write_text(str(YEARS))
        later = preload(shim("clockskew")) | {"CLOCKSKEW_FILE": str(skew)}
        self._plan("officers whose terms are over", SPACE, "retire-space", environment=later)
        officers = ("mallory", *SECURITY[1:])
        self._plan("somebody whom the register does not know", SPACE, "retire-space", officers)

    def _plan(
        self,
        attempt: str,
        parameters: str,
        kind: str = "replace-officer",
        officers: Iterable[str] = QUORUM,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        name = attempt.replace(" ", "-")
        plan = write_plan(self.site, kind, name, parameters, officers)
        if environment:
            late = "expires = 2099-01-01T00:00:00Z"
            plan.write_text(re.sub(r"(?m)^expires = .*$", late, plan.read_text()))
        self._run(attempt, plan, environment)

    def _run(self, attempt: str, plan: Path, environment: Mapping[str, str] | None = None) -> None:
        config = str(self.site.config)
        command = [CONCLAVE, "--lang", "en", "--json", "--config", config]
        command += ["ceremony", "run", str(plan), "--accept-swap"]
        shown, code = pexpect.run(
            shlex.join(command),
            encoding="utf-8",
            env={**os.environ, **(environment or {})},
            timeout=60,
            withexitstatus=True,
            dimensions=(60, 1000),
        )
        assert code, f"{attempt}: the plan was accepted"
        said = json.loads(shown[shown.index("{") :])["error"]["detail"]
        self._note(attempt, parse_plan(plan.read_bytes()).file.id, said)

    # approvals, put into the ceremony's folder by somebody who can write there

    def _refused_approvals(self) -> None:
        self._approvals("a replayed approval", _replay)
        self._approvals("an approval signed with another officer's key", _borrow)
        self._approvals("an approval signed with a key that nobody registered", _unknown_key)
        self._approvals("an approval by somebody who is not on the roster", _stranger)
        self._approvals("an approval of the plan with another parameter", _other_parameter)
        plan = write_plan(self.site, "retire-space", "changed-plan", SPACE, SECURITY)
        run_isolated(self.site.environment, _call, self.site, plan)
        plan.write_text(plan.read_text().replace("treasury", "investment-banking"))
        self._run("a changed parameter after the call", plan)

    def _approvals(self, attempt: str, forge: "Forge") -> None:
        name = re.sub(r"[^a-z]+", "-", attempt)[:40].strip("-")
        said = run_isolated(self.site.environment, _try, self.site, name, forge)
        self._note(attempt, name, said)

    def _note(self, attempt: str, ceremony: str, said: str) -> None:
        self.report.refused[attempt] = said
        self.report.logged[attempt] = said in logged(self.site, ceremony)

    def _newcomer(self, name: str, group: str, share: int, until: str) -> str:
        key = self.site.directory / f"{name}.{time.monotonic_ns()}.pem"
        held = new_software_credential(key, b"")
        if name != "sun-security":
            shutil.copy(key, self.site.person_key(name))
        return _person(name, group, share, until, make_card(name, held))


def logged(site: PracticeSite, ceremony: str) -> set[str]:
    """Return the reasons of all refusals that the log has of a ceremony."""
    path = f"file:{site.state / 'conclave.db'}?mode=ro"
    with sqlite3.connect(path, uri=True) as database:
        leaves = [json.loads(body) for (body,) in database.execute("SELECT body FROM leaf")]
    return {
        leaf["details"]["reason"]
        for leaf in leaves
        if leaf["action"] == "ceremony.refused" and leaf["details"]["ceremony"] == ceremony
    }


def _person(name: str, group: str, share: int, until: str, card: str) -> str:
    return (
        f'[[parameters.add]]\nname = "{name}"\ndisplay = "{name}"\npart = "officer"\n'
        f'group = "{group}"\nshare = {share}\nterm_from = 2026-01-01T00:00:00Z\n'
        f'term_until = {until}T00:00:00Z\ncard = "{card}"\n'
    )


# --- in processes of their own -------------------------------------------------------------------

Forge = Callable[[PracticeSite, Sitting, dict[str, HeldCredential]], None]
"""Puts the third security officer's approval into a ceremony's folder, in a way that must fail."""

VICTIM = "zhou-security"


def _call(site: PracticeSite, plan: Path) -> Sitting:
    """Call a ceremony, as ``run`` does before it waits."""
    settings, read = load(site.config), parse_plan(plan.read_bytes())
    brief = brief_of(settings, read)
    return Sitting.open(settings.paths.state, ceremony_of(read), brief, int(time.time()))


def _try(site: PracticeSite, name: str, forge: Forge) -> str:
    """Hold a ceremony that all but one approve rightly; return why the one does not count."""
    speak(Language.EN)
    plan = write_plan(site, "retire-space", name, SPACE, SECURITY)
    sitting, credentials = _call(site, plan), practice_credentials(site)
    for one in (*OTHERS, *SECURITY[:2]):
        _sign(sitting.folder, one, credentials[one])
    forge(site, sitting, credentials)
    settings = load(site.config)
    brief = brief_of(settings, parse_plan(plan.read_bytes()))
    people = ScriptedPeople(CardFolder(site.shares))
    with ceremony_room(settings, brief, people, practice_pins(site)) as room:
        refused = dict(sitting.approvals(int(time.time())).refused)
        try:
            sitting.hold(room)
        except ConclaveError:
            (reason,) = refused.values()
            return reason
    raise AssertionError(f"{name} was held")


def _sign(folder: Path, person: str, held: HeldCredential) -> None:
    sign_into(folder, person, held.credential.kid, held.signer, int(time.time()))


def _replay(site: PracticeSite, sitting: Sitting, credentials: dict[str, HeldCredential]) -> None:
    """The right person's own approval, of the same plan under another id."""
    other = _call(site, write_plan(site, "retire-space", "before", SPACE, SECURITY))
    _sign(other.folder, VICTIM, credentials[VICTIM])
    _copy(other.folder, sitting.folder, VICTIM)


def _borrow(_site: PracticeSite, sitting: Sitting, credentials: dict[str, HeldCredential]) -> None:
    _sign(sitting.folder, VICTIM, credentials["wang-security"])


def _unknown_key(
    site: PracticeSite, sitting: Sitting, _credentials: dict[str, HeldCredential]
) -> None:
    _sign(sitting.folder, VICTIM, new_software_credential(site.directory / "second.pem", b""))


def _stranger(_site: PracticeSite, sitting: Sitting, held: dict[str, HeldCredential]) -> None:
    """An officer in office whom the plan does not name: the file is copied in."""
    _sign(sitting.folder, VICTIM, held["zheng-security"])
    folder = sitting.folder / "approvals"
    (folder / f"{VICTIM}.jws").rename(folder / "zheng-security.jws")


def _other_parameter(site: PracticeSite, sitting: Sitting, held: dict[str, HeldCredential]) -> None:
    """An approval of the same ceremony for another space: the plan was changed behind it."""
    space = SPACE.replace("treasury", "investment-banking")
    other = _call(site, write_plan(site, "retire-space", "other-space", space, SECURITY))
    _sign(other.folder, VICTIM, held[VICTIM])
    assert Folder(other.folder).plan().digest != Folder(sitting.folder).plan().digest
    _copy(other.folder, sitting.folder, VICTIM)


def _copy(source: Path, target: Path, person: str) -> None:
    shutil.copy(source / "approvals" / f"{person}.jws", target / "approvals")
