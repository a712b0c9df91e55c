"""What is learnt about packet sizes on a path: DF probes, and the kernel's account of segments that vanish.

Sizes are whole IP packets, header included, as in an MTU (RFC 1191, RFC 8201); an MSS is 40 bytes less over
IPv4 and 60 over IPv6. The searching itself is packetization layer path MTU discovery (RFC 8899) with all
sizes asked at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fleetprobe.net.interface import Address, Icmp
from fleetprobe.net.witness import Ping, came_from, is_port_unreachable, is_time_exceeded

_LEAST_MTU = {4: 68, 6: 1280}
MOST_PROBES = 64
"""Pairs of size and TTL in one search; each is a socket and at most two datagrams."""


class Passed(StrEnum):
    """What became of one datagram of one size that no router may fragment."""

    PASSED = "passed"
    """The host answered this very size: port unreachable from its own address, or a datagram."""
    TOO_BIG = "too big"
    """ICMP fragmentation needed, or ICMPv6 packet too big, from the path: see `icmp` and `mtu_bytes`."""
    LOCAL = "local"
    """EMSGSIZE from our own kernel, for the MTU of the device, or a tunnel of our own: no fact about the wire."""
    SILENT = "silent"
    OTHER = "other"
    """Another ICMP message, time exceeded for instance: see `icmp`. Without one our kernel refused to send
    for a reason that is not size: see `errno_name`."""


@dataclass(frozen=True, slots=True)
class DfProbe:
    """One size at one TTL: UDP to a port that is likely closed, not to be fragmented; at most two datagrams."""

    size_bytes: int
    """The whole IP packet."""
    ttl: int | None
    """As sent; None: the kernel's usual one."""
    outcome: Passed
    icmp: Icmp | None = None
    mtu_bytes: int | None = None
    """Of TOO_BIG the next hop's MTU that was reported, None where a router reports none; of LOCAL our own limit."""
    rtt_ms: float | None = None
    """From the datagram that can have been answered last, so a lower bound when two were sent."""
    local_port: int | None = None
    errno_name: str | None = None
    """What our own kernel said against it."""
    packets: int = 0
    """Datagrams that our kernel took."""

    @property
    def expired(self) -> bool:
        """Whether a router on the way said that the TTL had run out (types 11 and 3, RFC 792 and RFC 4443)."""
        if self.icmp is None or self.icmp.from_self:
            return False
        return is_time_exceeded(Address(self.icmp.sender, 6 if ":" in self.icmp.sender else 4), self.icmp)

    @property
    def arrived(self) -> bool:
        """Whether it came as far as its TTL allowed: to the host, or to the router where that ran out."""
        return self.outcome is Passed.PASSED or self.expired


@dataclass(frozen=True, slots=True)
class DfSearch:
    """Several sizes asked at once, in ascending order of TTL and size; probes of full TTL come last.

    A host may limit its ICMP (Linux: six at once, then one a second), and the largest size is sent first. So
    SILENT below a size that passed says nothing, and is not asked again.
    """

    address: Address
    port: int
    """The same for every probe; each has its own source port."""
    started_s: float
    ended_s: float
    """Monotonic seconds."""
    probes: tuple[DfProbe, ...]
    device_mtu_bytes: int | None = None
    """None where the device is not known."""
    cached_mtu_bytes: int | None = None
    """A path MTU below the device's that our kernel already assumed before anything was sent: learnt from ICMP
    within the last minutes, or written into the route. The probes went past it."""

    echo: Ping | None = None
    """Where ping sockets are permitted, one echo of the largest size; None too where nobody waited for it."""
    echo_bytes: int | None = None
    """The IP packet of its request; over IPv4 the reply may come back in fragments."""

    @property
    def echoed_bytes(self) -> int | None:
        """The size of the echo that was answered."""
        return self.echo_bytes if self.echo is not None and self.echo.replied else None

    @property
    def largest_passed(self) -> int | None:
        """The largest size that the host answered."""
        return max((probe.size_bytes for probe in self._whole(Passed.PASSED)), default=None)

    @property
    def smallest_failed(self) -> int | None:
        """The smallest size above `largest_passed` that was too big or met silence; None also without a passed one."""
        passed = self.largest_passed
        if passed is None:
            return None
        failed = (probe.size_bytes for probe in self._whole(Passed.TOO_BIG, Passed.SILENT))
        return min((size for size in failed if size > passed), default=None)

    @property
    def reported_mtu(self) -> int | None:
        """The smallest MTU that a router on the way reported, of those that can be true.

        Nobody says too big of a packet that fits, or names less than every link must carry: 68 bytes (RFC 791), or
        1280 (RFC 8200). Whoever does is not a router that knows, and may be nobody on the way at all.
        """
        least = _LEAST_MTU[self.address.family]
        told = ((probe.mtu_bytes, probe.size_bytes) for probe in self.probes if probe.outcome is Passed.TOO_BIG)
        return min((mtu for mtu, size in told if mtu is not None and least <= mtu < size), default=None)

    def farthest_ttl(self, size_bytes: int) -> int | None:
        """The largest limited TTL at which a packet of this size came as far as it was allowed to."""
        limited = (probe for probe in self.probes if probe.ttl is not None and probe.size_bytes == size_bytes)
        return max((probe.ttl for probe in limited if probe.arrived and probe.ttl is not None), default=None)

    def _whole(self, *outcomes: Passed) -> tuple[DfProbe, ...]:
        return tuple(probe for probe in self.probes if probe.ttl is None and probe.outcome in outcomes)


class Direction(StrEnum):
    """Which way the segments were going that vanished."""

    FORWARD = "forward"
    """From us to the server."""
    REVERSE = "reverse"
    """From the server to us."""


@dataclass(frozen=True, slots=True)
class Hole:
    """The kernel's own account (struct tcp_info, linux/tcp.h) that segments are missing while later ones came.

    Forward: the peer has acknowledged later bytes selectively (RFC 2018), and `bytes_acked` stands still.
    Reverse: all that we sent is acknowledged, later bytes wait in our own kernel, and `bytes_received` stands
    still. A single lost packet looks like this too until it is repeated; the larger `since_ms` and
    `retransmits`, the less likely that is.
    """

    direction: Direction
    since_ms: float
    """For how long nothing of it had changed."""
    sacked_segments: int
    unacked_segments: int
    """Sent and not acknowledged in order, those acknowledged selectively included."""
    bytes_acked: int
    """In order; the SYN counts as one."""
    bytes_received: int
    """In order."""
    data_segments_in: int
    out_of_order_segments: int | None
    """Since the connection began; None on kernels before 5.4."""
    retransmits: int
    """Ours, in all."""
    receive_mss_bytes: int = 0
    """The largest segment that came in order, without options, or an estimate of the kernel's before any came."""


def meaning(address: Address, icmp: Icmp) -> Passed:
    """What an ICMP message says about the datagram to `address` that it answers."""
    if is_too_big(address, icmp):
        return Passed.LOCAL if icmp.from_self else Passed.TOO_BIG
    host_spoke = is_port_unreachable(address, icmp) and came_from(address, icmp)
    return Passed.PASSED if host_spoke else Passed.OTHER


def is_too_big(address: Address, icmp: Icmp) -> bool:
    """Type 3 code 4 in ICMP (RFC 792, RFC 1191), type 2 in ICMPv6 (RFC 4443)."""
    return icmp.type == 2 if address.family == 6 else (icmp.type, icmp.code) == (3, 4)
