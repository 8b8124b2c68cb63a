"""What a paper is made of, whatever it is set as. Texts are in the reader's language already; what
stands between backquotes in a text is typed or compared letter by letter.
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading; ``level`` counts from 1 below the paper's title."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph; ``grave`` is one that must not be overlooked."""

    text: str
    grave: bool = False


@dataclass(frozen=True, slots=True)
class Points:
    """Points in a list, ``numbered`` if their order matters."""

    texts: tuple[str, ...]
    numbered: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table; ``widths`` are its columns' shares of the page. Without ``headings`` its first
    column holds the labels.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    widths: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Typed:
    """One thing that one person types: ``exact`` letter by letter, if the paper can know it."""

    who: str
    what: str
    exact: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """One step of a script: its number, who does it (or when it was done), what, and what is typed
    in it. Steps that are still to be done are ``ticked`` by hand.
    """

    number: str
    who: str
    text: str
    typed: tuple[Typed, ...] = ()
    ticked: bool = True


@dataclass(frozen=True, slots=True)
class Source:
    """Text as a file has it."""

    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class SignatureLines:
    """A line to sign by hand for each of these people; one for the date beside it, if ``date`` says
    what to call that.
    """

    names: tuple[str, ...]
    date: str = ""


Block: TypeAlias = Heading | Paragraph | Points | Table | Typed | Move | Source | SignatureLines


@dataclass(frozen=True, slots=True)
class Paper:
    """A document. ``kind`` stands above the title, ``footer`` on every page; a ``framed`` paper
    has a border, as certificates have.
    """

    title: str
    kind: str
    footer: str
    blocks: tuple[Block, ...]
    framed: bool = False
