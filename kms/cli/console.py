"""The ceremony's terminal: tells people what goes on, takes in what they type, hands out cards.

Secrets are shown to a terminal alone, on a screen of its own that is cleared behind them.
"""

import time
from typing import TextIO

from rich.console import Console
from rich.markup import escape

from kms.ceremonies.ports import ShareCard
from kms.cli.cards import Printer, card_text
from kms.cli.keyboard import Keyboard
from kms.domain.text import visible
from kms.errors import Abandoned, ConfigurationError
from kms.i18n import _

KEYS = "⌨"
_TRIES = 3
_WORDS = (20, 33)
"""How many words a share has: of 16 bytes, of 32 bytes."""
_OTHER_SCREEN, _FIRST_SCREEN = "\x1b[?1049h", "\x1b[?1049l"
_CLEAR = "\x1b[H\x1b[2J\x1b[3J"
"""Clears the screen and what was scrolled off it."""
_BEATS = 0.1


class Terminal:
    """The people in the room, at one terminal (``kms.ceremonies.ports.People``).

    ``cards`` is where share cards are printed to; without it they are shown on the screen.
    """

    def __init__(self, keyboard: TextIO, screen: TextIO, cards: Printer | None = None) -> None:
        self._keys = Keyboard(keyboard)
        if not screen.isatty():
            raise ConfigurationError(
                "there is no terminal to show on",
                hint="a ceremony is held at a terminal: input and output are not redirected",
            )
        self._screen, self._cards, self._shown, self._said = screen, cards, 0.0, ""
        self._console = Console(file=screen, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Tell everybody what is going on."""
        self._said = text
        for line in text.split("\n"):
            self._console.print(escape(visible(line)))

    def confirm(self, who: str, phrase: str, text: str) -> None:
        """Go on only once ``who`` typed the phrase; raise Abandoned after three other lines."""
        if text != self._said:
            self.say(text)
        for _try in range(_TRIES):
            if self.ask(who, _("To go on, type: {phrase}").format(phrase=phrase)) == phrase:
                return
            self._warn(_("That is not the phrase."))
        raise Abandoned(
            "the phrase was not typed", hint="run the ceremony again, or abort it: nothing is lost"
        )

    def ask(self, who: str, text: str) -> str:
        """Return one line that is not secret; raise Abandoned if the terminal is closed."""
        self._prompt(who, text)
        return self._keys.line()

    def give_card(self, card: ShareCard) -> None:
        """Give a share to its holder alone; return once they have it."""
        self.ask(
            card.holder,
            _("Press Enter once you alone see screen and printer: your share card follows."),
        )
        if self._cards is None:
            self._show(card)
        else:
            with self._cards.printed(card) as where:
                self.say(_("The share card is here: {where}").format(where=where))
                self._have_it(card)

    def take_words(self, who: str, text: str) -> str:
        """Return a share's words in small letters with single blanks, as typed or scanned: in one
        line, or in several that an empty line ends.
        """
        words: list[str] = []
        with self._keys.unseen():
            self._prompt(who, text)
            while len(words) not in _WORDS and len(words) < max(_WORDS):
                more = self._keys.line().lower().split()
                self._screen.write("\n")
                if not more:
                    break
                words += more
                self._count(len(words))
        return " ".join(words)

    def progress(self, text: str, done: int, total: int) -> None:
        """Show how far long work is, in one line, ten times a second at most."""
        ended = done >= total
        if ended or time.monotonic() - self._shown > _BEATS:
            self._shown = time.monotonic()
            self._screen.write(f"\r\x1b[K{visible(text)} {done}/{total}" + "\n" * ended)
            self._screen.flush()

    def _show(self, card: ShareCard) -> None:
        self._screen.write(_OTHER_SCREEN + _CLEAR + card_text(card))
        try:
            self._have_it(card)
        finally:
            self._screen.write(_CLEAR + _FIRST_SCREEN)
            self._screen.flush()

    def _have_it(self, card: ShareCard) -> None:
        self.ask(card.holder, _("Press Enter once you have your share card; it is then cleared."))

    def _count(self, count: int) -> None:
        if count not in _WORDS:
            said = _("{count} words so far; go on, or end with an empty line.")
            self.say(said.format(count=count))

    def _prompt(self, who: str, text: str) -> None:
        line = escape(visible(f"{KEYS} {who}: {text}"))
        self._console.print(f"[bold]{line}[/]", end=" ")
        self._screen.flush()

    def _warn(self, text: str) -> None:
        self._console.print(f"[bold red]{escape(visible(text))}[/]")
