"""The verbs that question a network which did not answer: cheap second opinions, values by their deadline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from fleetprobe.net.interface import Address, Dial, Event, Fault, Icmp

CUT_SHORT = "cut short"
"""`Fault.detail` of a SILENT dial closed early because others had told enough: no evidence of silence."""

_INITIAL_TTLS = (32, 64, 128, 255)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One interface of this machine: rtnetlink(7) RTM_GETLINK and RTM_GETADDR."""

    name: str
    index: int
    up: bool
    """The administrator wants it up (IFF_UP)."""
    carrier: bool | None
    """Whether the other end of the wire is there; None when the driver does not tell."""
    operstate: str
    """RFC 2863: UP, DOWN, LOWERLAYERDOWN, DORMANT, TESTING, NOTPRESENT, UNKNOWN (tunnels and loopback)."""
    mtu_bytes: int
    mac: str | None
    loopback: bool
    addresses: tuple[str, ...]
    """`address/prefix length`, IPv4 first, without those that duplicate address detection holds back."""


class NeighbourState(StrEnum):
    """What the kernel knows about a neighbour's hardware address: linux/neighbour.h, RFC 4861 §7.3.2."""

    NONE = "NONE"
    INCOMPLETE = "INCOMPLETE"
    """Asked (ARP or ND), no answer yet."""
    REACHABLE = "REACHABLE"
    STALE = "STALE"
    """Known, and not confirmed for a while: says nothing about now."""
    DELAY = "DELAY"
    PROBE = "PROBE"
    """Known, in use, and being asked again."""
    FAILED = "FAILED"
    """Asked three times, no answer."""
    NOARP = "NOARP"
    PERMANENT = "PERMANENT"
    """Written by the administrator; never checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """One entry of the kernel's neighbour table: rtnetlink(7) RTM_GETNEIGH."""

    address: str
    interface: str
    state: NeighbourState
    mac: str | None
    """None as long as nobody answered."""


class Poked(StrEnum):
    """What a datagram to a port that nobody should listen on brought back."""

    PORT_CLOSED = "port closed"
    """The address itself said port unreachable: the host is alive."""
    ANSWERED = "answered"
    """A datagram came back: alive too."""
    ICMP = "icmp"
    """Another message, or somebody else's: see `icmp`."""
    FROM_SELF = "from self"
    """Our own kernel spoke: the neighbour is unresolved, or our own firewall rejects."""
    DENIED = "denied"
    """EPERM: our own firewall dropped it; nothing left."""
    LOCAL = "local"
    """Our kernel refused for another reason: see `fault`."""
    SILENT = "silent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Poke:
    """One UDP question to one closed port; at most two datagrams."""

    address: Address
    port: int
    ttl: int | None
    """As sent; None: the kernel's usual one."""
    outcome: Poked
    started_s: float
    ended_s: float
    """Monotonic seconds, as the kernel reported the end."""
    rtt_ms: float | None = None
    """From the datagram that can have been answered last, so a lower bound when two were sent."""
    icmp: Icmp | None = None
    packet_ttl: int | None = None
    """TTL or hop limit of the packet that came back."""
    fault: Fault | None = None
    local_port: int | None = None
    packets: int = 0
    """Datagrams that our kernel took."""

    @property
    def host_alive(self) -> bool:
        """Whether the address itself has spoken."""
        return self.outcome in (Poked.PORT_CLOSED, Poked.ANSWERED)

    @property
    def hops(self) -> int | None:
        """How far away the sender of the answer is; see `likely_hops`."""
        return None if self.packet_ttl is None else likely_hops(self.packet_ttl)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """An ICMP echo from a datagram socket, icmp(7); silence alone never decides anything."""

    address: Address
    permitted: bool
    """False: this user may not ping (ping_group_range), and nothing was learnt."""
    started_s: float
    ended_s: float
    replied: bool = False
    rtt_ms: float | None = None
    reply_ttl: int | None = None
    icmp: Icmp | None = None
    """What came instead of a reply."""
    fault: Fault | None = None
    """Why our own kernel did not send; EPERM is our own firewall."""
    packets: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """What one probe with a limited TTL brought back."""

    ttl: int
    icmp: Icmp | None
    """Time exceeded from a router, or unreachable from whoever says so; None: silent, or SYN-ACK, or RST."""
    rtt_ms: float | None
    """None: nothing came over the wire. With `icmp`: our own kernel spoke."""

    @property
    def sender(self) -> str | None:
        """Who answered by ICMP."""
        return None if self.icmp is None else self.icmp.sender


class Reached(StrEnum):
    """How a walk met its end."""

    OPEN = "open"
    """SYN-ACK."""
    RST = "rst"
    """From the host or from a box that speaks in its name: `rst_origin` tells which."""
    PORT_UNREACHABLE = "port unreachable"
    """ICMP from the address itself: its own firewall rejects, or, over UDP, the port is closed."""
    REJECTED = "rejected"
    """ICMP unreachable of any other kind or sender: nothing beyond that hop is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """The path to one port, seen by SYNs whose TTL ends on the way (RFC 792, RFC 4443 time exceeded)."""

    address: Address
    port: int
    started_s: float
    ended_s: float
    hops: tuple[Hop, ...]
    """One for each TTL up to where the walk ended, in order, silent ones included."""
    reached_ttl: int | None = None
    """The smallest TTL at which the end answered. Loss or a silent router can only make it too large."""
    reached_by: Reached | None = None
    loop: tuple[str, ...] = ()
    """Routers that the packets met again and again, in the order of the first meeting; empty: no loop."""
    udp: tuple[Poke, ...] = ()
    """Asked, TTL 1 upwards, only when no SYN was answered at once. Answers here while every SYN is silent,
    even at TTL 1, mean a box at or before hop 1 that drops TCP: our own firewall, for instance."""
    own_fault: Fault | None = None
    """What our own kernel said against some SYN (no descriptor, no route, a local reject): silent hops then
    prove nothing."""
    dials: tuple[Dial, ...] = ()
    """One for each SYN socket, by TTL."""
    tcp_packets: int = 0
    udp_packets: int = 0

    @property
    def last_answering(self) -> Hop | None:
        """The farthest router that said time exceeded."""
        return next((hop for hop in reversed(self.hops) if is_time_exceeded(self.address, hop.icmp)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RstOrigin:
    """Whether a RST comes from nearer than the host whose address it bears."""

    address: Address
    port: int
    started_s: float
    ended_s: float
    rst_ttl: int | None = None
    """The smallest TTL at which the RST came."""
    host_ttl: int | None = None
    """The smallest TTL at which the host answered in a way that boxes rarely forge; None: it never did."""
    expires_at: str | None = None
    """The router that said time exceeded to another packet with the TTL `rst_ttl`: the host is beyond it."""
    before: Hop | None = None
    """What came at the TTL before `rst_ttl`: the box is that router or the next one."""
    own_fault: Fault | None = None
    """What our own kernel said against some SYN; nothing can be told then."""
    dials: tuple[Dial, ...] = ()
    pokes: tuple[Poke, ...] = ()
    tcp_packets: int = 0
    udp_packets: int = 0
    left: int | None = None
    """Packets that left our interface meanwhile, everybody's. Fewer than our SYNs: some never left."""

    @property
    def kept_back(self) -> bool:
        """Whether our own machine kept SYNs back; sound however busy the interface is."""
        return self.left is not None and self.left < self.tcp_packets

    @property
    def nearer(self) -> bool | None:
        """True: a box nearer than the host sent it. False: as far as the host. None: it cannot be told.

        Loss makes each TTL seem too large. So a larger `host_ttl` alone accuses nobody, and an equal one
        acquits only if the SYN before has met a router, which shows that the RST did not come from there.
        """
        if self.own_fault is not None or self.rst_ttl is None:
            return None
        if self.expires_at is not None:
            return True
        met_router = self.rst_ttl == 1 or (self.before is not None and self.before.icmp is not None)
        as_far = self.host_ttl is not None and self.host_ttl <= self.rst_ttl
        return False if met_router and as_far else None


def likely_hops(packet_ttl: int) -> int:
    """The smallest TTL that reaches whoever sent a packet which arrived with `packet_ttl`, 1 when on-link.

    A guess: the way back may be longer or shorter than the way there, and few senders start from another
    number than 32, 64 (Unix), 128 (Windows) or 255 (network gear).
    """
    return next(start for start in _INITIAL_TTLS if start >= min(packet_ttl, 255)) - packet_ttl + 1


def is_time_exceeded(address: Address, icmp: Icmp | None) -> bool:
    """Type 11 in ICMP (RFC 792), type 3 in ICMPv6 (RFC 4443)."""
    return icmp is not None and icmp.type == (3 if address.family == 6 else 11)


def is_unreachable(address: Address, icmp: Icmp) -> bool:
    """Type 3 in ICMP but for code 4, which asks for smaller packets; type 1 in ICMPv6."""
    return icmp.type == 1 if address.family == 6 else icmp.type == 3 and icmp.code != 4


def is_port_unreachable(address: Address, icmp: Icmp) -> bool:
    """Type 3 code 3 in ICMP, type 1 code 4 in ICMPv6."""
    return (icmp.type, icmp.code) == ((1, 4) if address.family == 6 else (3, 3))


def came_from(address: Address, icmp: Icmp) -> bool:
    """Whether the message was sent by the very address that was asked."""
    return icmp.sender == address.text.partition("%")[0]


def any_answer(dial: Dial) -> bool:
    """Something came over the wire for this attempt: SYN-ACK, RST, or ICMP from another than ourselves."""
    if dial.fault is None:
        return True
    if dial.fault.icmp is not None:
        return not dial.fault.icmp.from_self
    return dial.fault.event is Event.RESET or dial.fault.errno_name == "ECONNREFUSED"


def own_fault(dials: Iterable[Dial]) -> Fault | None:
    """The first fault by which our own kernel ended a dial, without or with an ICMP message of its own."""
    ended = (dial for dial in dials if dial.fault is not None and dial.fault.event is not Event.SILENT)
    return next((dial.fault for dial in ended if not any_answer(dial)), None)


def unreachable_word(dial: Dial) -> Icmp | None:
    """The ICMP unreachable by which another than ourselves ended an attempt."""
    icmp = dial.fault.icmp if dial.fault is not None else None
    return icmp if icmp is not None and any_answer(dial) and is_unreachable(dial.address, icmp) else None


def host_answer(dial: Dial) -> bool:
    """The address itself spoke, or somebody in its name: SYN-ACK, RST, or ICMP that bears its address."""
    icmp = dial.fault.icmp if dial.fault is not None else None
    return any_answer(dial) and (icmp is None or came_from(dial.address, icmp))


class Witnessing(Protocol):
    """Second opinions. No verb raises for what the network or our own limits do; all send few packets.

    Deadlines are kept to a sweep of the reactor, 20 ms. `address` is a literal; silence is a value.
    """

    def links(self) -> tuple[Link, ...]:
        """Every interface, asked anew, no packet. Empty only where netlink is forbidden."""

    def neighbour(self, address: str, interface: str) -> Neighbour | None:
        """The kernel's entry for a next hop, at most 50 ms old, no packet; None: it has none."""

    def packets_out(self, interface: str) -> int | None:
        """Packets sent by an interface since it exists (/proc/net/dev); None: no such interface.

        The difference of two readings tells whether anything left. Everybody's packets count, so it is of use
        only when a single target is examined.
        """

    async def knock(
        self,
        address: Address,
        ports: Sequence[int],
        until_s: float,
        *,
        ttl: int | None = None,
        enough: Callable[[Dial], bool] = any_answer,
    ) -> tuple[Dial, ...]:
        """Connect to several ports at once (at most 16), by one SYN and its repetitions; close each at once.

        Ends when a dial is `enough`; what still waits then is SILENT with CUT_SHORT. In the order of `ports`.
        """

    async def poke(self, address: Address, until_s: float, *, ttl: int | None = None) -> Poke:
        """A datagram to a port that is closed on nearly every host, and once more after half a second."""

    async def ping(self, address: Address, until_s: float) -> Ping:
        """An echo request, and once more after half a second."""

    async def walk(
        self,
        address: Address,
        port: int,
        until_s: float,
        most_hops: int = 16,
        *,
        likely_hops: int | None = None,
        sparing: bool = False,
    ) -> Walk:
        """SYNs to the very port with TTL 1 to 12 at once, then to `most_hops` (64 at most) if the path goes on.

        Give `likely_hops` where an answer's TTL has told it, and the first volley ends one beyond that: every
        SYN with a TTL of the host's distance or more could complete a handshake. Ends at once when the end
        and all TTLs below it have answered; silence costs 0.9 s in each of the two volleys, and up to 6
        datagrams when nothing at all was heard. A SYN is not repeated, so a lost one is a silent hop.
        `sparing` walks a few hops at a time instead, so that at most three SYNs go beyond the last answer.
        """

    async def rst_origin(
        self, address: Address, port: int, until_s: float, *, open_port: int | None = None
    ) -> RstOrigin:
        """Compare the smallest TTL of a RST from `port` with what other packets of that TTL meet.

        They are datagrams to closed ports, or SYNs to `open_port` where one is known and the datagrams told
        nothing. At most 16 SYNs to `port`, 5 datagrams, and then 3 SYNs to `open_port` or one more datagram.
        """
