"""Sets a document by a template. Data go in as one JSON value, never as source, so that no text
can act as markup; nothing is written to a disk, since share cards are secret.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import typst

from kms.errors import ConfigurationError

if TYPE_CHECKING:
    from typst import OutputFormat, PDFStandard

    Standards = list[PDFStandard]

TEMPLATES = Path(__file__).parent / "templates"
FAMILIES = ("Noto Sans CJK SC", "Noto Sans Mono CJK SC", "Noto Serif CJK SC")
"""The fonts of every document; a box in the place of a character is never printed."""

_STANDARDS: "Standards" = ["a-2a", "ua-1"]
"""Kept readable for decades (PDF/A) and for everybody (PDF/UA)."""
ATTACHING: "Standards" = ["a-3a", "ua-1"]
"""The same, for a document that carries other files (PDF/A-3)."""


def press(
    template: str, data: Mapping[str, Any], made: int, standards: "Standards" = _STANDARDS
) -> bytes:
    """Return the PDF of a template with its data. ``made`` (whole seconds) is its date, so that
    equal data give equal bytes. Raise ConfigurationError if a font or a character is missing.
    """
    return b"".join(_compile(template, data, made, "pdf", standards))


def drawings(template: str, data: Mapping[str, Any], made: int) -> list[bytes]:
    """Return each page as SVG, as it will be printed; raise ConfigurationError."""
    return _compile(template, data, made, "svg", [])


def _compile(
    template: str, data: Mapping[str, Any], made: int, form: "OutputFormat", standards: "Standards"
) -> list[bytes]:
    try:
        pages: Any = typst.compile(  # type: ignore[type-var] # it takes bytes too
            (TEMPLATES / f"{template}.typ").read_bytes(),
            root=TEMPLATES,
            font_paths=_fonts(),
            sys_inputs={"data": msgspec.json.encode(data).decode()},
            format=form,
            timestamp=made,
            pdf_standards=standards,
        )
    except typst.TypstError as error:
        # Its text can quote the data, which can be secret: only what kind of fault it is goes on.
        lacking = "could not be displayed" in str(error)
        raise ConfigurationError(
            f"the document {template} cannot be set",
            hint="change the name or text with a character that fonts-noto-cjk lacks"
            if lacking
            else "this is a defect of the document's template",
        ) from None
    return pages if isinstance(pages, list) else [pages]


@cache
def _fonts() -> typst.Fonts:
    found = typst.Fonts(include_system_fonts=True, include_embedded_fonts=True)
    missing = [family for family in FAMILIES if family not in found.families()]
    if missing:
        raise ConfigurationError(
            f"the fonts of printed documents are missing: {', '.join(missing)}",
            hint="install the package fonts-noto-cjk (Debian: apt-get install fonts-noto-cjk)",
        )
    return found
