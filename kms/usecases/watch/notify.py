"""Every channel follows the log with a cursor of its own, so that nothing is missed.

Delivery is in order and at least once, also after a crash; a channel that fails holds up itself
alone, and everybody else hears of it (the alert delivery-failed).
"""

import asyncio
import logging
from collections.abc import Sequence

from kms.domain.alerts import ActiveAlert
from kms.errors import ConclaveError
from kms.ports import PutMark, Store, Unit
from kms.usecases.services import Services
from kms.usecases.watch.channel import Channel, DeliveryError, Notice
from kms.usecases.watch.notices import notice_of, notice_of_unlogged
from kms.usecases.watch.state import ChannelState

_LOG = logging.getLogger(__name__)
_PAGE = 100
_MARK_EVERY = 10_000
GATHER_SECONDS = 0.2
"""So long new leaves are let gather: a busy log does not wake every channel at each commit."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
SEND_SECONDS, MORE_SECONDS = 30.0, 5.0
"""So long a delivery may take, and so much longer for each notice."""


class Notifier:
    """Tells the channels what the log says."""

    def __init__(self, services: Services, channels: Sequence[Channel]) -> None:
        self._store, self._clock = services.store, services.clock
        self._followers = [_Follower(services, channel) for channel in channels]

    async def run(self) -> None:
        """Follow the log on every channel, for ever."""
        if not self._followers:
            await asyncio.Event().wait()
        await asyncio.gather(*(follower.run() for follower in self._followers))

    async def tell(self, active: ActiveAlert) -> None:
        """Tell what the log cannot take, once on every channel, whatever becomes of it."""
        await asyncio.gather(*(follower.tell(active) for follower in self._followers))


class _Follower:
    """One channel and how far it came."""

    def __init__(self, services: Services, channel: Channel) -> None:
        self._store: Store = services.store
        self._clock, self._channel = services.clock, channel
        self._name = channel.wishes.name
        self._state = services.watched.channels.setdefault(self._name, ChannelState())
        self._turn = asyncio.Lock()
        self._marked = 0
        self._begun = False

    async def run(self) -> None:
        """Follow, for ever."""
        grown = asyncio.Event()
        stop = self._store.subscribe(lambda _size: grown.set())
        try:
            while True:
                grown.clear()
                if await self._advance():
                    await grown.wait()
                    await asyncio.sleep(GATHER_SECONDS)
                else:
                    await asyncio.sleep(0)  # others have their turn between two pages
        finally:
            stop()

    async def tell(self, active: ActiveAlert) -> None:
        """Try once to deliver what has no leaf."""
        notice = notice_of_unlogged(active, self._channel.wishes)
        if notice is None:
            return
        try:
            await self._send([notice])
        except DeliveryError as error:
            _LOG.error("%s: %s", self._name, error)

    async def _advance(self) -> bool:
        """Deliver one page; say whether the log's end was reached."""
        try:
            await self._begin()
            page = self._store.leaves(self._state.position, _PAGE)
            await self._page(page)
        except ConclaveError as error:
            _LOG.warning("%s cannot follow the log: %s", self._name, error.code)
            await asyncio.sleep(FIRST_PAUSE)
            return False
        except Exception:  # noqa: BLE001 -- the other channels go on, and so does this one
            _LOG.exception("%s failed unexpectedly", self._name)
            self._failed("a fault of the channel's own")
            await asyncio.sleep(LONGEST_PAUSE)
            return False
        return self._state.position >= self._store.tree_size()

    async def _begin(self) -> None:
        """Go on from the mark; a new channel begins at the log's present end."""
        if self._begun:
            return
        size = self._store.tree_size()
        mark = self._store.mark(f"notify/{self._name}", -1)
        self._state.position = self._marked = size if mark < 0 else min(mark, size)
        if mark < 0:
            await self._remember()
        self._begun = True

    async def _page(self, page: list[bytes]) -> None:
        step = _PAGE if self._channel.wishes.audit else 1
        for start in range(0, len(page), step):
            part = page[start : start + step]
            told = [notice_of(data, self._channel.wishes) for data in part]
            notices = [notice for notice in told if notice is not None]
            if notices:
                await self._deliver(notices)
            self._state.position += len(part)
            if notices or self._state.position - self._marked >= _MARK_EVERY:
                await self._remember()

    async def _deliver(self, notices: list[Notice]) -> None:
        """Send until it is taken."""
        pause = FIRST_PAUSE
        while True:
            try:
                await self._send(notices)
            except DeliveryError as error:
                self._failed(str(error))
            else:
                self._state.failing_since, self._state.error = None, ""
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _send(self, notices: list[Notice]) -> None:
        """Send once, never two at a time; raise DeliveryError, also if it takes too long."""
        try:
            async with asyncio.timeout(SEND_SECONDS + MORE_SECONDS * len(notices)), self._turn:
                await self._channel.send(notices)
        except TimeoutError as error:
            raise DeliveryError("not delivered in time") from error

    def _failed(self, error: str) -> None:
        if self._state.failing_since is None:
            self._state.failing_since = self._clock.monotonic()
        if error != self._state.error:
            _LOG.warning("%s does not deliver: %s", self._name, error)
        self._state.error = error

    async def _remember(self) -> None:
        mark = PutMark(f"notify/{self._name}", self._state.position)
        await self._store.commit(Unit((mark,)))
        self._marked = self._state.position
