"""The emergency seal of a space or of the whole box, by any officer at once.

In this order: no key operation is admitted, the marker is durable (the supervisor then ends the
workers and wipes their PINs), row and leaf are committed. Trouble with disk, log or HSM delays what
comes later and never what came before. Unsealing is a ceremony.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from kms.audit.leaf import Outcome, Phase
from kms.domain.ids import SpaceName
from kms.domain.models import Space
from kms.domain.rows import RowKind
from kms.domain.text import check_reason
from kms.errors import (
    ConclaveError,
    Conflict,
    IntegrityFailure,
    NotFound,
    Sealed,
    StoreUnavailable,
    Unavailable,
)
from kms.policy.authorizer import Target
from kms.ports import Store, Unit
from kms.statements.canonical import make_row
from kms.statements.sealing import BOX, Mark
from kms.usecases.activations import SERVICE
from kms.usecases.services import Call, Services, authorize, store_rows

_LOG = logging.getLogger(__name__)
_PATIENCE_SECONDS = 1.0
"""How long the caller waits for the log; the work goes on afterwards."""
_RETRY_SECONDS = 1.0
_LOOK_SECONDS = 0.25
_SPACE, _SITE = "space.seal", "site.seal"


@dataclass(frozen=True, slots=True)
class Sealing:
    """What came of a seal: ``space`` is BOX for the whole box."""

    space: str
    since: int
    durable: bool
    logged: bool


async def seal_space(services: Services, call: Call, space: SpaceName, reason: str) -> Sealing:
    """Seal a space; doing it again changes nothing. Raise Forbidden, NotFound, InvalidInput."""
    await authorize(services, call, Target(space=space), f"spaces/{space}")
    check_reason(reason)
    if space not in {token.space for token in services.settings.space_tokens}:
        raise NotFound("there is no such thing")
    return await _seal(services, call, space, reason)


async def seal_site(services: Services, call: Call, reason: str) -> Sealing:
    """Seal the whole box: soon afterwards this process ends, and the next one only says so."""
    await authorize(services, call, Target(), "site")
    check_reason(reason)
    return await _seal(services, call, BOX, reason)


async def restore_seals(services: Services, marked: dict[str, Mark]) -> None:
    """Bring markers and rows together at the start, before anything is served: either seals.

    ``marked`` has the markers that are there. One that the log says is unsealed since waits for the
    end of that ceremony, and the row stays as it is. Raise StoreUnavailable, Sealed if the whole
    box is.
    """
    if BOX in marked:
        raise Sealed("the whole box is sealed")
    _obey(services, marked)
    for record in await _spaces(services):
        if record.sealed and record.space not in marked:
            _LOG.critical("the space %s is sealed and its marker was gone", record.space)
            services.seals.add(record.space)
            size = services.store.tree_size()
            mark = Mark(SERVICE.name, record.sealed, "the marker was gone", size)
            services.seals.marks.place(record.space, mark)


async def follow_marks(services: Services, look: Callable[[], dict[str, Mark]]) -> None:
    """Obey markers that somebody makes by hand while the service runs, for ever; with that of the
    whole box the supervisor ends this process.
    """
    while True:
        try:
            _obey(services, look())
        except StoreUnavailable as error:
            _LOG.warning("the markers of seals cannot be read: %s", error.message)
        await asyncio.sleep(_LOOK_SECONDS)


def _obey(services: Services, marked: dict[str, Mark]) -> None:
    for space, mark in marked.items():
        if space in services.seals.spaces:
            continue
        services.seals.add(space)
        if _is_news(services.store, space, mark):
            action = _SITE if space == BOX else _SPACE
            _begin(services, _recorded(services, Call(SERVICE, action, ""), space, mark))


def _is_news(store: Store, space: str, mark: Mark) -> bool:
    """Whether a marker seals anew: the log has no unsealing that is later."""
    return store.unsealed("site" if space == BOX else f"spaces/{space}") < mark.leaves


def sealed_spaces(services: Services) -> list[str]:
    """Return the sealed spaces, sorted."""
    return sorted(services.seals.spaces - {BOX})


async def _seal(services: Services, call: Call, space: str, reason: str) -> Sealing:
    services.seals.add(space)
    size = services.store.tree_size()
    mark = Mark(call.principal.name, services.seconds(), reason, size)
    durable = _marked(services, space, mark)
    task = _begin(services, _recorded(services, call, space, mark, durable=durable))
    done, _ = await asyncio.wait([task], timeout=_PATIENCE_SECONDS)
    return Sealing(space, mark.when, durable, logged=bool(done) and task.result())


def _marked(services: Services, space: str, mark: Mark) -> bool:
    try:
        services.seals.marks.place(space, mark)
    except ConclaveError as error:
        _LOG.critical("the marker of a seal is not durable: %s", error.message)
        return False
    return True


def _begin(services: Services, work: Coroutine[Any, Any, bool]) -> asyncio.Task[bool]:
    task = asyncio.create_task(work)
    services.seals.recording.add(task)
    task.add_done_callback(services.seals.recording.discard)
    return task


async def _recorded(
    services: Services, call: Call, space: str, mark: Mark, *, durable: bool = True
) -> bool:
    """Make marker, row and leaf durable, however long that takes, and return True; False for a
    row that is altered or gone: it refuses everything already.
    """
    while True:
        try:
            await _record(services, call, space, mark.reason)
        except (Unavailable, Conflict) as error:
            _LOG.warning("a seal is not in the log yet: %s", error.code)
        except (IntegrityFailure, NotFound) as error:
            _LOG.critical("a seal cannot be recorded: %s", error.code)
            return False
        else:
            if durable:
                return True
            durable = _marked(services, space, mark)
        await asyncio.sleep(_RETRY_SECONDS)


async def _record(services: Services, call: Call, space: str, reason: str) -> None:
    async with services.seals.lock:
        if space == BOX:
            await _log_site(services.store, call, reason)
        else:
            await _record_space(services, call, SpaceName(space), reason)


async def log_marked_site(store: Store, mark: Mark) -> None:
    """Have the log say that the whole box is sealed, if only its marker does; raise
    StoreUnavailable.
    """
    if _is_news(store, BOX, mark):
        await _log_site(store, Call(SERVICE, _SITE, ""), mark.reason)


async def _log_site(store: Store, call: Call, reason: str) -> None:
    if store.site_sealed():
        return
    told = {"reason": reason}
    leaf = call.leaf("", "site", Phase.EVENT, Outcome.SUCCEEDED, action=_SITE, details=told)
    await store.commit(Unit(leaves=(leaf,)))


async def _record_space(services: Services, call: Call, space: SpaceName, reason: str) -> None:
    found = services.store.row(RowKind.SPACE, f"space/{space}")
    if found is None:
        raise NotFound("there is no such thing")
    checked = await services.cache.admit(found)
    record = checked.record
    if not isinstance(record, Space) or record.sealed:
        return
    row = make_row(replace(record, sealed=services.seconds()), checked.version + 1)
    leaf = call.leaf(
        space,
        f"spaces/{space}",
        Phase.EVENT,
        Outcome.SUCCEEDED,
        action=_SPACE,
        rows={row.key: row.version},
        details={"reason": reason},
    )
    await store_rows(services, await services.workers.site.seal_rows([row]), (), leaf)


async def _spaces(services: Services) -> list[Space]:
    """Return the spaces whose rows hold; everything of another one is refused anyway."""
    found = []
    for sealed in services.store.spaces():
        try:
            record = (await services.cache.admit(sealed)).record
        except IntegrityFailure:
            _LOG.critical("%s was altered", sealed.row.key)
            continue
        if isinstance(record, Space):
            found.append(record)
    return found
