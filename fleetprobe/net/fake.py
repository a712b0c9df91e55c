"""A scripted network: a table of names, hosts and routes under a fake clock, and public.

    net = FakeNet().name("shop.test", "203.0.113.9").host("203.0.113.9", 22, Say(b"SSH-2.0-x\\r\\n"))

No real time passes: a verb moves the clock to the moment of its answer. Waits of climbs that run side by side
overlap as they would on a real network, the earliest first. Works under any event loop of the asyncio family,
or under `drive` without one. The steps that a host can be told to take are in `fleetprobe.net.script`.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Coroutine, Generator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, TypeVar

from fleetprobe.net.interface import (
    Address,
    Dial,
    DnsReply,
    Event,
    Fault,
    Handshake,
    Hello,
    Received,
    RecordType,
    Resolution,
    Route,
    Stream,
    TcpInfo,
)
from fleetprobe.net.script import (
    REFUSED,
    SILENT,
    Close,
    Deaf,
    Fail,
    Hear,
    Mute,
    Plan,
    Reset,
    Say,
    Step,
    TlsScript,
)

T = TypeVar("T")

class _Turn:
    """One bare yield: lets the other tasks of the loop run, whatever loop that is."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Clock:
    """Fake monotonic seconds. Whoever waits for the earliest moment goes first."""

    _GRACE_TURNS = 4
    """Turns that others get to start a wait of their own before the clock jumps."""

    def __init__(self, start_s: float = 1000.0) -> None:
        self.now_s = start_s
        self._waits: list[tuple[float, int]] = []
        self._tickets = count()

    async def reach(self, moment_s: float) -> None:
        """Wait, in fake time, until `moment_s`."""
        wait = (moment_s, next(self._tickets))
        insort(self._waits, wait)
        grace = self._GRACE_TURNS
        try:
            while grace:
                await _Turn()
                grace = grace - 1 if self._waits[0] == wait else self._GRACE_TURNS
        finally:
            self._waits.remove(wait)
        self.now_s = max(self.now_s, moment_s)


@dataclass(slots=True, eq=False)
class FakeStream:
    """An open connection that follows its script. `sent` and `aborted` are there for tests to look at."""

    net: FakeNet
    address: Address
    port: int
    plan: Plan
    secured: Handshake | None = None
    sent: bytearray = field(default_factory=bytearray)
    aborted: bool = False
    _steps: list[Step] = field(default_factory=list)
    _since_s: float = 0.0
    _heard: bytearray = field(default_factory=bytearray)
    _unacked: int = 0

    async def send(self, data: bytes, until_s: float) -> Received:
        """Succeeds while the script is not at an ending that is already due."""
        self.net.note("send", self.address.text, self.port)
        now = self.net.now()
        match self._next():
            case Reset() | Fail() as end if self._since_s + end.after_ms / 1000 <= now:
                return self._ended(end, now)
            case Deaf():
                self._unacked += 1
        self.sent += data
        self._heard += data
        return Received(data=b"", event=Event.DONE, at_s=now)

    async def receive(self, limit_bytes: int, until_s: float) -> Received:
        """The next words of the script, one `Say` at a time, or how it ends."""
        self.net.note("receive", self.address.text, self.port)
        step = self._next()
        if isinstance(step, Hear | Mute | Deaf) or step is None:
            return await self._silence(until_s, step.late_ms if isinstance(step, Mute) else 0.0)
        at_s = max(self._since_s + step.after_ms / 1000, min(self.net.now(), until_s))
        if at_s > until_s:
            return await self._silence(until_s, 0.0)
        late_ms = step.late_ms if isinstance(step, Say) else 0.0
        await self.net.clock.reach(at_s + late_ms / 1000)
        if not isinstance(step, Say):
            return self._ended(step, at_s)
        self._since_s = at_s
        rest = step.data[limit_bytes:]
        self._steps[:1] = [Say(rest, after_ms=0.0)] if rest else []
        return Received(data=step.data[:limit_bytes], event=Event.DONE, at_s=at_s)

    def info(self) -> TcpInfo | None:
        """Plain figures of a healthy path; what a deaf peer left unacknowledged is counted."""
        if self.aborted:
            return None
        return TcpInfo(
            rtt_ms=self.plan.rtt_ms, rtt_var_ms=self.plan.rtt_ms / 4, total_retransmits=self._unacked,
            unacked_segments=self._unacked, sacked_segments=0, send_mss_bytes=1448, receive_mss_bytes=1448,
            advertised_mss_bytes=1448, path_mtu_bytes=1500, bytes_received=0, data_segments_in=0,
            bytes_acked=0 if self._unacked else len(self.sent), out_of_order_segments=0,
        )

    @property
    def peer_alpn(self) -> str | None:
        """What the scripted handshake agreed on."""
        return self.secured.alpn if self.secured else None

    def abort(self) -> None:
        """Counted once however often it is called."""
        if not self.aborted:
            self.net.note("abort", self.address.text, self.port)
        self.aborted = True

    def _next(self) -> Step | None:
        """The step that is due, past every `Hear` that was satisfied."""
        while self._steps and isinstance(self._steps[0], Hear):
            if not self._heard or self._steps[0].contains not in self._heard:
                return self._steps[0]
            self._heard.clear()
            self._since_s = max(self._since_s, self.net.now())
            del self._steps[0]
        return self._steps[0] if self._steps else None

    async def _silence(self, until_s: float, late_ms: float) -> Received:
        await self.net.clock.reach(until_s + late_ms / 1000)
        return Received(data=b"", event=Event.SILENT, at_s=until_s)

    @staticmethod
    def _ended(step: Close | Reset | Fail, at_s: float) -> Received:
        match step:
            case Close():
                return Received(data=b"", event=Event.CLOSED, at_s=at_s)
            case Reset():
                fault = Fault(Event.RESET, "ECONNRESET")
            case Fail(fault):
                pass
        return Received(data=b"", event=fault.event, fault=fault, at_s=at_s)


class FakeNet:
    """The network as a table. What is not in it: names do not exist, addresses are silent, ports refuse."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.calls: list[tuple[str, str, int]] = []
        """Every verb in order: (verb, name or address, port or 0)."""
        self.streams: list[FakeStream] = []
        """Every connection ever opened."""
        self._names: dict[str, Resolution] = {}
        self._hosts: dict[tuple[str, int], list[Plan]] = {}
        self._routes: dict[str, Route] = {}

    # The table.

    def name(self, name: str, *addresses: str, duration_ms: float = 1.0, source: str = "dns") -> FakeNet:
        """A name and its addresses, in the order in which they should be tried."""
        found = tuple(Address(text, 6 if ":" in text else 4) for text in addresses)
        return self.answer(
            Resolution(name=name, addresses=found, source=source, started_s=0.0, duration_ms=duration_ms)
        )

    def answer(self, resolution: Resolution) -> FakeNet:
        """All that is known about a name; its start is set when it is asked."""
        self._names[resolution.name] = resolution
        return self

    def host(
        self,
        address: str,
        port: int,
        *script: Step,
        fault: Fault | None = None,
        connect_ms: float = 1.0,
        rtt_ms: float = 1.0,
        lag_ms: float = 0.0,
        syn_retransmits: int = 0,
        tls: TlsScript | None = None,
    ) -> FakeNet:
        """What a connection meets there. Said again it scripts the next connection; the last one stays.

        `fault` ends the attempt to connect. `tls` is the handshake, its times counted from zero; without one
        the peer never answers a hello. The script is what is said over the connection, inside TLS if any.
        """
        plan = Plan(
            script=script, fault=fault, connect_ms=connect_ms, rtt_ms=rtt_ms, lag_ms=lag_ms,
            syn_retransmits=syn_retransmits, tls=tls,
        )
        self._hosts.setdefault((address, port), []).append(plan)
        return self

    def way(self, route: Route) -> FakeNet:
        """The kernel's answer about one address."""
        self._routes[route.address] = route
        return self

    # What a test asks afterwards.

    def note(self, verb: str, subject: str, port: int = 0) -> None:
        """Count one use of a verb."""
        self.calls.append((verb, subject, port))

    def count(self, verb: str, subject: str | None = None, port: int | None = None) -> int:
        """How often a verb was used, on anything or on this subject and port."""
        return sum(
            verb == called and subject in (None, on) and port in (None, at) for called, on, at in self.calls
        )

    @property
    def left_open(self) -> int:
        """Connections that nobody ended."""
        return sum(not stream.aborted for stream in self.streams)

    # The verbs of `Net`.

    def now(self) -> float:
        """Fake monotonic seconds."""
        return self.clock.now_s

    def route(self, address: Address) -> Route:
        """The scripted way, or a plain one through a gateway."""
        self.note("route", address.text)
        plain = Route(address=address.text, gateway="192.0.2.1", source="192.0.2.2", interface="fake0")
        return self._routes.get(address.text, plain)

    async def resolve(self, name: str, until_s: float) -> Resolution:
        """The scripted answer; NXDOMAIN for a name that is not in the table."""
        self.note("resolve", name)
        started = self.now()
        known = self._names.get(name) or _no_such_name(name)
        lasts_ms = min(known.duration_ms, max(0.0, until_s - started) * 1000)
        await self.clock.reach(started + lasts_ms / 1000)
        return replace(known, started_s=started, duration_ms=lasts_ms)

    async def dial(self, address: Address, port: int, until_s: float) -> tuple[Dial, Stream | None]:
        """The scripted outcome of this attempt."""
        self.note("dial", address.text, port)
        plan = self._plan(address.text, port)
        started = self.now()
        ended, fault = started + plan.connect_ms / 1000, plan.fault
        if ended > until_s or (fault is not None and fault.event is Event.SILENT):
            ended, fault = max(until_s, started), fault or SILENT
        await self.clock.reach(ended + plan.lag_ms / 1000)
        dial = Dial(
            address=address, port=port, started_s=started, ended_s=ended, fault=fault, lag_ms=plan.lag_ms,
            local_address="2001:db8::2" if address.family == 6 else "192.0.2.2",
            local_port=40000 + len(self.streams) % 20000, syn_retransmits=plan.syn_retransmits,
            rtt_ms=None if fault else plan.rtt_ms, mss_bytes=None if fault else 1448,
        )
        if fault is not None:
            return dial, None
        stream = FakeStream(self, address, port, plan, _steps=list(plan.script), _since_s=ended)
        self.streams.append(stream)
        return dial, stream

    async def handshake(
        self, stream: Stream, hello: Hello, until_s: float
    ) -> tuple[Handshake, Stream | None]:
        """The scripted handshake, moved to the present; a peer without one stays silent."""
        if not isinstance(stream, FakeStream):
            raise TypeError("a fake network shakes hands over its own streams only")
        self.note("handshake", stream.address.text, stream.port)
        started = self.now()
        told = stream.plan.tls(hello) if callable(stream.plan.tls) else stream.plan.tls
        told = told or Handshake(started_s=0.0, ended_s=0.0, fault=SILENT)
        ended = started + told.ended_s - told.started_s
        if ended > until_s or (told.fault is not None and told.fault.event is Event.SILENT):
            ended, told = max(until_s, started), replace(told, fault=told.fault or SILENT)
        await self.clock.reach(ended + told.lag_ms / 1000)
        told = replace(told, started_s=started, ended_s=ended)
        stream._since_s = ended
        stream.secured = None if told.fault else told
        return told, None if told.fault else stream

    def trust(self, ca_file: str | None) -> Mapping[str, object]:
        """No anchors at all, said plainly."""
        self.note("trust", ca_file or "")
        return {"source": ca_file or "fake", "anchors": 0, "sha256": "0" * 64}

    def _plan(self, address: str, port: int) -> Plan:
        """The script of the next connection there."""
        plans = self._hosts.get((address, port))
        if plans:
            return plans.pop(0) if len(plans) > 1 else plans[0]
        return Plan(fault=REFUSED if any(address == there for there, _ in self._hosts) else SILENT)


def drive(work: Coroutine[Any, Any, T], turns: int = 1_000_000) -> T:
    """Run a coroutine that waits on a fake network alone, without an event loop; its result."""
    for _ in range(turns):
        try:
            work.send(None)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]  # StopIteration cannot carry a type
    work.close()
    raise RuntimeError(f"not done after {turns} turns: it waits for something that is not the fake network")


def _no_such_name(name: str) -> Resolution:
    """NXDOMAIN from one nameserver, to both questions."""
    replies = tuple(
        DnsReply(server="192.0.2.53:53", record_type=kind, duration_ms=1.0, rcode="NXDOMAIN")
        for kind in RecordType
    )
    return Resolution(
        name=name, addresses=(), source="none", started_s=0.0, duration_ms=1.0, bulk_error="NXDOMAIN",
        replies=replies, servers=("192.0.2.53:53",),
    )
