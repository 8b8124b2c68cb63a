"""Names as a masked report shows them: enough to tell two people apart who are looked at together,
too little to tell who they are.
"""

import re

from kms.reports.catalogue import Column, Figure
from kms.reports.figures import Rows, Value

HIDDEN = "***"
SHORT = 8
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_OWN = frozenset({"service", ""})
"""Actors that are nobody."""


def mask_rows(figure: Figure, rows: Rows) -> Rows:
    """Return a figure's rows with names masked, ids shortened, reasons left out."""
    return [
        [_mask(column, value) for column, value in zip(figure.columns, row, strict=True)]
        for row in rows
    ]


def mask_name(name: str) -> str:
    """Return a name as its first character and ``***``; of several, each by itself."""
    if name in _OWN or name.startswith("ceremony/"):
        return name
    return ", ".join(f"{one[0]}{HIDDEN}" for one in name.split(", ") if one)


def shorten(text: str) -> str:
    """Return a text with each UUID in it cut down to its last 8 characters."""
    return _UUID.sub(lambda found: found[0][-SHORT:], text)


def _mask(column: Column, value: Value) -> Value:
    if not isinstance(value, str):
        return value
    if column.kind == "person":
        return mask_name(value)
    if column.kind == "reason":
        return HIDDEN if value else ""
    return shorten(value) if column.kind in {"meeting", "text"} else value
