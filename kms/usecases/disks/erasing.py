"""The end of a disk by an approved request: its row loses its keys in the commit, the token then
destroys its KEKs, the appliance overwrites its slots, and a certificate says so.
"""

from dataclasses import replace
from typing import NamedTuple

from uuid_utils import uuid7

from kms.audit.leaf import Leaf, LeafDraft, Outcome, Phase
from kms.domain.disks import (
    Disk,
    DiskOrder,
    DiskTarget,
    OrderKind,
    OrderState,
)
from kms.domain.ids import DiskId, SpaceName
from kms.errors import IntegrityFailure, InvalidInput, NotFound, StateNotAllowed
from kms.ports import CertifyErasureOrder, Change, EraseOrder, PutCertificate, PutOrder, Unit
from kms.statements.canonical import canonical, digest
from kms.statements.erasure import Slots
from kms.statements.request import CheckedRequest, peek_request
from kms.usecases.approvals.effect import Effect
from kms.usecases.disks.common import Found, disk_path, load
from kms.usecases.disks.placing import open_orders
from kms.usecases.lifecycle.certificates import told_of
from kms.usecases.services import Call, Services

_ERASE = "disk.erase"


class Certified(NamedTuple):
    """What makes a certificate durable; nothing where there is none to make."""

    changes: tuple[Change, ...] = ()
    leaves: tuple[LeafDraft, ...] = ()


async def prepare_erase(services: Services, call: Call, checked: CheckedRequest) -> Effect:
    """Return the erasure of a disk's keys, and the order to the appliance unless the device is
    absent. Raise NotFound for another space's, StateNotAllowed if it is erased, IntegrityFailure.
    """
    target, space = checked.parameters, SpaceName(checked.wanted.space)
    if not isinstance(target, DiskTarget):
        raise InvalidInput("the request names no disk")
    found = await load(services, target.disk)
    disk = found.disk
    if disk.space != space:
        raise NotFound("the space has no such disk")
    now = services.seconds()
    ended = tuple(PutOrder(_overtaken(one, now)) for one in open_orders(services, disk.serial))
    order = () if target.absent else (PutOrder(_order(call, disk, now)),)
    return Effect(
        disk_path(space, disk.disk),
        ((disk.erase(now), found.version + 1),),
        (*ended, *order),
        {"disk": disk.disk, "serial": disk.serial, "absent": target.absent},
        before=found.sealed,
    )


def _order(call: Call, disk: Disk, now: int) -> DiskOrder:
    return DiskOrder(
        str(uuid7()), OrderKind.ERASE, disk.serial, disk.disk, disk.space, call.principal.name, now
    )


def _overtaken(order: DiskOrder, now: int) -> DiskOrder:
    """Return an order that an erasure ends: there is nothing left that it could do."""
    return replace(
        order,
        state=OrderState.FAILED,
        code=StateNotAllowed.code,
        message="the disk was erased",
        sealed_key="",
        ended=now,
    )


# --- afterwards ----------------------------------------------------------------------------------


async def destroy_keks(services: Services, call: Call, checked: CheckedRequest) -> None:
    """Have the token destroy the KEKs of a disk that a request erased, and certify it if the device
    is absent. Raise IntegrityFailure, HsmUnavailable; then it is to be tried again.
    """
    target = checked.parameters
    if not isinstance(target, DiskTarget):
        raise IntegrityFailure("the request that was carried out names no disk")
    found = await load(services, target.disk)
    if not target.absent:
        await _erase(services, found, checked.wanted.id)
        return
    changes, leaves = await _certificate(services, call, found, Slots.ABSENT)
    if changes:
        await services.store.commit(Unit(changes, leaves))


async def certified(services: Services, call: Call, order: DiskOrder) -> Certified:
    """Return the certificate of an erasure whose order is done; nothing for any other order, or if
    there is one. Raise Sealed, IntegrityFailure, HsmUnavailable.
    """
    if order.kind is not OrderKind.ERASE or order.state is not OrderState.DONE or order.dry_run:
        return Certified()
    found = await load(services, DiskId(order.disk))
    return await _certificate(services, call, found, Slots.ERASED)


async def _certificate(services: Services, call: Call, found: Found, slots: Slots) -> Certified:
    space, leaf = found.disk.space, _erasure(services, found)
    request = str(leaf.details["request"])
    if services.store.certificate(request) is not None:
        return Certified()
    erase = await _erase(services, found, request)
    text = await services.workers.space(space).certify_erasure(
        CertifyErasureOrder(erase, slots.value, leaf.actor, services.seconds())
    )
    told = call.leaf(
        space,
        f"spaces/{space}/requests/{request}",
        Phase.EVENT,
        Outcome.SUCCEEDED,
        action="erasure.certify",
        details={
            "request": request,
            "disk": found.disk.disk,
            "certificate": digest(text.encode()),
        },
    )
    return Certified((PutCertificate(request, text),), (told,))


async def _erase(services: Services, found: Found, request: str) -> EraseOrder:
    """Return the order by which the token has destroyed the KEKs; again, if it had before."""
    sealed = services.store.request(request)
    if sealed is None:
        raise IntegrityFailure("the request that was carried out is gone")
    record, _ = await services.cache.request(request)
    state = services.settings.paths.state
    named = peek_request(record.request).register
    register = services.registers.once_in_force(services.store, state, named).token
    order = EraseOrder(sealed, register, found.sealed)
    await services.workers.space(found.disk.space).erase_disk(order)
    return order


def _erasure(services: Services, found: Found) -> Leaf:
    """Return the leaf by which a disk was erased."""
    return told_of(services, _ERASE, canonical(found.sealed.row.key))
