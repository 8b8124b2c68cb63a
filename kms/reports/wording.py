"""What a report says in the reader's language: words around its figures, values in them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Protocol

import msgspec

from kms.audit.actions import ACTIONS
from kms.domain.alerts import ALERTS
from kms.i18n import Language, _, language
from kms.reports.catalogue import HERE, Column
from kms.reports.figures import Value
from kms.site_time import zone_name, zone_of
from kms.statements.canonical import unb64u
from kms.strict import Section


class _Bilingual(Protocol):
    @property
    def zh(self) -> str: ...
    @property
    def en(self) -> str: ...


class _Word(Section, frozen=True):
    zh: str
    en: str


@cache
def _words() -> dict[str, _Word]:
    return msgspec.toml.decode((HERE / "words.toml").read_bytes(), type=dict[str, _Word])


def say(name: str, **values: str | int) -> str:
    """Return a text of the report in the present language."""
    return chosen(_words()[name]).format(**values)


def chosen(one: _Bilingual) -> str:
    """Return what is said in both languages in the present one."""
    return one.zh if language() is Language.ZH else one.en


def moment(seconds: int, offset: int) -> str:
    """Return a time of the site."""
    at = datetime.fromtimestamp(seconds, UTC).astimezone(zone_of(offset))
    return f"{at:%Y-%m-%d %H:%M} ({zone_name(offset)})"


def days(since: int, until: int, offset: int) -> str:
    """Return a period by its first and last day, or moment if it ends within a day."""
    zone = zone_of(offset)
    first, end = (datetime.fromtimestamp(one, UTC).astimezone(zone) for one in (since, until))
    if (end.hour, end.minute, end.second) == (0, 0, 0):
        last = f"{end - timedelta(days=1):%Y-%m-%d}"
    else:
        last = f"{end:%Y-%m-%d %H:%M}"
    return f"{first:%Y-%m-%d} {say('to')} {last} ({zone_name(offset)})"


def cell(column: Column, value: Value, offset: int) -> str:
    """Return what stands in a cell, in the present language."""
    if isinstance(value, int):
        return f"{value / 100:.2f}" if column.kind == "hundredths" else f"{value:,}"
    if not value:
        return value
    if column.kind == "time":
        at = datetime.fromisoformat(value).astimezone(zone_of(offset))
        return f"{at:%Y-%m-%d %H:%M:%S}"
    shown = _SHOWN.get(column.kind)
    return shown(value) if shown else value


def _action(name: str) -> str:
    known = ACTIONS.get(name)
    return chosen(known) if known else name


def _alert(name: str) -> str:
    known = ALERTS.get(name)
    return chosen(known) if known else name


def _place(path: str) -> str:
    """Return the meeting, disk or request that a resource names, with its epoch."""
    for mark in ("/meetings/", "/disks/"):
        if mark in path:
            return path.partition(mark)[2].replace("/epochs/", " · ")
    return path


def _digest(digest: str) -> str:
    return unb64u(digest).hex()  # as sha256sum prints it


_SHOWN: dict[str, Callable[[str], str]] = {
    "word": _,
    "action": _action,
    "alert": _alert,
    "meeting": _place,
    "hash": _digest,
}
"""How texts are shown, by the kind of their column; others as they are."""
