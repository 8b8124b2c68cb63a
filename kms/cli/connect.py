"""Finds the way to the service: the Unix socket, or mutual TLS with an identity folder."""

import ssl
from collections.abc import Callable

from kms.cli.options import Options
from kms.client.api import Client
from kms.client.transport import mutual_tls
from kms.errors import ConfigurationError, InvalidInput
from kms.settings import Paths


def connect(options: Options, places: Callable[[], Paths]) -> Client:
    """Return a client; raise ConfigurationError, InvalidInput. ``places`` are asked for where the
    options name no way.
    """
    if options.url is None:
        if options.identity is not None:
            raise InvalidInput("--identity goes with --url")
        return Client.over_socket(options.socket or places().api_socket)
    if options.socket is not None:
        raise InvalidInput("--socket and --url exclude each other")
    if options.identity is None:
        raise InvalidInput(
            "--url needs --identity", hint="a folder of client.pem, client.key and ca.pem"
        )
    folder = options.identity
    try:
        context = mutual_tls(folder / "client.pem", folder / "client.key", folder / "ca.pem")
    except (ssl.SSLError, OSError) as error:
        raise ConfigurationError(
            f"the identity in {folder} cannot be used: {error.strerror or 'not PEM'}",
            hint="a folder of client.pem, client.key and ca.pem",
        ) from None
    return Client.over_tls(options.url, context)
