"""The rotation engine: every open meeting's key ends in time, whoever makes it.

It hears of changes from the log itself, so nothing has to tell it. It acts only while this process
holds the lease; a queue for each space, so that a token that is down holds up no other.
"""

import asyncio
import logging

from kms.audit.leaf import Leaf, decode_leaf
from kms.domain.ids import SpaceName
from kms.domain.models import Space
from kms.domain.rows import RowKind, SealedRow
from kms.errors import ConclaveError, IntegrityFailure
from kms.usecases.rotation.lease import Lease
from kms.usecases.rotation.queue import SpaceQueue
from kms.usecases.rotation.turn import Pace
from kms.usecases.services import Services

LEASE = "rotation"
_PAGE = 500
_RETRY_SECONDS = 1.0
_SERVED = b'{"action":"envelope.'
"""How a leaf begins that says that an envelope was served: its keys stand in order."""
_LOG = logging.getLogger(__name__)


class Rotations:
    """The background work of one process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lease = Lease(services.store, services.clock, LEASE)
        self._pace = Pace(services.settings.rotation.catch_up_per_second, services.clock)
        self._queues: dict[str, SpaceQueue] = {}
        self._grown = asyncio.Event()

    async def run(self) -> None:
        """Rotate what is due in every space, for ever."""
        position = self._services.store.tree_size()
        stop = self._services.store.subscribe(lambda _size: self._grown.set())
        try:
            spaces = await self._spaces()
            self._queues = {
                one: SpaceQueue(self._services, one, self._lease, self._pace) for one in spaces
            }
            async with asyncio.TaskGroup() as work:
                work.create_task(self._lease.run())
                work.create_task(self._follow(position))
                for queue in self._queues.values():
                    work.create_task(queue.run())
        finally:
            stop()
            await self._lease.release()

    async def _spaces(self) -> list[SpaceName]:
        """Return the spaces in which keys are made; only ceremonies change them, and the service
        stands still for those.
        """
        while True:
            try:
                rows = self._services.store.spaces()
                spaces = [await self._space(sealed) for sealed in rows]
            except ConclaveError as error:
                _LOG.warning("the spaces cannot be read: %s", error.code)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return [one.space for one in spaces if one and not one.retired]

    async def _space(self, sealed: SealedRow) -> Space | None:
        """Return a space; None if its row was altered: nothing is minted in it, but in others."""
        name = SpaceName(sealed.row.key.partition("/")[2])
        try:
            return await self._services.cache.space(name)
        except IntegrityFailure:
            _LOG.error("there is no rotation in %s: its row is not what the log names", name)
            return None

    async def _follow(self, position: int) -> None:
        """Hear every leaf from a position on."""
        store = self._services.store
        while True:
            self._grown.clear()
            try:
                page = store.leaves(position, _PAGE)
            except ConclaveError as error:
                _LOG.warning("the log cannot be followed: %s", error.code)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            for data in page:
                self._hear(data)
            position += len(page)
            if position >= store.tree_size():
                await self._grown.wait()
            else:
                await asyncio.sleep(0)  # others have their turn between two pages

    def _hear(self, data: bytes) -> None:
        if not data.startswith(_SERVED):
            self._changed(decode_leaf(data))
        elif any(queue.counts_uses for queue in self._queues.values()):
            self._served(decode_leaf(data))

    def _changed(self, leaf: Leaf) -> None:
        """Let each space look at what changed in it."""
        for key in leaf.rows:
            kind, space, *rest = key.split("/")
            queue = self._queues.get(space)
            if queue is None:
                continue
            if kind in {RowKind.MEETING, RowKind.EPOCH}:
                queue.look(rest[0])
            elif kind in {RowKind.POLICY, RowKind.SPACE}:
                queue.look_at_all()

    def _served(self, leaf: Leaf) -> None:
        queue = self._queues.get(leaf.space)
        if queue is not None and isinstance(epoch := leaf.details.get("epoch"), int):
            queue.served(leaf.resource.split("/")[3], epoch)
