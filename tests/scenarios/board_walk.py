"""Somebody at the board who knows only what is written on it: goes by visible labels, and counts
their clicks.
"""

import gettext
import re
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from kms.i18n import CATALOGUES, DOMAIN, LOCALE_DIR, Language
from tests.fixtures.browser import Visitor


def label(text: str, language: Language = Language.ZH) -> str:
    """Return an English text of the board as it stands on the page in a language."""
    catalogue = gettext.translation(DOMAIN, LOCALE_DIR, [CATALOGUES[language]], fallback=True)
    return catalogue.gettext(text)


@dataclass
class Walk:
    """One person's way to one answer. ``pictures``: where to keep one of each step (None: none)."""

    visitor: Visitor
    name: str
    pictures: Path | None = None
    language: Language = Language.ZH
    clicks: int = 0
    steps: list[str] = field(default_factory=list)

    @property
    def page(self) -> Page:
        return self.visitor.page

    def say(self, text: str) -> str:
        """Return a text as it stands on the page."""
        return label(text, self.language)

    def start(self) -> None:
        """Open the start URL and sign in."""
        self.page.goto("/")
        self.button("Sign in with a passkey")
        expect(self.page.get_by_role("heading", level=1, name=self.say("Overview"))).to_be_visible()
        self.keep()

    def follow(self, text: str, within: Locator | None = None) -> None:
        """Click a link by its words."""
        there = (within or self.page).get_by_role("link", name=self.say(text), exact=True)
        self._click(there, text)

    def menu(self, text: str) -> None:
        """Click a line of the navigation."""
        self.follow(text, self.page.get_by_role("navigation", name=self.say("Pages")))

    def button(self, text: str) -> None:
        """Click a button by its words."""
        self._click(self.page.get_by_role("button", name=self.say(text), exact=True), text)

    def below(self, text: str) -> None:
        """Click the figure of a tile, which is known by the words above it."""
        words = self.page.get_by_text(self.say(text), exact=True)
        self._click(words.locator("xpath=following-sibling::a"), text)

    def fill(self, text: str, value: str) -> None:
        """Click into a field that is known by its label, and type."""
        self._count(text)
        self._field(text).fill(value)

    def choose(self, text: str, option: str) -> None:
        """Choose from a list by its label: two clicks."""
        self._count(text)
        self._count(option)
        self._field(text).select_option(label=option)

    def _field(self, text: str) -> Locator:
        """Return the field whose label begins so: a list's options stand in its label too."""
        return self.page.get_by_label(re.compile(rf"^\s*{re.escape(self.say(text))}"))

    def link_with(self, text: str) -> None:
        """Click the first link that has some words in it."""
        self._click(self.page.get_by_role("link", name=text).first, text)

    def _click(self, there: Locator, text: str) -> None:
        self._count(text)
        there.click()
        self.page.wait_for_load_state()
        self.keep()

    def _count(self, text: str) -> None:
        self.clicks += 1
        self.steps.append(self.say(text))

    def keep(self) -> None:
        """Keep a picture of what the page shows now."""
        if self.pictures:
            path = self.pictures / f"{self.name}-{self.clicks:02}.png"
            self.page.screenshot(path=path, animations="disabled")
