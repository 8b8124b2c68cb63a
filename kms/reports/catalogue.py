"""What a report is made of, read from the three files beside this one: figures and their queries,
the clauses that they are evidence for, and the parts in which they are shown.
"""

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from kms.errors import ConfigurationError
from kms.i18n import Language, language
from kms.strict import Section, read_toml

HERE = Path(__file__).parent
_PERIOD = {
    "period": "time >= :since AND time < :until",
    "until": "time < :until",
}
_EXPECT = re.compile(r"(=|>=|>) (\d+)|none", re.ASCII)

Kind = Literal[
    "text", "number", "time", "day", "action", "word", "alert", "person", "member", "meeting",
    "hash", "hundredths", "reason",
]  # fmt: skip


class Column(Section, frozen=True):
    """A column of a figure: its heading in both languages, and what stands in it."""

    kind: Kind
    zh: str
    en: str


class Figure(Section, frozen=True):
    """A figure: the leaves that it counts and what is made of them, or a query of its own."""

    id: Annotated[str, msgspec.Meta(pattern="^[a-z-]+(\\.[a-z-]+)?$")]
    zh: str
    en: str
    columns: tuple[Column, ...]
    where: str = ""
    select: str = ""
    tail: str = ""
    scope: Literal["period", "until"] = "period"
    chart: Literal["", "bars", "days"] = ""
    sql: str = ""
    evidence: str = ""

    @property
    def query(self) -> str:
        """The query that yields the figure; it takes ``:since``, ``:until`` and, for days
        of the site, ``:ahead`` (figures.ahead).
        """
        made = f"SELECT {self.select} FROM {self._leaves} {self.tail}"  # noqa: S608 -- from a file of ours
        return " ".join((self.sql or made).split())

    @property
    def sources(self) -> str:
        """The query that yields what the figure is evidence of: a key and a text a row."""
        made = f"SELECT seq, body FROM {self._leaves} ORDER BY seq"  # noqa: S608 -- from a file of ours
        return " ".join((self.evidence or made).split())

    @property
    def _leaves(self) -> str:
        return f"log JOIN leaf USING (seq) WHERE {_PERIOD[self.scope]} AND ({self.where})"


class Clause(Section, frozen=True):
    """A row of the table of clauses; ``expect`` is when nothing is to be explained. ``clause_en``:
    its name in English, where that is another.
    """

    id: str
    clause: str
    zh: str
    en: str
    level: Literal["shall", "should", "may"]
    result: Literal["auto", "attested", "n/a"]
    figures: tuple[str, ...]
    expect: str = ""
    unverified: bool = False
    clause_en: str = ""

    @property
    def named(self) -> str:
        """Its name in the present language."""
        return self.clause_en if self.clause_en and language() is Language.EN else self.clause


class Part(Section, frozen=True):
    """A part of the report."""

    id: str
    zh: str
    en: str
    figures: tuple[str, ...]


class _Figures(Section, frozen=True):
    figure: tuple[Figure, ...]


class _Clauses(Section, frozen=True):
    clause: tuple[Clause, ...]


class _Parts(Section, frozen=True):
    section: tuple[Part, ...]


@cache
def figures() -> dict[str, Figure]:
    """Return every figure by its id; raise ConfigurationError."""
    return {one.id: one for one in read_toml(HERE / "figures.toml", _Figures).figure}


@cache
def numbers() -> dict[str, str]:
    """Return what each figure is called in a report, such as F-07, by its id."""
    return {name: f"F-{place:02d}" for place, name in enumerate(figures(), 1)}


@cache
def clauses() -> tuple[Clause, ...]:
    """Return the rows of the table of clauses; raise ConfigurationError for a row that means
    nothing.
    """
    found = read_toml(HERE / "clauses.toml", _Clauses).clause
    for one in found:
        _check_known(one.id, one.figures)
        if one.expect and (not _EXPECT.fullmatch(one.expect) or not one.figures):
            raise ConfigurationError(f"{one.id} expects something unknown: {one.expect}")
    return found


@cache
def parts() -> tuple[Part, ...]:
    """Return the parts of a report in order; raise ConfigurationError."""
    found = read_toml(HERE / "sections.toml", _Parts).section
    for one in found:
        _check_known(one.id, one.figures)
    return found


def _check_known(where: str, names: tuple[str, ...]) -> None:
    unknown = [name for name in names if name not in figures()]
    if unknown:
        raise ConfigurationError(f"{where} shows a figure that is not there: {unknown[0]}")


def meets(expect: str, rows: list[list[str | int]]) -> bool:
    """Whether a figure is as a clause expects: ``none`` (no row), or its first number compared."""
    if expect == "none":
        return not rows
    found = _EXPECT.fullmatch(expect)
    first = rows[0][0] if rows else None
    if found is None or not isinstance(first, int):
        return False
    least = int(found[2])
    return {"=": first == least, ">=": first >= least, ">": first > least}[found[1]]
