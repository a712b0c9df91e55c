"""The climb's exchange once more, in packets of at most some size, and with a request of at least some size."""

from __future__ import annotations

from dataclasses import replace

from fleetprobe.layer import Ground, Layer
from fleetprobe.layers.mtu.facts import Met, Rung
from fleetprobe.layers.mtu.sizes import FLOOR_BYTES, mss_of, steps_below
from fleetprobe.net.interface import Net
from fleetprobe.net.path import Hole

_STALL_RTTS = 8.0
STALL_S = 0.8
"""Long enough for two retransmits (RFC 6298: the first after 0.2 to 1 s), so that one lost packet is no stall."""


class Exchange:
    """The climb's exchange, to be had again in packets of any size."""

    def __init__(self, ground: Ground, net: Net, limbs: tuple[Layer, ...], pad_bytes: int = 0) -> None:
        self._pad_bytes = pad_bytes
        self._ground = ground
        self._net = net
        self._limbs = limbs
        dial = ground.facts["tcp"].dial
        self._rtts_s = _STALL_RTTS * (dial.rtt_ms or 0.0) / 1000.0

    async def at(self, size_bytes: int, budget_s: float = STALL_S) -> Rung:
        """Once, on a connection of its own, over before it costs more than one stall."""
        ground = self._inner(size_bytes, budget_s + self._rtts_s)
        try:
            for layer in self._limbs:
                last = ground.facts[layer.name] = await layer.probe(ground, self._net)
                findings = layer.judge(last, ground.policy)
                if any(finding.breaks and finding.silences for finding in findings):
                    return Rung(size_bytes, Met.UNCLEAR if layer.name == "tcp" else Met.STALLS, hole_of(last))
                if layer is not self._limbs[-1] and any(
                    finding.breaks and finding.code not in layer.goes_on for finding in findings
                ):
                    return Rung(size_bytes, Met.UNCLEAR)
            return Rung(size_bytes, Met.PASSES)
        finally:
            if ground.stream is not None:
                ground.stream.abort()
            self._ground.attempts += [replace(attempt, purpose="mtu") for attempt in ground.attempts]

    def _inner(self, size_bytes: int, budget_s: float) -> Ground:
        outer = self._ground
        assert outer.address is not None
        return Ground(
            target=replace(outer.target, timeout_s=None),
            policy=replace(outer.policy, exchange_s=budget_s, witnesses=False),
            deadline=outer.deadline,
            addresses=outer.addresses,
            address=outer.address,
            mss_bytes=mss_of(size_bytes, outer.address.family),
            pad_bytes=self._pad_bytes,
        )


async def climb(exchange: Exchange, top_bytes: int, floor_s: float = STALL_S) -> list[Rung]:
    """Ascending to the first stall, then both sides of the boundary once more."""
    rungs = [await exchange.at(FLOOR_BYTES, floor_s)]
    if rungs[0].met is not Met.PASSES:
        return rungs
    for size in (*steps_below(top_bytes)[1:], top_bytes):
        rungs.append(await exchange.at(size))
        if rungs[-1].met is not Met.PASSES:
            break
    if rungs[-1].met is Met.STALLS:
        below, above = rungs[-2].size_bytes, rungs[-1].size_bytes
        rungs += [await exchange.at(below), await exchange.at(above)]
    return rungs


def hole_of(facts: object) -> Hole | None:
    """The kernel's account of segments that vanished, where a layer's facts have one."""
    hole = getattr(facts, "hole", None)
    return hole if isinstance(hole, Hole) else None
