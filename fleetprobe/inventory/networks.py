"""Networks and ranges in a target spec: how many addresses they name, and the addresses one by one."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass

from fleetprobe.inventory.refused import Refused, shown

_RANGE = re.compile(r"([0-9.]+)-([0-9.]+)")
_NETWORK = re.compile(r"\[?([0-9A-Fa-f:.]+)\]?/(0|[1-9][0-9]{0,2})\]?")

Version4or6 = type[ipaddress.IPv4Address] | type[ipaddress.IPv6Address]


@dataclass(frozen=True, slots=True)
class Addresses:
    """A run of neighbouring addresses, held as two numbers whatever its size."""

    version: Version4or6
    first: int
    last: int

    @property
    def count(self) -> int:
        """How many addresses, without looking at them one by one."""
        return self.last - self.first + 1

    def __iter__(self) -> Iterator[str]:
        return (self.version(number).compressed for number in range(self.first, self.last + 1))


def split_network(spec: str) -> tuple[str, str | None] | None:
    """
    `192.0.2.0/24:443` as (`192.0.2.0/24`, `443`), also with brackets around IPv6; None when it is no network.

    The port part is not looked at; it is None when nothing follows the prefix length.
    """
    found = _NETWORK.match(spec)
    if not found or spec[: found.end()].count("[") != spec[: found.end()].count("]"):
        return None
    rest = spec[found.end() :]
    if not rest:
        return f"{found[1]}/{found[2]}", None
    return (f"{found[1]}/{found[2]}", rest[1:]) if rest.startswith(":") else None


def network(text: str) -> Addresses:
    """
    The host addresses of a network in CIDR notation (RFC 4632, RFC 4291 §2.3).

    Left out: the network and broadcast address of IPv4 up to /30, the subnet-router anycast address of IPv6
    up to /126. /31 (RFC 3021), /32, /127 (RFC 6164) and /128 count in full.
    """
    try:
        block = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise Refused(f"{shown(text)} is no network; write it like 192.0.2.0/24 or 2001:db8::/120") from None
    if ipaddress.ip_address(text.partition("/")[0]) != block.network_address:
        raise Refused(f"{shown(text)} has bits set behind its prefix; the network is {block}")
    first, last = int(block.network_address), int(block.broadcast_address)
    edge = 1 if last - first >= 2 else 0
    if block.version == 4:
        return Addresses(ipaddress.IPv4Address, first + edge, last - edge)
    return Addresses(ipaddress.IPv6Address, first + edge, last)


def address_range(text: str) -> Addresses | None:
    """The addresses of `192.0.2.1-50` or `192.0.2.1-192.0.2.50`, ends included; None when it is no range."""
    ends = _RANGE.fullmatch(text)
    if not ends:
        return None
    try:
        first = ipaddress.IPv4Address(ends[1])
        last = ipaddress.IPv4Address(ends[2] if "." in ends[2] else f"{ends[1].rpartition('.')[0]}.{ends[2]}")
    except ValueError:
        raise Refused(f"{shown(text)} is not a range; write one like 192.0.2.1-50") from None
    if last < first:
        raise Refused(f"range {shown(text)} runs backwards; write the lower address first")
    return Addresses(ipaddress.IPv4Address, int(first), int(last))
