"""What a run has heard already: ports, next hops and families that answered."""

from __future__ import annotations

from collections import OrderedDict
from math import inf

from fleetprobe.net.interface import Address, Dial, Route
from fleetprobe.net.nearby import NOTHING_NEARBY, Nearby, Neighbourhoods
from fleetprobe.net.witness import any_answer, host_answer

_KEPT = 65_536
_NEVER = None, -inf


class Heard:
    """What has answered in this run: evidence that costs no packet."""

    def __init__(self) -> None:
        self._ports: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._gateways: set[str] = set()
        self._families: set[int] = set()
        self._neighbourhoods = Neighbourhoods()

    def note(self, dial: Dial, route: Route | None) -> None:
        """Remember an answer that bears the address itself, and what routers say; our own addresses tell nothing."""
        if route is not None and route.local:
            return
        if route is not None:
            self.overhear(dial, route)
        if not host_answer(dial):
            return
        self._ports[dial.address.text] = dial.port, dial.ended_s
        if len(self._ports) > _KEPT:
            self._ports.popitem(last=False)
        if route is not None:
            self._families.add(dial.address.family)

    def overhear(self, dial: Dial, route: Route) -> None:
        """Remember what an attempt, also one of a survey, tells of the next hop and of what is behind it."""
        if route.gateway is not None and any_answer(dial):
            self._gateways.add(route.gateway)
            self._neighbourhoods.note(dial, route.gateway)

    def nearby(self, address: Address, route: Route, now_s: float) -> Nearby:
        """What was heard of the prefix of an address; nothing on our own link, where no router stands between."""
        if route.gateway is None:
            return NOTHING_NEARBY
        return self._neighbourhoods.around(address, route.gateway, now_s)

    def port(self, address: Address, other_than: int, since_s: float = -inf) -> int | None:
        """A port of the address that answered, and not before that second, if it is not the one in question."""
        port, heard_s = self._ports.get(address.text, _NEVER)
        return None if port == other_than or heard_s < since_s else port

    def beyond(self, gateway: str | None) -> bool:
        """Whether the gateway, or anything behind it, has answered."""
        return gateway is not None and gateway in self._gateways

    def family(self, family: int) -> bool:
        """Whether anything but ourselves has answered over that family."""
        return family in self._families
