"""Why keys rotate, as a sentence for people."""

from kms.domain.models import RotationReason
from kms.i18n import _


def reason(value: str | None) -> str:
    """Return why an epoch was or is to be made; a dash for none."""
    texts = {
        RotationReason.OPEN: _("The meeting began"),
        RotationReason.JOIN: _("Somebody joined"),
        RotationReason.LEAVE: _("Somebody left"),
        RotationReason.MANUAL: _("By hand"),
        RotationReason.SUSPICION: _("On suspicion"),
        RotationReason.TIME: _("On schedule"),
        RotationReason.USES: _("Served as often as allowed"),
        RotationReason.COMPROMISE: _("The key was compromised"),
    }
    return texts[RotationReason(value)] if value else "—"
