"""The error queue of a socket: which ICMP message ended it, and who sent that (ip(7), ipv6(7))."""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass
from socket import SocketType

from fleetprobe.net.interface import Icmp

# Python 3.11 does not name these; values from linux/in.h and linux/in6.h.
IP_RECVERR = 11
IPV6_RECVERR = 25
MSG_ERRQUEUE = 0x2000
_IP_TTL, _IP_RECVTTL = 2, 12
_IPV6_RECVHOPLIMIT, _IPV6_HOPLIMIT = 51, 52

_EXTENDED_ERR = struct.Struct("=IBBBBII")
_ORIGIN_ICMP, _ORIGIN_ICMP6 = 2, 3
_V4_OFFENDER = slice(_EXTENDED_ERR.size + 4, _EXTENDED_ERR.size + 8)
_V6_OFFENDER = slice(_EXTENDED_ERR.size + 8, _EXTENDED_ERR.size + 24)
_RECVERR = ((socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR))
_HOP_COUNT = ((socket.IPPROTO_IP, _IP_TTL), (socket.IPPROTO_IPV6, _IPV6_HOPLIMIT))
_MAX_ERRORS = 16
_INT_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedError:
    """One entry of the error queue: struct sock_extended_err with what came beside it."""

    errno_name: str
    """What the kernel made of it, EHOSTUNREACH for instance."""
    info: int
    """`ee_info`: the MTU for a message that was too big, else 0."""
    icmp: Icmp | None
    """None: no ICMP message, the kernel itself refused to send (origin local)."""
    packet_ttl: int | None
    """TTL or hop limit that the ICMP packet arrived with; None unless `ask_for_ttl` was called."""
    destination: str | None
    """Where the packet that met the error was going."""


def ask_for_errors(sock: SocketType) -> None:
    """Have the kernel keep ICMP evidence for this socket; to be called before connect."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)


def ask_for_ttl(sock: SocketType) -> None:
    """Have the TTL or hop limit of what comes in told, datagrams and ICMP errors alike."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVHOPLIMIT, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)


def arrival_ttl(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """The TTL or hop limit in the ancillary data of a received message; a native int, cmsg(3)."""
    for level, kind, data in ancillary:
        if (level, kind) in _HOP_COUNT and len(data) >= _INT_BYTES:
            return int(struct.unpack_from("=i", data)[0])
    return None


def drain(sock: SocketType, own_address: str | None) -> Icmp | None:
    """Empty the queue and give its last ICMP message, or None.

    The kernel clears SO_ERROR as the queue is read, so that must have been asked before.
    """
    last: Icmp | None = None
    for entry in drain_all(sock, own_address):
        last = entry.icmp or last
    return last


def drain_all(sock: SocketType, own_address: str | None) -> list[QueuedError]:
    """Empty the queue, at most 16 entries, oldest first. As with `drain`, ask SO_ERROR before."""
    entries: list[QueuedError] = []
    for _ in range(_MAX_ERRORS):
        try:
            _, ancillary, _, name = sock.recvmsg(512, 512, MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        except OSError:
            break
        destination = str(name[0]) if name else None
        for level, kind, data in ancillary:
            if (level, kind) in _RECVERR and len(data) >= _EXTENDED_ERR.size:
                entries.append(_parse(data, own_address, arrival_ttl(ancillary), destination))
    return entries


def _parse(data: bytes, own_address: str | None, ttl: int | None, destination: str | None) -> QueuedError:
    number, origin, icmp_type, icmp_code, _, info, _ = _EXTENDED_ERR.unpack_from(data)
    sender: str | None = None
    if origin == _ORIGIN_ICMP:
        sender = socket.inet_ntop(socket.AF_INET, data[_V4_OFFENDER].ljust(4, b"\0"))
    elif origin == _ORIGIN_ICMP6:
        sender = socket.inet_ntop(socket.AF_INET6, data[_V6_OFFENDER].ljust(16, b"\0"))
    return QueuedError(
        errno_name=errno.errorcode.get(number, "UNKNOWN"),
        info=info,
        icmp=None if sender is None else Icmp(icmp_type, icmp_code, sender, sender == own_address),
        packet_ttl=ttl,
        destination=destination,
    )
