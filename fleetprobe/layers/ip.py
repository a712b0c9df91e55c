"""L3: this machine knows a way to the address. Whether the far end is there, only traffic can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleetprobe.layer import Ground, Layer, found
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Finding
from fleetprobe.net.interface import Net, Route


@dataclass(frozen=True, slots=True)
class IpFacts:
    """The kernel's route to one address.

    | field | type | meaning |
    |---|---|---|
    | address | text | the literal address asked about |
    | errno_name | text | why there is no way; absent when there is one |
    | gateway | text | next hop; absent when the address is on-link or our own |
    | source | text | our address on that way |
    | interface | text | the device it leaves by |
    | path_mtu_bytes | int | a path MTU that the kernel has cached |
    """

    route: Route

    def record(self) -> Mapping[str, Any]:
        """The facts as JSON-ready values."""
        route = self.route
        facts = {
            "address": route.address,
            "errno_name": route.errno_name,
            "gateway": route.gateway,
            "source": route.source,
            "interface": route.interface,
            "path_mtu_bytes": route.mtu_bytes,
        }
        return {name: value for name, value in facts.items() if value is not None}

    def columns(self) -> Mapping[str, Any]:
        """Columns of the result record."""
        return {"errno_name": self.route.errno_name}


async def probe(ground: Ground, net: Net) -> IpFacts:
    """Ask the routing table. Sends nothing."""
    assert ground.address is not None
    return IpFacts(net.route(ground.address))


def judge(facts: IpFacts, policy: Policy) -> Sequence[Finding]:
    """No way is our own table's word, not the target's fault; a way proves nothing yet."""
    route = facts.route
    if route.errno_name is None:
        return (_UNTESTED,)
    if route.errno_name in _REJECTED:
        summary = f"our routing table rejects {route.address}: a {_REJECTED[route.errno_name]} route covers it"
        return (found("ip.route_rejected", summary, facts.record()),)
    if not route.family_usable:
        family = "IPv6" if ":" in route.address else "IPv4"
        summary = f"this machine has no {family} route at all, so {route.address} was not tried"
        return (found("vantage.no_route", summary, facts.record()),)
    return (found("ip.no_route", f"our routing table has no route to {route.address}", facts.record()),)


_UNTESTED = Finding(layer="ip", tentative=True)
_REJECTED = {"EINVAL": "blackhole", "EACCES": "prohibit", "EHOSTUNREACH": "unreachable"}

LAYER = Layer(
    name="ip",
    probe=probe,
    judge=judge,
    emits=frozenset({"ip.no_route", "ip.route_rejected", "vantage.no_route"}),
)
