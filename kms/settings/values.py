"""Kinds of values that several tables have, and checks of addresses and origins."""

import re
from ipaddress import ip_address
from typing import Annotated

import msgspec

from kms.errors import ConfigurationError

Seconds = Annotated[float, msgspec.Meta(gt=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
HOUR = 3600
_ORIGIN = re.compile(r"(https?)://([a-z0-9]+(?:[.-][a-z0-9]+)*)(?::([1-9][0-9]{0,4}))?", re.ASCII)
_PORTS = {"http": 80, "https": 443}
_MOST_PORT = 65_535


def split_origin(origin: str, key: str = "board.origin") -> tuple[str, str, int]:
    """Return scheme, host and port of an origin (RFC 6454) that stands under a key; raise
    ConfigurationError.
    """
    found = _ORIGIN.fullmatch(origin)
    port = int(found[3] or _PORTS[found[1]]) if found else 0
    if found is None or not 0 < port <= _MOST_PORT:
        raise ConfigurationError(
            f"{key}: a scheme, a name and a port, in lower case, nothing after them",
            hint="such as https://conclave.bank.internal:8443; WebAuthn takes no IP address",
        )
    return found[1], found[2], port


def check_address(address: str) -> None:
    """Raise ConfigurationError unless the address is loopback or private, and not a wildcard."""
    try:
        parsed = ip_address(address)
    except ValueError as error:
        raise ConfigurationError("listen on an IP address, not on a name") from error
    if (
        parsed.is_unspecified
        or parsed.is_multicast
        or not (parsed.is_loopback or parsed.is_private)
    ):
        raise ConfigurationError(
            f"{address} is a wildcard or public address: the key API is for local callers only",
            hint="name a loopback or private address",
        )
