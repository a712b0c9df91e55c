"""Asking somebody who is no target because a stranger named him: whom one may ask, how fast, and each thing once a run.

What a certificate names could be a service inside our own network that nobody else can reach. So beside the lists of
the run stands a rule of its own: only addresses of the public Internet, or such as an `--allow` names in particular.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, TypeVar, cast

from fleetprobe.engine.budget import Gate, Guard, Manners, Network
from fleetprobe.net.interface import Address, Net

T = TypeVar("T")
IP = ipaddress.IPv4Address | ipaddress.IPv6Address

MOST: Final = 1_000
"""Different things asked for in one run."""
_LAST_S: Final = 10.0


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


_NEVER: Final = _networks(
    "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
    "::/127", "fe80::/10", "fec0::/10", "ff00::/8",
)
"""Ourselves, our own link with the services that clouds put there, many at once, nobody: whatever is allowed."""
_SPECIAL: Final = _networks(
    "10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
    "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "::/3", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "4000::/2", "8000::/1",
)
"""Not reachable from everywhere (IANA special-purpose address registries, RFC 6890), of IPv6 all but 2000::/3, the one
block that is given out. Python's own `is_global` will not do: to 3.11 site-local, multicast and 6to4 are global."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""The prefix that everybody uses (RFC 6052); as public as the IPv4 address in it."""
_V4_AT_END: Final = (
    _NAT64, *(ipaddress.IPv6Network(text) for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b:1::/48")),
)
"""IPv4-compatible, -mapped and -translated addresses, and NAT64 of one's own."""
_6TO4: Final = ipaddress.IPv6Network("2002::/16")
_TEREDO: Final = ipaddress.IPv6Network("2001::/32")
_ISATAP: Final = (0x0000_5EFE, 0x0200_5EFE)
"""The upper half of an interface identifier (RFC 5214 §6.1)."""


class Errands:
    """Implements `layer.Errands` for one run. To be closed when the run ends."""

    def __init__(
        self, net: Net, manners: Manners, allow: Sequence[Network], deny: Sequence[Network], families: frozenset[int]
    ) -> None:
        self._net = net
        # Lanes of its own: whoever goes an errand holds a place at his target, and must not wait for another of those.
        self._gate = Gate(manners, Guard(allow, deny, families))
        self._inner = Guard((), deny)
        self._named = [network for network in allow if _is_special(network)]
        self._tasks: dict[str, asyncio.Task[Any]] = {}

    def denied(self, address: Address) -> str | None:
        """Why the address must not be touched, or None. An IPv4 address inside an IPv6 one must pass as well."""
        if told := self._gate.denied(address):
            return told
        if "%" in address.text:
            return f"{address.text} is on our own link"
        ip = ipaddress.ip_address(address.text)
        for one in (ip, *_inside(ip)):
            if told := self._inner.denied(Address(str(one), one.version)):
                return told
            if _within(one, _NEVER) or (_is_odd(one) and not _within(one, self._named)):
                return f"{address.text} is no public address, and no --allow names its network"
        return None

    async def once(self, what: str, ask: Callable[[], Awaitable[T]], until_s: float) -> T | None:
        """What came of it, asked by the first who comes and shared by all; None: not by then, or too much was asked.

        Whoever gives up takes nothing from the others. The same `what` must always be asked in the same way.
        """
        task = self._tasks.get(what)
        if task is None:
            if len(self._tasks) >= MOST:
                return None
            task = self._tasks[what] = asyncio.ensure_future(ask())
        await asyncio.wait({task}, timeout=max(0.0, until_s - self._net.now()))
        return cast(T, task.result()) if task.done() and not task.cancelled() else None

    async def admitted(self, address: Address, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask when there is room at the address, by the manners of the run."""
        route = self._net.route(address)
        on_link = route.errno_name is None and route.gateway is None and not route.local
        admission = self._gate.admission(address, on_link=on_link)
        await admission.enter(self._net.now)
        try:
            return await ask()
        finally:
            admission.leave()

    async def finish(self) -> None:
        """Wait for what is still being asked, for a short while."""
        if waiting := [task for task in self._tasks.values() if not task.done()]:
            await asyncio.wait(waiting, timeout=_LAST_S)

    async def close(self) -> None:
        """Break off what is left."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


def _is_special(network: Network) -> bool:
    """Whether somebody who allows it means just that: 10.0.0.0/8 names private addresses, 0.0.0.0/0 does not."""
    return any(
        network.version == special.version and network.subnet_of(special)  # type: ignore[arg-type]  # same version
        for special in (*_SPECIAL, *_NEVER)
    )


def _is_odd(ip: IP) -> bool:
    return _within(ip, _SPECIAL) and not _within(ip, (_NAT64, _6TO4))


def _within(ip: IP, networks: Sequence[Network]) -> bool:
    return any(ip in network for network in networks if network.version == ip.version)


def _inside(ip: IP) -> Iterator[ipaddress.IPv4Address]:
    """IPv4 addresses to which an IPv6 one may lead."""
    if isinstance(ip, ipaddress.IPv4Address):
        return
    bits = int(ip)
    if _within(ip, _V4_AT_END) or (bits >> 32) & 0xFFFF_FFFF in _ISATAP:
        yield ipaddress.IPv4Address(bits & 0xFFFF_FFFF)
    if ip in _6TO4:
        yield ipaddress.IPv4Address(bits >> 80 & 0xFFFF_FFFF)
    if ip in _TEREDO:
        yield ipaddress.IPv4Address(bits >> 64 & 0xFFFF_FFFF)
        yield ipaddress.IPv4Address(~bits & 0xFFFF_FFFF)
