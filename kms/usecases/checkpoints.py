"""Signed checkpoints: at an interval, at the end, and what their absence means.

At start the log must be what was last signed, as the token remembers it: what lies on the disk
can be rolled back together with the disk. Once no signing has succeeded for an interval and the
grace time, whatever the reason, no key operation happens.
"""

import asyncio
import logging

from kms.errors import AuditUnavailable, ConclaveError, IntegrityFailure
from kms.ports import Clock, PutCheckpoint, SiteHsm, Store, Unit
from kms.settings import Audit

_LOG = logging.getLogger(__name__)


class Checkpointer:
    """Signs the log's head as it grows."""

    def __init__(self, store: Store, site: SiteHsm, clock: Clock, settings: Audit) -> None:
        self._store = store
        self._site = site
        self._clock = clock
        self._settings = settings
        self._signed = 0
        self._last_good = clock.monotonic()

    async def start(self) -> None:
        """Raise IntegrityFailure unless the log extends the last checkpoint on the token."""
        size, root = await self._site.last_checkpoint()
        if self._store.tree_size() < size or self._store.root(size) != root:
            raise IntegrityFailure(
                "the audit log is not the one that was last signed: it was rolled back or altered",
                hint="restore the newest state; a site that lost it needs a recovery ceremony",
            )
        self._signed = size

    def gate(self) -> None:
        """Raise AuditUnavailable while the log has not been signed for too long.

        Counted from the last success, so that it also closes when nobody tries any more.
        """
        patience = self._settings.checkpoint_seconds + self._settings.grace_seconds
        if self._clock.monotonic() - self._last_good > patience:
            raise AuditUnavailable(
                "the audit log cannot be signed", hint="see the site HSM's health"
            )

    async def sign(self) -> None:
        """Sign the present head if the log has grown; raise HsmUnavailable, StoreUnavailable."""
        size = self._store.tree_size()
        if size == self._signed:
            return
        proof = self._store.consistency_proof(self._signed, size)
        note = await self._site.sign_checkpoint(size, self._store.root(size), proof)
        self._signed = size
        await self._store.commit(Unit((PutCheckpoint(size, note),)))

    async def keep(self) -> None:
        """Sign the head, and note that it could be signed; raise as ``sign``."""
        await self.sign()
        self._last_good = self._clock.monotonic()

    async def run(self) -> None:
        """Sign at the interval, for ever; what fails is tried again."""
        # The start was checked and may have taken long; key operations come after it.
        self._last_good = self._clock.monotonic()
        while True:
            await asyncio.sleep(self._settings.checkpoint_seconds)
            try:
                await self.keep()
            except ConclaveError as error:
                _LOG.warning("checkpoint not signed: %s", error.code)
                await self._resume()

    async def _resume(self) -> None:
        """Go on from what the token remembers: it may have signed what we did not hear of."""
        try:
            await self.start()
        except ConclaveError as error:
            _LOG.warning("the last checkpoint cannot be read: %s", error.code)
