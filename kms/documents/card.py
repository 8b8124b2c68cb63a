"""The share card: one share of a secret on one page, Chinese and English, for its holder."""

import io
from typing import Protocol

import segno

from kms.documents.press import press


class Group(Protocol):
    """A group of holders."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def threshold(self) -> int:
        """How many of its shares are needed."""
        ...

    @property
    def count(self) -> int:
        """How many there are."""
        ...


class Card(Protocol):
    """What a card says; ``words`` are secret. ``secret`` is ``escrow`` or ``so``."""

    @property
    def site(self) -> str: ...  # noqa: D102 -- named for what it is
    @property
    def secret(self) -> str: ...  # noqa: D102 -- likewise
    @property
    def generation(self) -> int: ...  # noqa: D102 -- likewise
    @property
    def split(self) -> int: ...  # noqa: D102 -- likewise
    @property
    def group(self) -> Group: ...  # noqa: D102 -- likewise
    @property
    def index(self) -> int: ...  # noqa: D102 -- likewise
    @property
    def holder(self) -> str: ...  # noqa: D102 -- likewise
    @property
    def display(self) -> str: ...  # noqa: D102 -- likewise
    @property
    def fingerprint(self) -> str: ...  # noqa: D102 -- likewise
    @property
    def words(self) -> str: ...  # noqa: D102 -- likewise


def share_card(card: Card, made: int) -> bytes:
    """Return the card as a PDF of one A5 page; raise ConfigurationError."""
    return press("card", card_data(card), made)


def card_data(card: Card) -> dict[str, object]:
    """Return what the template is given; it holds the words."""
    return {
        "site": card.site,
        "secret": card.secret,
        "generation": card.generation,
        "split": card.split,
        "group": card.group.name,
        "threshold": card.group.threshold,
        "count": card.group.count,
        "index": card.index,
        "holder": card.holder,
        "display": card.display,
        "fingerprint": card.fingerprint,
        "words": card.words.split(),
        "qr": _code(card.words),
    }


def _code(words: str) -> str:
    """Return the words as the drawing (SVG) of a QR code, separated by single blanks."""
    drawing = io.BytesIO()
    segno.make_qr(" ".join(words.split()), error="m").save(drawing, kind="svg", border=2)
    return drawing.getvalue().decode()
