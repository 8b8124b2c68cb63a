"""Alerts and readiness as they are shown."""

from typing import Annotated

from pydantic import Field

from kms.domain.alerts import Severity
from kms.wire.base import Count, Space, Text, Time, Wire

_Many = Field(max_length=10_000)


class AlertOut(Wire):
    """An active alert: ``number`` as its kind counts it; ``seq`` its entry in the log, empty while
    the log cannot be written. Without ``space`` it is the site's own.
    """

    alert: Text
    severity: Severity
    space: Space | None
    subject: Text
    number: Count
    text: Text
    since: Time
    seq: Count | None
    meaning_en: Text
    meaning_zh: Text
    todo_en: Text
    todo_zh: Text


class AlertList(Wire):
    """The active alerts that the caller may know of, the gravest first."""

    items: Annotated[tuple[AlertOut, ...], _Many]


class Readiness(Wire):
    """``status`` is "ready", or "degraded": it serves, and people have to do something.
    ``reasons`` are for people's roles alone.
    """

    status: Text
    reasons: Annotated[tuple[Text, ...], _Many] = ()
