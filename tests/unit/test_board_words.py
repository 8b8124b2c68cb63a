"""How values read on the board."""

import pytest

from kms.domain.models import Role
from kms.domain.states import KeyState
from kms.errors import Forbidden, InvalidInput, StateNotAllowed
from kms.i18n import Language, fill, speak
from kms.web.words import advice, countdown, duration, moment, short, word


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3601, "1 h"),
        (3661, "1 h 1 min"),
        (90_000, "1 d 1 h"),
        (86_400 + 60, "1 d"),
        (-90, "1 min 30 s"),
    ],
)
def test_a_duration_has_its_two_greatest_units(seconds, text):
    speak(Language.EN)
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "00:00:00"),
        (3290, "00:54:50"),
        (-3290, "+00:54:50"),
        (86_399, "23:59:59"),
        (86_400, "in 1 d"),
        (-100_000, "1 d 3 h late"),
    ],
)
def test_a_countdown_is_a_clock_below_a_day(seconds, text):
    speak(Language.EN)
    assert countdown(seconds) == text


def test_what_fills_an_error_is_translated_if_it_is_a_word_and_never_if_it_is_a_name():
    error = StateNotAllowed("{key}: {state}", about={"key": "active", "state": KeyState.ACTIVE})
    assert error.message == str(error) == "active: active"
    speak(Language.ZH)
    assert fill(error.source, error.about) == "active: 使用中"
    several = Forbidden("no", hint="{roles}", about={"roles": (Role.AUDITOR, Role.OFFICER)})
    assert several.hint == "auditor, officer"
    assert advice(several).startswith("审计员")
    assert "officer" not in advice(several)


def test_braces_in_a_text_without_values_stay():
    assert InvalidInput("a {name} of its own").message == "a {name} of its own"


def test_a_moment_is_utc_to_the_second():
    assert moment("2026-11-22T08:00:00.123456Z") == "2026-11-22 08:00:00"
    assert moment(1_793_347_200) == "2026-10-30 08:00:00"
    assert moment(0) == "—"


def test_of_an_id_the_end_is_shown_since_its_beginning_is_a_time():
    assert short("0192f0c8-7e3a-7bbb-8c3d-2f1a5b6c7d8e") == "…5b6c7d8e"
    assert short("abc") == "abc"


@pytest.mark.parametrize(
    ("value", "english", "chinese"),
    [
        ("verify-recovery", "verify recovery", "验证恢复密钥"),
        ("in-office", "in office", "在任"),
        (KeyState.PRE_ACTIVATION.value, "pre-activation", "待激活"),
    ],
)
def test_a_word_for_programs_reads_as_words(value, english, chinese):
    speak(Language.EN)
    assert word(value) == english
    speak(Language.ZH)
    assert word(value) == chinese
