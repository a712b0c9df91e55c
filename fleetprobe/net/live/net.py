"""The real network, put together: one reactor, one resolver, one route table, one TLS pump."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from fleetprobe.net.handshake import Handshake, Hello
from fleetprobe.net.heard import Heard
from fleetprobe.net.interface import USUAL_SEGMENTS, Address, Dial, Resolution, Route, Segments, Stream
from fleetprobe.net.known_path import KnownPath, KnownPaths
from fleetprobe.net.live import tcp
from fleetprobe.net.live.df import df_search, with_echo
from fleetprobe.net.live.dns import Resolver
from fleetprobe.net.live.held import Holder
from fleetprobe.net.live.links import open_links, packets_out
from fleetprobe.net.live.netlink import open_table
from fleetprobe.net.live.reactor import Reactor
from fleetprobe.net.live.rst_origin import rst_origin
from fleetprobe.net.live.survey import Surveyor
from fleetprobe.net.live.tls import Handshaker
from fleetprobe.net.path import DfSearch
from fleetprobe.net.pool import Pool
from fleetprobe.net.survey import Survey
from fleetprobe.net.verified import Verified
from fleetprobe.net.witness import Link, Neighbour, RstOrigin

T = TypeVar("T")

_ROUTES_KEPT = 65_536


class LiveNet:
    """Implements `net.interface.Net` on the running event loop. Close it when the run ends."""

    def __init__(
        self,
        *,
        servers: Sequence[str] | None = None,
        families: frozenset[int] = frozenset({4, 6}),
        ca_file: str | None = None,
    ) -> None:
        """Nameservers as `address[:port]` (None: resolv.conf); `ca_file` is trusted where a hello names none."""
        self._ca_file = ca_file
        self._reactor = Reactor(asyncio.get_running_loop())
        self._heard = Heard()
        self._links = open_links()
        self._holder = Holder(self._reactor)
        self._surveyor = Surveyor(self._reactor, self._links, self._heard, self._holder)
        self._origins: dict[str, RstOrigin] = {}
        self._paths = KnownPaths()
        self.pool = Pool()
        self._known_links: tuple[Link, ...] | None = None
        self._resolver = Resolver(servers, families, reactor=self._reactor)
        self._table = open_table()
        self._routes: dict[str, Route] = {}
        self._handshaker = Handshaker(self._reactor.turn, self._reactor.now, self._reactor.lag_ms)
        self.now = self._reactor.now

    def route(self, address: Address) -> Route:
        """The way to an address, asked once and remembered."""
        route = self._routes.get(address.text)
        if route is None:
            if len(self._routes) >= _ROUTES_KEPT:
                self._routes.clear()
            route = self._table.route(address) if self._table else Route(address=address.text)
            self._routes[address.text] = route
        return route

    async def resolve(self, name: str, until_s: float) -> Resolution:
        """All addresses of a name, shared within the run."""
        return await self._resolver.resolve(name, until_s)

    async def dial(
        self, address: Address, port: int, until_s: float, *, again_s: float | None = None,
        segments: Segments = USUAL_SEGMENTS,
    ) -> tuple[Dial, Stream | None]:
        """Connect to one literal address; a silent attempt gets a twin after `again_s`."""
        dial, stream = await tcp.dial(self._reactor, address, port, until_s, again_s, segments)
        route = self._routes.get(address.text)
        if dial.fault is not None and dial.fault.errno_name in ("EMFILE", "ENFILE"):
            # What is only kept for later stands back for what is needed now.
            self._holder.close()
        self._heard.note(dial, route)
        if stream is not None and route is not None and route.gateway is not None:
            # Only where a box stands between can new connections die while old ones live.
            stream.keep_with(partial(self._holder.take, dial=dial))
        return dial, stream

    async def flows(self, address: Address, port: int, local_ports: Sequence[int], until_s: float) -> tuple[Dial, ...]:
        """Connect from given source ports at once and close again."""
        self._holder.drop(address)
        return await tcp.dial_from(self._reactor, address, port, local_ports, until_s)

    async def df_search(
        self, address: Address, sizes: Sequence[int], until_s: float, *, ttls: Sequence[int | None] = (None,)
    ) -> DfSearch:
        """Which sizes of UDP arrive unfragmented; the device's MTU is that of when the run first asked."""
        interface = self.route(address).interface
        device_mtu = next((link.mtu_bytes for link in self.links() if link.name == interface), None)
        if tuple(ttls) == (None,):
            return await with_echo(self._reactor, address, sizes, until_s, device_mtu_bytes=device_mtu)
        return await df_search(
            self._reactor, address, sizes, until_s, ttls=ttls, device_mtu_bytes=device_mtu
        )

    async def survey(self, address: Address, port: int, until_s: float) -> Survey:
        """What a silence means, asked all at once."""
        return await self._surveyor.survey(address, port, self.route(address), until_s)

    async def rst_origin(self, address: Address, port: int, until_s: float) -> RstOrigin | None:
        """Asked once per address; None on our own link, where no box can stand between."""
        if self.route(address).gateway is None:
            return None
        origin = self._origins.get(address.text)
        if origin is None:
            other = self._heard.port(address, port)
            interface = self.route(address).interface
            before = packets_out(interface) if interface else None
            origin = await rst_origin(self._reactor, address, port, until_s, open_port=other)
            after = packets_out(interface) if interface else None
            if before is not None and after is not None:
                origin = replace(origin, left=after - before)
            if len(self._origins) >= _ROUTES_KEPT:
                self._origins.clear()
            self._origins[address.text] = origin
        return origin

    def known_path(self, address: Address) -> KnownPath | None:
        """One for each next hop, source and /24 or /48."""
        return self._paths.of(address, self.route(address))

    async def turn(self, path: KnownPath, until_s: float) -> bool:
        """Hold the path, or learn that there is nothing left to prove."""
        while path.held and path.hole is None and (left_s := until_s - self.now()) > 0:
            given_back = asyncio.Event()
            path.waiting.append(given_back.set)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(given_back.wait(), left_s)
        if path.held or path.hole is not None:
            return False
        path.held = True
        return True

    async def together(self, *questions: Awaitable[T]) -> list[T]:
        """Each as a task of its own."""
        tasks = [asyncio.ensure_future(question) for question in questions]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    def heard(self, family: int) -> bool:
        """Whether anything but ourselves has answered over that family."""
        return self._heard.family(family)

    def links(self) -> tuple[Link, ...]:
        """One dump per run, shared by all targets."""
        if self._known_links is None:
            self._known_links = self._links.links() if self._links else ()
        return self._known_links

    def neighbour(self, address: str, interface: str) -> Neighbour | None:
        """What the kernel knows of a next hop; at most 50 ms old."""
        return self._links.neighbour(address, interface) if self._links else None

    async def handshake(
        self, stream: Stream, hello: Hello, until_s: float, hole_s: float | None = None
    ) -> tuple[Handshake, Stream | None]:
        """TLS over an open connection."""
        if (store := self._store(hello.ca_file)) != hello.ca_file:
            hello = replace(hello, ca_file=store)
        return await self._handshaker.handshake(stream, hello, until_s, hole_s)

    async def verify(self, chain: Sequence[bytes], ca_file: str | None) -> Verified:
        """A chain put together by hand, against the trust of a target."""
        return await self._handshaker.verify(chain, self._store(ca_file))

    def trust(self, ca_file: str | None = None) -> Mapping[str, object]:
        """Source, count and SHA-256 of the trust anchors that `Hello.ca_file` would mean; raises UnusableTrust."""
        return self._handshaker.trust(self._store(ca_file))

    def _store(self, ca_file: str | None) -> str | None:
        """The bundle meant; None is the system's from here on."""
        return self._ca_file if ca_file is None else ca_file or None

    @property
    def servers(self) -> tuple[str, ...]:
        """The nameservers asked, as `address:port`."""
        return self._resolver.servers

    def lag_ms(self) -> float:
        """Milliseconds by which the loop has been late so far."""
        return self._reactor.lag_ms()

    async def close(self) -> None:
        """End every wait and give all descriptors back."""
        self._surveyor.close()
        self._holder.close()
        await self._resolver.close()
        self._reactor.close()
        if self._links:
            self._links.close()
        if self._table:
            self._table.close()
