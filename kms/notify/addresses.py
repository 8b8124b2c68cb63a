"""Where a channel may connect: loopback and private addresses, looked up anew at every delivery.

The caller connects to the address that was checked, so a name cannot point elsewhere afterwards.
"""

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from kms.usecases.watch.channel import DeliveryError

_TEREDO = IPv6Network("2001::/32")
"""IPv4 through somebody's relay on the internet, which Python takes for private."""


@dataclass(frozen=True, slots=True)
class Place:
    """An address that was checked."""

    family: socket.AddressFamily
    address: str
    loopback: bool

    @property
    def host(self) -> str:
        """The address as it stands in a URL."""
        return f"[{self.address}]" if self.family is socket.AF_INET6 else self.address


def resolve(host: str, port: int) -> Place:
    """Return the first address of a host; raise DeliveryError unless all of them are loopback or
    private. May block: call it in a thread.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DeliveryError(f"{host} has no address") from error
    places = [_place(family, str(address[0])) for family, *_, address in found]
    if not places:
        raise DeliveryError(f"{host} has no address")
    return places[0]


def _place(family: socket.AddressFamily, text: str) -> Place:
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if not _local(address):
        raise DeliveryError(f"{text} is not on the local network: nothing is sent there")
    return Place(family, text, address.is_loopback)


def _local(address: IPv4Address | IPv6Address) -> bool:
    if address.is_unspecified or address.is_multicast or address.is_link_local:
        return False
    if address in _TEREDO or (isinstance(address, IPv4Address) and address.is_reserved):
        return False  # reserved: 240.0.0.0/4 with the broadcast address
    return address.is_loopback or address.is_private
