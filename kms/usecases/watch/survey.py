"""Looks at what can be seen without a caller: tokens, log, keys in use, requests, grants, vaults.

Each function looks at one thing and writes it into the facts. Long reads give way between pages.
"""

import asyncio
import logging
from collections import Counter
from datetime import datetime
from typing import TypeVar

from kms.audit.leaf import decode_leaf
from kms.domain.approvals import Request, RequestState
from kms.domain.grants import Grant
from kms.domain.ids import SpaceName
from kms.domain.models import EVERY_SPACE, Principal, PrincipalKind, Role, Space
from kms.domain.rows import Record, SealedRow
from kms.errors import ConclaveError, InvalidInput, Sealed
from kms.settings import Token
from kms.statements.canonical import read_row
from kms.statements.request import peek_request
from kms.usecases.escrow import escrow_status
from kms.usecases.grants import flagged_grants
from kms.usecases.queries import check_writable
from kms.usecases.rotation.vaults import count_kept, is_paused, retirable, vault_due, vaults_of
from kms.usecases.services import Call, Services
from kms.usecases.watch.state import READY, Escrow, Vaults, Waiting

_LOG = logging.getLogger(__name__)
_R = TypeVar("_R", bound=Record)
_PAGE = 200
WATCHER = Principal(
    "service", PrincipalKind.SOCKET, "self", frozenset({Role.OPERATOR}), frozenset({EVERY_SPACE})
)
"""In whose name the service itself looks."""


async def look_at_tokens(services: Services) -> None:
    """Ask every token's worker whether it answers."""
    facts, tokens = services.watched.facts, services.settings.hsm.tokens
    states = await asyncio.gather(*(_state(services, token) for token in tokens))
    facts.tokens = {token.label: token.space for token in tokens}
    facts.workers = dict(zip(facts.tokens, states, strict=True))
    for label, state in facts.workers.items():
        facts.misses[label] = 0 if state in {READY, Sealed.code} else facts.misses[label] + 1


async def _state(services: Services, token: Token) -> str:
    try:
        workers = services.workers
        keeper = workers.space(SpaceName(token.space)) if token.space else workers.site
        await keeper.check_rows([])
    except ConclaveError as error:
        return error.code
    return READY


async def look_at_log(services: Services) -> None:
    """See whether the log can be written and how old its unsigned tail is."""
    facts = services.watched.facts
    try:
        await check_writable(services)
        facts.log_error = ""
    except ConclaveError as error:
        facts.log_since = facts.log_since if facts.log_error else services.clock.monotonic()
        facts.log_error = error.code
    facts.unsigned = _unsigned(services)


def _unsigned(services: Services) -> float:
    signed = services.store.last_checkpoint()
    tail = services.store.leaves(signed[0] if signed else 0, 1)
    age = services.clock.now() - _seconds(decode_leaf(tail[0]).time) if tail else 0.0
    return max(0.0, age)


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


async def look_at_seals(services: Services) -> None:
    """See what is sealed; the empty name is the whole box."""
    services.watched.facts.sealed = tuple(sorted(services.seals.spaces))


async def look_at_channels(services: Services) -> None:
    """See which channels stand still although the log has more for them."""
    size, now = services.store.tree_size(), services.clock.monotonic()
    for channel in services.watched.channels.values():
        if channel.position != channel.seen or channel.position >= size:
            channel.seen, channel.still_since = channel.position, None
        elif channel.still_since is None:
            channel.still_since = now


async def look_at_requests(services: Services) -> None:
    """Find the requests that wait and have not expired."""
    found, after, now = [], "", services.seconds()
    while page := services.store.requests(RequestState.PENDING, after, _PAGE):
        after = page[-1].row.key.rpartition("/")[2]
        found += [_waiting(one) for one in _records(page, Request)]
        await asyncio.sleep(0)
    services.watched.facts.waiting = tuple(one for one in found if now < one.expires)


def _waiting(record: Request) -> Waiting:
    try:
        wanted = peek_request(record.request)
    except InvalidInput:
        return Waiting(record.id, record.space, "", 0, 0)
    return Waiting(record.id, record.space, wanted.operation, wanted.issued, wanted.expires)


async def look_at_grants(services: Services) -> None:
    """Count the grants in force, and those that people should look at."""
    facts, now = services.watched.facts, services.seconds()
    grants, flagged = 0, Counter[str]()
    for space in open_spaces(services):
        held = _records(services.store.grants(space), Grant)
        grants += sum(one.holds(now) for one in held)
        try:
            flagged[space] = len(await flagged_grants(services, space))
        except ConclaveError as error:
            _LOG.warning("the grants of %s cannot be checked: %s", space, error.code)
    facts.grants, facts.flagged = grants, flagged


async def look_at_vaults(services: Services) -> None:
    """See when vault keys are due, and how many epochs still depend on an older one."""
    facts = services.watched.facts
    found: dict[str, Vaults] = {}
    for space in open_spaces(services):
        try:
            vaults = await _vaults(services, space)
        except ConclaveError as error:
            _LOG.warning("the vault keys of %s cannot be checked: %s", space, error.code)
            continue
        found[space] = vaults
        known = facts.stuck.get(space)
        if known is None or known[0] != vaults.remaining or vaults.paused:
            facts.stuck[space] = (vaults.remaining, services.clock.monotonic())
    facts.vaults = found


async def _vaults(services: Services, space: SpaceName) -> Vaults:
    vaults = await vaults_of(services, space)
    live = [one for one in vaults if not one.revoked]
    kept = await count_kept(services, live[:-1])
    remaining = sum(one[space] for one in kept.values())
    due = await vault_due(services, space, live[-1]) if live else 0
    done_with = retirable(services, space, vaults, kept)
    return Vaults(remaining, is_paused(services.store, space), due, len(done_with))


async def look_at_escrow(services: Services) -> None:
    """See whether every key could be recovered: looks at every epoch, so rarely."""
    found = await escrow_status(services, Call(WATCHER, "escrow.read", ""))
    services.watched.facts.escrow = Escrow(
        found.coverage.gaps,
        sum(one.overdue for one in found.holders),
        len(found.obligations),
        services.seconds(),
        found.coverage,
        found.unknown,
    )


def live_spaces(services: Services) -> list[SpaceName]:
    """Return the spaces whose keys are not destroyed."""
    spaces = _records(services.store.spaces(), Space)
    return [one.space for one in spaces if not one.destroyed]


def open_spaces(services: Services) -> list[SpaceName]:
    """Return the spaces whose tokens can be asked."""
    return [space for space in live_spaces(services) if not services.seals.holds(space)]


def _records(rows: list[SealedRow], kind: type[_R]) -> list[_R]:
    """Return the records of rows; one that cannot be read is left to whoever needs it."""
    found: list[_R] = []
    for sealed in rows:
        try:
            record = read_row(sealed.row)
        except InvalidInput:
            continue
        if isinstance(record, kind):
            found.append(record)
    return found
