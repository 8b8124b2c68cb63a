"""What the log says of escrow: generations, drills, and what a recovery made owed.

The log was checked when the service started. Only leaves that are new are read.
"""

import asyncio
from dataclasses import dataclass, field

from kms.audit.leaf import Leaf, Outcome, decode_leaf
from kms.ports import Store

_PAGE = 500
_ESCROW = b'{"action":"escrow.'
"""How the canonical form of a leaf about escrow begins."""


@dataclass(slots=True)
class Generation:
    """An escrow generation as the log tells it; times are RFC 3339."""

    generation: int
    made: str
    destroyed: str = ""


@dataclass(frozen=True, slots=True)
class Obligation:
    """A generation whose SWK was combined where it may have stayed behind."""

    ceremony: str
    generation: int
    since: str


@dataclass(slots=True)
class EscrowLog:
    """What the log says of escrow; reads on from where it was."""

    position: int = 0
    drilled: str = ""
    generations: dict[int, Generation] = field(default_factory=dict)
    owed: list[Obligation] = field(default_factory=list)

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
            if data.startswith(_ESCROW):
                self._take(decode_leaf(data))
        self.position += len(page)
        return bool(page)

    def obligations(self) -> tuple[Obligation, ...]:
        """Return what is still owed: it ends with the generation."""
        gone = {one.generation for one in self.generations.values() if one.destroyed}
        return tuple(one for one in self.owed if one.generation not in gone)

    def _take(self, leaf: Leaf) -> None:
        if leaf.outcome is not Outcome.SUCCEEDED:
            return
        told = leaf.details
        match leaf.action:
            case "escrow.generate":
                number = int(told["generation"])
                self.generations[number] = Generation(number, leaf.time)
            case "escrow.destroy":
                self.generations[int(told["generation"])].destroyed = leaf.time
            case "escrow.drill":
                self.drilled = leaf.time
            case "escrow.recover" | "escrow.recover-disk" if not told["offline_image"]:
                for number in told["generations"]:
                    self.owed.append(Obligation(str(told["ceremony"]), int(number), leaf.time))
            case _:
                pass
