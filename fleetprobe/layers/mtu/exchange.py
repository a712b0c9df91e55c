"""The climb's exchange once more, in packets of at most some size, and with a request of at least some size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fleetprobe.layer import Ground, Layer
from fleetprobe.layers.mtu.rungs import Met, Rung
from fleetprobe.layers.mtu.sizes import mss_of
from fleetprobe.model.verdict import Finding
from fleetprobe.net.interface import Net, Segments
from fleetprobe.net.path import Hole

_STALL_RTTS = 6.0
STALL_S = 0.8
"""Long enough for two retransmits (RFC 6298: the first after 0.2 to 1 s), so that one lost packet is no stall."""
_MORE_THOUGHT, _MOST_THOUGHT_S = 1.25, 1.5
_FEWEST_RTTS = 2.0
"""Of an exchange that passes: the connection, and the request with its answer."""
_TAIL_BYTES = 8
_LADDER_S, _LADDER_RTTS = 8.0, 40.0
"""What all exchanges together may take; where many packets are lost each of them is slow, and nothing is learnt."""
_WIDEST_PAD_BYTES = 9000
"""Nobody takes a header of two packets of a loopback's size."""
_SPARE_BYTES = 200
"""Beyond two full segments: the small tail that is acknowledged when the large ones are not."""


class Exchange:
    """The climb's exchange, to be had again in packets of any size."""

    def __init__(
        self, ground: Ground, net: Net, limbs: tuple[Layer, ...], top_bytes: int, *,
        thought_s: float = 0.0, large: bool = False,
    ) -> None:
        """`thought_s`: how long the server took for its answer before; `large`: every request fills segments."""
        self._ground = ground
        self._net = net
        self._limbs = limbs
        self._top_bytes = top_bytes
        self._thought_s = thought_s
        self._large = large
        self._dial = ground.facts["tcp"].dial
        rtts_s = _LADDER_RTTS * (self._dial.rtt_ms or 0.0) / 1000.0
        self._until_s = ground.until(_LADDER_S + rtts_s, net.now())

    @property
    def fills_segments(self) -> bool:
        """Whether our side of it can be made to fill several segments: a long header, or a ClientHello as it is."""
        return self._limbs[-1].name in ("tls", "http")

    def since_first_syn_ms(self) -> float:
        """How long ago the climb began that is to be explained."""
        since_s: float = self._net.now() - self._dial.started_s
        return since_s * 1000.0

    async def at(
        self, size_bytes: int, budget_s: float = STALL_S, *,
        large: bool = False, piece_bytes: int | None = None, may_fragment: bool = False,
    ) -> Rung:
        """Once, on a connection of its own, over before it costs more than one stall of a server that thinks as before.

        `large`: with a request that fills several segments; the others as in `Segments`.
        """
        mss = None if size_bytes >= self._top_bytes else mss_of(size_bytes, self._dial.address.family)
        segments = Segments(
            mss_bytes=mss, piece_bytes=piece_bytes, tail_bytes=_TAIL_BYTES, may_fragment=may_fragment
        )
        thought_s = min(_MORE_THOUGHT * self._thought_s, _MOST_THOUGHT_S)
        ground = self._inner(segments, large or self._large)
        began_s = self._net.now()
        try:
            rung = await self._climbed(ground, size_bytes, budget_s + thought_s)
            if rung.met is Met.PASSES:
                took_s = self._net.now() - began_s
                self._thought_s = max(self._thought_s, took_s - _FEWEST_RTTS * self._rtt_s(ground))
            return rung
        finally:
            if ground.stream is not None:
                ground.stream.abort()
            self._ground.attempts += [replace(attempt, purpose="mtu") for attempt in ground.attempts]

    async def _climbed(self, ground: Ground, size_bytes: int, budget_s: float) -> Rung:
        for layer in self._limbs:
            ground.policy = replace(ground.policy, exchange_s=budget_s + _STALL_RTTS * self._rtt_s(ground))
            last = ground.facts[layer.name] = await layer.probe(ground, self._net)
            findings = layer.judge(last, ground.policy)
            silent = next((finding for finding in findings if finding.breaks and finding.silences), None)
            if silent is not None:
                return Rung(size_bytes, Met.UNCLEAR if layer.name == "tcp" else Met.STALLS, hole_of(last), silent)
            if not _goes_on(layer, findings, last=layer is self._limbs[-1]):
                return Rung(size_bytes, Met.UNCLEAR)
        return Rung(size_bytes, Met.PASSES)

    def _rtt_s(self, ground: Ground) -> float:
        """The shorter of what this connection and the climb's were told: one lost SYN makes it seem a second."""
        dials = (self._dial, *(facts.dial for name, facts in ground.facts.items() if name == "tcp"))
        return min(dial.rtt_ms or 0.0 for dial in dials) / 1000.0

    def _inner(self, segments: Segments, large: bool) -> Ground:
        outer = self._ground
        assert outer.address is not None
        # Not by the link: the whole of it must fit into the first flight, or its tail would not be sent.
        pad_bytes = 2 * min(self._dial.mss_bytes or self._top_bytes, _WIDEST_PAD_BYTES) + _SPARE_BYTES
        return Ground(
            target=replace(outer.target, timeout_s=None),
            policy=replace(outer.policy, witnesses=False),
            deadline=self._until_s,
            addresses=outer.addresses,
            address=outer.address,
            segments=segments,
            pad_bytes=pad_bytes if large else 0,
        )


def _goes_on(layer: Layer, findings: Sequence[Finding], *, last: bool) -> bool:
    """Whether what the rung met was an answer, however unwelcome: the bytes of both sides have passed."""
    loud = [finding for finding in findings if finding.breaks]
    if last and not layer.goes_on:
        return all(finding.layer == layer.name for finding in loud)
    return all(finding.code in layer.goes_on for finding in loud)


def hole_of(facts: object) -> Hole | None:
    """The kernel's account of segments that vanished, where a layer's facts have one."""
    hole = getattr(facts, "hole", None)
    return hole if isinstance(hole, Hole) else None
