"""The global options; they stand before or behind the name of a command."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import typer

from kms.i18n import Language

PANEL = "Global options"


@dataclass(frozen=True, slots=True)
class Options:
    """What was given of them."""

    config: Annotated[
        Path | None,
        typer.Option(
            help="Configuration file, else /etc/conclave/conclave.toml.", rich_help_panel=PANEL
        ),
    ] = None
    socket: Annotated[
        Path | None, typer.Option(help="Unix socket of the key API.", rich_help_panel=PANEL)
    ] = None
    url: Annotated[
        str | None,
        typer.Option(
            help="Key API over mutual TLS, such as https://10.0.0.5:8443.", rich_help_panel=PANEL
        ),
    ] = None
    identity: Annotated[
        Path | None,
        typer.Option(
            help="With --url: folder of client.pem, client.key and ca.pem.", rich_help_panel=PANEL
        ),
    ] = None
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document.", rich_help_panel=PANEL)
    ] = False
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", help="No remarks and no progress on stderr.", rich_help_panel=PANEL
        ),
    ] = False
    lang: Annotated[
        Language | None,
        typer.Option(
            envvar="CONCLAVE_LANG", help="Language of texts, else zh.", rich_help_panel=PANEL
        ),
    ] = None

    def over(self, outer: "Options") -> "Options":
        """Return these options, and the outer ones where these say nothing."""
        merged = {
            one.name: getattr(self, one.name) or getattr(outer, one.name) for one in fields(self)
        }
        return Options(**merged)
