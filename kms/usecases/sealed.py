"""What is sealed in this process: the one place to ask before anything of a space is done.

A seal only ever closes: nothing here opens a space again while the process lives.
"""

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from kms.domain.ids import SpaceName
from kms.domain.rows import Row, row_space
from kms.errors import Sealed
from kms.ports import RowKeeper, SiteHsm, SpaceHsm, WorkerDirectory
from kms.statements.sealing import BOX, Mark

SEALING = frozenset({"space.seal", "site.seal"})
"""The operations that are admitted when everything else is refused."""
_HINT = "people unseal it by the ceremony unseal"


class Marks(Protocol):
    """The marker files, which outlive the process and which the supervisor obeys."""

    def place(self, space: str, mark: Mark) -> None:
        """Make a marker durable, once; raise StoreUnavailable if only the supervisor heard of it,
        or nobody.
        """
        ...


class NoMarks:
    """Keeps nothing: for a process that no supervisor watches."""

    def place(self, space: str, mark: Mark) -> None:
        """Do nothing."""


@dataclass(slots=True)
class Seals:
    """The sealed spaces, and the work of making their sealing durable."""

    marks: Marks = field(default_factory=NoMarks)
    spaces: set[str] = field(default_factory=set)
    recording: set[asyncio.Task[bool]] = field(default_factory=set)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def add(self, space: str) -> None:
        """Admit no key operation of the space (BOX: of any) from now on."""
        self.spaces.add(space)

    def holds(self, space: str) -> bool:
        """Whether a space is sealed, or the box."""
        return bool(self.spaces) and (space in self.spaces or BOX in self.spaces)

    def check(self, space: str) -> None:
        """Raise Sealed if the space is, or the box."""
        if not self.spaces:
            return
        if BOX in self.spaces:
            raise Sealed("the whole box is sealed", hint=_HINT)
        if space in self.spaces:
            raise Sealed("the space {space} is sealed", hint=_HINT, about={"space": space})

    def check_row(self, row: Row) -> None:
        """Raise Sealed for a space's row while it is sealed; the site's own rows, such as that of
        the sealed space, may change.
        """
        if space := row_space(row.key, row.kind):
            self.check(space)

    async def stop(self) -> None:
        """Give up what could not be recorded; the next start goes on with it."""
        tasks = list(self.recording)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class OpenWorkers:
    """The workers of what is not sealed (ports.WorkerDirectory)."""

    def __init__(self, workers: WorkerDirectory, seals: Seals, spaces: Collection[str]) -> None:
        self._workers, self._seals, self._spaces = workers, seals, spaces

    def space(self, space: SpaceName) -> SpaceHsm:
        """Return a space's HSM; raise NotFound, Sealed."""
        self._seals.check(space)
        return self._workers.space(space)

    @property
    def site(self) -> SiteHsm:
        """The site's HSM, which seals the row of a sealed space too."""
        return self._workers.site

    def all(self) -> Iterator[RowKeeper]:
        """Return every worker that is not sealed, the site's first."""
        yield self._workers.site
        for space in self._spaces:
            if not self._seals.holds(space):
                yield self._workers.space(SpaceName(space))
