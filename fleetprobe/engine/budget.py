"""The admit step: whom we may touch, how many at a time, and how fast."""

from __future__ import annotations

import asyncio
import ipaddress
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from fleetprobe.net.interface import Address

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_IDLE_KEPT = 65_536
_PREFIX_BITS = {4: 24, 6: 48}


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `at_once` in flight and `per_second` started; None means no such limit."""

    at_once: int | None = None
    per_second: float | None = None

    def __bool__(self) -> bool:
        return self.at_once is not None or self.per_second is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How a run behaves towards others."""

    everything: Limit = Limit(per_second=1000.0)
    per_host: Limit = Limit(at_once=8)
    per_prefix: Limit = Limit(at_once=128)
    """Per IPv4 /24 and IPv6 /48."""
    on_link: Limit = Limit(at_once=256)
    """Addresses on our own links: well below the 512 unresolved neighbours at which the kernel drops some."""


class Guard:
    """Allow and deny lists over final socket addresses; deny wins. Lookup is logarithmic."""

    def __init__(
        self,
        allow: Iterable[Network] = (),
        deny: Iterable[Network] = (),
        families: frozenset[int] = frozenset({4, 6}),
    ) -> None:
        self._allow = _Ranges(allow)
        self._deny = _Ranges(deny)
        self._families = families

    def denied(self, address: Address) -> str | None:
        """Why the address must not be touched, or None. IPv4 inside IPv6 counts as the IPv4 address."""
        if address.family not in self._families:
            return f"{address.text} is IPv{address.family}, which this run leaves out"
        if not self._allow and not self._deny and _is_plain(address):
            return None
        ip = ipaddress.ip_address(address.text)
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        if _NO_HOSTS.holds(ip):
            return f"{address.text} names no single host (unspecified, multicast or reserved), so it was not touched"
        if self._deny.holds(ip):
            return f"{address.text} is on the deny list, so it was not touched"
        if self._allow and not self._allow.holds(ip):
            return f"{address.text} is not on the allow list, so it was not touched"
        return None


class _Ranges:
    """Sorted, merged integer ranges per address family."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._ranges: dict[int, tuple[list[int], list[int]]] = {}
        by_family: dict[int, list[tuple[int, int]]] = {}
        for network in networks:
            ends = (int(network.network_address), int(network.broadcast_address))
            by_family.setdefault(network.version, []).append(ends)
        for family, pairs in by_family.items():
            starts: list[int] = []
            lasts: list[int] = []
            for first, last in sorted(pairs):
                if lasts and first <= lasts[-1] + 1:
                    lasts[-1] = max(lasts[-1], last)
                else:
                    starts.append(first)
                    lasts.append(last)
            self._ranges[family] = (starts, lasts)

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def holds(self, ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        starts, lasts = self._ranges.get(ip.version, ([], []))
        at = bisect_right(starts, int(ip)) - 1
        return at >= 0 and int(ip) <= lasts[at]


@dataclass(slots=True)
class _Lane:
    """One limit at work: who is inside, who waits, when the next may start."""

    limit: Limit
    inside: int = 0
    next_start_s: float = 0.0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)

    @property
    def idle(self) -> bool:
        return self.inside == 0 and not self.waiting

    async def enter(self, now: Callable[[], float]) -> None:
        at_once = self.limit.at_once
        if at_once is not None and self.inside >= at_once:
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.waiting.append(place)
            try:
                await place
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():
                    self.leave()
                raise
        else:
            self.inside += 1
        if self.limit.per_second is not None:
            try:
                await self._pace(now, 1.0 / self.limit.per_second)
            except asyncio.CancelledError:
                self.leave()
                raise

    def leave(self) -> None:
        """Hand the place to the first who waits, or give it back."""
        while self.waiting:
            place = self.waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.inside -= 1

    async def _pace(self, now: Callable[[], float], gap_s: float) -> None:
        start = max(self.next_start_s, now())
        self.next_start_s = start + gap_s
        wait_s = start - now()
        # Below a few milliseconds the loop's own granularity would make every start late.
        if wait_s > 0.005:
            await asyncio.sleep(wait_s)


def _is_plain(address: Address) -> bool:
    """An IPv4 address of a single host, told without parsing it whole."""
    return address.family == 4 and 0 < int(address.text.partition(".")[0]) < 224


_NO_HOSTS = _Ranges(
    ipaddress.ip_network(text) for text in ("0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/128", "ff00::/8")
)
"""RFC 6890, RFC 1112, RFC 4291: a connect to 0.0.0.0 or :: would reach our own machine past any deny list."""


class Gate:
    """Guard and manners together."""

    def __init__(self, manners: Manners, guard: Guard) -> None:
        self._manners = manners
        self._guard = guard
        self._everything = _Lane(manners.everything)
        self._on_link = _Lane(manners.on_link)
        self._hosts: OrderedDict[str, _Lane] = OrderedDict()
        self._prefixes: OrderedDict[str, _Lane] = OrderedDict()

    def denied(self, address: Address) -> str | None:
        """Why the address must not be touched, or None."""
        return self._guard.denied(address)

    def admission(self, address: Address, *, on_link: bool = False) -> Admission:
        """The way in for one use of an address."""
        # From the narrowest to the widest, so that nobody holds a wide place while waiting for a narrow one.
        manners, lanes = self._manners, []
        if manners.per_host:
            lanes.append(_lane(self._hosts, address.text, manners.per_host))
        if manners.per_prefix:
            lanes.append(_lane(self._prefixes, _prefix(address), manners.per_prefix))
        if manners.on_link and on_link:
            lanes.append(self._on_link)
        if manners.everything:
            lanes.append(self._everything)
        return Admission(lanes)


class Admission:
    """Enter once, leave once."""

    def __init__(self, lanes: Sequence[_Lane]) -> None:
        self._lanes = lanes

    async def enter(self, now: Callable[[], float]) -> float:
        """Wait until the address may be touched; returns the seconds spent waiting."""
        started = now()
        entered: list[_Lane] = []
        try:
            for lane in self._lanes:
                await lane.enter(now)
                entered.append(lane)
        except asyncio.CancelledError:
            for lane in entered:
                lane.leave()
            raise
        return now() - started

    def leave(self) -> None:
        """Make room for the next one."""
        for lane in self._lanes:
            lane.leave()


def _lane(lanes: OrderedDict[str, _Lane], key: str, limit: Limit) -> _Lane:
    lane = lanes.get(key)
    if lane is None:
        lane = lanes[key] = _Lane(limit)
        if len(lanes) > _IDLE_KEPT:
            _forget_idle(lanes)
    return lane


def _forget_idle(lanes: OrderedDict[str, _Lane]) -> None:
    for key in [key for key, lane in lanes.items() if lane.idle][: _IDLE_KEPT // 2]:
        del lanes[key]


def _prefix(address: Address) -> str:
    if address.family == 4:
        return address.text.rpartition(".")[0]
    text = address.text.partition("%")[0]
    return str(int(ipaddress.IPv6Address(text)) >> (128 - _PREFIX_BITS[6]))
