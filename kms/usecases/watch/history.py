"""What the log's new leaves tell the watcher: counts in slots of the clock, and each caller's past.

A slot is the beginning of a leaf's time: 16 characters are a minute, 15 ten minutes, 13 an hour.
Nothing is kept that a rule does not need.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec

from kms.audit.actions import MINTING, SERVING
from kms.audit.leaf import Outcome, Phase
from kms.domain.disks import DiskState, OrderState
from kms.domain.passkeys import Purpose

MINUTE, TEN_MINUTES, HOUR = 16, 15, 13
PAST_DAYS = 14
LEARNING_DAYS = 7
_FACTOR = 4
_HOURS = 24
_OPEN = frozenset({DiskState.OPEN, DiskState.MOUNTED, DiskState.ROTATING, DiskState.ERASING})
"""States in which a disk is not pulled out."""
_REFUSALS = frozenset({"access.refused", "approval.refused"})

Subject = tuple[str, str]
"""A space (empty: the site) and whom or what is counted in it."""


class Brief(msgspec.Struct, frozen=True):
    """What of a leaf the watcher looks at."""

    seq: int
    time: str
    action: str
    actor: str
    space: str
    phase: Phase
    outcome: Outcome
    details: dict[str, msgspec.Raw]


_BRIEF = msgspec.json.Decoder(Brief)


@dataclass(slots=True)
class Tally:
    """Counts in slots of the clock; ``fresh`` holds the highest of those that grew."""

    width: int
    counts: dict[Subject, tuple[str, int]] = field(default_factory=dict)
    fresh: dict[Subject, int] = field(default_factory=dict)

    def add(self, subject: Subject, time: str) -> None:
        """Count one; a new slot begins at 1."""
        slot = time[: self.width]
        known, count = self.counts.get(subject, (slot, 0))
        count = count + 1 if known == slot else 1
        self.counts[subject] = (slot, count)
        self.fresh[subject] = max(count, self.fresh.get(subject, 0))

    def take(self) -> dict[Subject, int]:
        """Return the highest counts of the slots that grew since asked last."""
        found, self.fresh = self.fresh, {}
        return found


@dataclass(slots=True)
class Past:
    """What each caller fetched in each hour of the last 14 days."""

    hours: dict[Subject, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    grown: set[tuple[Subject, str]] = field(default_factory=set)

    def learn(self, subject: Subject, time: str) -> None:
        """Count one envelope of before, which nobody has to be told of."""
        self.hours[subject][time[:HOUR]] += 1

    def add(self, subject: Subject, time: str) -> None:
        """Count one envelope."""
        self.learn(subject, time)
        self.grown.add((subject, time[:HOUR]))

    def take(self) -> dict[Subject, int]:
        """Return the counts of hours that grew since asked last and are unusual; forget what is
        older than it matters.
        """
        grown, self.grown = self.grown, set()
        found: dict[Subject, int] = {}
        for subject, slot in sorted(grown):
            count = self.hours[subject][slot]
            if self._unusual(self.hours[subject], slot, count):
                found[subject] = max(count, found.get(subject, 0))
            self._forget(subject, slot)
        return found

    @staticmethod
    def _unusual(hours: Counter[str], slot: str, count: int) -> bool:
        """Whether it is at least four times what there ever was around this hour of the day.

        A caller that has been known for less than a week has no habits yet.
        """
        if min(hours) > _slot(slot, days=-LEARNING_DAYS):
            return False
        around = (
            hours.get(_slot(slot, days=-day, hours=shift), 0)
            for day in range(1, PAST_DAYS + 1)
            for shift in (-1, 0, 1)
        )
        return count >= _FACTOR * max(around)

    def _forget(self, subject: Subject, slot: str) -> None:
        oldest = _slot(slot, days=-PAST_DAYS - 1)
        hours = self.hours[subject]
        if min(hours) < oldest and len(hours) > PAST_DAYS * _HOURS:
            self.hours[subject] = Counter({k: n for k, n in hours.items() if k >= oldest})


def _slot(slot: str, days: int = 0, hours: int = 0) -> str:
    moment = datetime.strptime(slot, "%Y-%m-%dT%H").replace(tzinfo=UTC)
    return (moment + timedelta(days=days, hours=hours)).strftime("%Y-%m-%dT%H")


@dataclass(slots=True)
class History:
    """Everything that is counted from leaves. Totals begin with the process."""

    bulk: Tally = field(default_factory=lambda: Tally(MINUTE))
    refusals: Tally = field(default_factory=lambda: Tally(TEN_MINUTES))
    altered: Tally = field(default_factory=lambda: Tally(HOUR))
    compromised: Tally = field(default_factory=lambda: Tally(HOUR))
    torn: Tally = field(default_factory=lambda: Tally(HOUR))
    failed: Tally = field(default_factory=lambda: Tally(HOUR))
    vouching: Tally = field(default_factory=lambda: Tally(HOUR))
    past: Past = field(default_factory=Past)
    jumps: list[int] = field(default_factory=list)
    minted: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    resealed: int = 0

    def learn(self, data: bytes) -> None:
        """Take a leaf that was looked at before the service started: habits alone come from it."""
        leaf = _BRIEF.decode(data)
        if leaf.action in SERVING and leaf.outcome is Outcome.SUCCEEDED:
            self.past.learn((leaf.space, leaf.actor), leaf.time)

    def take(self, data: bytes) -> None:
        """Take a leaf that is new."""
        leaf = _BRIEF.decode(data)
        if leaf.action in _REFUSALS:
            self.refused += 1
            self.refusals.add((leaf.space, leaf.actor), leaf.time)
        elif leaf.action == "integrity.failure":
            self.altered.add((leaf.space, leaf.space or "site"), leaf.time)
        elif leaf.outcome is Outcome.SUCCEEDED:
            self._succeeded(leaf)

    def _succeeded(self, leaf: Brief) -> None:
        subject = (leaf.space, leaf.actor)
        if leaf.action in SERVING:
            self.bulk.add(subject, leaf.time)
            self.past.add(subject, leaf.time)
        elif leaf.action in MINTING and leaf.phase is Phase.RESULT:
            self.minted[msgspec.json.decode(leaf.details["reason"], type=str)] += 1
        elif leaf.action == "epoch.compromise":
            self.compromised.add((leaf.space, leaf.space), leaf.time)
        elif leaf.action == "vault.rewrap":
            self.resealed += len(msgspec.json.decode(leaf.details["addenda"], type=list[str]))
        elif _tears_open_disk(leaf):
            self.torn.add((leaf.space, _text(leaf, "serial")), leaf.time)
        elif _ends_failed(leaf):
            self.failed.add((leaf.space, _text(leaf, "serial")), leaf.time)
        elif _adds_approval_passkey(leaf):
            self.vouching.add(("", _text(leaf, "person")), leaf.time)
        elif leaf.action == "clock.jump":
            self.jumps.append(msgspec.json.decode(leaf.details["seconds"], type=int))


def _tears_open_disk(leaf: Brief) -> bool:
    gone = leaf.action == "device.report" and _text(leaf, "state") == DiskState.GONE
    return gone and _text(leaf, "before") in _OPEN


def _ends_failed(leaf: Brief) -> bool:
    return leaf.action == "disk-order.report" and _text(leaf, "state") == OrderState.FAILED


def _adds_approval_passkey(leaf: Brief) -> bool:
    if leaf.action == "passkey.enroll":
        return _text(leaf, "purpose") == Purpose.APPROVAL
    return leaf.action == "passkey.admit"


def _text(leaf: Brief, name: str) -> str:
    return msgspec.json.decode(leaf.details[name], type=str)
