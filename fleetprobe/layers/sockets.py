"""Sockets as the record tells of them: one line of the attempts list for each."""

from __future__ import annotations

from fleetprobe.model.attempt import Attempt
from fleetprobe.net.interface import Dial, Fault
from fleetprobe.net.path import DfSearch
from fleetprobe.net.witness import Ping, Poke


def attempt_of(dial: Dial, purpose: str) -> Attempt:
    """The line for one TCP attempt."""
    return Attempt(
        purpose=purpose,
        transport="tcp",
        address=dial.address.text,
        port=dial.port,
        local_port=dial.local_port,
        started_s=dial.started_s,
        ended_s=dial.ended_s,
        outcome=outcome(dial.fault),
    )


def attempt_of_poke(poke: Poke, purpose: str) -> Attempt:
    """The line for one UDP question."""
    return Attempt(
        purpose=purpose,
        transport="udp",
        address=poke.address.text,
        port=poke.port,
        local_port=poke.local_port,
        started_s=poke.started_s,
        ended_s=poke.ended_s,
        outcome=str(poke.outcome),
    )


def attempt_of_ping(ping: Ping, purpose: str) -> Attempt:
    """The line for one echo."""
    return Attempt(
        purpose=purpose,
        transport="icmp",
        address=ping.address.text,
        port=0,
        local_port=None,
        started_s=ping.started_s,
        ended_s=ping.ended_s,
        outcome="reply" if ping.replied else outcome(ping.fault) if ping.fault else "silent",
    )


def attempts_of_search(search: DfSearch, purpose: str) -> list[Attempt]:
    """A line for each datagram size of a search, and one for its echo."""
    echo = [attempt_of_ping(search.echo, purpose)] if search.echo is not None and search.echo.packets else []
    return echo + [
        Attempt(
            purpose=purpose,
            transport="udp",
            address=search.address.text,
            port=search.port,
            local_port=probe.local_port,
            started_s=search.started_s,
            ended_s=search.ended_s,
            outcome=str(probe.outcome),
        )
        for probe in search.probes
    ]


def outcome(fault: Fault | None) -> str:
    """How an attempt ended, in one word: connected, silent, or the errno's name."""
    if fault is None:
        return "connected"
    return fault.detail or fault.errno_name or str(fault.event)


OWN_ERRNO = {
    "EMFILE": "local.fd_limit",
    "ENFILE": "local.fd_limit",
    "EADDRNOTAVAIL": "local.ports_exhausted",
    "EADDRINUSE": "local.ports_exhausted",
    "EPERM": "local.send_denied",
    "ENOBUFS": "local.overload",
    "ENOMEM": "local.overload",
    "EAGAIN": "local.overload",
}
"""What our own kernel says when a socket cannot be had or used, whatever the far end is like."""


def own_errno(fault: Fault | None) -> str | None:
    """The errno of a fault that is our own machine's, else None."""
    if fault is None or fault.icmp is not None or fault.errno_name not in OWN_ERRNO:
        return None
    return fault.errno_name


def where(address: str, port: int) -> str:
    """`address:port`, with brackets around an IPv6 address."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
