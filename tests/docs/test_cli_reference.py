"""The command reference names every command that the product promises."""

from tests.docs.pages import DOCS


def test_the_reference_names_every_promised_command() -> None:
    text = (DOCS / "cli.md").read_text("utf-8")
    for command in (
        "init", "serve", "status", "space list", "recipient list", "meeting open",
        "meeting destroy", "roster show", "roster set", "epoch rotate", "envelope fetch",
        "envelope open", "rotation status", "audit checkpoint", "audit export", "audit verify",
        "audit proof", "hsm info",
    ):  # fmt: skip
        assert f"### conclave {command}\n" in text
