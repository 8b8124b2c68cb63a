"""Text from elsewhere, shown to people, and the reasons that they give."""

import re

from kms.errors import InvalidInput

_HIDDEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u2069\ufeff"
    r"\U000e0000-\U000e007f]"
)
"""Controls, line separators, marks of writing direction, characters without width: what can move or
hide other text, or make two texts look alike."""


def visible(text: str) -> str:
    r"""Return the text on one line, with what a terminal would obey spelled out (``\u001b``)."""
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def check_reason(reason: str) -> None:
    """Raise InvalidInput unless something is said, of several lines at most, with nothing hidden in
    it: people read it before they sign, and it will stand in the log.
    """
    if not reason.strip():
        raise InvalidInput("say why: the reason stands in the log")
    lines = reason.replace("\n", "")
    if visible(lines) != lines:
        raise InvalidInput("the reason has control or invisible characters")
