"""The one message catalogue: English texts in the code, Simplified Chinese in kms/locale.

The language belongs to the context (a command, a request) and is Chinese unless said otherwise. A
text without a translation is shown in English, never refused.
"""

import gettext
from collections.abc import Mapping
from contextvars import ContextVar
from enum import StrEnum
from functools import cache
from pathlib import Path

DOMAIN = "conclave"
LOCALE_DIR = Path(__file__).parent / "locale"


class Language(StrEnum):
    """A language of the product."""

    ZH = "zh"
    EN = "en"


CATALOGUES = {Language.ZH: "zh_CN", Language.EN: "en"}
"""The catalogue's folder; English has none, since it is the source."""

_language: ContextVar[Language] = ContextVar("language", default=Language.ZH)


def speak(language: Language) -> None:
    """Choose the language of the present context."""
    _language.set(language)


def language() -> Language:
    """Return the language of the present context."""
    return _language.get()


def _(text: str) -> str:
    """Return an English source text in the present language."""
    return _catalogue(_language.get()).gettext(text) if text else ""


def fill(text: str, about: Mapping[str, object]) -> str:
    """Return a source text in the present language, its braces filled; words among what fills them
    (members of enumerations, alone or in a tuple) are translated too.
    """
    return _(text).format(**{key: _word(one) for key, one in about.items()}) if about else _(text)


def _word(value: object) -> object:
    if isinstance(value, tuple):
        return _(", ").join(str(_word(one)) for one in value)
    return _(value) if isinstance(value, StrEnum) else value


@cache
def _catalogue(chosen: Language) -> gettext.NullTranslations:
    return gettext.translation(DOMAIN, LOCALE_DIR, [CATALOGUES[chosen]], fallback=True)
