"""A lease in the store: of several processes, one at a time does a background work.

Whoever stands still beyond its end has lost it, by its own monotonic clock. Two that both believe
to hold it could still do no harm: rows' versions let one of them commit.
"""

import asyncio
import logging
import secrets

from kms.errors import ConclaveError, Conflict
from kms.ports import Clock, Store, TakeLease, Unit

TTL_SECONDS = 15
RENEW_SECONDS = 4.0
_LOG = logging.getLogger(__name__)


class Lease:
    """This process's part in the lease ``name``."""

    def __init__(self, store: Store, clock: Clock, name: str) -> None:
        self.holder = secrets.token_hex(16)
        self._store, self._clock, self._name = store, clock, name
        self._until = float("-inf")
        self._got = asyncio.Event()

    def held(self) -> bool:
        """Whether this process may act now."""
        return self._clock.monotonic() < self._until

    async def wait(self) -> None:
        """Return once it is held."""
        while not self.held():
            self._got.clear()
            await self._got.wait()

    async def run(self) -> None:
        """Take it and keep it, for ever."""
        while True:
            await self.take()
            await asyncio.sleep(RENEW_SECONDS)

    async def take(self) -> None:
        """Take or renew it, if no other holds it and the store works."""
        begun, before = self._clock.monotonic(), self.held()
        try:
            await self._commit(TTL_SECONDS)
        except Conflict:
            self._until = float("-inf")
        except ConclaveError as error:
            _LOG.warning("the lease %s was not renewed: %s", self._name, error.code)
        else:
            # The store counts whole seconds: it may end a second before they are over.
            self._until = begun + TTL_SECONDS - 1
            self._got.set()
        if before != self.held():
            _LOG.info("the lease %s is %s", self._name, "held" if self.held() else "lost")

    async def release(self) -> None:
        """Let another process go on at once."""
        if not self.held():
            return
        self._until = float("-inf")
        try:
            await self._commit(0)
        except ConclaveError as error:
            _LOG.warning("the lease %s stands until it ends: %s", self._name, error.code)

    async def _commit(self, seconds: int) -> None:
        now = int(self._clock.now())
        change = TakeLease(self._name, self.holder, now, now + seconds)
        await self._store.commit(Unit((change,)))
