"""A compliance report as PDF/A-3, with the data it was made from attached."""

from collections.abc import Mapping
from typing import Any

from kms.documents.glyphs import printable
from kms.documents.press import ATTACHING, press
from kms.i18n import language


def render_report(data: Mapping[str, Any], made: int) -> bytes:
    """Return the report (kms/reports/paper.py says what ``data`` are); ``made`` (whole seconds) is
    its date. Characters without a glyph are spelled out, but for those in ``attachments``. Raise
    ConfigurationError if a font is missing.
    """
    shown = printable(data, frozenset({"attachments"}))
    return press("report", {**shown, "language": language().value}, made, ATTACHING)
