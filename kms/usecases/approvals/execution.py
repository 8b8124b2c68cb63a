"""Carrying out an approved request: exactly once, in one commit with everything that it changes.

The worker checks register, signatures and quorum again and seals no row that was not approved.
"""

import logging
from dataclasses import replace

from kms.audit.leaf import LeafDraft, Outcome, Phase
from kms.domain.approvals import Request, RequestState
from kms.domain.ids import SpaceName
from kms.domain.rows import RowKind, SealedRow
from kms.errors import ConclaveError, InvalidInput
from kms.ports import Approved, PutMark, Unit
from kms.statements.canonical import make_row, read_row
from kms.statements.request import CheckedRequest, check_quorum, peek_request, verify_request
from kms.usecases.activations import SERVICE
from kms.usecases.approvals.common import (
    changing,
    check_current,
    check_open,
    check_space,
    find_to_change,
    held,
    keeper_of,
    place_of,
    refusals,
    unknown_effect,
)
from kms.usecases.approvals.effect import Effect
from kms.usecases.approvals.effects import AFTERWARDS, EFFECTS
from kms.usecases.approvals.registers import InForce
from kms.usecases.approvals.views import RequestView, view_of
from kms.usecases.services import Call, Services, store_rows, uninterrupted

_LOG = logging.getLogger(__name__)
_PAGE = 500
_FOLLOWED = "followed/{}"
"""The mark of a request after which nothing remains to be done."""


@uninterrupted
async def execute_request(services: Services, call: Call, request: str) -> RequestView:
    """Carry out a request; what follows its effect is done too, or at the next start.

    Raise NotFound, StateNotAllowed, VerificationFailed, QuorumNotMet, Conflict and what the effect
    refuses; then nothing was changed.
    """
    wanted = await find_to_change(services, call, request)
    async with (
        refusals(services, call, place_of(wanted)),
        changing(services, request) as (record, version),
    ):
        check_open(services, record, wanted)
        await check_space(services, wanted.space)
        checked, present = await check_current(services, record)
        check_quorum(checked, present.register, services.seconds())
        async with held(services, wanted.space, checked.parameters):
            executed = await _carry_out(services, call, checked, present, record, version)
    await _follow(services, call, checked)
    return await view_of(services, executed, version + 1)


async def _carry_out(
    services: Services,
    call: Call,
    checked: CheckedRequest,
    present: InForce,
    record: Request,
    version: int,
) -> Request:
    """Return the executed request once it and its effect are durable."""
    services.gate()
    wanted = checked.wanted
    prepare = EFFECTS.get(wanted.operation)
    if prepare is None:
        raise unknown_effect(wanted.operation)
    effect = await prepare(services, call, checked)
    executed = replace(record, state=RequestState.EXECUTED, ended=services.seconds())
    approved = Approved(
        request=make_row(executed, version + 1),
        rows=tuple(make_row(one, number) for one, number in effect.records),
        register=present.token,
        policy=_policy_row(services, wanted.space),
        before=effect.before,
    )
    sealed = await keeper_of(services, wanted.space).seal_approved(approved)
    leaf = _leaf(call, checked, effect, sealed)
    await store_rows(services, sealed, effect.changes, leaf)
    return executed


def _policy_row(services: Services, space: str) -> SealedRow | None:
    """Return the row that the space's own policy came from, which the worker looks at itself."""
    return services.store.row(RowKind.POLICY, f"policy/{SpaceName(space)}") if space else None


def _leaf(
    call: Call, checked: CheckedRequest, effect: Effect, sealed: list[SealedRow]
) -> LeafDraft:
    wanted = checked.wanted
    return call.leaf(
        wanted.space,
        effect.resource,
        Phase.EVENT,
        Outcome.SUCCEEDED,
        action=wanted.operation,
        rows={one.row.key: one.row.version for one in sealed},
        details={**effect.details, "request": wanted.id, "digest": wanted.digest()},
    )


async def _follow(services: Services, call: Call, checked: CheckedRequest) -> None:
    """Do what follows an effect; what fails stays to be done at the next start."""
    afterwards = AFTERWARDS.get(checked.wanted.operation)
    if afterwards is None:
        return
    mark = PutMark(_FOLLOWED.format(checked.wanted.id), 1)
    try:
        await afterwards(services, call, checked)
        await services.store.commit(Unit((mark,)))
    except ConclaveError as error:
        _LOG.error(
            "what follows the request %s failed and is tried again at the next start: %s",
            checked.wanted.id,
            error.code,
        )


async def finish_executed(services: Services) -> None:
    """Do what a crash or an error cut off after a request was carried out; at start."""
    after = ""
    call = Call(SERVICE, "approval.execute", "")
    while page := services.store.requests(RequestState.EXECUTED, after, _PAGE):
        for sealed in page:
            after = sealed.row.key.rpartition("/")[2]
            if not services.store.mark(_FOLLOWED.format(after), 0) and _has_more(sealed):
                await _finish(services, call, after)


def _has_more(sealed: SealedRow) -> bool:
    """Whether anything follows a request's effect; its row is read unchecked to know that alone."""
    try:
        record = read_row(sealed.row)
        return isinstance(record, Request) and peek_request(record.request).operation in AFTERWARDS
    except InvalidInput:
        return True


async def _finish(services: Services, call: Call, request: str) -> None:
    try:
        record, _ = await services.cache.request(request)
        wanted = peek_request(record.request)
        state, site = services.settings.paths.state, services.settings.site.id
        past = services.registers.once_in_force(services.store, state, wanted.register)
        checked = verify_request(record, site, past.register, past.sha256)
        await _follow(services, call, checked)
    except ConclaveError as error:
        _LOG.error("the request %s cannot be finished: %s", request, error.code)
