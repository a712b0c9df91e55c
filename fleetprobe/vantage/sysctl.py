"""Limits and settings of this machine, read from proc(5) and by asking the kernel; nothing is sent."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Iterable
from pathlib import Path

from fleetprobe.vantage.facts import Conntrack, Descriptors, PingRights, Ports, TcpSettings

PROC = Path("/proc")

_CAP_NET_RAW = 13
_MOST_BYTES = 1 << 16
_PORT_LIMIT = 65_536


def descriptors() -> Descriptors:
    """How many files this process may hold open, and how far it may raise that."""
    soft, hard = (None if one == resource.RLIM_INFINITY else one for one in resource.getrlimit(resource.RLIMIT_NOFILE))
    return Descriptors(soft=soft, hard=hard)


def ports(proc: Path = PROC) -> Ports | None:
    """The range of source ports; None where it is not to be seen."""
    ends = _numbers(proc / "sys/net/ipv4/ip_local_port_range")
    if len(ends) != 2:
        return None
    low, high = ends
    reserved = _spans(_text(proc / "sys/net/ipv4/ip_local_reserved_ports") or "")
    taken = {port for first, last in reserved for port in range(max(first, low), min(last, high) + 1)}
    return Ports(low=low, high=high, reserved=len(taken))


def ping_rights(proc: Path = PROC) -> PingRights:
    """What ping_group_range says, and what opening such a socket says; no packet is sent."""
    ends = _numbers(proc / "sys/net/ipv4/ping_group_range")
    low, high = ends if len(ends) == 2 else (None, None)
    inside = None
    if low is not None and high is not None:
        inside = any(low <= group <= high for group in {os.getegid(), *os.getgroups()})
    return PingRights(
        lowest_group=low,
        highest_group=high,
        in_range=inside,
        raw_sockets=bool(_capabilities(proc) >> _CAP_NET_RAW & 1),
        errno_name=_refusal(),
    )


def conntrack(proc: Path = PROC) -> Conntrack | None:
    """How full our own connection table is; None where there is none to see."""
    counts = [_numbers(proc / f"sys/net/netfilter/nf_conntrack_{name}") for name in ("count", "max")]
    match counts:
        case [[entries], [most]]:
            return Conntrack(entries=entries, most=most)
        case _:
            return None


def tcp_settings(proc: Path = PROC) -> TcpSettings:
    """Settings by which this kernel's own TCP changes what a probe sees."""

    def one(name: str) -> int | None:
        found = _numbers(proc / "sys/net/ipv4" / name)
        return found[0] if len(found) == 1 else None

    return TcpSettings(
        tcp_syn_linear_timeouts=one("tcp_syn_linear_timeouts"),
        tcp_syn_retries=one("tcp_syn_retries"),
        tcp_mtu_probing=one("tcp_mtu_probing"),
        tcp_sack=one("tcp_sack"),
        ip_no_pmtu_disc=one("ip_no_pmtu_disc"),
    )


def _refusal() -> str | None:
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    try:
        socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP).close()
    except OSError as no:
        return errno.errorcode.get(no.errno or 0, "UNKNOWN")
    return None


def _capabilities(proc: Path) -> int:
    """The capabilities in force, capabilities(7) CapEff; 0 where they are not to be seen."""
    for line in (_text(proc / "self/status") or "").splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            try:
                return int(value, 16)
            except ValueError:
                return 0
    return 0


def _spans(text: str) -> Iterable[tuple[int, int]]:
    """`8080,9000-9010` as pairs of ends; what is no port is left out."""
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        if first.isdigit() and (last.isdigit() or not dash):
            yield int(first), min(int(last or first), _PORT_LIMIT - 1)


def _numbers(path: Path) -> list[int]:
    words = (_text(path) or "").split()
    return [int(word) for word in words] if all(word.isascii() and word.isdigit() for word in words) else []


def _text(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode("ascii", "replace")
    except OSError:
        return None
