"""Finds the way to the service: the Unix socket, or mutual TLS with an identity folder."""

import ssl

from kms.cli.session import Session
from kms.client.api import Client
from kms.client.transport import mutual_tls
from kms.errors import ConfigurationError, InvalidInput
from kms.settings import Paths


def connect(session: Session) -> Client:
    """Return a client; raise ConfigurationError, InvalidInput."""
    options = session.options
    if options.url is None:
        if options.identity is not None:
            raise InvalidInput("--identity goes with --url")
        return Client.over_socket(options.socket or configured(session).api_socket)
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


def configured(session: Session) -> Paths:
    """Return the configured places; without any configuration the default ones."""
    if session.options.config is None and not session.config_path().exists():
        return Paths()
    return session.settings().paths
