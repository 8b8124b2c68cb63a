"""What every command is given: the global options, where output goes, the way to the service."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kms.cli.output import Output
from kms.i18n import Language

if TYPE_CHECKING:
    from kms.client.api import Client
    from kms.settings import Settings

PANEL = "Global options"


@dataclass(frozen=True, slots=True)
class Options:
    """The global options; they stand before or behind the name of a command."""

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


@dataclass(frozen=True, slots=True)
class Session:
    """One run of one command."""

    options: Options
    output: Output = field(repr=False)

    def config_path(self) -> Path:
        """Return the configuration file's path."""
        from kms.settings import DEFAULT_PATH  # noqa: PLC0415 -- help needs no configuration

        return self.options.config or DEFAULT_PATH

    def settings(self) -> "Settings":
        """Return the configuration; raise ConfigurationError."""
        from kms import settings  # noqa: PLC0415 -- help needs no configuration

        return settings.load(self.config_path())

    def client(self) -> "Client":
        """Return a client of the service; raise ConfigurationError, InvalidInput."""
        from kms.cli.connect import connect  # noqa: PLC0415 -- help needs no HTTP library

        return connect(self)
