"""Spells out characters that the fonts of a report cannot print, such as U+1F600 in brackets: what
somebody once wrote as a reason must never keep a report from being made.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from kms.documents.press import press
from kms.errors import ConfigurationError

_UNSURE = frozenset({"Cc", "Cf", "Cn", "Co", "Mc", "Me", "Mn"})
"""Kinds of characters that change their neighbours, or that nobody sees: always spelled out."""
_TRIED: dict[str, bool] = {}
"""Whether each character beyond plain ASCII that was met has a glyph."""


def printable(value: Any, keep: frozenset[str] = frozenset()) -> Any:
    """Return a value (mappings, lists, texts) with what has no glyph spelled out in its texts, but
    in those under a name in ``keep``. Raise ConfigurationError if a font is missing.
    """
    unknown = sorted({one for text in _texts(value, keep) for one in text} - _TRIED.keys())
    _try([one for one in unknown if not _plain(one)])
    return _spelled(value, keep)


def _texts(value: Any, keep: frozenset[str]) -> list[str]:
    if isinstance(value, str):
        return [unicodedata.normalize("NFC", value)]
    if isinstance(value, Mapping):
        value = [one for name, one in value.items() if name not in keep]
    if isinstance(value, list | tuple):
        return [text for one in value for text in _texts(one, keep)]
    return []


def _spelled(value: Any, keep: frozenset[str]) -> Any:
    if isinstance(value, str):
        return "".join(map(_one, unicodedata.normalize("NFC", value)))
    if isinstance(value, Mapping):
        return {name: one if name in keep else _spelled(one, keep) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled(one, keep) for one in value]
    return value


def _one(character: str) -> str:
    if _plain(character) or _TRIED[character]:
        return character
    return f"[U+{ord(character):04X}]"


def _plain(character: str) -> bool:
    return character.isascii() and (character.isprintable() or character == "\n")


def _try(characters: Sequence[str]) -> None:
    """Find out which have a glyph, by halves."""
    if not characters:
        return
    press("glyphs", {"characters": []}, 0)
    seen = [one for one in characters if unicodedata.category(one) not in _UNSURE]
    _TRIED.update(dict.fromkeys(characters, False))
    parts = [seen] if seen else []
    while parts:
        part = parts.pop()
        if _has_glyphs(part):
            _TRIED.update(dict.fromkeys(part, True))
        elif len(part) > 1:
            half = len(part) // 2
            parts += [part[:half], part[half:]]


def _has_glyphs(characters: Sequence[str]) -> bool:
    try:
        press("glyphs", {"characters": list(characters)}, 0)
    except ConfigurationError:
        return False
    return True
