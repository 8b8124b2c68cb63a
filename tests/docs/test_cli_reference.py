"""The documents about the command line say what the code does."""

from pathlib import Path

import pytest

from kms.cli.reference import cli_reference, errors_reference, updated
from kms.i18n import Language, speak

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("name", "reference"), [("cli.md", cli_reference), ("errors.md", errors_reference)]
)
def test_the_document_is_what_the_code_writes(name: str, reference: object) -> None:
    text = (DOCS / name).read_text("utf-8")
    try:
        assert text == updated(text, reference()), "run: python -m kms.cli.reference docs"
    finally:
        speak(Language.ZH)


def test_the_reference_names_every_promised_command() -> None:
    text = (DOCS / "cli.md").read_text("utf-8")
    for command in (
        "init", "serve", "status", "space list", "recipient list", "meeting open",
        "meeting destroy", "roster show", "roster set", "epoch rotate", "envelope fetch",
        "envelope open", "rotation status", "audit checkpoint", "audit export", "audit verify",
        "audit proof", "hsm info",
    ):  # fmt: skip
        assert f"### conclave {command}\n" in text
