"""What every use case is given, and what each does: ask the policy, write the log."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from weakref import WeakValueDictionary

from kms.audit.leaf import GRANT, LeafDraft, Outcome, Phase
from kms.domain.models import Principal
from kms.domain.rows import SealedRow
from kms.errors import ConclaveError, Forbidden, IntegrityFailure, NotFound
from kms.operations import OPERATIONS
from kms.policy.authorizer import Authorizer, Target
from kms.ports import Change, Clock, Journal, PutReply, PutRow, Store, Unit, WorkerDirectory
from kms.settings import Settings
from kms.usecases.access import Access
from kms.usecases.approvals.registers import Registers
from kms.usecases.assertions import Assertions
from kms.usecases.cache import VerifiedCache
from kms.usecases.escrow_log import EscrowLog
from kms.usecases.log_walk import LogCheck
from kms.usecases.passkeys.attempts import Attempts
from kms.usecases.passkeys.register import Passkeys
from kms.usecases.reports.progress import ReportMaking
from kms.usecases.rotation.progress import Reseals
from kms.usecases.sealed import SEALING, Seals
from kms.usecases.watch.state import Watched

_P = ParamSpec("_P")
_T = TypeVar("_T")


def uninterrupted(
    change: Callable[_P, Coroutine[Any, Any, _T]],
) -> Callable[_P, Coroutine[Any, Any, _T]]:
    """Let a change that has begun come to its end, also when its caller has gone away."""

    @wraps(change)
    async def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await asyncio.shield(asyncio.ensure_future(change(*args, **kwargs)))

    return run


class MeetingLock(asyncio.Lock):
    """A lock that counts the changes that were made under it."""

    changes = 0

    def release(self) -> None:
        """Count, and let the next one in."""
        self.changes += 1
        super().release()


class Look:
    """A look at meetings, to learn afterwards whether they stood still meanwhile."""

    def __init__(self, locks: Iterable[MeetingLock]) -> None:
        self._seen = [(lock, lock.changes) for lock in locks]

    def holds(self) -> bool:
        """Whether no change went on since, nor came to its end."""
        return all(lock.changes == changes and not lock.locked() for lock, changes in self._seen)


class Locks:
    """One lock per meeting: changes of a meeting happen one after the other."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, MeetingLock] = WeakValueDictionary()

    def of(self, meeting: str) -> MeetingLock:
        """Return the meeting's lock."""
        lock = self._locks.get(meeting)
        if lock is None:
            lock = self._locks[meeting] = MeetingLock()
        return lock

    async def settled(self, meetings: Iterable[str]) -> Look:
        """Wait until none of the meetings is being changed, then look at them."""
        locks = [self.of(meeting) for meeting in meetings]
        for lock in locks:
            if lock.locked():
                async with lock:
                    pass
        return Look(locks)


@dataclass(frozen=True, slots=True)
class Services:
    """The adapters and what is shared between use cases; made by bootstrap alone.

    ``gate`` raises AuditUnavailable while key operations must not happen.
    ``schedule(meeting key, seconds since 1970)`` asks for an activation.
    """

    settings: Settings
    store: Store
    journal: Journal
    workers: WorkerDirectory
    clock: Clock
    authorizer: Authorizer
    cache: VerifiedCache
    gate: Callable[[], None]
    schedule: Callable[[str, str, int], None]
    key_list: str
    access: Access = field(default_factory=Access)
    locks: Locks = field(default_factory=Locks)
    escrow_log: EscrowLog = field(default_factory=EscrowLog)
    log_check: LogCheck = field(default_factory=LogCheck)
    report_making: ReportMaking = field(default_factory=ReportMaking)
    reseals: Reseals = field(default_factory=Reseals)
    seals: Seals = field(default_factory=Seals)
    registers: Registers = field(default_factory=Registers)
    passkeys: Passkeys = field(default_factory=Passkeys)
    attempts: Attempts = field(default_factory=Attempts)
    watched: Watched = field(default_factory=Watched)
    assertions: Assertions | None = None

    def __post_init__(self) -> None:
        self.passkeys.believe(self.registers, self.store, self.settings.paths.state)

    def seconds(self) -> int:
        """Return the present time in whole seconds."""
        return int(self.clock.now())


def action_of(operation: str) -> str:
    """Return the name under which the log knows an operation."""
    known = OPERATIONS.get(operation)
    return known.action or operation if known else operation


@dataclass(slots=True)
class Granted:
    """The grant that let a caller do what the caller's own roles do not; empty: none was needed."""

    id: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """Who asks for what: ``request`` is the SHA-256 of the request, ``remember`` turns the result
    into the reply to keep under the caller's idempotency key, in the same commit.
    """

    principal: Principal
    operation: str
    request: str
    remember: Callable[[Any], PutReply] | None = None
    granted: Granted = field(default_factory=Granted, compare=False)

    @property
    def auth(self) -> str:
        """How the caller was recognised, and the grant that it needed."""
        granted = f"{GRANT}{self.granted.id}" if self.granted.id else ""
        return f"{self.principal.kind}:{self.principal.proof}{granted}"

    def leaf(
        self,
        space: str,
        resource: str,
        phase: Phase,
        outcome: Outcome,
        *,
        action: str = "",
        intent: int | None = None,
        rows: dict[str, int] | None = None,
        details: dict[str, Any] | None = None,
    ) -> LeafDraft:
        """Return a leaf in this caller's name."""
        return LeafDraft(
            action=action or action_of(self.operation),
            actor=self.principal.name,
            auth=self.auth,
            space=space,
            resource=resource,
            phase=phase,
            outcome=outcome,
            request=self.request,
            intent=intent,
            rows=rows or {},
            details=details or {},
        )


async def authorize(
    services: Services, call: Call, target: Target, resource: str, operation: str = ""
) -> None:
    """Raise Forbidden or NotFound, after the refusal stands in the log; Sealed for what is asked of
    a sealed space, but that it be sealed.
    """
    try:
        await services.access.decide(services, call, operation or call.operation, target)
    except (Forbidden, NotFound) as error:
        await log_refusal(services, call, target.space, resource, error)
        raise
    if target.space and call.operation not in SEALING:
        services.seals.check(target.space)


async def store_rows(
    services: Services, sealed: Sequence[SealedRow], changes: Sequence[Change], *leaves: LeafDraft
) -> None:
    """Make rows, further changes and the leaves about them durable; raise as ``Store.commit``, and
    Sealed for a row of a space that was sealed meanwhile.

    After an error it may be open what the disk holds, so the rows are then read and checked anew.
    """
    for one in sealed:
        services.seals.check_row(one.row)
    unit = Unit((*map(PutRow, sealed), *changes), leaves)
    try:
        await services.store.commit(unit)
    except ConclaveError:
        for one in sealed:
            services.cache.forget(one.row.key)
        raise
    for one in sealed:
        services.cache.learn(one)


async def log_refusal(
    services: Services, call: Call, space: str, resource: str, error: ConclaveError
) -> None:
    """Write that a request was refused, and by which code."""
    leaf = refusal(call, "access.refused", space, resource, error)
    await services.store.commit(Unit(leaves=(leaf,)))


async def log_integrity_failure(
    services: Services, call: Call, space: str, resource: str, error: IntegrityFailure
) -> None:
    """Write that what a request needed was found altered."""
    leaf = refusal(call, "integrity.failure", space, resource, error)
    await services.store.commit(Unit(leaves=(leaf,)))


def refusal(call: Call, action: str, space: str, resource: str, error: ConclaveError) -> LeafDraft:
    """Return the leaf of a request that was not carried out."""
    return call.leaf(
        space,
        resource,
        Phase.EVENT,
        Outcome.REFUSED,
        action=action,
        details={"code": error.code, "operation": call.operation},
    )


def lock_name(space: str, meeting: str) -> str:
    """Return the name of a meeting's lock: spaces may use the same UUID and not hear of it."""
    return f"{space}/{meeting}"


def meeting_path(space: str, meeting: str, epoch: int | None = None) -> str:
    """Return the resource path of a meeting, or of one of its epochs."""
    path = f"spaces/{space}/meetings/{meeting}"
    return path if epoch is None else f"{path}/epochs/{epoch}"
