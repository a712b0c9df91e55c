"""What is asked once a hole is proven: which way large packets vanish, behind which hop, and what drops them."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Any

from fleetprobe.layer import Ground
from fleetprobe.layers.mtu.exchange import Exchange
from fleetprobe.layers.mtu.facts import MtuFacts
from fleetprobe.layers.mtu.rungs import Rung
from fleetprobe.layers.sockets import attempts_of_search
from fleetprobe.net.interface import Net
from fleetprobe.net.path import DfSearch

_SEARCH_S, _ASIDE_S = 0.3, 0.4
_RTTS = 4.0
_SMALL_BYTES = 200
_TTLS = tuple(range(1, 9))
_PIECE_BYTES = 500


async def look_around(facts: MtuFacts, exchange: Exchange, ground: Ground, net: Net) -> MtuFacts:
    """Datagrams of the sizes in question; where those vanish, what the way there and the way back are like besides.

    The way back shows only in the exchange itself, so it is had with our side of it in small pieces.
    """
    assert facts.boundary is not None
    passes, stalls = facts.boundary
    if facts.search is None:
        told = await search(facts, (passes, stalls, facts.top_bytes), _SEARCH_S, ground, net)
        facts = replace(facts, search=told)
    if facts.direction not in ("forward", "both"):
        return facts
    hops: Awaitable[DfSearch | Rung] = search(facts, (_SMALL_BYTES, stalls), _ASIDE_S, ground, net, ttls=_TTLS)
    names, questions = ["hops"], [hops]
    if facts.direction == "forward":
        names.append("in_pieces")
        questions.append(exchange.at(facts.top_bytes, _ASIDE_S, piece_bytes=_PIECE_BYTES))
    if facts.address.family == 4 and exchange.fills_segments:  # over IPv6 no router fragments (RFC 8200 §5)
        names.append("may_fragment")
        questions.append(exchange.at(facts.top_bytes, _ASIDE_S, large=True, may_fragment=True))
    answers: dict[str, Any] = dict(zip(names, await net.together(*questions), strict=True))
    return replace(facts, **answers)


async def search(
    facts: MtuFacts,
    sizes: Sequence[int],
    budget_s: float,
    ground: Ground,
    net: Net,
    ttls: Sequence[int | None] = (None,),
) -> DfSearch:
    """Datagrams of these sizes, all at once; a far host gets the time that its answers need."""
    rtt_s = (ground.facts["tcp"].dial.rtt_ms or 0.0) / 1000.0
    told = await net.df_search(facts.address, sizes, ground.until(budget_s + _RTTS * rtt_s, net.now()), ttls=ttls)
    ground.attempts += attempts_of_search(told, "mtu")
    return told
