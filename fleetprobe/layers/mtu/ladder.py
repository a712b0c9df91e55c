"""The witness of a stall: the same exchange again in small packets, then in larger ones until it stalls again.

Differential MSS: TCP_MAXSEG before the connection limits the segments of both directions. Ascending, so that
only the last step costs the time of a stall.
"""

from __future__ import annotations

from dataclasses import replace

from fleetprobe.layer import Ground, Layer, Witness
from fleetprobe.layers import tcp
from fleetprobe.layers.mtu.exchange import STALL_S, Exchange, climb, hole_of
from fleetprobe.layers.mtu.facts import MtuFacts
from fleetprobe.layers.mtu.judge import SUSPECTS, judge
from fleetprobe.layers.mtu.sizes import USUAL_BYTES
from fleetprobe.layers.sockets import attempts_of_search
from fleetprobe.model.policy import Mtu
from fleetprobe.net.interface import Net

_FLOOR_S = 0.5
"""What the first step gets where the kernel saw no sign of a hole: then it is most likely something else."""
_SEARCH_S = 0.3


def witness(upper: tuple[Layer, ...]) -> Witness:
    """The witness for a ladder that climbs these rungs above the connection."""

    async def probe(ground: Ground, net: Net) -> MtuFacts:
        return await _probe(upper, ground, net)

    return Witness(name="mtu", when=SUSPECTS, probe=probe, judge=judge, layer="mtu", at_once=True)


async def _probe(upper: tuple[Layer, ...], ground: Ground, net: Net) -> MtuFacts:
    facts = way(ground, net)
    rungs = _up_to_the_stall(upper, ground)
    if not rungs or facts.local or ground.policy.mtu is Mtu.NEVER:
        return facts
    stall = ground.stall
    facts = replace(facts, hole=stall.hole if stall else hole_of(ground.facts[rungs[-1].name]))
    exchange = Exchange(ground, net, (tcp.LAYER, *rungs))
    steps = await climb(exchange, facts.top_bytes, _FLOOR_S if facts.hole is None else STALL_S)
    facts = replace(facts, rungs=tuple(steps))
    if facts.passes_bytes is None or facts.stalls_bytes is None:
        return facts
    sizes = (facts.passes_bytes, facts.stalls_bytes, facts.top_bytes)
    search = await net.df_search(facts.address, sizes, ground.until(_SEARCH_S, net.now()))
    ground.attempts += attempts_of_search(search, "mtu")
    # A server may find a way around the hole by itself; it takes about three seconds, so the climb is not cut short.
    masked = stall is not None and await stall.went_on()
    return replace(facts, search=search, masked=masked)


def _up_to_the_stall(upper: tuple[Layer, ...], ground: Ground) -> list[Layer]:
    """The rungs that must be climbed to meet it again."""
    if ground.stall is None:
        return [layer for layer in upper if layer.name in ground.facts]
    names = [layer.name for layer in upper]
    return list(upper[: names.index(ground.stall.layer) + 1])


def way(ground: Ground, net: Net) -> MtuFacts:
    """What is known of the way before anything is asked."""
    assert ground.address is not None
    route = net.route(ground.address)
    link = next((one for one in net.links() if one.name == route.interface), None)
    return MtuFacts(
        address=ground.address,
        port=ground.target.port,
        top_bytes=link.mtu_bytes if link and link.mtu_bytes else USUAL_BYTES,
        gateway=route.gateway,
        local=route.local,
    )
