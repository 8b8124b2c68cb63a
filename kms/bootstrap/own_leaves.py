"""The leaves that one ceremony has written so far, so that a step that is repeated after a crash
finds that its entry is there.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from kms.audit.leaf import Leaf, LeafDraft, Outcome, Phase, decode_leaf
from kms.ceremonies.plan import Plan
from kms.ceremonies.ports import Entry
from kms.ports import Store
from kms.statements.canonical import canonical

_PAGE = 2000
_Told: TypeAlias = tuple[str, str, str, bytes]


class OwnLeaves:
    """What a log says in a ceremony's name: events by what they tell, and intents. A plan has an
    id of its own, so nothing here is another ceremony's.
    """

    def __init__(self, store: Store, plan: Plan) -> None:
        self._id = plan.file.id
        self.actor = f"ceremony/{self._id}"
        self._auth = f"plan:{plan.digest}"
        self._events: dict[_Told, int] = {}
        self._intents: set[int] = set()
        self.transcript = ""
        self._read(store)

    def event(self, entry: Entry, rows: Mapping[str, int]) -> LeafDraft:
        """Return an entry's leaf, which changes these rows."""
        return LeafDraft(
            action=entry.action,
            actor=self.actor,
            auth=self._auth,
            space=entry.space,
            resource=entry.resource,
            phase=Phase.EVENT,
            outcome=entry.outcome,
            rows=dict(rows),
            details=entry.details,
        )

    def run(
        self, phase: Phase, outcome: Outcome, details: dict[str, Any], intent: int | None = None
    ) -> LeafDraft:
        """Return the leaf of the ceremony's beginning, or of its end."""
        return LeafDraft(
            action="ceremony.run",
            actor=self.actor,
            auth=self._auth,
            space="",
            resource=f"ceremonies/{self._id}",
            phase=phase,
            outcome=outcome,
            intent=intent,
            details=details,
        )

    def find(self, draft: LeafDraft) -> int | None:
        """Return the number of the event that tells the same already."""
        return self._events.get(_told(draft))

    def open_intents(self, store: Store) -> list[int]:
        """Return the intents of this ceremony that have no result."""
        return sorted(self._intents.intersection(store.open_intents()))

    def wrote_all(self, store: Store, start: int) -> bool:
        """Whether this ceremony wrote every leaf from ``start`` on."""
        return all(decode_leaf(data).actor == self.actor for data in _leaves(store, start))

    def add(self, seq: int, leaf: Leaf | LeafDraft) -> None:
        """Take in a leaf that is durable."""
        if leaf.phase is Phase.EVENT:
            self._events[_told(leaf)] = seq
        elif leaf.phase is Phase.INTENT:
            self._intents.add(seq)
        elif "transcript" in leaf.details:
            self.transcript = str(leaf.details["transcript"])

    def _read(self, store: Store) -> None:
        mark = b'"actor":' + canonical(self.actor)
        for data in _leaves(store):
            if mark in data:
                leaf = decode_leaf(data)
                if leaf.actor == self.actor:
                    self.add(leaf.seq, leaf)


def _told(leaf: Leaf | LeafDraft) -> _Told:
    return leaf.action, leaf.resource, leaf.outcome.value, canonical(leaf.details)


def _leaves(store: Store, position: int = 0) -> Iterator[bytes]:
    while page := store.leaves(position, _PAGE):
        yield from page
        position += len(page)
