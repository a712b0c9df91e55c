"""What can be seen of this machine without privileges: plain values, no opinion."""

from __future__ import annotations

from dataclasses import dataclass

from fleetprobe.net.interface import DnsReply
from fleetprobe.net.witness import Link, NeighbourState, Poked


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One next hop of a default route."""

    gateway: str | None
    """None on a point-to-point link, where the device alone says where packets go."""
    interface: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultRoute:
    """A unicast route to everywhere: rtnetlink(7) RTM_GETROUTE with a destination of length 0."""

    hops: tuple[Hop, ...]
    """More than one where the route is spread over several."""
    metric: int
    table: int
    """254 is the main table; others need a policy rule that leads there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """What the routing tables hold for one family."""

    family: int
    """4 or 6."""
    defaults: tuple[DefaultRoute, ...]
    """The main table first, then by metric: the kernel takes the smallest."""
    networks: int
    """Unicast routes to anything else, without link-local, multicast and loopback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The next hop of the best default route of a family, after it was asked, or as it stood."""

    family: int
    address: str
    interface: str
    state: NeighbourState | None
    """What the kernel knows of its hardware address; None: no entry."""
    poked: Poked | None
    """What a datagram to a closed port of it brought back; None: not asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """One nameserver of resolv.conf(5)."""

    server: str
    """`address:port`, with brackets around an IPv6 address."""
    reply: DnsReply | None
    """Its answer to `. NS`; None: not asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptors:
    """getrlimit(2) RLIMIT_NOFILE; None is no limit."""

    soft: int | None
    hard: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """ip(7) ip_local_port_range: where the kernel takes source ports from."""

    low: int
    high: int
    reserved: int
    """Ports of the range that ip_local_reserved_ports takes out."""

    @property
    def usable(self) -> int:
        """How many source ports there are for connections to one far end."""
        return max(0, self.high - self.low + 1 - self.reserved)


@dataclass(frozen=True, slots=True, kw_only=True)
class PingRights:
    """Whether this user may send echo requests from a datagram socket, icmp(7)."""

    lowest_group: int | None
    highest_group: int | None
    """ping_group_range; the kernel's default 1 to 0 lets nobody in."""
    in_range: bool | None
    """Whether one of our groups is inside."""
    raw_sockets: bool
    """CAP_NET_RAW is in force."""
    errno_name: str | None
    """How opening such a socket ended; None: it opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conntrack:
    """The connection table of this machine's packet filter, nf_conntrack."""

    entries: int
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpCensus:
    """Every TCP socket of this network namespace by state: proc(5) /proc/net/tcp and tcp6."""

    states: dict[str, int]
    """Names as ss(8) writes them."""
    busiest_far_end: str | None
    """The far end for which most of our ephemeral ports are in TIME-WAIT."""
    busiest_time_wait: int
    """How many those are."""
    close_wait_owners: dict[str, int]
    """Sockets in CLOSE-WAIT by the process that holds them: `name (pid)`, or `uid N` where not ours to see."""
    complete: bool
    """False: the table was too long to be read to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The wall clock against the monotonic one, and what the kernel knows of its discipline."""

    year: int
    """Of the wall clock, UTC."""
    synchronised: bool | None
    """adjtimex(2) without STA_UNSYNC; None: the kernel does not tell."""
    most_wrong_ms: float | None
    """The kernel's own bound of the error, which grows while nobody sets it right."""
    stepped_ms: float
    """How far the wall clock was moved against the monotonic one while we looked."""
    monotonic_resolution_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """One trusted certificate authority."""

    name: str
    days_left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The certificate authorities that TLS targets are held against."""

    source: str
    """File, directories, or `none`."""
    by: str = "distribution"
    """Who chose it: `SSL_CERT_FILE`, `SSL_CERT_DIR` or `distribution`."""
    count: int
    sha256: str
    """Over the sorted fingerprints."""
    skipped: int
    """Entries of the file that OpenSSL does not take."""
    soonest: tuple[Anchor, ...]
    """Those that end soonest of the ones that still live."""
    expired: int
    unusable: str | None = None
    """Why the file named by SSL_CERT_FILE cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpSettings:
    """Settings of tcp(7) and ip(7) that change what a probe sees; None: this kernel has no such setting."""

    tcp_syn_linear_timeouts: int | None
    tcp_syn_retries: int | None
    tcp_mtu_probing: int | None
    tcp_sack: int | None
    ip_no_pmtu_disc: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """What runs here."""

    fleetprobe: str
    python: str
    openssl_of_python: str
    openssl_of_cryptography: str
    """The one that makes our handshakes."""
    kernel: str
    root: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Vantage:
    """Everything together."""

    links: tuple[Link, ...]
    ways: tuple[Ways, ...]
    """IPv4 and IPv6; empty where netlink is forbidden."""
    gateways: tuple[Gateway, ...]
    resolvers: tuple[Resolver, ...]
    descriptors: Descriptors
    ports: Ports | None
    ping: PingRights
    conntrack: Conntrack | None
    """None: there is no such table, or it is not ours to see."""
    census: TcpCensus
    clock: Clock
    trust: Trust
    tcp: TcpSettings
    software: Software
