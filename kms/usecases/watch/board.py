"""The alerts that are active, rebuilt from the log's own leaves, and how their leaves are written.

The log was checked when the service started. Only leaves that are new are read.
"""

import asyncio
from dataclasses import dataclass, field

from kms.audit.leaf import Leaf, LeafDraft, Outcome, Phase, decode_leaf
from kms.domain.alerts import ActiveAlert, AlertKey, Condition
from kms.ports import Store

_PAGE = 500
_ALERT = b'{"action":"alert.'
"""How the canonical form of a leaf about an alert begins."""
ACTOR, AUTH = "service", "socket:self"


@dataclass(slots=True)
class Board:
    """Active alerts; reads on from where it was. ``unlogged`` are those that were seen while the
    log could not be written.
    """

    position: int = 0
    logged: dict[AlertKey, ActiveAlert] = field(default_factory=dict)
    unlogged: dict[AlertKey, ActiveAlert] = field(default_factory=dict)

    def read(self, store: Store) -> None:
        """Read the leaves that are new."""
        while self._page(store):
            pass

    async def catch_up(self, store: Store) -> None:
        """Read the leaves that are new; others have their turn between two pages."""
        more = True
        while more:
            more = self._page(store)
            await asyncio.sleep(0)

    def _page(self, store: Store) -> bool:
        """Read one page; say whether there was one."""
        page = store.leaves(self.position, _PAGE)
        for data in page:
            if data.startswith(_ALERT):
                self._take(decode_leaf(data))
        self.position += len(page)
        return bool(page)

    def active(self) -> list[ActiveAlert]:
        """Return every active alert, the gravest first, then the oldest."""
        found = {**self.unlogged, **self.logged}.values()
        return sorted(found, key=lambda one: (-one.severity.rank, one.since, one.key))

    def _take(self, leaf: Leaf) -> None:
        told = leaf.details
        key = (str(told["alert"]), leaf.space, str(told["subject"]))
        if leaf.action == "alert.clear":
            self.logged.pop(key, None)
            return
        text, number = str(told.get("text", "")), int(told["number"])
        before = self.logged.get(key)  # raised again, it has more to tell of what began then
        since, again = (before.since, leaf.time) if before else (leaf.time, "")
        self.logged[key] = ActiveAlert(*key, number, text, since, leaf.seq, again)
        self.unlogged.pop(key, None)


def raising(condition: Condition) -> LeafDraft:
    """Return the leaf of an alert that is raised."""
    details: dict[str, object] = {"alert": condition.alert, "subject": condition.subject}
    details["number"] = condition.number
    if condition.text:
        details["text"] = condition.text
    return _leaf("alert.raise", condition.key, details)


def clearing(key: AlertKey) -> LeafDraft:
    """Return the leaf of an alert that is over."""
    return _leaf("alert.clear", key, {"alert": key[0], "subject": key[2]})


def _leaf(action: str, key: AlertKey, details: dict[str, object]) -> LeafDraft:
    alert, space, _subject = key
    path = f"spaces/{space}/alerts/{alert}" if space else f"alerts/{alert}"
    return LeafDraft(
        action, ACTOR, AUTH, space, path, Phase.EVENT, Outcome.SUCCEEDED, details=details
    )
