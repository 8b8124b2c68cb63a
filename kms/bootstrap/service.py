"""The web process: store, workers, background work."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from kms.audit.leaf import Outcome, Phase
from kms.bootstrap.channels import make_channels
from kms.clock import SteadyClock
from kms.errors import ConclaveError, ConfigurationError
from kms.hsm.client import Workers
from kms.policy.authorizer import Authorizer
from kms.ports import Unit
from kms.settings import Settings
from kms.statements import archive
from kms.store.sqlite import SqliteStore
from kms.usecases.activations import SERVICE, Activations
from kms.usecases.approvals.execution import finish_executed
from kms.usecases.cache import VerifiedCache
from kms.usecases.checkpoints import Checkpointer
from kms.usecases.recovery import close_open_intents
from kms.usecases.services import Call, Services
from kms.usecases.watch.alerts import Watcher
from kms.usecases.watch.clock import ClockWatch
from kms.usecases.watch.notify import Notifier

_LOG = logging.getLogger(__name__)


@asynccontextmanager
async def web(settings: Settings) -> AsyncIterator[Services]:
    """Open store and workers, check the log, start the background work, yield the services.

    Raise IntegrityFailure if the log is not what was last signed, HsmUnavailable,
    StoreUnavailable, ConfigurationError.
    """
    clock = SteadyClock()
    store = SqliteStore.open(settings.paths.database, clock)
    workers = Workers(settings)
    try:
        checkpointer = Checkpointer(store, workers.site, clock, settings.audit)
        await checkpointer.start()
        activations = Activations()
        services = Services(
            settings=settings,
            store=store,
            workers=workers,
            clock=clock,
            authorizer=Authorizer.load(),
            cache=VerifiedCache(store, workers),
            gate=checkpointer.gate,
            schedule=activations.schedule,
            key_list=_key_list(settings),
        )
        clock_watch = ClockWatch(store, clock)
        services.watched.offset = lambda: clock_watch.offset
        notifier = Notifier(services, make_channels(settings))
        await clock_watch.start()
        await close_open_intents(services)
        await _started(services)
        await finish_executed(services)
        background = [
            _watched(checkpointer.run(), "checkpoints"),
            _watched(activations.run(services), "activations"),
            _watched(clock_watch.run(), "clock"),
            _watched(notifier.run(), "notifications"),
            _watched(Watcher(services, notifier.tell).run(), "alerts"),
        ]
        try:
            yield services
        finally:
            await _stop(background)
            await _last_checkpoint(checkpointer)
    finally:
        await workers.close()
        store.close()


def _key_list(settings: Settings) -> str:
    state = settings.paths.state
    try:
        number = archive.newest((path.name for path in state.iterdir()), archive.KEY_LIST)
        return (state / archive.KEY_LIST.format(number)).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the site's key list cannot be read in {state}", hint="initialise the site first"
        ) from error


async def _started(services: Services) -> None:
    leaf = Call(SERVICE, "service.start", "").leaf("", "service", Phase.EVENT, Outcome.SUCCEEDED)
    await services.store.commit(Unit(leaves=(leaf,)))


def _watched(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[None]) -> None:
    """End the process with its background work; the supervisor starts it again.

    Only cancelling the task is a wish that it ends: what it awaited may have been cancelled too.
    """
    if task.cancelling():
        return
    error = None if task.cancelled() else task.exception()
    _LOG.critical("%s ended, and so the web process ends", task.get_name(), exc_info=error)
    os.kill(os.getpid(), signal.SIGTERM)


async def _stop(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _last_checkpoint(checkpointer: Checkpointer) -> None:
    try:
        await checkpointer.sign()
    except ConclaveError:
        # The tail stays unsigned; the next start signs it.
        return
