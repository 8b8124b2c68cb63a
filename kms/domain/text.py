"""Text from elsewhere, shown to people."""

import re

_HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Controls, line separators and marks of writing direction: what can move or hide other text."""


def visible(text: str) -> str:
    r"""Return the text on one line, with what a terminal would obey spelled out (``\u001b``)."""
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
