"""People of a served practice site at its board, the way that they go: an invitation at a terminal,
a passkey in a browser, an admission at a terminal.
"""

import json
import subprocess
import time
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Locator, Page

from kms.i18n import Language
from kms.practice.ceremony import practice_credentials
from kms.statements.passkeys import Admission, sign_admission
from tests.fixtures.browser import Visitor
from tests.practice.service import CONCLAVE, Service
from tests.scenarios.board_walk import label

_ADMITTED_SECONDS = 3600


@dataclass
class Person:
    """Somebody of the register of people with a browser of their own."""

    service: Service
    visitor: Visitor
    name: str
    language: Language = Language.ZH

    @property
    def page(self) -> Page:
        return self.visitor.page

    def say(self, text: str) -> str:
        """Return a text of the board as this person reads it."""
        return label(text, self.language)

    def button(self, text: str) -> Locator:
        return self.page.get_by_role("button", name=self.say(text), exact=True)

    def link(self, text: str) -> Locator:
        return self.page.get_by_role("link", name=self.say(text), exact=True)

    def field(self, text: str) -> Locator:
        return self.page.get_by_label(self.say(text), exact=True)

    def invite(self) -> str:
        """Invite oneself at a terminal; return the one-time code."""
        site = self.service.site
        key = str(site.person_key(self.name))
        command = [CONCLAVE, "--config", str(site.config), "--json", "passkey", "invite"]
        command += ["--person", self.name, "--key", key]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        code: str = json.loads(done.stdout)["code"]
        return code

    def enrol(self) -> None:
        """Enrol a passkey to sign in with, by an invitation."""
        self.page.goto("/")
        self.link("I have an invitation").click()
        self.field("One-time code").fill(self.invite())
        self.button("Go on").click()
        self._make("sign-in key")

    def sign_in(self) -> None:
        """Sign in from the start URL."""
        self.page.goto("/")
        self.button("Sign in with a passkey").click()
        self.page.get_by_role("heading", level=1, name=self.say("Overview")).wait_for()

    def enrol_for_approvals(self) -> None:
        """Enrol an approval passkey in the settings, and admit it with one's credential."""
        self.page.goto("/settings")
        self.link("Enrol an approval passkey").click()
        self._make("approval key")
        self.page.wait_for_url("**/settings/passkeys/*")
        self._admit(self.page.url.rpartition("/")[2])

    def _make(self, name: str) -> None:
        self.field("What you call it, such as: security key, blue").fill(name)
        self.button("Make the passkey").click()
        self.page.get_by_role("status").wait_for()

    def _admit(self, credential: str) -> None:
        with self.service.console() as client:
            where, made = next(client.passkey_pages()), client.passkey(credential)
            now = int(time.time())
            told: dict[str, Any] = {"rp_id": where.rp_id, "origin": where.origin}
            admission = Admission(
                site=where.site, person=self.name, credential=credential, spki=made.spki,
                issued=now, expires=now + _ADMITTED_SECONDS, **told,
            )  # fmt: skip
            held = practice_credentials(self.service.site)[self.name]
            token = sign_admission(admission, held.credential.kid, held.signer)
            client.admit_passkey(credential, token)
