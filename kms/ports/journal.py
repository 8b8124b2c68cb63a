"""The journal: where in the log something stands, counts, and samples for plots. It is derived from
the log and proves nothing: what it finds is read from the log itself.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from kms.audit.leaf import Leaf
from kms.ports.store import Store

Slot = Literal["hour", "day"]
By = Literal["action", "space", "outcome", "reason"]

_MEETING_AT = 3
"""Where in ``spaces/<space>/meetings/<id>/...`` the meeting's id stands."""


def meeting_of(resource: str) -> str:
    """Return the meeting that a resource is of, empty if it is of none."""
    parts = resource.split("/", _MEETING_AT + 1)
    if len(parts) > _MEETING_AT and (parts[0], parts[2]) == ("spaces", "meetings"):
        return parts[_MEETING_AT]
    return ""


@dataclass(frozen=True, slots=True)
class LeafFilter:
    """What leaves are looked for; an empty field: any. ``since`` (included) and ``until`` (not) are
    times as leaves have them, RFC 3339 UTC with microseconds. ``spaces``: of these spaces alone,
    the empty name being the site's own leaves; None: of every space.
    """

    since: str = ""
    until: str = ""
    actor: str = ""
    action: str = ""
    space: str = ""
    meeting: str = ""
    resource_prefix: str = ""
    outcome: str = ""
    phase: str = ""
    code: str = ""
    recipient: str = ""
    spaces: frozenset[str] | None = None

    def fits(self, leaf: Leaf) -> bool:
        """Whether a leaf is looked for."""
        wanted = (
            (self.actor, leaf.actor),
            (self.action, leaf.action),
            (self.space, leaf.space),
            (self.meeting, meeting_of(leaf.resource)),
            (self.outcome, leaf.outcome),
            (self.phase, leaf.phase),
            (self.code, leaf.details.get("code")),
            (self.recipient, leaf.details.get("recipient")),
        )
        return (
            all(one in ("", found) for one, found in wanted)
            and self.since <= leaf.time
            and (not self.until or leaf.time < self.until)
            and leaf.resource.startswith(self.resource_prefix)
            and (self.spaces is None or leaf.space in self.spaces)
        )


@dataclass(frozen=True, slots=True)
class Found:
    """Leaves by number, newest first. ``next`` goes into ``before`` to look further back (None:
    there is nothing older); a page that is not full may have one, since a look goes only so far.
    """

    leaves: tuple[int, ...]
    next: int | None


@dataclass(frozen=True, slots=True)
class Count:
    """How many leaves of a slot: ``start`` is the beginning of a time, as ``2026-11-22T08``."""

    start: str
    key: str
    number: int


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody did with a meeting: how often, from which leaf to which, and when those were
    written (RFC 3339).
    """

    actor: str
    action: str
    outcome: str
    recipient: str
    number: int
    first: int
    last: int
    began: str
    ended: str


@dataclass(frozen=True, slots=True)
class Deeds:
    """Deeds, the latest first; ``whole``: all leaves were looked at, not only the newest."""

    items: tuple[Deed, ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """A measurement at a time (whole seconds); ``subject`` is a space, a token, or empty."""

    time: int
    name: str
    value: float
    subject: str = ""


class Journal(Protocol):
    """Finds leaves by what they say. Every question is bounded, whatever the log's size, and blocks
    its thread: ask from another than the event loop's. Raise StoreUnavailable while it is made
    anew.
    """

    @property
    def indexed(self) -> int:
        """How many of the log's leaves it knows."""
        ...

    async def follow(self, store: Store) -> None:
        """Keep up with the log, for ever, in a thread of its own."""
        ...

    def distrust(self) -> None:
        """Have it made anew from the log: something that it said was not so."""
        ...

    def search(self, wanted: LeafFilter, before: int | None, limit: int) -> Found:
        """Return the newest leaves that fit and are older than leaf ``before`` (None: all)."""
        ...

    def report_of(self, space: str, meeting: str) -> int | None:
        """Return the newest leaf that reports a meeting's media cipher."""
        ...

    def meetings_ending(
        self, ending: str, limit: int, spaces: frozenset[str] | None = None
    ) -> list[tuple[str, str]]:
        """Return space and id of the newest meetings that were opened and whose ids end so: in 8
        characters at least. ``spaces``: in these alone.
        """
        ...

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
        """Count leaves that are no intents, in slots of whole hours or days of a time that is
        ``ahead`` minutes ahead of UTC, by one field.
        """
        ...

    def actors_of(self, wanted: LeafFilter, actions: Collection[str], before: int) -> Deeds:
        """Return who did which of these actions to the meeting of a filter by its leaves older than
        leaf ``before``; of the filter the times and the space (empty: any) count besides.
        """
        ...

    def put_samples(self, samples: Iterable[Sample]) -> None:
        """Keep samples: each for days, the mean of each hour for 400 days."""
        ...

    def samples(
        self, name: str, since: int, until: int, subject: str = ""
    ) -> list[tuple[int, float]]:
        """Return a few hundred points at most: (whole seconds, mean of the samples around)."""
        ...
