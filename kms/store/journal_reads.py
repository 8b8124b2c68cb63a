"""What the journal answers: every question by an index, of so many rows at most."""

import json
from collections.abc import Collection
from typing import Any

from kms.audit.leaf import Outcome
from kms.errors import StoreUnavailable
from kms.ports.journal import By, Count, Deed, Deeds, Found, LeafFilter, Slot
from kms.store import journal_tables as sql
from kms.store.journal_file import JournalFile, Read

EXAMINED = 20_000
"""Rows that one look examines at most."""
LOOKS = 10
"""Looks that one search takes at most."""
_WIDTHS = {"hour": 13, "day": 10}
_DEEDS = 500


class JournalReads:
    """The questions of a ``Journal`` about leaves."""

    def __init__(self, file: JournalFile) -> None:
        self._file = file
        self._indexed = 0

    @property
    def indexed(self) -> int:
        """How many of the log's leaves it knows."""
        return self._indexed

    def search(self, wanted: LeafFilter, before: int | None, limit: int) -> Found:
        """Return the newest leaves that fit; looks at EXAMINED rows, LOOKS times, at most."""
        driver, others, values = _conditions(wanted)
        found: list[int] = []
        with self._file.reading() as ask:
            low, high = self._range(ask, wanted.since, wanted.until)
            high = high if before is None else min(high, before)
            for _ in range(LOOKS):
                floor = _floor(ask, driver, values | {"low": low, "high": high}, EXAMINED)
                bounds = {"low": floor, "high": high, "limit": limit + 1 - len(found)}
                found += [seq for (seq,) in ask(sql.search(driver, others), values | bounds)]
                if len(found) > limit:
                    return Found(tuple(found[:limit]), found[limit - 1])
                if floor <= low:
                    return Found(tuple(found), None)
                high = floor
        return Found(tuple(found), high)

    def report_of(self, space: str, meeting: str) -> int | None:
        """Return the newest leaf that reports a meeting's media cipher."""
        with self._file.reading() as ask:
            found = ask(sql.REPORT, (meeting, space))
        return int(found[0][0]) if found else None

    def meetings_ending(
        self, ending: str, limit: int, spaces: frozenset[str] | None = None
    ) -> list[tuple[str, str]]:
        """Return space and id of the newest meetings that were opened and whose ids end so."""
        known = None if spaces is None else json.dumps(sorted(spaces))
        with self._file.reading() as ask:
            found = ask(sql.OPENED, {"ending": ending, "limit": limit, "spaces": known})
        return [(space, meeting) for space, meeting in found]

    def counts(
        self,
        actions: Collection[str],
        since: str,
        until: str,
        slot: Slot,
        by: By,
        spaces: frozenset[str] | None = None,
        ahead: int = 0,
    ) -> list[Count]:
        """Count leaves that are no intents, by tallies of whole hours."""
        values = {
            "ahead": f"{ahead:+} minutes",
            "width": _WIDTHS[slot],
            "actions": json.dumps(sorted(actions)),
            "since": since[: _WIDTHS["hour"]],
            "until": until.removesuffix(":00:00.000000Z"),
            "spaces": None if spaces is None else json.dumps(sorted(spaces)),
        }
        with self._file.reading() as ask:
            return [Count(*row) for row in ask(sql.tallied(by), values)]

    def actors_of(self, wanted: LeafFilter, actions: Collection[str], before: int) -> Deeds:
        """Return who did what to a meeting, by its newest EXAMINED * LOOKS leaves at most."""
        values = {
            "meeting": wanted.meeting,
            "space": wanted.space,
            "actions": json.dumps(sorted(actions)),
        }
        with self._file.reading() as ask:
            low, high = self._range(ask, wanted.since, wanted.until)
            bounds = {"low": low, "high": min(high, before)}
            floor = _floor(ask, "meeting", values | bounds, EXAMINED * LOOKS)
            rows = ask(sql.DEEDS, values | bounds | {"low": floor, "limit": _DEEDS})
        return Deeds(tuple(Deed(*row) for row in rows), whole=floor <= low and len(rows) < _DEEDS)

    def _range(self, ask: Read, since: str, until: str) -> tuple[int, int]:
        """Return the numbers of the leaves of a time: the first, and the one behind the last."""
        size = self._indexed
        low = _first(ask, since, size) if since else 0
        return low, _first(ask, until, size) if until else size


def _floor(ask: Read, driver: str, values: dict[str, Any], most: int) -> int:
    """Return down to which leaf a look may go."""
    rows = ask(sql.floor(driver), values | {"most": most - 1})
    return int(rows[0][0]) if rows else int(values["low"])


def _first(ask: Read, time: str, size: int) -> int:
    """Return the first leaf that is not older: their times never go back."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        rows = ask(sql.TIME, (middle,))
        if not rows:
            raise StoreUnavailable("the journal of the log is being made anew", hint="try again")
        if rows[0][0] < time:
            low = middle + 1
        else:
            high = middle
    return low


_PREFIX = "AND substr(resource, 1, length(:resource_prefix)) = :resource_prefix"
_SPACES = "AND space IN (SELECT value FROM json_each(:spaces))"
_MOST = Outcome.SUCCEEDED.value
"""Of most leaves, so that looking for it by its index finds nothing sooner."""
_PLAIN = ("meeting", "actor", "action", "outcome", "space", "phase", "code", "recipient")


def _conditions(wanted: LeafFilter) -> tuple[str, str, dict[str, Any]]:
    """Return the column whose index is used (empty: by number), further conditions, and values."""
    values: dict[str, Any] = {name: value for name in _PLAIN if (value := getattr(wanted, name))}
    driver = next((one for one in sql.DRIVERS if values.get(one, _MOST) != _MOST), "")
    others = [f"AND {name} = :{name}" for name in values if name != driver]
    if wanted.resource_prefix:
        values["resource_prefix"] = wanted.resource_prefix
        others.append(_PREFIX)
    if wanted.spaces is not None:
        values["spaces"] = json.dumps(sorted(wanted.spaces))
        others.append(_SPACES)
    return driver, " ".join(others), values
