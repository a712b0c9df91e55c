"""What an ICMP message means to the SYN that it quotes: RFC 792, RFC 1812 §5.2.7.1, RFC 4443 §3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleetprobe.layer import found
from fleetprobe.layers.sockets import where
from fleetprobe.model.verdict import Finding
from fleetprobe.net.interface import Icmp

# Linux maps several of them to one errno, hence the raw numbers.
_ICMP4 = {
    (3, 0): "ip.net_unreachable",
    (3, 2): "tcp.rejected",
    (3, 3): "tcp.rejected",
    (3, 6): "ip.net_unreachable",
    (3, 9): "ip.admin_prohibited",
    (3, 10): "ip.admin_prohibited",
    (3, 11): "ip.net_unreachable",
    (3, 13): "ip.admin_prohibited",
    (11, 0): "ip.routing_loop",
}
_ICMP6 = {
    (1, 0): "ip.net_unreachable",
    (1, 1): "ip.admin_prohibited",
    (1, 4): "tcp.rejected",
    (1, 5): "ip.admin_prohibited",
    (1, 6): "ip.admin_prohibited",
    (3, 0): "ip.routing_loop",
}
_MEANINGS = {
    "ip.net_unreachable": "network unreachable",
    "ip.host_unreachable": "host unreachable",
    "ip.admin_prohibited": "administratively prohibited",
    "ip.routing_loop": "time to live exceeded",
    "tcp.rejected": "port or protocol unreachable",
}


def code_of(icmp: Icmp) -> str:
    """The code for a message that another than ourselves sent."""
    table = _ICMP6 if ":" in icmp.sender else _ICMP4
    return table.get((icmp.type, icmp.code), "ip.host_unreachable")


def meaning_of(icmp: Icmp) -> str:
    """The same in words."""
    return _MEANINGS[code_of(icmp)]


def factor_of(icmp: Icmp, address: str) -> str:
    """The box that spoke, as the factor that targets share: `router 192.0.2.1`, or the host itself."""
    return f"{'host' if icmp.sender == address else 'router'} {icmp.sender}"


def answered(
    icmp: Icmp, address: str, port: int, facts: Mapping[str, Any], supersedes: frozenset[str] = frozenset()
) -> Finding:
    """The finding about a SYN to this address and port that was answered with the message."""
    by = "the host itself" if icmp.sender == address else icmp.sender
    told = f"ICMP {icmp.type}/{icmp.code}: {meaning_of(icmp)}"
    summary = f"{by} answered the SYN to {where(address, port)} with {told}"
    return found(code_of(icmp), summary, facts, supersedes=supersedes, factor=factor_of(icmp, address))
