"""The web process: store, workers, background work."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from kms.audit.leaf import Outcome, Phase
from kms.bootstrap.channels import make_channels
from kms.bootstrap.seal_marks import SealMarks
from kms.clock import SteadyClock
from kms.errors import ConclaveError, IntegrityFailure, Sealed, Unavailable
from kms.hsm.client import Workers
from kms.policy.authorizer import Authorizer
from kms.ports import Unit
from kms.settings import Settings
from kms.statements.sealing import BOX, Mark
from kms.store.journal import SqliteJournal
from kms.store.sqlite import SqliteStore
from kms.usecases.activations import SERVICE, Activations
from kms.usecases.approvals.execution import finish_executed
from kms.usecases.assertions import Assertions
from kms.usecases.cache import VerifiedCache
from kms.usecases.checkpoints import Checkpointer
from kms.usecases.disks.schedule import DiskSchedule
from kms.usecases.evidence import issued_key_list
from kms.usecases.passkeys.following import follow_people
from kms.usecases.recorder import Recorder
from kms.usecases.recovery import close_open_intents
from kms.usecases.reports.schedule import ReportSchedule
from kms.usecases.rotation.reseal import Resealing
from kms.usecases.rotation.scheduler import Rotations
from kms.usecases.sealed import OpenWorkers, Seals
from kms.usecases.seals import follow_marks, restore_seals
from kms.usecases.services import Call, Services
from kms.usecases.watch.alerts import Watcher
from kms.usecases.watch.clock import ClockWatch
from kms.usecases.watch.notify import Notifier

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """The service put together; ``background`` are its endless works by name, not begun."""

    services: Services
    checkpointer: Checkpointer
    background: dict[str, Callable[[], Coroutine[Any, Any, None]]]


@asynccontextmanager
async def web(settings: Settings) -> AsyncIterator[Services]:
    """Put the service together, start its background work, yield the services; raise as
    ``composed``.
    """
    async with composed(settings, SteadyClock(), Workers(settings)) as parts:
        background = [_watched(run(), name) for name, run in parts.background.items()]
        try:
            yield parts.services
        finally:
            await _stop(background)


@asynccontextmanager
async def composed(
    settings: Settings, clock: SteadyClock, workers: Workers
) -> AsyncIterator[Parts]:
    """Open store and workers, check the log, yield the service.

    Raise IntegrityFailure if the log is not what was last signed, Sealed if the whole box is,
    HsmUnavailable, StoreUnavailable, ConfigurationError.
    """
    store = SqliteStore.open(settings.paths.database, clock)
    journal = SqliteJournal(settings.paths.journal)
    try:
        checkpointer = Checkpointer(store, workers.site, clock, settings.audit)
        await checkpointer.start()
        marks = SealMarks(settings.paths)
        _check_site(store, marks)
        seals = Seals(marks)
        there = OpenWorkers(workers, seals, [token.space for token in settings.space_tokens])
        activations = Activations()
        services = Services(
            settings=settings,
            store=store,
            journal=journal,
            workers=there,
            clock=clock,
            authorizer=Authorizer.load(),
            cache=VerifiedCache(store, there),
            gate=checkpointer.gate,
            schedule=activations.schedule,
            key_list=issued_key_list(settings.paths.state),
            seals=seals,
            assertions=Assertions.load(settings.assertion, int(clock.now())),
        )
        notifier = Notifier(services, make_channels(settings))
        clock_watch = ClockWatch(store, clock)
        services.watched.offset = lambda: clock_watch.offset
        services.watched.loads = workers.loads
        await clock_watch.start()
        await restore_seals(services, marks.marks())
        await close_open_intents(services)
        await _read_policies(services)
        await services.registers.catch_up(store)
        await services.passkeys.catch_up(store)
        await _started(services)
        await finish_executed(services)
        background: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "seals": partial(follow_marks, services, marks.marks),
            "checkpoints": checkpointer.run,
            "journal": partial(journal.follow, store),
            "people": partial(follow_people, services),
            "activations": partial(activations.run, services),
            "resealing": Resealing(services).run,
            "clock": clock_watch.run,
            "rotation": Rotations(services).run,
            "disks": DiskSchedule(services).run,
            "reports": ReportSchedule(services).run,
            "notifications": notifier.run,
            "alerts": Watcher(services, notifier.tell).run,
            "recorder": Recorder(services).run,
        }
        try:
            yield Parts(services, checkpointer, background)
        finally:
            await seals.stop()
            await _last_checkpoint(checkpointer)
    finally:
        await workers.close()
        journal.close()
        store.close()


def _check_site(store: SqliteStore, marks: SealMarks) -> None:
    """Raise Sealed if the log says that the box is, once the marker is there again."""
    if store.site_sealed():
        _LOG.critical("the whole box is sealed and its marker was gone")
        now, size = int(time.time()), store.tree_size()
        marks.place(BOX, Mark(SERVICE.name, now, "the marker was gone", size))
        raise Sealed("the whole box is sealed", hint="people unseal it by the ceremony unseal")


async def _read_policies(services: Services) -> None:
    """Say at once if the site's own policies cannot be used; each caller will be told too."""
    try:
        await services.access.ready(services)
    except (IntegrityFailure, Unavailable) as error:
        _LOG.critical("nothing is permitted but health and sealing: %s", error.message)


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
