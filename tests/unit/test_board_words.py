"""How values read on the board."""

import pytest

from kms.i18n import Language, speak
from kms.web.words import duration, moment, short


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


def test_a_moment_is_utc_to_the_second():
    assert moment("2026-11-22T08:00:00.123456Z") == "2026-11-22 08:00:00"
    assert moment(1_793_347_200) == "2026-10-30 08:00:00"
    assert moment(0) == "—"


def test_of_an_id_the_end_is_shown_since_its_beginning_is_a_time():
    assert short("0192f0c8-7e3a-7bbb-8c3d-2f1a5b6c7d8e") == "…5b6c7d8e"
    assert short("abc") == "abc"
