"""A literal address in the words of the socket calls."""

from __future__ import annotations

import socket
from socket import SocketType

from fleetprobe.net.interface import Address

# Python 3.11 does not name these; values from linux/in.h and linux/in6.h.
_IPV6_UNICAST_HOPS = 16
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE = 10, 23, 3


def family_of(address: Address) -> socket.AddressFamily:
    """AF_INET or AF_INET6."""
    return socket.AF_INET6 if address.family == 6 else socket.AF_INET


def sockaddr(address: Address, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """What connect wants. Raises OSError (ENODEV, ENXIO) when the zone names no interface."""
    if address.family == 4:
        return (address.text, port)
    text, _, zone = address.text.partition("%")
    return (text, port, 0, socket.if_nametoindex(zone) if zone else 0)


def limit_hops(sock: SocketType, ttl: int) -> None:
    """Let what this socket sends die after `ttl` hops, 1 to 255."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_UNICAST_HOPS, ttl)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)


def never_fragment(sock: SocketType, address: Address) -> None:
    """Set DF, and heed the MTU of the device alone: a path MTU that was learnt before is passed by."""
    if address.family == 6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)


def own_end(sock: SocketType) -> tuple[str | None, int | None]:
    """Local address and port of a connected socket, or None where there is none yet."""
    try:
        name = sock.getsockname()
    except OSError:
        return None, None
    return str(name[0]), int(name[1])
