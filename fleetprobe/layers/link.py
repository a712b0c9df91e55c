"""L1 and L2: the interface that packets to the address leave by is up, and what is known of the next hop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleetprobe.layer import Ground, Layer, found
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Finding
from fleetprobe.net.interface import Net, Route
from fleetprobe.net.witness import Link, Neighbour

_DOWN = ("DOWN", "LOWERLAYERDOWN", "NOTPRESENT")


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """The way out, before anything is sent.

    | field | type | meaning |
    |---|---|---|
    | interface | text | the device that packets leave by |
    | operstate | text | RFC 2863 state of it |
    | carrier | bool | whether the other end of the wire is there |
    | mtu_bytes | int | largest packet that the device takes |
    | next_hop | text | the neighbour that packets are handed to: the gateway, or the address itself |
    | neighbour_state | text | what the kernel knew of it before the climb |
    """

    route: Route
    link: Link | None
    down: tuple[Link, ...]
    """Interfaces that are down, when the route is missing and none but the loopback is up."""
    neighbour: Neighbour | None

    def record(self) -> Mapping[str, Any]:
        """The facts as JSON-ready values."""
        link = self.link
        facts = {
            "interface": link.name if link else self.route.interface,
            "operstate": link.operstate if link else None,
            "carrier": link.carrier if link else None,
            "mtu_bytes": link.mtu_bytes if link else None,
            "next_hop": self.neighbour.address if self.neighbour else None,
            "neighbour_state": str(self.neighbour.state) if self.neighbour else None,
            "down": [one.name for one in self.down] or None,
        }
        return {name: value for name, value in facts.items() if value is not None}

    def columns(self) -> Mapping[str, Any]:
        """Columns of the result record: none of its own."""
        return {}


async def probe(ground: Ground, net: Net) -> LinkFacts:
    """Read the kernel's tables. Sends nothing."""
    assert ground.address is not None
    route = net.route(ground.address)
    if route.local:
        return LinkFacts(route, None, (), None)
    links = net.links()
    link = next((one for one in links if one.name == route.interface), None)
    others = [one for one in links if not one.loopback]
    stranded = route.errno_name is not None and not any(_works(one) for one in others)
    neighbour = None
    if route.interface is not None:
        neighbour = net.neighbour(route.gateway or ground.address.text, route.interface)
    return LinkFacts(route, link, tuple(others) if stranded else (), neighbour)


def judge(facts: LinkFacts, policy: Policy) -> Sequence[Finding]:
    """A dead interface is our own fault; a live one proves nothing yet."""
    link = facts.link
    if link is not None and not _works(link):
        return (_down(facts, link),)
    if facts.down:
        return (_down(facts, facts.down[0]),)
    return (_UNTESTED,)


def _down(facts: LinkFacts, link: Link) -> Finding:
    why = "is switched off" if not link.up else "has no carrier: nothing at the other end of the wire"
    summary = f"our interface {link.name} {why}, so {facts.route.address} was not tried"
    return found("vantage.link_down", summary, facts.record(), factor=f"interface {link.name}")


def _works(link: Link) -> bool:
    return link.up and link.carrier is not False and link.operstate not in _DOWN


_UNTESTED = Finding(layer="link", tentative=True)

LAYER = Layer(name="link", probe=probe, judge=judge, emits=frozenset({"vantage.link_down"}))
