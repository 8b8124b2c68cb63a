"""The watcher: looks at the log's new leaves and at the facts, raises alerts and clears them.

One leaf per space and subject until the cause has been gone for the alert's calm; of events that
go on another leaf, at most one a minute. What fails is logged and tried again at the next look;
nothing here ends the process.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kms.audit.leaf import LeafDraft, decode_leaf
from kms.domain.alerts import ALERTS, ActiveAlert, AlertKey, Condition, Severity
from kms.domain.ids import SpaceName
from kms.errors import ConclaveError
from kms.ports import PutMark, Store, Unit
from kms.usecases.policies import policy_in_force
from kms.usecases.services import Services
from kms.usecases.watch import survey
from kms.usecases.watch.board import clearing, raising
from kms.usecases.watch.detectors import DETECTORS, Detector, View
from kms.usecases.watch.devices import look_at_devices, look_at_disks
from kms.usecases.watch.history import PAST_DAYS
from kms.usecases.watch.keys import look_at_keys

_LOG = logging.getLogger(__name__)
_MARK = "watch/position"
_MARK_EVERY = 10_000
_PAGE = 500
_AGAIN_SECONDS = 60

Look = Callable[[Services], Awaitable[None]]
Tell = Callable[[ActiveAlert], Awaitable[None]]


@dataclass(slots=True)
class _Task:
    """A look at one thing, when it is due again (monotonic seconds), and how often."""

    look: Look
    every: float
    due: float = 0.0


class Watcher:
    """Raises and clears alerts. ``tell`` reaches people while the log cannot be written."""

    def __init__(self, services: Services, tell: Tell) -> None:
        self._services, self._tell = services, tell
        self._watched = services.watched
        times = services.settings.watch
        often, survey_, rarely = times.interval_seconds, times.survey_seconds, times.escrow_seconds
        self._tasks = [
            _Task(survey.look_at_tokens, often),
            _Task(survey.look_at_log, often),
            _Task(survey.look_at_seals, often),
            _Task(survey.look_at_channels, often),
            _Task(look_at_keys, survey_),
            _Task(survey.look_at_requests, survey_),
            _Task(survey.look_at_grants, survey_),
            _Task(survey.look_at_vaults, survey_),
            _Task(look_at_devices, often),
            _Task(look_at_disks, survey_),
            _Task(survey.look_at_escrow, rarely),
        ]
        self._position = 0
        self._marked = 0
        self._seen: dict[AlertKey, float] = {}
        self._telling: set[asyncio.Task[bool]] = set()
        self._raised: dict[AlertKey, float] = {}
        self._more: dict[AlertKey, Condition] = {}

    async def run(self) -> None:
        """Look at the interval, for ever."""
        while not await self._guarded("the log's past", self.learn):
            await self._pause()
        while True:
            await self._guarded("alerts", self.look)
            await self._pause()

    async def _pause(self) -> None:
        await asyncio.sleep(self._services.settings.watch.interval_seconds)

    async def learn(self) -> None:
        """Rebuild the active alerts from the log, and what callers used to fetch."""
        store, clock = self._services.store, self._services.clock
        await self._watched.board.catch_up(store)
        for active in self._watched.board.active():
            self._seen[active.key] = clock.monotonic()
        self._marked = min(store.mark(_MARK, store.tree_size()), store.tree_size())
        await store.commit(Unit((PutMark(_MARK, self._marked),)))
        cut = datetime.fromtimestamp(clock.now(), UTC) - timedelta(days=PAST_DAYS + 1)
        self._position = _first_since(store, cut.strftime("%Y-%m-%dT%H"))
        while self._position < self._marked:
            page = store.leaves(self._position, min(_PAGE, self._marked - self._position))
            for data in page:
                self._watched.history.learn(data)
            self._position += len(page)
            await asyncio.sleep(0)
        self._position = self._marked

    async def look(self) -> None:
        """Look once: new leaves, what is due of the facts; then raise and clear."""
        await self._read()
        now = self._services.clock.monotonic()
        for task in self._tasks:
            if now >= task.due:
                task.due = now + task.every
                await self._guarded(task.look.__name__, task.look, self._services)
        await self._settle(await self._conditions())

    async def _guarded(
        self, name: str, work: Callable[..., Awaitable[None]], *arguments: object
    ) -> bool:
        """Do one part and say whether it went well: the others go on without it."""
        try:
            await work(*arguments)
        except ConclaveError as error:
            _LOG.warning("watching %s failed: %s", name, error.code)
            return False
        except Exception:  # noqa: BLE001 -- what watches must not end with what it watches
            _LOG.exception("watching %s failed unexpectedly", name)
            return False
        return True

    async def _read(self) -> None:
        store = self._services.store
        while page := store.leaves(self._position, _PAGE):
            for data in page:
                self._watched.history.take(data)
            self._position += len(page)
            await asyncio.sleep(0)

    async def _conditions(self) -> dict[AlertKey, Condition]:
        """Return the causes whose number reaches the threshold."""
        clock = self._services.clock
        view = View(self._watched, self._services.seconds(), clock.monotonic())
        found = {}
        for one in (condition for detect in DETECTORS for condition in _detected(detect, view)):
            least = await self._threshold(one)
            if least and one.number >= least:
                found[one.key] = one
        return found

    async def _threshold(self, condition: Condition) -> int:
        default = ALERTS[condition.alert].threshold
        if not condition.space:
            return default
        try:
            policy, _ = await policy_in_force(self._services, SpaceName(condition.space))
        except ConclaveError:
            return default  # a policy that cannot be read silences nothing
        return policy.threshold(condition.alert, default)

    async def _settle(self, conditions: dict[AlertKey, Condition]) -> None:
        """Raise what is new or has more to tell, clear what is over; both by leaves."""
        board, monotonic = self._watched.board, self._services.clock.monotonic()
        board.read(self._services.store)
        self._seen |= dict.fromkeys(conditions, monotonic)
        missed = {key: _condition(one) for key, one in board.unlogged.items()}
        known = (missed | conditions).items()
        new = [one for key, one in known if key not in board.logged]
        over = [key for key in board.logged if self._is_over(key, monotonic)]
        self._more |= {key: one for key, one in conditions.items() if self._tells_more(one)}
        again = [one for key, one in self._more.items() if self._is_due(key, monotonic)]
        try:
            await self._write([*map(raising, (*new, *again)), *map(clearing, over)])
        except ConclaveError as error:
            _LOG.error("alerts cannot be logged: %s", error.code)
            self._tell_unlogged(new)
            return
        board.read(self._services.store)
        board.unlogged.clear()
        for one in (*new, *again):
            self._raised[one.key] = monotonic
            self._more.pop(one.key, None)
        for key in over:
            self._more.pop(key, None)

    def _tells_more(self, seen: Condition) -> bool:
        """Whether an event is to be told while its alert is active: each grave one and each of an
        alert that says so, of others a higher number. What lasts instead of happening (its calm
        is 0) is told once.
        """
        active, known = self._watched.board.logged.get(seen.key), ALERTS.get(seen.alert)
        if active is None or known is None or not known.calm:
            return False
        pending = self._more.get(seen.key)
        highest = max(active.number, pending.number) if pending else active.number
        each = (known.each or active.severity is Severity.CRITICAL) and pending is None
        return seen.number > highest or each

    def _is_due(self, key: AlertKey, monotonic: float) -> bool:
        last = self._raised.get(key, -_AGAIN_SECONDS)
        return key in self._watched.board.logged and monotonic - last >= _AGAIN_SECONDS

    def _is_over(self, key: AlertKey, monotonic: float) -> bool:
        known = ALERTS.get(key[0])
        calm = known.calm if known else 0
        seen = self._seen.get(key, 0.0)
        return seen < monotonic and monotonic - seen >= calm

    async def _write(self, leaves: list[LeafDraft]) -> None:
        if leaves or self._position - self._marked >= _MARK_EVERY:
            mark = PutMark(_MARK, self._position)
            await self._services.store.commit(Unit((mark,), tuple(leaves)))
            self._marked = self._position

    def _tell_unlogged(self, conditions: list[Condition]) -> None:
        """Keep what the log cannot take, and tell people at once: silence would be worse. Nobody
        waits for a channel that hangs.
        """
        board = self._watched.board
        since = datetime.fromtimestamp(self._services.clock.now(), UTC)
        for one in conditions:
            if one.key not in board.unlogged:
                stamp = since.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                active = ActiveAlert(*one.key, one.number, one.text, stamp, -1)
                board.unlogged[one.key] = active
                telling = self._guarded("unlogged alerts", self._tell, active)
                task = asyncio.create_task(telling)
                self._telling.add(task)
                task.add_done_callback(self._telling.discard)


def _condition(active: ActiveAlert) -> Condition:
    return Condition(*active.key, active.number, active.text)


def _detected(detect: Detector, view: View) -> list[Condition]:
    try:
        return list(detect(view))
    except Exception:  # noqa: BLE001 -- the other detectors go on
        _LOG.exception("the detector %s failed", detect.__name__)
        return []


def _first_since(store: Store, time: str) -> int:
    """Return the first leaf that is not older: their times never go back."""
    low, high = 0, store.tree_size()
    while low < high:
        middle = (low + high) // 2
        (data,) = store.leaves(middle, 1)
        if decode_leaf(data).time < time:
            low = middle + 1
        else:
            high = middle
    return low
