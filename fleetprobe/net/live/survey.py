"""What a silence means: other ports, UDP, ping, the path and the next hop, all asked at once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fleetprobe.net.heard import Heard
from fleetprobe.net.interface import Address, Dial, Route
from fleetprobe.net.live import knock, ping, tcp, udp, walk
from fleetprobe.net.live.held import Holder
from fleetprobe.net.live.links import LinkTable, packets_out
from fleetprobe.net.live.reactor import Reactor
from fleetprobe.net.nearby import Key, prefix_key
from fleetprobe.net.survey import Survey
from fleetprobe.net.witness import Neighbour, Ping, Poke, Walk, host_answer

_LIKELY_OPEN = (443, 22, 80)
_LIKELY_CLOSED = 1
"""tcpmux, RFC 1078: closed on nearly every host, so that a live one answers with RST."""
_KEPT = 65_536
_PATIENCE_S = 0.1
_WALKERS = 3
_GATEWAY_FRESH_S = 1.0
_HOST_FRESH_S = 0.5
_HOSTS_KEPT = 4096
"""Hosts found silent of late; ports of one host fall silent together, so few are needed."""
_HEARD_FRESH_S = 10.0
"""An answer from before is a sign of life for so long: hosts die in the midst of a long run."""
_WALK_FRESH_S = 10.0
"""Paths change in the midst of a long run, too: an older walk may name a router that is no longer on the way."""
_FRESH = 1
_CONNTRACK_FRESH_S = 0.1
_CONNTRACK = Path("/proc/sys/net/netfilter")


_HostAsked = asyncio.Future[tuple[tuple[Dial, ...], Poke, Ping]]
_HopAsked = asyncio.Future[tuple[Poke, Ping]]
_NEVER = float("-inf"), None


class Surveyor:
    """Asks, and shares one walk per gateway and /24 or /48 within a run."""

    def __init__(self, reactor: Reactor, links: LinkTable | None, heard: Heard, holder: Holder) -> None:
        self._reactor = reactor
        self._links = links
        self._heard = heard
        self._holder = holder
        self._hosts: OrderedDict[tuple[str, tuple[int, int]], tuple[float, _HostAsked]] = OrderedDict()
        self._gateways: dict[str, tuple[float, _HopAsked]] = {}
        self._conntrack: tuple[float, float | None] = float("-inf"), None
        self._walks: OrderedDict[Key, list[tuple[float, asyncio.Task[Walk]]]] = OrderedDict()

    async def survey(self, address: Address, port: int, route: Route, until_s: float) -> Survey:
        """Everything by `until_s`; never raises for what the network does."""
        reactor, started = self._reactor, self._reactor.now()
        before = packets_out(route.interface) if route.interface else None
        gateway = _gateway(route, address)
        others = _other_ports(port, self._heard.port(address, port))
        shared = () if route.gateway is None else self._walkers(address, port, route.gateway, until_s)
        host, host_shared = self._host(address, others, until_s)
        hop, hop_shared = (None, False) if gateway is None else self._gateway(gateway, until_s)
        # One who waits and is cancelled must not end what others wait for, too.
        (knocks, poke, echo), fresh, hop_told, path = await asyncio.gather(
            asyncio.shield(host),
            tcp.dial_from(reactor, address, port, [None] * _FRESH, until_s),
            _nothing() if hop is None else asyncio.shield(hop),
            self._shared(shared, until_s),
        )
        after = packets_out(route.interface) if route.interface else None
        told = Survey(
            left=after - before if before is not None and after is not None else None,
            address=address,
            port=port,
            started_s=started,
            ended_s=reactor.now(),
            knocks=knocks,
            fresh=fresh,
            held=self._holder.ask(address),
            poke=poke,
            ping=echo,
            walk=path,
            walked=path.address.text if path is not None else None,
            neighbour=self._neighbour(route, address),
            gateway_poke=hop_told[0] if hop_told else None,
            gateway_ping=hop_told[1] if hop_told else None,
            host_shared=host_shared,
            gateway_shared=hop_shared,
            heard_port=self._heard.port(address, port, reactor.now() - _HEARD_FRESH_S),
            conntrack_share=self._conntrack_share(),
        )
        for dial in told.dials:
            self._heard.overhear(dial, route)
        nearby = self._heard.nearby(address, route, reactor.now())
        return replace(told, nearby=nearby, gateway_heard=self._heard.beyond(route.gateway))

    def close(self) -> None:
        """End what is under way."""
        for _, asking in self._gateways.values():
            asking.cancel()
        for _, told in self._hosts.values():
            told.cancel()
        for walks in self._walks.values():
            for _, walking in walks:
                walking.cancel()

    def _host(self, address: Address, ports: tuple[int, int], until_s: float) -> tuple[_HostAsked, bool]:
        """Whether the host is alive: asked for one of its ports, and shared by those that fall silent with it."""
        asked_s, asking = self._hosts.get((address.text, ports), _NEVER)
        if asking is not None and self._reactor.now() - asked_s <= _HOST_FRESH_S:
            return asking, True
        asking = asyncio.gather(
            knock.knock(self._reactor, address, ports, until_s, enough=host_answer),
            udp.poke(self._reactor, address, until_s),
            ping.ping(self._reactor, address, until_s),
        )
        self._hosts[address.text, ports] = (self._reactor.now(), asking)
        if len(self._hosts) > _HOSTS_KEPT:
            self._hosts.popitem(last=False)
        return asking, False

    def _gateway(self, hop: Address, until_s: float) -> tuple[_HopAsked, bool]:
        """Whether the next hop is alive; shared by all who ask within a second."""
        asked_s, asking = self._gateways.get(hop.text, _NEVER)
        if asking is not None and self._reactor.now() - asked_s <= _GATEWAY_FRESH_S:
            return asking, True
        asking = asyncio.gather(udp.poke(self._reactor, hop, until_s), ping.ping(self._reactor, hop, until_s))
        self._gateways[hop.text] = (self._reactor.now(), asking)
        return asking, False

    def _walkers(self, address: Address, port: int, hop: str, until_s: float) -> Sequence[asyncio.Task[Walk]]:
        """The walks to look at: a useful one of this prefix, or a new one, or those under way."""
        now_s = self._reactor.now()
        walks = self._walks.setdefault(prefix_key(address, hop), [])
        walks[:] = [(begun_s, task) for begun_s, task in walks if now_s - begun_s <= _WALK_FRESH_S]
        tasks = [task for _, task in walks]
        useful = [task for task in tasks if task.done() and not task.cancelled() and _useful(task.result())]
        if useful:
            return useful[:1]
        if len(tasks) < _WALKERS:
            # The first address of a prefix may be the one whose path is odd: a few walk for themselves.
            begun = asyncio.create_task(walk.walk(self._reactor, address, port, until_s, sparing=True))
            walks.append((now_s, begun))
            if len(self._walks) > _KEPT:
                self._walks.popitem(last=False)
            return (begun,)
        return tasks

    async def _shared(self, tasks: Sequence[asyncio.Task[Walk]], until_s: float) -> Walk | None:
        if not tasks:
            return None
        # One who waits and is cancelled must not end the walk of the others.
        done, _ = await asyncio.wait(tasks, timeout=max(0.0, until_s - self._reactor.now()) + _PATIENCE_S)
        walks = [task.result() for task in done if not task.cancelled()]
        return max(walks, key=_length, default=None)

    def _conntrack_share(self) -> float | None:
        """Entries over limit of our own connection table (nf_conntrack), where this machine has one."""
        read_s, share = self._conntrack
        if self._reactor.now() - read_s > _CONNTRACK_FRESH_S:
            try:
                count, most = (int((_CONNTRACK / f"nf_conntrack_{name}").read_text()) for name in ("count", "max"))
                share = count / most if most else None
            except (OSError, ValueError):
                share = None
            self._conntrack = self._reactor.now(), share
        return share

    def _neighbour(self, route: Route, address: Address) -> Neighbour | None:
        if self._links is None or route.interface is None:
            return None
        return self._links.neighbour(route.gateway or address.text, route.interface)


def _useful(path: Walk) -> bool:
    return path.last_answering is not None or path.reached_by is not None


def _length(path: Walk) -> int:
    hop = path.last_answering
    return hop.ttl if hop is not None else 0


async def _nothing() -> None:
    """What is not asked."""


def _gateway(route: Route, address: Address) -> Address | None:
    if route.gateway is None:
        return None
    text = route.gateway
    if text.startswith("fe80:") and route.interface is not None:
        text = f"{text}%{route.interface}"
    return Address(text, 6 if ":" in text else 4)


def _other_ports(port: int, heard: int | None) -> tuple[int, int]:
    """One that answered before, or is likely open; and one that is likely closed."""
    return heard or next(likely for likely in _LIKELY_OPEN if likely != port), _LIKELY_CLOSED
