"""Signs destruction certificates: the worker builds each itself, from rows that it has MACed.

It certifies nothing but what an executed request was about, and no key that is not destroyed.
What it cannot see is the store: that the envelopes are gone is the service's word.
"""

from kms.domain.approvals import EpochTarget, MeetingTarget, Request
from kms.domain.models import Epoch
from kms.domain.rows import SealedRow
from kms.domain.states import KeyState
from kms.errors import Forbidden, InvalidInput
from kms.hsm.epochs import readers_of
from kms.hsm.guard import check_executed
from kms.hsm.keyring import SpaceKeyring
from kms.hsm.rows import RowSealer
from kms.ports import CertifyOrder
from kms.statements.addendum import SILENT
from kms.statements.canonical import digest, read_row
from kms.statements.destruction import (
    MAX_PARTS,
    METHOD,
    DestroyedKey,
    DestructionCertificate,
    WrappedUnder,
    sign_certificate,
)
from kms.statements.readers import Readers
from kms.statements.request import CheckedRequest


class Certifier:
    """Certifies for one space of a site."""

    def __init__(self, site: str, space: str) -> None:
        self._site = site
        self._space = space

    def certify(self, keys: SpaceKeyring, order: CertifyOrder) -> str:
        """Return one part of a certificate as a JWS.

        Raise IntegrityFailure for a row that is not the service's, VerificationFailed for a
        request or register that does not hold, Forbidden for what the request did not destroy.
        """
        record, checked = check_executed(self._site, keys, order.request, order.register)
        RowSealer.check(keys, order.epochs)
        epochs = [_destroyed(sealed, checked) for sealed in order.epochs]
        readers = [readers_of(keys, self._site, epoch) for epoch in epochs]
        part = self._part(order, record, checked, epochs, readers)
        return sign_certificate(part, keys.manifest_kid, keys.sign_manifest)

    def _part(
        self,
        order: CertifyOrder,
        record: Request,
        checked: CheckedRequest,
        epochs: list[Epoch],
        readers: list[Readers],
    ) -> DestructionCertificate:
        if not epochs or not 1 <= order.part <= order.parts <= MAX_PARTS:
            raise InvalidInput("a certificate has parts, and each names keys")
        if order.now < record.ended or 0 < order.closed_by < record.ended:
            raise InvalidInput("a certificate is issued after the destruction")
        wanted = checked.wanted
        return DestructionCertificate(
            iss=self._site,
            space=self._space,
            meeting=epochs[0].meeting,
            operation=wanted.operation,
            request=wanted.id,
            digest=wanted.digest(),
            part=order.part,
            parts=order.parts,
            keys=tuple(map(_key, epochs, readers)),
            keepers=_keepers(readers),
            method=METHOD,
            destroyed=record.ended,
            issued=order.now,
            executor=order.executor,
            requester=checked.requester.name,
            supervisors=tuple(sorted(checked.approvals)),
            closed_by=order.closed_by,
        )


def _destroyed(sealed: SealedRow, checked: CheckedRequest) -> Epoch:
    """Return an epoch that the request destroyed; raise Forbidden."""
    epoch, target = read_row(sealed.row), checked.parameters
    if not isinstance(epoch, Epoch) or epoch.state is not KeyState.DESTROYED:
        raise Forbidden("only a key that is destroyed is certified")
    match target:
        case MeetingTarget():
            asked = epoch.meeting == target.meeting
        case EpochTarget():
            asked = (epoch.meeting, epoch.epoch) == (target.meeting, target.epoch)
        case _:
            asked = False
    if not asked or not checked.wanted.operation.endswith(".destroy"):
        raise Forbidden("the request was not about this key")
    return epoch


def _key(epoch: Epoch, readers: Readers) -> DestroyedKey:
    manifest = readers.manifest
    return DestroyedKey(
        epoch.epoch,
        digest(epoch.manifest.encode()),
        manifest.commitment,
        manifest.nbf,
        manifest.exp,
    )


def _keepers(readers: list[Readers]) -> tuple[WrappedUnder, ...]:
    named = {
        WrappedUnder(entry.kind, entry.version, entry.id)
        for one in readers
        for entry in one.entries
        if entry.kind in SILENT
    }
    return tuple(sorted(named))
