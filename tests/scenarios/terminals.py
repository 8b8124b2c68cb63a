"""People at terminals who know nothing but the handbook: the administrator's, and everybody's own.

What is typed is read from the handbook's lines, words of shares from the cards that were shown.
"""

import os
import re
import signal
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pexpect

from kms.cli.exits import Exit
from kms.settings import load

CONCLAVE = (sys.executable, "-m", "kms.cli.main")
PATIENCE = 120
_BEFORE_TYPING = 0.3
"""Seconds between prompt and answer: what is typed before a terminal listens is thrown away."""
_INPUT = re.compile(r"^- ⌨ (\S+): (.*?)(?:: `([^`]*)`)?$", re.MULTILINE)
_SHARE = re.compile(r"(SO|escrow) share (\S+), generation (\d+), split (\d+)")
_CARD = re.compile(
    r"Share card: \S+ (\w+), generation (\d+), split (\d+).*?Group (\S+): share (\d+).*?"
    r"Fingerprint: \S+",
    re.DOTALL,
)
_NUMBERED = re.compile(r"(\d+) ([a-z]{4,})")
_SAME_WORDS = re.compile(r"The same in words: ([a-z ]+)")


def _hear_interrupts() -> None:
    """A test run in the background hands its deafness to SIGINT on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass(frozen=True)
class Input:
    """A line of the handbook: who types what, letter by letter if it knows."""

    who: str
    what: str
    exact: str


@dataclass(frozen=True)
class Handbook:
    """A handbook's text, cut where the script begins and ends."""

    text: str

    @property
    def script(self) -> list[Input]:
        """Everything typed while the script is done."""
        return list(_inputs(self.text.partition("## The script")[2].partition("## Afterwards")[0]))

    @property
    def commands(self) -> list[Input]:
        """The commands of everybody: checks, the run, the approvals."""
        before = self.text.partition("## The script")[0]
        return [one for one in _inputs(before) if one.exact.startswith("conclave ")]

    @property
    def afterwards(self) -> list[Input]:
        """The commands after the script."""
        after = self.text.partition("## Afterwards")[2]
        return [one for one in _inputs(after) if one.exact.startswith("conclave ")]

    def signatures(self) -> list[Input]:
        """The commands by which people sign afterwards."""
        return [one for one in self.afterwards if " ceremony sign " in one.exact]


def _inputs(text: str) -> Iterator[Input]:
    for who, what, exact in _INPUT.findall(text):
        yield Input(who, what, exact)


@dataclass(frozen=True)
class Attendee:
    """How a person signs: what stands for LABEL or FILE, where their token is, its PIN."""

    name: str
    where: str
    environment: Mapping[str, str] = field(default_factory=dict)
    pin: str = ""


@dataclass
class Cards:
    """Share cards as their holders have them, by what their heads say: secret, place, generation,
    split.
    """

    words: dict[tuple[str, str, int, int], str] = field(default_factory=dict)

    def read(self, screen: str) -> None:
        """Keep a card that a screen shows."""
        found = _CARD.search(screen)
        if found:
            secret, generation, split, group, index = found.groups()
            numbered = _NUMBERED.findall(screen[found.end() :].partition("⌨")[0])
            numbered = [(int(number), word) for number, word in numbered]
            text = " ".join(word for _number, word in sorted(numbered))
            self.words[secret, f"{group}/{index}", int(generation), int(split)] = text

    def asked(self, prompt: str) -> str:
        """Return the words of the share that the terminal asks for by its full name."""
        found = _SHARE.search(prompt)
        assert found, prompt
        secret, place, generation, split = found.groups()
        return self.words[secret.lower(), place, int(generation), int(split)]


@dataclass
class Hall:
    """A site's people at their terminals."""

    config: Path
    attendees: Mapping[str, Attendee]
    pins: dict[str, str]
    cards: Cards = field(default_factory=Cards)

    def conclave(self, *words: object) -> str:
        """Run a command that asks nothing; return all that it shows."""
        with closing(self.spawn([*map(str, words)], {})) as terminal:
            shown: str = terminal.read()
            terminal.wait()
            assert terminal.exitstatus == 0, shown
            return shown

    def spawn(self, words: list[str], environment: Mapping[str, str]) -> "pexpect.spawn[str]":
        arguments = [*CONCLAVE[1:], "--lang", "en", "--config", str(self.config), *words]
        everything = {**os.environ, "TERM": "dumb", "COLUMNS": "300", **environment}
        everything.pop("NO_COLOR", None)
        terminal = pexpect.spawn(
            CONCLAVE[0], arguments, env=everything, encoding="utf-8", timeout=PATIENCE,
            dimensions=(60, 300), preexec_fn=_hear_interrupts,
        )  # fmt: skip
        terminal.delaybeforesend = _BEFORE_TYPING
        return terminal

    def handbook(self, plan: Path) -> Handbook:
        return Handbook(self.conclave("ceremony", "handbook", plan).replace("\r\n", "\n"))

    def hold(self, plan: Path, *options: str) -> Path:
        """Hold a ceremony as its handbook says; return the signed transcript."""
        book = self.handbook(plan)
        (run,) = [one for one in book.commands if " ceremony run " in one.exact]
        approvals = [one for one in book.commands if " ceremony sign " in one.exact]
        with closing(self.spawn([*_typed(run.exact), *options], {})) as terminal:
            self._sign_all(approvals, _words(terminal))
            for line in book.script:
                self._answer(terminal, line)
            self._sign_all(book.signatures(), _words(terminal))
            shown: str = terminal.read()
            terminal.wait()
            assert terminal.exitstatus == 0, shown
        name = tomllib.loads(plan.read_text())["id"]
        return load(self.config).paths.state / "ceremonies" / name / "transcript.json"

    def interrupt(self, plan: Path) -> None:
        """Call a ceremony and press Ctrl-C while it waits for approvals."""
        with closing(self.spawn(["ceremony", "run", str(plan)], {})) as terminal:
            terminal.expect("Still to approve: chen-admin")
            terminal.sendintr()
            shown = terminal.read()
            terminal.wait()
            assert terminal.exitstatus == Exit.INTERRUPTED, shown

    def _sign_all(self, lines: Iterable[Input], words: str) -> None:
        """Let everybody sign at the same time, each after comparing the words."""
        terminals = [(line.who, self._sign(line)) for line in lines]
        for who, terminal in terminals:
            with closing(terminal):
                self._finish_signing(terminal, self.attendees[who], words)

    def _sign(self, line: Input) -> "pexpect.spawn[str]":
        attendee = self.attendees[line.who]
        typed = line.exact.replace("LABEL", attendee.where).replace("FILE", attendee.where)
        return self.spawn(_typed(typed), attendee.environment)

    def _finish_signing(self, terminal: Any, attendee: Attendee, words: str) -> None:
        terminal.expect(f"⌨ {attendee.name}:")
        assert words in terminal.before, terminal.before
        terminal.sendline(words.rsplit(maxsplit=1)[-1])
        if attendee.pin:
            terminal.expect("PIN of token")
            terminal.waitnoecho()
            terminal.sendline(attendee.pin)
        shown = terminal.read()
        terminal.wait()
        assert terminal.exitstatus == 0, shown

    def _answer(self, terminal: Any, line: Input) -> None:
        """Type what the handbook says once the terminal asks that person."""
        while terminal.expect([f"⌨ {line.who}: ([^\r\n]* )", r"PIN of token (\S+): "]):
            terminal.waitnoecho()
            terminal.sendline(self.pins[terminal.match[1]])
        prompt = terminal.match[1]
        self.cards.read(terminal.before)
        if line.exact:
            terminal.sendline("" if line.exact == "[Enter]" else line.exact)
        elif " words of " not in line.what:
            terminal.sendline("B-2041")
        else:
            terminal.waitnoecho()
            terminal.sendline(self.cards.asked(prompt))


def _typed(command: str) -> list[str]:
    """Return a command of the handbook as words, without the program's own name."""
    program, *words = command.split()
    assert program == "conclave"
    return words


def _words(terminal: Any) -> str:
    """Return the eight words that the administrator's terminal shows to compare."""
    terminal.expect("To (approve|sign): SHA-256[^\r\n]*")
    terminal.expect(_SAME_WORDS)
    return str(terminal.match[1]).strip()
