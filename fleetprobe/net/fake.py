"""A scripted network: a table of names, hosts and routes under a fake clock, and public.

    net = FakeNet().name("shop.test", "203.0.113.9").host("203.0.113.9", 22, Say(b"SSH-2.0-x\\r\\n"))

No real time passes: a verb moves the clock to the moment of its answer. Waits of climbs that run side by side
overlap as they would on a real network, the earliest first. Works under any event loop of the asyncio family,
or under `drive` without one. The steps that a host can be told to take are in `fleetprobe.net.script`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from fleetprobe.net.fake_clock import Clock, Turn, drive, in_turns
from fleetprobe.net.fake_path import (
    PathScript,
    end_of_wait,
    handshake_in_hole,
    hello_bytes_of,
    plain_search,
    search_at,
    send_mss,
    since,
)
from fleetprobe.net.fake_stream import FakeStream
from fleetprobe.net.fake_witness import (
    bears_the_address,
    plain_links,
    plain_neighbour,
    plain_origin,
    plain_survey,
    survey_at,
    told_first,
)
from fleetprobe.net.handshake import Handshake, Hello
from fleetprobe.net.interface import USUAL_SEGMENTS, Address, Dial, Event, Fault, Resolution, Route, Segments, Stream
from fleetprobe.net.known_path import KnownPath, KnownPaths
from fleetprobe.net.nearby import NOTHING_NEARBY, Neighbourhoods
from fleetprobe.net.path import DfSearch
from fleetprobe.net.pool import Pool
from fleetprobe.net.script import REFUSED, SILENT, LargeLost, Plan, Step, TlsScript, no_such_name
from fleetprobe.net.survey import Survey
from fleetprobe.net.verified import UNVERIFIABLE, Verified
from fleetprobe.net.witness import Link, Neighbour, RstOrigin

__all__ = ["FakeNet", "FakeStream", "drive"]

T = TypeVar("T")


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
        self._surveys: dict[str, Survey] = {}
        self._paths: dict[str, PathScript] = {}
        self._known_paths = KnownPaths()
        self._origins: dict[str, RstOrigin | None] = {}
        self._links: tuple[Link, ...] = plain_links()
        self._neighbours: dict[str, Neighbour] = {}
        self._heard: dict[str, int] = {}
        self._heard_families: set[int] = set()
        self._heard_gateways: set[str | None] = set()
        self._neighbourhoods = Neighbourhoods()
        self._dead_flows: dict[str, Callable[[int], bool]] = {}
        self._sockets = 0
        self._verify: Callable[[Sequence[bytes]], Verified] = lambda _: UNVERIFIABLE
        self.pool = Pool()

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
        large_lost: LargeLost | None = None,
    ) -> FakeNet:
        """What a connection meets there. Said again it scripts the next connection; the last one stays.

        `fault` ends the attempt to connect. `tls` is the handshake, its times counted from zero; without one
        the peer never answers a hello. The script is what is said over the connection, inside TLS if any.
        `large_lost` is a black hole on the way, which takes what is too large of either.
        """
        plan = Plan(
            script=script, fault=fault, connect_ms=connect_ms, rtt_ms=rtt_ms, lag_ms=lag_ms,
            syn_retransmits=syn_retransmits, tls=tls, large_lost=large_lost,
        )
        self._hosts.setdefault((address, port), []).append(plan)
        return self

    def way(self, route: Route) -> FakeNet:
        """The kernel's answer about one address."""
        self._routes[route.address] = route
        return self

    def around(self, told: Survey) -> FakeNet:
        """What is heard around the silence of an address; its times count from its own start."""
        self._surveys[told.address.text] = told
        return self

    def path(self, address: str, told: PathScript) -> FakeNet:
        """Which sizes arrive at an address, or what makes that of the sizes and TTLs asked; times from zero."""
        self._paths[address] = told
        return self

    def origin(self, address: str, told: RstOrigin | None) -> FakeNet:
        """Where the RST of an address comes from; None where no box can stand between."""
        self._origins[address] = told
        return self

    def wires(self, *links: Link) -> FakeNet:
        """The interfaces of this machine, in place of one that is well."""
        self._links = links
        return self

    def next_hop(self, neighbour: Neighbour) -> FakeNet:
        """What the kernel knows of a next hop; of every other one that it is reachable."""
        self._neighbours[neighbour.address] = neighbour
        return self

    def bundle(self, address: str, dead: Callable[[int], bool]) -> FakeNet:
        """Several paths lead to an address: whether a source port takes one that swallows everything."""
        self._dead_flows[address] = dead
        return self

    def hears(self, *families: int) -> FakeNet:
        """Something outside has answered over these families before."""
        self._heard_families.update(families)
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
        return sum(not stream.ended for stream in self.streams)

    # The verbs of `Net`.

    def now(self) -> float:
        """Fake monotonic seconds."""
        return self.clock.now_s

    def route(self, address: Address) -> Route:
        """The scripted way, or a plain one through a gateway."""
        self.note("route", address.text)
        return self._way(address)

    async def resolve(self, name: str, until_s: float) -> Resolution:
        """The scripted answer; NXDOMAIN for a name that is not in the table."""
        self.note("resolve", name)
        started = self.now()
        known = self._names.get(name) or no_such_name(name)
        lasts_ms = min(known.duration_ms, max(0.0, until_s - started) * 1000)
        await self.clock.reach(started + lasts_ms / 1000)
        return replace(known, started_s=started, duration_ms=lasts_ms)

    async def dial(
        self, address: Address, port: int, until_s: float, *, again_s: float | None = None,
        segments: Segments = USUAL_SEGMENTS,
    ) -> tuple[Dial, Stream | None]:
        """The scripted outcome of this attempt. Its twin, if it gets one, meets what the next connection meets."""
        plan, mss_bytes = self._plan(address.text, port), segments.mss_bytes
        told = self._attempt(address, port, plan, self.now(), until_s, mss_bytes=mss_bytes)
        again_at_s = until_s if again_s is None else self.now() + again_s
        if told.ended_s > again_at_s:
            await self.clock.reach(again_at_s)
            next_plan = self._plan(address.text, port)
            twin = self._attempt(address, port, next_plan, self.now(), until_s, mss_bytes=mss_bytes)
            first, told = told, told_first(told, twin)
            plan = plan if told.local_port == first.local_port else next_plan
        await self.clock.reach(told.ended_s + plan.lag_ms / 1000)
        if bears_the_address(told):
            self._note_heard(address, port)
        self._overhear(told)
        if told.fault is not None:
            return told, None
        stream = FakeStream(
            self, address, port, plan, mss_bytes, _steps=list(plan.script), _since_s=told.ended_s
        )
        self.streams.append(stream)
        return told, stream

    def _attempt(
        self, address: Address, port: int, plan: Plan, started: float, until_s: float, local_port: int | None = None,
        mss_bytes: int | None = None,
    ) -> Dial:
        self.note("dial", address.text, port)
        self._sockets += 1
        local_port = local_port or 40000 + self._sockets % 20000
        swallows = self._dead_flows.get(address.text)
        dead = swallows is not None and swallows(local_port)
        ended, fault = started + plan.connect_ms / 1000, SILENT if dead else plan.fault
        if ended > until_s or (fault is not None and fault.event is Event.SILENT):
            ended, fault = max(until_s, started), fault or SILENT
        return Dial(
            address=address, port=port, started_s=started, ended_s=ended, fault=fault, lag_ms=plan.lag_ms,
            local_address="2001:db8::2" if address.family == 6 else "192.0.2.2",
            local_port=local_port, syn_retransmits=plan.syn_retransmits,
            rtt_ms=None if fault else plan.rtt_ms, mss_bytes=None if fault else send_mss(mss_bytes),
        )

    async def flows(self, address: Address, port: int, local_ports: Sequence[int], until_s: float) -> tuple[Dial, ...]:
        """What the next connections meet from these source ports; it uses up no script."""
        plan, now = self._plan(address.text, port, keep=True), self.now()
        dials = tuple(self._attempt(address, port, plan, now, until_s, one) for one in local_ports)
        await self.clock.reach(max((dial.ended_s for dial in dials), default=now))
        return dials

    def _note_heard(self, address: Address, port: int) -> None:
        self._heard[address.text] = port
        route = self._way(address)
        if not route.local:
            self._heard_families.add(address.family)
            self._heard_gateways.add(route.gateway)

    def _overhear(self, dial: Dial) -> None:
        route = self._way(dial.address)
        if route.gateway is not None and not route.local:
            self._neighbourhoods.note(dial, route.gateway)

    def known_path(self, address: Address) -> KnownPath | None:
        """One for each way."""
        return self._known_paths.of(address, self._way(address))

    async def turn(self, path: KnownPath, until_s: float) -> bool:
        """Hold the path, or learn that there is nothing left to prove; others move the clock meanwhile."""
        while path.held and path.hole is None and self.now() < until_s:
            await Turn()
        if path.held or path.hole is not None:
            return False
        path.held = True
        return True

    async def together(self, *questions: Awaitable[T]) -> list[T]:
        """Turn by turn, so that it also works without an event loop."""
        return await in_turns(questions)

    async def df_search(
        self, address: Address, sizes: Sequence[int], until_s: float, *, ttls: Sequence[int | None] = (None,)
    ) -> DfSearch:
        """The scripted answer, whatever sizes are asked, or a path that carries 1500 bytes."""
        self.note("df_search", address.text)
        scripted = self._paths.get(address.text)
        if scripted is None:
            scripted = plain_search(address, sizes, ttls)
        elif callable(scripted):
            scripted = scripted(sizes, ttls)
        told = search_at(scripted, self.now(), until_s)
        await self.clock.reach(told.ended_s)
        return told

    async def survey(self, address: Address, port: int, until_s: float) -> Survey:
        """The scripted answer, or what the table has of the other ports of the address."""
        self.note("survey", address.text, port)
        now, told = self.now(), self._surveys.get(address.text)
        if told is None:
            heard, route = self._heard.get(address.text), self._way(address)

            def met(other: int) -> Fault | None:
                return self._plan(address.text, other, keep=True).fault

            told = plain_survey(
                address, port, route, now, max(now, until_s), met, None if heard == port else heard,
                route.gateway in self._heard_gateways, self._neighbours.get(route.gateway or address.text),
            )
        told = survey_at(told, now, max(now, until_s))
        await self.clock.reach(told.ended_s)
        for dial in told.dials:
            self._overhear(dial)
        gateway = self._way(address).gateway
        if gateway is None or told.nearby is not NOTHING_NEARBY:
            return told
        return replace(told, nearby=self._neighbourhoods.around(address, gateway, self.now()))

    async def rst_origin(self, address: Address, port: int, until_s: float) -> RstOrigin | None:
        """The scripted answer, asked once per address, or the host itself."""
        self.note("rst_origin", address.text, port)
        route = self._way(address)
        if address.text not in self._origins:
            plain = None if route.gateway is None else plain_origin(address, port, route, self.now())
            self._origins[address.text] = plain
        told = self._origins[address.text]
        if told is not None:
            await self.clock.reach(min(until_s, self.now() + told.ended_s - told.started_s))
        return told

    def lag_ms(self) -> float:
        """A scripted loop is never late by itself; scripts say where it is (`lag_ms`, `late_ms`)."""
        return 0.0

    def heard(self, family: int) -> bool:
        """Whether anything has answered over that family, or a test says so."""
        return family in self._heard_families

    def links(self) -> tuple[Link, ...]:
        """The scripted interfaces, or one that is well."""
        self.note("links", "")
        return self._links

    def neighbour(self, address: str, interface: str) -> Neighbour | None:
        """The scripted entry, or one that is reachable."""
        self.note("neighbour", address)
        return self._neighbours.get(address) or plain_neighbour(address, interface)

    async def handshake(
        self, stream: Stream, hello: Hello, until_s: float, hole_s: float | None = None
    ) -> tuple[Handshake, Stream | None]:
        """The scripted handshake, moved to the present; a peer without one stays silent."""
        if not isinstance(stream, FakeStream):
            raise TypeError("a fake network shakes hands over its own streams only")
        self.note("handshake", stream.address.text, stream.port)
        started = self.now()
        told = stream.plan.tls(hello) if callable(stream.plan.tls) else stream.plan.tls
        told = told or Handshake(started_s=0.0, ended_s=0.0, fault=SILENT)
        told = replace(told, hello_bytes=told.hello_bytes or hello_bytes_of(hello))
        told = handshake_in_hole(told, stream.plan.large_lost, stream.mss_bytes)
        ended = started + told.ended_s - told.started_s
        if ended > until_s or (told.fault is not None and told.fault.event is Event.SILENT):
            ended, told = max(until_s, started), replace(told, fault=told.fault or SILENT)
        if told.hole is not None:
            if hole_s is not None and stream.tell is not None:
                stream.tell(told.hole)
                hole_s = None
            ended = end_of_wait(started, ended, hole_s)
            told = replace(told, hole=since(told.hole, started, ended))
        await self.clock.reach(ended + told.lag_ms / 1000)
        told = replace(told, started_s=started, ended_s=ended)
        stream._since_s = ended
        stream.secured = None if told.fault else told
        return told, None if told.fault else stream

    def verifies(self, answer: Callable[[Sequence[bytes]], Verified]) -> FakeNet:
        """What is said of chains put together by hand; without it none of them holds."""
        self._verify = answer
        return self

    async def verify(self, chain: Sequence[bytes], ca_file: str | None) -> Verified:
        """As scripted; takes no time."""
        self.note("verify", ca_file or "")
        return self._verify(chain)

    def trust(self, ca_file: str | None) -> Mapping[str, object]:
        """No anchors at all, said plainly."""
        self.note("trust", ca_file or "")
        return {"source": ca_file or "fake", "anchors": 0, "sha256": "0" * 64}

    def _plan(self, address: str, port: int, *, keep: bool = False) -> Plan:
        """The script of the next connection there, which is used up unless it is the last one."""
        plans = self._hosts.get((address, port))
        if plans:
            return plans.pop(0) if len(plans) > 1 and not keep else plans[0]
        return Plan(fault=REFUSED if any(address == there for there, _ in self._hosts) else SILENT)

    def _way(self, address: Address) -> Route:
        six = address.family == 6
        plain = Route(
            address=address.text, gateway="2001:db8::1" if six else "192.0.2.1",
            source="2001:db8::2" if six else "192.0.2.2", interface="fake0",
        )
        return self._routes.get(address.text, plain)
