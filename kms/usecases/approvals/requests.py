"""Handing in requests and approvals, and cancelling. Nothing here carries anything out.

Everything handed in is checked as if its bearer were a stranger: what counts is who signed it.
"""

from dataclasses import replace

from kms.audit.leaf import LeafDraft
from kms.domain.approvals import Request, RequestState
from kms.domain.people import Person
from kms.errors import AlreadyExists, VerificationFailed
from kms.policy.authorizer import Target
from kms.statements.approval import TYP as APPROVAL
from kms.statements.canonical import make_row
from kms.statements.passkeys import MAX_SKEW, peek_admission
from kms.statements.personal import peek_proof
from kms.statements.request import (
    CheckedRequest,
    OperationRequest,
    check_approval,
    check_form,
    peek_request,
)
from kms.usecases.approvals.common import (
    Place,
    changing,
    check_current,
    check_open,
    check_space,
    find_to_change,
    held,
    keeper_of,
    place_of,
    refusals,
    request_leaf,
    unknown_effect,
)
from kms.usecases.approvals.effects import EFFECTS
from kms.usecases.approvals.views import RequestView, view_of
from kms.usecases.passkeys.statements import check_unrevoked
from kms.usecases.services import Call, Services, authorize, store_rows, uninterrupted

PASSKEY_SECONDS = 600 + MAX_SKEW
"""How old an approval by a passkey may be when it is handed in: a page waits for ten minutes. It
comes from a browser; what is carried from machine to machine is signed by a credential.
"""


@uninterrupted
async def submit_request(services: Services, call: Call, token: str) -> RequestView:
    """Take in a request that its requester signed, if it could be carried out now.

    Raise Forbidden, InvalidInput, VerificationFailed, AlreadyExists, and what its effect refuses.
    """
    # A stranger's text does not get into the log, not even as a refusal.
    await authorize(services, call, Target(), Place().path)
    async with refusals(services, call, Place()):
        wanted = peek_request(token)
        check_form(wanted)
    await authorize(services, call, Target(space=wanted.space), place_of(wanted).path)
    async with (
        refusals(services, call, place_of(wanted)),
        services.locks.of(f"requests:{wanted.id}"),
    ):
        record = Request(wanted.space, wanted.id, token)
        await _check_new(services, call, record, wanted)
        leaf = request_leaf(call, "approval.request", wanted, wanted.requester, _rows(record, 1))
        return await _store(services, call, record, 1, leaf)


async def _check_new(
    services: Services, call: Call, record: Request, wanted: OperationRequest
) -> None:
    """Raise whatever stands against a request: what could not be carried out now is refused."""
    await check_space(services, wanted.space)
    if services.store.request(wanted.id) is not None:
        raise AlreadyExists("a request of that id is there", hint="make it with a new id")
    if abs(wanted.issued - services.seconds()) > MAX_SKEW:
        raise VerificationFailed("the request was not made just now: is a clock wrong?")
    checked, _ = await check_current(services, record)
    check_open(services, record, wanted)
    await _check_effect(services, call, checked)


async def check_unsigned(
    services: Services, call: Call, wanted: OperationRequest, requester: Person
) -> None:
    """Raise what would be refused of a request once ``requester`` has signed it, so that nobody
    signs what could not be carried out now. Nothing was handed in: the log has none of it.
    """
    parameters = check_form(wanted)
    await authorize(services, call, Target(space=wanted.space), place_of(wanted).path)
    await check_space(services, wanted.space)
    await _check_effect(services, call, CheckedRequest(wanted, parameters, requester, {}))


async def _check_effect(services: Services, call: Call, checked: CheckedRequest) -> None:
    """Raise what forbids the effect of a request now."""
    wanted = checked.wanted
    prepare = EFFECTS.get(wanted.operation)
    if prepare is None:
        raise unknown_effect(wanted.operation)
    async with held(services, wanted.space, checked.parameters):
        await prepare(services, call, checked)


@uninterrupted
async def sign_request(services: Services, call: Call, request: str, token: str) -> RequestView:
    """Take in one person's approval; raise NotFound, StateNotAllowed, VerificationFailed,
    AlreadyExists.
    """
    wanted = await find_to_change(services, call, request)
    async with (
        refusals(services, call, place_of(wanted)),
        changing(services, request) as (record, version),
    ):
        check_open(services, record, wanted)
        checked, present = await check_current(services, record)
        person, approval = check_approval(wanted, present.register, token)
        if person.name in checked.approvals:
            raise AlreadyExists("this person has approved the request before")
        now = services.seconds()
        if approval.signed > now + MAX_SKEW or not person.in_office(now):
            raise VerificationFailed(
                "{name} signed at another time, or is not in office", about={"name": person.name}
            )
        _check_passkey_now(token, approval.signed, now)
        signed = replace(record, approvals=(*record.approvals, token))
        check_unrevoked(services, signed)
        rows = _rows(signed, version + 1)
        leaf = request_leaf(call, "approval.sign", wanted, person.name, rows)
        return await _store(services, call, signed, version + 1, leaf)


@uninterrupted
async def cancel_request(services: Services, call: Call, request: str) -> RequestView:
    """Cancel a request; any officer may. Raise NotFound, StateNotAllowed."""
    wanted = await find_to_change(services, call, request)
    async with (
        refusals(services, call, place_of(wanted)),
        changing(services, request) as (record, version),
    ):
        check_open(services, record, wanted)
        ended = replace(record, state=RequestState.CANCELLED, ended=services.seconds())
        rows = _rows(ended, version + 1)
        leaf = request_leaf(call, "approval.cancel", wanted, call.principal.name, rows)
        return await _store(services, call, ended, version + 1, leaf)


def _check_passkey_now(token: str, signed: int, now: int) -> None:
    """Raise VerificationFailed for an approval by a passkey that was not signed just now, or whose
    admission has ended.
    """
    proof = peek_proof(token, APPROVAL)
    if proof is None:
        return
    if signed < now - PASSKEY_SECONDS:
        raise VerificationFailed("the approval was not signed just now", hint="sign it again")
    if now >= peek_admission(proof.admission).expires:
        raise VerificationFailed(
            "the admission of the passkey that signed has ended", hint="conclave passkey admit"
        )


def _rows(record: Request, version: int) -> dict[str, int]:
    return {make_row(record, version).key: version}


async def _store(
    services: Services, call: Call, record: Request, version: int, leaf: LeafDraft
) -> RequestView:
    sealed = await keeper_of(services, record.space).seal_rows([make_row(record, version)])
    view = await view_of(services, record, version)
    await store_rows(services, sealed, [call.remember(view)] if call.remember else [], leaf)
    return view
