"""The verbs of the network and what they answer: values, never exceptions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from fleetprobe.net.handshake import Handshake, Hello
    from fleetprobe.net.known_path import KnownPath
    from fleetprobe.net.path import DfSearch, Hole
    from fleetprobe.net.pool import Pool
    from fleetprobe.net.survey import Survey
    from fleetprobe.net.verified import Verified
    from fleetprobe.net.witness import Link, Neighbour, RstOrigin

T = TypeVar("T")


class Event(StrEnum):
    """How a wait on the network ended."""

    DONE = "done"
    """What was asked for happened."""
    SILENT = "silent"
    """Nothing more came until the deadline."""
    CLOSED = "closed"
    """The peer ended its side in order (FIN)."""
    RESET = "reset"
    """The peer, or somebody in its name, sent RST."""
    ERROR = "error"
    """The kernel refused or aborted; errno and ICMP evidence say why."""


@dataclass(frozen=True, slots=True)
class Address:
    """A literal address as dialled."""

    text: str
    """Canonical form; a link-local IPv6 address keeps its zone."""
    family: int
    """4 or 6."""


@dataclass(frozen=True, slots=True)
class Icmp:
    """An ICMP message that the kernel tied to our socket: ip(7) IP_RECVERR, struct sock_extended_err."""

    type: int
    code: int
    sender: str
    """Who sent it. Our own address: the kernel itself speaks (neighbour unresolved, local reject)."""
    from_self: bool


@dataclass(frozen=True, slots=True)
class Fault:
    """How the network, or our kernel, said no."""

    event: Event
    errno_name: str | None = None
    icmp: Icmp | None = None
    detail: str = ""
    alert: int | None = None
    """The TLS alert with which the peer ended it (RFC 8446 §6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The kernel's answer to "how would a packet get there": rtnetlink(7) RTM_GETROUTE."""

    address: str
    errno_name: str | None = None
    """Why there is no way: ENETUNREACH, EINVAL (blackhole), EACCES (prohibit), EHOSTUNREACH (unreachable)."""
    gateway: str | None = None
    """Next hop; None when the address is on-link or local."""
    source: str | None = None
    interface: str | None = None
    mtu_bytes: int | None = None
    """A path MTU cached for this destination, when the kernel holds one."""
    local: bool = False
    """The address is one of our own."""
    family_usable: bool = True
    """Whether this machine has any global route of that family at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpInfo:
    """The parts of struct tcp_info (linux/tcp.h) that layers read. Times in milliseconds, counts as named."""

    rtt_ms: float
    rtt_var_ms: float
    total_retransmits: int
    unacked_segments: int
    sacked_segments: int
    send_mss_bytes: int
    receive_mss_bytes: int
    advertised_mss_bytes: int
    path_mtu_bytes: int
    bytes_acked: int
    bytes_received: int
    data_segments_in: int
    out_of_order_segments: int | None
    """None on kernels before 5.4."""
    last_ack_received_ms: float = 0.0
    """Age of the last acknowledgement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """How a connection cuts its bytes into packets, where the kernel's own way is not wanted."""

    mss_bytes: int | None = None
    """tcp(7) TCP_MAXSEG, 88 to 32767, TCP options included: no packet of the connection is larger than so many bytes
    and 40 more over IPv4 or 60 more over IPv6, in either direction."""
    piece_bytes: int | None = None
    """No segment of ours carries more than so many bytes of data; the other side's are as usual."""
    tail_bytes: int = 0
    """The last bytes of all that is sent at once go in a small segment of their own: it is acknowledged where a large
    one before it vanishes."""
    may_fragment: bool = False
    """Over IPv4 routers may fragment what we send (ip(7) IP_PMTUDISC_DONT); over IPv6 no router does."""


USUAL_SEGMENTS = Segments()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """One attempt to connect."""

    address: Address
    port: int
    started_s: float
    """Monotonic seconds."""
    ended_s: float
    """When the kernel reported the end, not when we got round to reading it."""
    fault: Fault | None = None
    """None: connected."""
    local_address: str | None = None
    local_port: int | None = None
    syn_retransmits: int | None = None
    rtt_ms: float | None = None
    mss_bytes: int | None = None
    """The most data that we may send in one segment; what time stamps take is taken off."""
    timestamps: bool = True
    """Whether both sides agreed on time stamps (RFC 7323), as nearly all do."""
    lag_ms: float = 0.0
    """How late our own loop was during the attempt."""
    reset_at_once: bool = False
    """The connection stood, and was reset before we could use it."""
    twin: Dial | None = None
    """The other attempt, from another source port, when one alone had stayed silent for a while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What came while waiting for bytes."""

    data: bytes
    event: Event
    """DONE: some data; SILENT, CLOSED, RESET, ERROR otherwise."""
    fault: Fault | None = None
    at_s: float
    """Monotonic seconds of the deciding event, as the kernel reported it."""
    hole: Hole | None = None
    """With SILENT: segments are missing while later ones have come, as the kernel saw it at the end."""


class Stream(Protocol):
    """An open connection. Plain TCP, or TLS on top of it after `Net.handshake`."""

    async def send(self, data: bytes, until_s: float) -> Received:
        """Send all of `data`; `event` is DONE, or how it failed. `data` in the answer is empty."""

    async def receive(self, limit_bytes: int, until_s: float, hole_s: float | None = None) -> Received:
        """Wait for the next bytes, at most `limit_bytes`.

        With `hole_s` the kernel's account is looked at meanwhile, first after 0.25 s, and the wait ends early,
        as SILENT, when the signs of a hole have stood unchanged for so many seconds; or it goes on, if there
        is somebody to tell (`tell_hole`). Without it they are looked for once, at the deadline.
        """

    def tell_hole(self, tell: Callable[[Hole], None]) -> None:
        """Whom to tell of a hole that lasts: once in every wait, which then goes on to its deadline."""

    def info(self) -> TcpInfo | None:
        """The kernel's view of the connection now; None if it is gone."""

    @property
    def peer_alpn(self) -> str | None:
        """The protocol agreed by ALPN, on a TLS stream."""

    def abort(self) -> None:
        """End it at once, without farewell. Idempotent."""

    def release(self) -> None:
        """Give it back after a good end; the net may keep it open a little as a witness. Idempotent."""


class RecordType(StrEnum):
    """The DNS question types that are asked."""

    A = "A"
    AAAA = "AAAA"


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsReply:
    """What one nameserver said, on the wire, to one question (RFC 1035, RFC 8914 for ede)."""

    server: str
    """address:port or [address]:port."""
    record_type: RecordType
    duration_ms: float
    rcode: str | None = None
    """NOERROR, NXDOMAIN, SERVFAIL, REFUSED, …; None when nothing usable came."""
    addresses: tuple[str, ...] = ()
    cnames: tuple[str, ...] = ()
    """The alias chain in order, each entry the name pointed to."""
    end_said: str | None = None
    """Where the answer left the end of the chain open: the rcode, or the event, when asked for that by itself."""
    min_ttl_s: int | None = None
    over_tcp: bool = False
    truncated: bool = False
    extended_error: int | None = None
    fault: Fault | None = None
    """Why nothing usable came: SILENT, or ERROR with ECONNREFUSED and the like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """Everything learnt about one name."""

    name: str
    addresses: tuple[Address, ...]
    """In the order in which they should be tried, each once, at most 64."""
    source: str
    """hosts, dns, or none."""
    started_s: float
    duration_ms: float
    cnames: tuple[str, ...] = ()
    min_ttl_s: int | None = None
    hosts_line: str | None = None
    """`/etc/hosts:12` when the hosts file answered."""
    bulk_error: str | None = None
    """What the bulk resolver said when it was not a clean answer; never evidence by itself."""
    replies: tuple[DnsReply, ...] = ()
    """The second opinion, per nameserver and type, when the bulk answer was not clean."""
    controls: tuple[DnsReply, ...] = ()
    """Whether each silent nameserver answers a question about the root: is it dead, or only dumb for this name."""
    unanswered: tuple[RecordType, ...] = ()
    """The types that no nameserver answered at all, although the other one was answered with addresses."""
    servers: tuple[str, ...] = ()
    truncated: bool = False
    lag_ms: float = 0.0
    """How late our own loop was meanwhile."""


class Net(Protocol):
    """The one door to the network. Every verb answers with a value by its deadline, whatever happens."""

    def now(self) -> float:
        """Monotonic seconds; the clock of every `_s` field."""

    def route(self, address: Address) -> Route:
        """Ask the kernel for the way. Sends no packet."""

    async def resolve(self, name: str, until_s: float) -> Resolution:
        """All addresses of a name: hosts file, then DNS; asked once per run and shared."""

    async def dial(
        self, address: Address, port: int, until_s: float, *, again_s: float | None = None,
        segments: Segments = USUAL_SEGMENTS,
    ) -> tuple[Dial, Stream | None]:
        """Connect to one literal address.

        With `again_s`, an attempt silent for so many seconds gets a twin from a fresh source port beside it;
        the first that is answered is told, the other is its `twin`. `segments` holds for both.
        """

    async def df_search(
        self, address: Address, sizes: Sequence[int], until_s: float, *, ttls: Sequence[int | None] = (None,)
    ) -> DfSearch:
        """Send UDP that must not be fragmented to a port likely closed: every size at every TTL, all at once.

        `sizes` are whole IP packets in bytes; those above the device's MTU are refused by our own kernel and
        send nothing. A `ttl` of None goes all the way; others end at that hop and tell where large packets
        still arrive. What is silent when half the time is over is asked once more, unless a larger one has
        arrived. Where it is permitted, an echo of the largest size goes all the way beside them. Measures the way
        there only. It may make our kernel note a path MTU that every later connection to the address begins with.
        Raises ValueError for more than 64 pairs or an impossible size.
        """

    async def flows(self, address: Address, port: int, local_ports: Sequence[int], until_s: float) -> tuple[Dial, ...]:
        """Connect from given source ports at once and close: whether the outcome follows the port."""

    async def survey(self, address: Address, port: int, until_s: float) -> Survey:
        """Ask everything that can tell what the silence of a port means, all at once."""

    async def rst_origin(self, address: Address, port: int, until_s: float) -> RstOrigin | None:
        """Whether a RST comes from nearer than the host; None where no box can stand between."""

    def known_path(self, address: Address) -> KnownPath | None:
        """What this run knows of the way to the /24 or /48 of the address; None for our own addresses."""

    async def turn(self, path: KnownPath, until_s: float) -> bool:
        """Wait until nobody proves a hole on the path, or one is proven, or the time is over.

        True: the caller holds the path now, and must give it back. False: a hole is known, or it took too long.
        """

    async def together(self, *questions: Awaitable[T]) -> list[T]:
        """Put several questions at once; their answers in the order given. A failure of one ends the others."""

    def lag_ms(self) -> float:
        """How late our own loop has been in all; the difference of two readings counts."""

    def heard(self, family: int) -> bool:
        """Whether anything but ourselves has answered over IPv4 or IPv6 in this run."""

    def links(self) -> tuple[Link, ...]:
        """Our interfaces, as they were when the run first asked."""

    def neighbour(self, address: str, interface: str) -> Neighbour | None:
        """What the kernel knows of a next hop; at most 50 ms old."""

    async def handshake(
        self, stream: Stream, hello: Hello, until_s: float, hole_s: float | None = None
    ) -> tuple[Handshake, Stream | None]:
        """TLS over an open connection. The stream given is used up; go on with the one returned.

        Each wait within it ends early at a hole, as in `Stream.receive`.
        """

    @property
    def pool(self) -> Pool:
        """CA certificates that hosts have presented, in this run and earlier ones."""

    async def verify(self, chain: Sequence[bytes], ca_file: str | None) -> Verified:
        """Let OpenSSL verify a chain put together by hand: DER, leaf first, against the trust of a target.

        Sends nothing. Names and purposes are not looked at.
        """

    def trust(self, ca_file: str | None) -> Mapping[str, object]:
        """What stands behind verification: source, count and SHA-256 of the anchors."""
