"""Addresses of the network, as far as they tell one caller from another."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_SITE_BITS = 64


def neighbourhood(address: str) -> str:
    """Return what callers of an address share: the IPv4 address, or the /64 of IPv6, in which one
    machine has as many as it likes; what is no address is returned as it is.
    """
    try:
        found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is None:
            return str(IPv6Network((int(found), _SITE_BITS), strict=False))
        found = found.ipv4_mapped
    return str(found)
