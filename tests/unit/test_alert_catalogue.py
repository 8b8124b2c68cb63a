"""The catalogue of alerts is whole, and every detector speaks of it alone."""

import re

import pytest

from kms.domain.alerts import ALERTS, ActiveAlert, Alert, Severity, severity_of

EVERY = pytest.mark.parametrize(("name", "alert"), ALERTS.items(), ids=list(ALERTS))


@EVERY
def test_an_alert_says_what_it_is_and_what_to_do_in_both_languages(name: str, alert: Alert) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", name)
    for english in (alert.en, alert.todo_en, alert.counts, alert.subject):
        assert english
        assert english.isascii()
    for chinese in (alert.zh, alert.todo_zh):
        assert re.search("[\u4e00-\u9fff]", chinese)


@EVERY
def test_an_alert_has_a_number_from_which_it_is_raised(name: str, alert: Alert) -> None:
    assert alert.threshold > 0, name
    assert alert.calm >= 0


def test_severities_have_an_order() -> None:
    assert Severity.NOTICE.rank < Severity.WARNING.rank < Severity.CRITICAL.rank


def test_an_alert_of_a_newer_version_is_a_warning() -> None:
    assert severity_of("from-the-future") is Severity.WARNING
    active = ActiveAlert("from-the-future", "", "x", 1, "", "2027-01-01T00:00:00.000000Z", 3)
    assert active.severity is Severity.WARNING
