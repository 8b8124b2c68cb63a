"""What every command is given: the global options, where output goes, the way to the service."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kms.cli.options import Options
from kms.cli.output import Output

if TYPE_CHECKING:
    from kms.client.api import Client
    from kms.settings import Paths, Settings


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

        return connect(self.options, self.places)

    def places(self) -> "Paths":
        """Return the configured places; without any configuration the default ones."""
        if self.options.config is None and not self.config_path().exists():
            from kms.settings import Paths  # noqa: PLC0415 -- help needs no configuration

            return Paths()
        return self.settings().paths
