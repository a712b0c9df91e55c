"""The language in which a fake peer is written: a plan for one connection, and its steps one by one.

    Hear(b"GET"), Say(b"HTTP/1.1 200 OK\\r\\n\\r\\n", after_ms=20), Close()
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fleetprobe.net.handshake import Handshake, Hello
from fleetprobe.net.interface import DnsReply, Event, Fault, RecordType, Resolution
from fleetprobe.net.path import Hole

REFUSED = Fault(Event.ERROR, "ECONNREFUSED")
"""A RST in answer to our SYN."""
SILENT = Fault(Event.SILENT)
"""No answer until the deadline."""


@dataclass(frozen=True, slots=True)
class Hear:
    """Wait until we have sent something that contains these bytes; the rest of the script is its answer."""

    contains: bytes = b""


@dataclass(frozen=True, slots=True)
class Say:
    """Send bytes, so long after the step before. `late_ms` is how late our own loop reads them."""

    data: bytes
    after_ms: float = 1.0
    late_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Close:
    """End in order: FIN, or close_notify on a TLS stream."""

    after_ms: float = 1.0


@dataclass(frozen=True, slots=True)
class Reset:
    """Send RST."""

    after_ms: float = 1.0


@dataclass(frozen=True, slots=True)
class Fail:
    """End with a fault of any kind: a TLS alert, an ICMP error."""

    fault: Fault
    after_ms: float = 1.0


@dataclass(frozen=True, slots=True)
class Mute:
    """Say nothing more for ever, which is also what a script does at its end. `late_ms` as in `Say`."""

    late_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Deaf:
    """The peer's kernel is gone: from here on nothing of ours is acknowledged, and nothing comes."""


Step = Hear | Say | Close | Reset | Fail | Mute | Deaf
TlsScript = Handshake | Callable[[Hello], Handshake]


@dataclass(frozen=True, slots=True)
class LargeLost:
    """A black hole on the way: large segments vanish, and whoever waits for what they carried meets `hole`.

    Forward, it is there once we have sent `from_bytes` in all; reverse, for an answer (one `Say`, or the
    server's `bytes_received` of a handshake) of at least `from_bytes`.
    """

    hole: Hole
    passes_mss_bytes: int | None = None
    """A connection dialled with no more than this MSS is not concerned; None: every one is."""
    from_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one connection to one address and port meets. `tls` counts its times from zero."""

    script: tuple[Step, ...] = ()
    fault: Fault | None = None
    connect_ms: float = 1.0
    rtt_ms: float = 1.0
    lag_ms: float = 0.0
    syn_retransmits: int = 0
    tls: TlsScript | None = None
    large_lost: LargeLost | None = None


def no_such_name(name: str) -> Resolution:
    """NXDOMAIN from one nameserver, to both questions."""
    replies = tuple(
        DnsReply(server="192.0.2.53:53", record_type=kind, duration_ms=1.0, rcode="NXDOMAIN")
        for kind in RecordType
    )
    return Resolution(
        name=name, addresses=(), source="none", started_s=0.0, duration_ms=1.0, bulk_error="NXDOMAIN",
        replies=replies, servers=("192.0.2.53:53",),
    )
