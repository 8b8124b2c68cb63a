"""From stored records to what an auditor takes away of them, by the API or from the store."""

from kms.domain.approvals import Request
from kms.domain.models import Epoch
from kms.wire.audit import EvidenceRequestOut, ManifestOut


def manifest_out(record: Epoch) -> ManifestOut:
    """Show an epoch's manifest and its addenda."""
    return ManifestOut(
        space=record.space,
        meeting=record.meeting,
        epoch=record.epoch,
        state=record.state,
        manifest=record.manifest,
        addenda=record.addenda,
    )


def request_out(record: Request, certificate: str | None) -> EvidenceRequestOut:
    """Show an executed request, its approvals and the certificate of what it destroyed."""
    return EvidenceRequestOut(
        space=record.space,
        request=record.id,
        statement=record.request,
        approvals=record.approvals,
        certificate=certificate,
    )
