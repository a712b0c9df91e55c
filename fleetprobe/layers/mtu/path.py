"""The check of a path after a climb that went well: do packets as large as our link carries arrive?

Small answers hide a hole. Datagrams of every size are sent at once, not to be fragmented; only if the large ones
do not arrive and no router says so, the climb's exchange is had once more with a request of several segments.
"""

from __future__ import annotations

from dataclasses import replace

from fleetprobe.layer import Ground, Layer, Witness
from fleetprobe.layers import tcp
from fleetprobe.layers.mtu.exchange import Exchange, climb
from fleetprobe.layers.mtu.facts import Met, MtuFacts
from fleetprobe.layers.mtu.judge import judge_path
from fleetprobe.layers.mtu.ladder import way
from fleetprobe.layers.mtu.sizes import packet_of, steps_below
from fleetprobe.layers.sockets import attempts_of_search
from fleetprobe.model.policy import Mtu
from fleetprobe.net.interface import Net

_SEARCH_S, _HOPS_S = 0.6, 0.5
_SMALL_BYTES = 200
_TTLS = range(1, 9)
_SPARE_BYTES = 200
"""Beyond two full segments: the small tail that is acknowledged when the large ones are not."""


def witness(upper: tuple[Layer, ...]) -> Witness:
    """The witness for a ladder that climbs these rungs above the connection."""

    async def probe(ground: Ground, net: Net) -> MtuFacts | None:
        return await _probe(upper, ground, net)

    return Witness(
        name="path", when=frozenset(), probe=probe, judge=judge_path, layer="mtu", afterwards=True,
    )


async def _probe(upper: tuple[Layer, ...], ground: Ground, net: Net) -> MtuFacts | None:
    """None where nothing is asked: on our own machine, and where somebody has looked already."""
    mode = ground.policy.mtu
    assert ground.address is not None
    if mode is Mtu.NEVER or (mode is Mtu.AUTO and not net.claim_path(ground.address)):
        return None
    facts = way(ground, net)
    if facts.local:
        return None
    sizes = (*steps_below(facts.top_bytes), facts.top_bytes)
    search = await net.df_search(facts.address, sizes, ground.until(_SEARCH_S, net.now()))
    ground.attempts += attempts_of_search(search, "mtu")
    segment = ground.facts["tcp"].dial.mss_bytes
    facts = replace(
        facts, search=search, asked=mode is Mtu.ALWAYS,
        segment_bytes=None if segment is None else packet_of(segment, facts.address.family),
    )
    if facts.clean or search.reported_mtu is not None or facts.clamped or upper[-1].name != "http":
        return facts
    return await _with_large_request(facts, upper, ground, net)


async def _with_large_request(
    facts: MtuFacts, upper: tuple[Layer, ...], ground: Ground, net: Net
) -> MtuFacts:
    """The exchange with a request of more than two segments, and the ladder where that stalls."""
    exchange = Exchange(ground, net, (tcp.LAYER, *upper), pad_bytes=2 * facts.top_bytes + _SPARE_BYTES)
    whole = await exchange.at(facts.top_bytes)
    facts = replace(facts, rungs=(whole,), hole=whole.hole)
    if whole.met is not Met.STALLS:
        return facts
    facts = replace(facts, rungs=(whole, *await climb(exchange, facts.top_bytes)))
    if facts.passes_bytes is None or facts.stalls_bytes is None:
        return facts
    hops = await net.df_search(
        facts.address, (_SMALL_BYTES, facts.stalls_bytes), ground.until(_HOPS_S, net.now()), ttls=tuple(_TTLS)
    )
    ground.attempts += attempts_of_search(hops, "mtu")
    return replace(facts, hops=hops)


