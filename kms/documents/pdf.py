"""Sets a paper as PDF."""

from dataclasses import asdict

from kms.documents.paper import Block, Paper
from kms.documents.press import press
from kms.i18n import language


def render_pdf(paper: Paper, made: int) -> bytes:
    """Return a paper as PDF/A; ``made`` (whole seconds) is its date. Raise ConfigurationError if
    a font or a character is missing.
    """
    return press("paper", paper_data(paper), made)


def paper_data(paper: Paper) -> dict[str, object]:
    """Return what the template is given."""
    return {
        "title": paper.title,
        "kind": paper.kind,
        "footer": paper.footer,
        "framed": paper.framed,
        "language": language().value,
        "blocks": [_block(one) for one in paper.blocks],
    }


def _block(block: Block) -> dict[str, object]:
    return {"is": type(block).__name__.lower(), **asdict(block)}
