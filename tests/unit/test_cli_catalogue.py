"""The message catalogue is complete and current: ``python -m tests.catalogue`` makes it so."""

import re

from kms.i18n import Language, _, speak
from tests import catalogue


def test_every_text_has_its_translation_and_no_translation_is_left_over() -> None:
    translated = {message.id: message.string for message in catalogue.read_catalogue()}
    del translated[""]
    assert set(translated) == catalogue.source_texts()
    assert [text for text, chinese in translated.items() if not chinese] == []


def test_the_compiled_catalogue_is_the_one_of_the_texts() -> None:
    assert catalogue.MO.read_bytes() == catalogue.compiled(catalogue.read_catalogue())


def test_translations_keep_the_fields_that_are_filled_in() -> None:
    for message in catalogue.read_catalogue():
        if message.id:
            assert _fields(message.string) == _fields(message.id)


def _fields(text: str) -> list[str]:
    return sorted(re.findall(r"\{(?:\w+(?:!r)?)?\}|\[/?blue\]|--[a-z-]+", text))


def test_an_unknown_text_stays_english_and_english_is_the_source() -> None:
    try:
        speak(Language.ZH)
        assert _("never translated") == "never translated"
        assert _("Space") == "空间"
        speak(Language.EN)
        assert _("Space") == "Space"
    finally:
        speak(Language.ZH)
