"""Certificates of what approved requests destroyed: first it is shown to be gone, then the space's
worker signs, then it is stored and logged.
"""

from collections.abc import Iterator, Sequence

from kms.audit.leaf import Leaf, Outcome, Phase, decode_leaf
from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Epoch
from kms.domain.rows import RowKind, SealedRow
from kms.domain.states import KeyState
from kms.errors import IntegrityFailure, NotFound, VerificationFailed
from kms.policy.authorizer import NOT_THERE, Target
from kms.ports import CertifyOrder, PutCertificate, Unit
from kms.statements.canonical import canonical, digest
from kms.statements.destruction import peek_certificate
from kms.statements.erasure import is_erasure
from kms.statements.request import CheckedRequest
from kms.usecases.policies import policy_in_force
from kms.usecases.services import Call, Services, authorize
from kms.usecases.veil import is_hidden, is_operator_only

_PAGE = 1000
_PART_BYTES = 2 << 20
_PART_KEYS = 1000
"""What one certificate's part holds, so that the order fits a frame and the part a JWS."""


async def certify(services: Services, call: Call, checked: CheckedRequest) -> None:
    """Certify what a request destroyed; nothing if that has been done, or nothing was left.

    Raise StoreUnavailable while deleted envelopes may linger, IntegrityFailure if one is there,
    HsmUnavailable; then it is to be tried again.
    """
    request, space = checked.wanted.id, SpaceName(checked.wanted.space)
    async with services.locks.of(f"certificate/{request}"):
        if services.store.certificate(request) is not None:
            return
        done = told_of(services, checked.wanted.operation, b'"request":' + canonical(request))
        rows = list(_destroyed(services, done))
        if not rows:
            return
        await services.store.erased()
        for row in rows:
            await _check_gone(services, row)
        text = await _signed(services, checked, done, rows)
        leaf = call.leaf(
            space,
            f"spaces/{space}/requests/{request}",
            Phase.EVENT,
            Outcome.SUCCEEDED,
            action="destruction.certify",
            details={"request": request, "certificate": digest(text.encode())},
        )
        await services.store.commit(Unit((PutCertificate(request, text),), (leaf,)))


async def read_certificate(services: Services, call: Call, request: str) -> str:
    """Return the certificate of an executed request; raise NotFound, Forbidden."""
    sealed = services.store.request(request)
    space = sealed.row.key.split("/")[1] if sealed else ""
    await authorize(services, call, Target(), f"certificates/{request}")
    if sealed is None or not call.principal.reaches(space):
        raise NotFound(NOT_THERE)
    text = services.store.certificate(request)
    if text is None:
        raise NotFound(
            "there is no certificate of this request",
            hint="it is issued once what the request destroyed is erased without a trace",
        )
    if is_operator_only(call.principal):
        await _check_not_hidden(services, call, text)
    return text


async def _check_not_hidden(services: Services, call: Call, text: str) -> None:
    """Raise NotFound for the certificate of a confidential meeting: it tells of its keys."""
    if is_erasure(text):
        return
    try:
        told = peek_certificate(text)
    except VerificationFailed as error:
        raise NotFound(NOT_THERE) from error
    if await is_hidden(services, call.principal, told.space, told.meeting):
        raise NotFound(NOT_THERE)


def told_of(services: Services, action: str, mark: bytes) -> Leaf:
    """Return the last leaf of a success whose text holds a mark; raise IntegrityFailure."""
    end = services.store.tree_size()
    while end > 0:
        start = max(0, end - _PAGE)
        for data in reversed(services.store.leaves(start, end - start)):
            if mark in data:
                leaf = decode_leaf(data)
                if leaf.action == action and leaf.outcome is Outcome.SUCCEEDED:
                    return leaf
        end = start
    raise IntegrityFailure("the log does not tell of the destruction")


def _destroyed(services: Services, leaf: Leaf) -> Iterator[SealedRow]:
    """Yield the rows of the epochs that a leaf tells of, by number."""
    prefix = f"{RowKind.EPOCH}/"
    keys = [key for key in leaf.rows if key.startswith(prefix)]
    for key in sorted(keys, key=lambda key: int(key.rpartition("/")[2])):
        sealed = services.store.row(RowKind.EPOCH, key)
        if sealed is None:
            raise IntegrityFailure("a row that the log names is gone")
        yield sealed


async def _check_gone(services: Services, sealed: SealedRow) -> None:
    """Raise IntegrityFailure unless the epoch is destroyed and has no envelope."""
    epoch = (await services.cache.admit(sealed)).record
    if not isinstance(epoch, Epoch) or epoch.state is not KeyState.DESTROYED:
        raise IntegrityFailure("an epoch that the log calls destroyed is not")
    if services.store.count_envelopes(epoch.space, MeetingId(epoch.meeting), epoch.epoch):
        raise IntegrityFailure("an envelope of a destroyed key is still there")


async def _signed(
    services: Services, checked: CheckedRequest, done: Leaf, rows: Sequence[SealedRow]
) -> str:
    """Return the certificate, one part a line."""
    wanted, space = checked.wanted, SpaceName(checked.wanted.space)
    request = services.store.request(wanted.id)
    if request is None:
        raise IntegrityFailure("the request that was carried out is gone")
    state, now = services.settings.paths.state, services.seconds()
    register = services.registers.once_in_force(services.store, state, wanted.register)
    period = (await policy_in_force(services, space))[0].rotation.vault_seconds
    parts = list(_parts(rows))
    signed = []
    for number, part in enumerate(parts, start=1):
        order = CertifyOrder(
            request=request,
            register=register.token,
            epochs=part,
            executor=done.actor,
            now=now,
            closed_by=now + period if period else 0,
            part=number,
            parts=len(parts),
        )
        signed.append(await services.workers.space(space).certify(order))
    return "\n".join(signed)


def _parts(rows: Sequence[SealedRow]) -> Iterator[tuple[SealedRow, ...]]:
    part: list[SealedRow] = []
    size = 0
    for sealed in rows:
        if part and (len(part) == _PART_KEYS or size + len(sealed.row.body) > _PART_BYTES):
            yield tuple(part)
            part, size = [], 0
        part.append(sealed)
        size += len(sealed.row.body)
    if part:
        yield tuple(part)
