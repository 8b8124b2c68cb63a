"""Names as a masked report shows them: a number each, which tells people apart within it and keeps
who they are from outsiders. Whoever knows who did a thing in it knows that person's number.
Servers, recipients, ceremonies and the service itself are nobody's names.
"""

import re
from collections.abc import Mapping

from kms.reports.catalogue import Column, Figure
from kms.reports.figures import Rows, Value

HIDDEN = "***"
SHORT = 8
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_OWN = ("ceremony/", "server:")
"""How actors begin that are nobody; ``service`` is one too."""


class Names:
    """The names in one report: each gets a number, in the order in which they appear."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mask(self, name: str) -> str:
        """Return a name such as ``***3``; of several, each by itself."""
        if name == "service" or name.startswith(_OWN):
            return name
        return ", ".join(self._one(one) for one in name.split(", ") if one)

    def rows(self, figure: Figure, rows: Rows) -> Rows:
        """Return a figure's rows with names masked, ids shortened, reasons left out."""
        return [
            [self._value(column, value) for column, value in zip(figure.columns, row, strict=True)]
            for row in rows
        ]

    def _value(self, column: Column, value: Value) -> Value:
        if not isinstance(value, str):
            return value
        if column.kind == "person":
            return self.mask(value)
        if column.kind in {"reason", "member"}:
            return HIDDEN if value else ""
        return shorten(value) if column.kind in {"meeting", "text"} else value

    def _one(self, name: str) -> str:
        return f"{HIDDEN}{self._numbers.setdefault(name, len(self._numbers) + 1)}"


def told_by_name(figure: Figure, rows: Rows, names: Mapping[str, str]) -> Rows:
    """Return a figure's rows with people as a reader knows them: ``names`` is what slugs are
    called. Of several people in a cell, each by itself.
    """
    return [
        [
            ", ".join(called(one, names) for one in value.split(", "))
            if column.kind == "person" and isinstance(value, str)
            else value
            for column, value in zip(figure.columns, row, strict=True)
        ]
        for row in rows
    ]


def called(slug: str, names: Mapping[str, str]) -> str:
    """Return a name with its slug, or the slug alone if it has none."""
    return f"{names[slug]} ({slug})" if slug in names else slug


def shorten(text: str) -> str:
    """Return a text with each UUID in it cut down to its last 8 characters."""
    return _UUID.sub(lambda found: found[0][-SHORT:], text)
