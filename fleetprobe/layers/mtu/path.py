"""The check of a path after a climb that went well: do packets as large as our link carries arrive?

Small answers hide a hole. Datagrams of every size are sent at once, not to be fragmented; only if the large ones
do not arrive and no router says so, the climb's exchange is had once more with a request of several segments.
Both are asked once for a path; what was proven of it is told to all that come after.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fleetprobe.layer import Ground, Layer, Witness
from fleetprobe.layers import tcp
from fleetprobe.layers.mtu.around import search
from fleetprobe.layers.mtu.exchange import Exchange
from fleetprobe.layers.mtu.facts import MtuFacts
from fleetprobe.layers.mtu.judge import judge_path
from fleetprobe.layers.mtu.ladder import prove, way
from fleetprobe.layers.mtu.rungs import Met
from fleetprobe.layers.mtu.sizes import FLOOR_BYTES, packet_of, steps_below
from fleetprobe.model.policy import Mtu
from fleetprobe.net.interface import Dial, Net
from fleetprobe.net.known_path import KnownPath, PathQuestion

_SEARCH_S = 0.4


def witness(upper: tuple[Layer, ...]) -> Witness:
    """The witness for a ladder that climbs these rungs above the connection."""

    async def probe(ground: Ground, net: Net) -> MtuFacts | None:
        return await _probe(upper, ground, net)

    return Witness(
        name="path", when=frozenset(), probe=probe, judge=judge_path, layer="mtu", afterwards=True,
    )


async def _probe(upper: tuple[Layer, ...], ground: Ground, net: Net) -> MtuFacts | None:
    """None where nothing is asked and nothing is known: on our own machine, and where somebody has looked already."""
    mode = ground.policy.mtu
    assert ground.address is not None
    path = net.known_path(ground.address)
    if mode is Mtu.NEVER or path is None:
        return None
    facts = replace(way(ground, net), asked=mode is Mtu.ALWAYS, moved_bytes=_moved_bytes(ground.facts))
    if facts.top_bytes <= FLOOR_BYTES:
        return None
    if path.hole is not None and mode is Mtu.AUTO:
        facts = replace(facts, known=path.hole, search=path.search)
        path.unharmed = path.unharmed or facts.unharmed
        return facts if path.shared else None
    first = path.claim(PathQuestion.DATAGRAMS)
    told = path.search
    if first or mode is Mtu.ALWAYS:
        sizes = (*steps_below(facts.top_bytes), facts.top_bytes)
        path.search = told = await search(facts, sizes, _SEARCH_S, ground, net)
    if told is None:
        return None
    facts = replace(facts, search=told, segment_bytes=_full_segment(ground.facts["tcp"].dial))
    said = facts.reported is not None and told.largest_passed is not None
    open_still = not (facts.clean or said or facts.clamped) and upper[-1].name == "http"
    if open_still and (path.claim(PathQuestion.REQUEST) or mode is Mtu.ALWAYS):
        return await _with_large_request(facts, path, upper, ground, net)
    return facts if first or mode is Mtu.ALWAYS else None


async def _with_large_request(
    facts: MtuFacts, path: KnownPath, upper: tuple[Layer, ...], ground: Ground, net: Net
) -> MtuFacts:
    """The exchange with a request of more than two segments, and the ladder where that stalls."""
    thought_s = (ground.facts["http"].ending.first_byte_ms or 0.0) / 1000.0
    exchange = Exchange(ground, net, (tcp.LAYER, *upper), facts.top_bytes, thought_s=thought_s, large=True)
    whole = await exchange.at(facts.top_bytes)
    facts = replace(facts, rungs=(whole,), hole=whole.hole)
    if whole.met is Met.UNCLEAR:
        path.give_up(PathQuestion.REQUEST)
    # The request ends in a small tail: where the large ones before it vanish, the kernel sees that.
    if whole.met is not Met.STALLS or whole.hole is None:
        return facts
    return await prove(facts, exchange, path, ground, net)


def _full_segment(dial: Dial) -> int | None:
    """The IP packet that a full segment of ours makes."""
    if dial.mss_bytes is None:
        return None
    return packet_of(dial.mss_bytes, dial.address.family, timestamps=dial.timestamps)


def _moved_bytes(facts: dict[str, Any]) -> tuple[int, int]:
    """What the climb has sent and received in one go, at the least: it may speak against a hole that others met."""
    handshake = getattr(facts.get("tls"), "handshake", None)
    hello = handshake.hello_bytes if handshake is not None and handshake.fault is None else 0
    flight = handshake.bytes_received if handshake is not None else 0
    return hello, max(flight, getattr(facts.get("http"), "body_bytes", 0))
