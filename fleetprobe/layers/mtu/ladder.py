"""The witness of a stall: the same exchange again in small packets, then in larger ones until it stalls again.

Differential MSS: TCP_MAXSEG before the connection limits the segments of both directions. One target of a path
proves its hole; the others that stall wait for that, and show with one exchange that it is theirs too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fleetprobe.layer import Ground, Layer, Witness
from fleetprobe.layers import tcp
from fleetprobe.layers.mtu.around import look_around
from fleetprobe.layers.mtu.boundary import climb, repeated, to_the_byte
from fleetprobe.layers.mtu.exchange import Exchange, hole_of
from fleetprobe.layers.mtu.facts import MtuFacts
from fleetprobe.layers.mtu.judge import SUSPECTS, judge
from fleetprobe.layers.mtu.rungs import Met, Rung
from fleetprobe.layers.mtu.sizes import DEEP_BYTES, FLOOR_BYTES, USUAL_BYTES, milestones_to
from fleetprobe.model.policy import Mtu
from fleetprobe.net.interface import Net
from fleetprobe.net.known_path import KnownPath, ProvenHole

_FLOOR_S = 0.5
"""What the first step gets after a climb without any sign of a hole: most likely it is something else."""
_BESIDE_S = 1.3
"""What it gets beside such a climb, which costs no time: the server may well think for a second."""
_TURN_S = 5.0
"""How long another's proof is waited for: two of them, if the first comes to nothing."""


def witness(upper: tuple[Layer, ...]) -> Witness:
    """The witness for a ladder that climbs these rungs above the connection."""

    async def probe(ground: Ground, net: Net) -> MtuFacts | None:
        return await _probe(upper, ground, net)

    return Witness(name="mtu", when=SUSPECTS, probe=probe, judge=judge, layer="mtu", at_once=True)


async def _probe(upper: tuple[Layer, ...], ground: Ground, net: Net) -> MtuFacts | None:
    """None where sizes are no question."""
    facts = way(ground, net)
    limbs = _up_to_the_stall(upper, ground)
    path = net.known_path(facts.address)
    if not limbs or path is None or facts.top_bytes <= FLOOR_BYTES or ground.policy.mtu is Mtu.NEVER:
        return None
    stall = ground.stall
    facts = replace(facts, hole=stall.hole if stall else hole_of(ground.facts[limbs[-1].name]))
    exchange = Exchange(ground, net, (tcp.LAYER, *limbs), facts.top_bytes, thought_s=_thought_s(facts, ground, net))
    told = await prove(facts, exchange, path, ground, net)
    if stall is not None and stall.hole is not None and told.nothing_passed and not await stall.went_on():
        # A server may serve one connection at a time, and the climb that hung was the one.
        told = await prove(facts, exchange, path, ground, net)
    if told.boundary is None or stall is None:
        return told
    # A server may find a way around the hole by itself; it takes about three seconds, so the climb is not cut short.
    return replace(told, masked=await stall.went_on())


async def prove(facts: MtuFacts, exchange: Exchange, path: KnownPath, ground: Ground, net: Net) -> MtuFacts:
    """Find the boundary, or show that the one which is known of the path holds here too."""
    floor: Rung | None = None
    if facts.hole is None and path.hole is None:
        # Nothing points to a hole: not worth waiting for anybody, unless small packets pass.
        floor = await exchange.at(FLOOR_BYTES, _FLOOR_S if ground.stall is None else _BESIDE_S)
        if floor.met is not Met.PASSES:
            return replace(facts, rungs=(floor,))
    # Where only small packets were seen to pass, that is no reason to wait for others either.
    held = await net.turn(path, ground.until(_TURN_S if facts.hole is not None else 0.0, net.now()))
    try:
        if not held and path.hole is not None:
            told = await _as_known(facts, exchange, path.hole, net)
            if told.boundary is not None:
                path.met(facts.address)
                return replace(told, proof_ms=exchange.since_first_syn_ms())
        facts = await _surely(await _climbed(facts, exchange, floor, net), exchange, net)
        if facts.boundary is None:
            return facts
        facts = replace(facts, proof_ms=exchange.since_first_syn_ms())
        if ground.stall is not None:
            ground.stall.keep()
        facts = await _surely(await look_around(facts, exchange, ground, net), exchange, net)
        if held and facts.boundary is not None:
            path.hole = _proven(facts)
            path.met(facts.address)
    finally:
        if held:
            path.give_back()
    if ground.policy.mtu_to_the_byte and facts.boundary is not None:
        facts = replace(facts, refined=tuple(await to_the_byte(exchange, net, *facts.boundary)))
    return facts


async def _climbed(facts: MtuFacts, exchange: Exchange, floor: Rung | None, net: Net) -> MtuFacts:
    """The ladder from the floor up, or from below where the floor itself vanishes."""
    sizes: Sequence[int] = milestones_to(facts.top_bytes)
    lowest = [floor] if floor is not None else await repeated(exchange, net, (FLOOR_BYTES, sizes[0]))
    sizes = [size for size in sizes if size > lowest[-1].size_bytes]
    if lowest[0].met is Met.STALLS and facts.hole is not None:
        deeper = await exchange.at(DEEP_BYTES[0])
        if deeper.met is Met.PASSES:
            lowest, sizes = [deeper], DEEP_BYTES[1:]
    return replace(facts, rungs=(*facts.rungs, *await climb(exchange, net, sizes, lowest)))


async def _surely(facts: MtuFacts, exchange: Exchange, net: Net) -> MtuFacts:
    """Both sides of the boundary more often, where no sign bears it out, or something speaks against the sign.

    A server that hangs now and then could look like a boundary by chance.
    """
    if not facts.wanting or facts.steps is None:
        return facts
    return replace(facts, rungs=(*facts.rungs, *await repeated(exchange, net, facts.wanting * facts.steps)))


def _thought_s(facts: MtuFacts, ground: Ground, net: Net) -> float:
    """How long the server took before the kernel saw the first of its bytes that came too early."""
    if ground.stall is None or facts.hole is None:
        return 0.0
    dial = ground.facts["tcp"].dial
    asked_s: float = dial.ended_s + (dial.rtt_ms or 0.0) / 1000.0
    return max(0.0, net.now() - facts.hole.since_ms / 1000.0 - asked_s)


async def _as_known(facts: MtuFacts, exchange: Exchange, hole: ProvenHole, net: Net) -> MtuFacts:
    """Both sides of the boundary at once: what hung may have another size, or another reason."""
    rungs = await repeated(exchange, net, (hole.passes_bytes, hole.stalls_bytes))
    return await _surely(replace(facts, known=hole, rungs=(*facts.rungs, *rungs)), exchange, net)


def _proven(facts: MtuFacts) -> ProvenHole:
    assert facts.boundary is not None
    passes, stalls = facts.boundary
    return ProvenHole(
        passes_bytes=passes, stalls_bytes=stalls, direction=facts.direction, behind_hop=facts.last_hop,
        dropped=facts.dropped, address=facts.address.text,
    )


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
        interface=route.interface,
    )
