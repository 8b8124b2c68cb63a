"""Scripted people: do at once whatever a ceremony asks of them, each with their own shares alone.

For practice sites, rehearsals and tests. They keep every share where the others can see it, so they
never take part in a real ceremony.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kms.ceremonies.ports import ShareCard, SharedSecret
from kms.ceremonies.steps.shares import place_of, share_name
from kms.errors import NotFound
from kms.practice.files import write_new
from kms.practice.layout import BANNER

_FILE = re.compile(r"(escrow|so)-([1-9][0-9]*)-([1-9][0-9]*)-([a-z0-9-]+)-([1-9][0-9]*)\.txt")


class CardBox(Protocol):
    """Where scripted people keep their cards: words by the share's name (``share_name``)."""

    def keep(self, card: ShareCard) -> None:
        """Keep a card; one of the same name was of an earlier attempt and goes."""
        ...

    def words(self) -> dict[str, str]:
        """Return the words of all cards by name."""
        ...


@dataclass
class CardsInMemory:
    """Keeps cards as long as the process lasts; ``cards`` has all that were given."""

    cards: dict[str, ShareCard] = field(default_factory=dict)

    def keep(self, card: ShareCard) -> None:
        """Keep a card."""
        self.cards[_name(card)] = card

    def words(self) -> dict[str, str]:
        """Return the words of all cards by name."""
        return {name: card.words for name, card in self.cards.items()}


@dataclass(frozen=True, slots=True)
class CardFolder:
    """Keeps each card as a marked file, such as ``escrow-1-1-security-3.txt``: secret, generation,
    split, group and place. The words are its last line.
    """

    folder: Path

    def keep(self, card: ShareCard) -> None:
        """Write a card, 0600."""
        place = f"{card.group.name}-{card.index}"
        path = self.folder / f"{card.secret}-{card.generation}-{card.split}-{place}.txt"
        path.unlink(missing_ok=True)
        write_new(path, _spelled(card).encode())

    def words(self) -> dict[str, str]:
        """Return the words of all files by the share's name."""
        found = ((path, _FILE.fullmatch(path.name)) for path in sorted(self.folder.glob("*.txt")))
        return {_name_of(match): read_share(path) for path, match in found if match}


@dataclass
class ScriptedPeople:
    """``People`` who confirm everything and type their cards back. ``said`` has what they heard."""

    box: CardBox = field(default_factory=CardsInMemory)
    said: list[str] = field(default_factory=list)
    bags: int = 0

    def say(self, text: str) -> None:
        """Hear it."""
        self.said.append(text)

    def confirm(self, who: str, phrase: str, text: str) -> None:
        """Type the phrase."""

    def ask(self, who: str, text: str) -> str:
        """Return the number of the next bag, whatever the question is."""
        del who, text
        self.bags += 1
        return f"PRACTICE-{self.bags:04}"

    def give_card(self, card: ShareCard) -> None:
        """Keep the card."""
        self.box.keep(card)

    def take_words(self, who: str, text: str) -> str:
        """Return the words of the card that the text names; raise NotFound."""
        words = self.box.words()
        named = [name for name in words if name in text]
        if not named:
            raise NotFound(f"{who} has no card for: {text}")
        return words[max(named, key=len)]

    def progress(self, text: str, done: int, total: int) -> None:
        """Hear it."""


def read_share(path: Path) -> str:
    """Return the words of a card's file: its last line."""
    return path.read_text("utf-8").strip().rpartition("\n")[2]


def _name(card: ShareCard) -> str:
    place = place_of(card.group.name, card.index)
    return share_name(card.secret, place, card.generation, card.split)


def _name_of(match: re.Match[str]) -> str:
    secret, generation, split, group, index = match.groups()
    place = place_of(group, int(index))
    return share_name(SharedSecret(secret), place, int(generation), int(split))


def _spelled(card: ShareCard) -> str:
    group = card.group
    what_en, what_zh = _WHAT[card.secret]
    return (
        f"{BANNER}\n"
        f"Conclave {card.site}: {what_en}, generation {card.generation}, split {card.split}, "
        f"group {group.name}, share {card.index} of {group.count}, {group.threshold} needed\n"
        f"{what_zh}第 {card.generation} 代，第 {card.split} 次拆分，{group.name} 组，"
        f"第 {card.index} 份，共 {group.count} 份，需 {group.threshold} 份\n"
        f"{card.display} ({card.holder}), {card.fingerprint}\n\n"
        f"{card.words}\n"
    )


_WHAT = {
    SharedSecret.ESCROW: ("escrow", "密钥托管"),
    SharedSecret.SO: ("SO secret", "SO 秘密"),
}
