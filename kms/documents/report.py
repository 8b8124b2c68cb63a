"""A compliance report as PDF/A-3, with the data it was made from attached."""

from collections.abc import Mapping
from typing import Any

from kms.documents.press import ATTACHING, press
from kms.i18n import language


def render_report(data: Mapping[str, Any], made: int) -> bytes:
    """Return the report (kms/reports/paper.py says what ``data`` are); ``made`` (whole seconds) is
    its date. Raise ConfigurationError if a font or a character is missing.
    """
    return press("report", {**data, "language": language().value}, made, ATTACHING)
