"""One address of one target: admitted, climbed, and questioned until its verdict stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import anyio

from fleetprobe.decide import Ask, decide
from fleetprobe.engine.ascent import ascend, end
from fleetprobe.engine.beside import Beside
from fleetprobe.engine.budget import Gate
from fleetprobe.engine.ways import Ways
from fleetprobe.examination import AddressResult, Climb
from fleetprobe.layer import Ground, Ladder, Layer, Stall, Witness, found
from fleetprobe.model.verdict import Finding, State, Verdict
from fleetprobe.net.interface import Address, Net, Route


class Branch:
    """Climbs the whole ladder on the first working address of its family, else only to the connection."""

    def __init__(
        self, net: Net, gate: Gate, ways: Ways, trunk: Ground, address: Address, below: Sequence[Finding]
    ) -> None:
        """`trunk` is the ground before the fork, `below` what was found on it."""
        self.address = address
        self._net = net
        self._gate = gate
        self._ways = ways
        self._trunk = trunk
        self._below = below
        self._climbs: list[Climb] = []
        self._queue_s = 0.0
        self._verdict: Verdict | None = None
        self._admitted = _Mark()
        self._stands = _Mark()
        self._deadline = trunk.deadline
        self._beside: Beside | None = None

    async def run(self, elder: Sequence[Branch]) -> None:
        """Be admitted, climb, settle. `elder` are the earlier addresses of the same family."""
        denied = self._gate.denied(self.address)
        if denied is not None:
            self._verdict = Verdict(state=State.BLOCKED, finding=found("policy.denied", denied, {}))
            self._admitted.set(True)
            self._stands.set(False)
            return
        # Elders go in first: who waits for an elder must not hold a place that the elder still needs.
        for branch in elder:
            await branch._admitted.wait()
        admission = self._gate.admission(self.address, on_link=_on_link(self._net.route(self.address)))
        try:
            self._queue_s = await admission.enter(self._net.now)
        finally:
            self._admitted.set(True)
        self._deadline += self._queue_s
        try:
            whole = await self._climb_first(elder)
            await self._settle(whole)
        finally:
            self._stands.set(False)
            admission.leave()
            if self._beside is not None:
                await self._beside.give_up()
                self._climbs += self._beside.given_up
                self._beside = None  # it knows us as we know it: nobody else would break the circle

    def result(self) -> AddressResult:
        """What is known when the branch is over."""
        assert self._verdict is not None
        return AddressResult(
            address=self.address, climbs=self._climbs, verdict=self._verdict, queue_s=self._queue_s
        )

    async def _climb_first(self, elder: Sequence[Branch]) -> bool:
        """The first climb. Returns whether it is this branch's part to climb the whole ladder.

        An address of the family that stood the whole ladder spares the later ones all but the connection,
        unless every address is expected to work. One that hangs is not waited for: the connection, idle for long,
        would be closed on us, and many that hang would do so one after the other.
        """
        climb, ground = self._new_climb("climb"), self._new_ground()
        if self._ways.upper and self._trunk.policy.witnesses:
            look = self._look_at if self._ways.at_once else None
            self._beside = Beside(self._again_until, look, self._net.now)
            ground.on_hole = self._beside.hole if look else None
        try:
            await ascend(self._ways.base, ground, climb, self._net)
            if elder and self._trunk.target.expect.addresses != "all":
                with anyio.move_on_after(self._trunk.policy.beside_s):
                    for branch in elder:
                        if await branch._stands.wait():
                            self._stands.set(not climb.broke)
                            return False
            if self._ways.upper and not climb.broke:
                ask = self._beside.ask if self._beside is not None else None
                await ascend(self._ways.upper, ground, climb, self._net, ask)
            self._stands.set(not climb.broke)
            return True
        finally:
            end(ground, climb)

    async def _again_until(self, climb: Climb, until_s: float) -> None:
        """The whole climb anew, beside the first one."""
        await self._climb_anew(climb, self._ways.limbs[True], until_s)

    async def _look_at(self, climb: Climb, stall: Stall) -> None:
        """The witness that is asked at once, beside the first climb."""
        assert self._ways.at_once is not None
        await self._climb_anew(climb, self._aside(self._ways.at_once, whole=True), self._deadline, stall)

    async def _settle(self, whole: bool) -> None:
        """Ask one witness after another until the cause is settled or nothing more can tell."""
        offers = self._ways.offers[whole] if self._trunk.policy.witnesses else ()
        asked: set[Ask] = set()
        if self._beside is not None and (looked := await self._beside.looked()) is not None:
            self._climbs.append(looked)
            asked.add(Ask(looked.purpose, 1))
        while True:
            answer = decide(self._ways.names[whole], self._findings(), offers, asked)
            if isinstance(answer, Verdict):
                self._verdict = answer
                # Where a witness of the path was asked already, it has seen more than a look afterwards could.
                left = self._ways.afterwards if whole and offers and not asked else ()
                if not left or answer.state not in (State.OK, State.SLOW):
                    return
                answer = left[0]
            asked.add(answer)
            if self._net.now() < self._deadline:
                await self._witness(answer, whole)

    async def _witness(self, ask: Ask, whole: bool) -> None:
        """Put the question. A witness without a probe of its own is the climb done again."""
        if aside := self._aside(ask.witness, whole=whole):
            await self._climb_anew(self._new_climb(ask.witness, aside=True), aside, self._deadline)
        elif self._beside and (begun := await self._beside.take(self._climbs[0])) is not None:
            self._climbs.append(begun)
        elif self._new_ground().handshakes_left:
            await self._climb_anew(self._new_climb(ask.witness), self._ways.limbs[whole], self._deadline)

    def _aside(self, name: str, *, whole: bool) -> Ladder:
        """The one rung of a witness with a probe of its own; none when it is the climb done again."""
        layer, witness = _declared(self._ways.limbs[whole], name)
        if witness.probe is None or witness.judge is None:
            return ()
        name = witness.layer or layer.name
        return (replace(layer, name=name, probe=witness.probe, judge=witness.judge, duration=None),)

    async def _climb_anew(self, climb: Climb, limbs: Ladder, until_s: float, stall: Stall | None = None) -> None:
        """One more climb, or one more question, over a connection of its own."""
        ground = self._new_ground()
        ground.stall = stall
        ground.deadline = min(until_s, ground.deadline)
        if climb.aside:
            ground.facts.update(self._known())
        try:
            await ascend(limbs, ground, climb, self._net)
        finally:
            end(ground, climb)
            told = ground.attempts
            climb.attempts = told if climb.aside else [replace(attempt, purpose=climb.purpose) for attempt in told]
            climb.ended_s = self._net.now()
            # A witness that had nothing to ask leaves no trace.
            climb.steps = [step for step in climb.steps if step.facts is not None or step.findings]

    def _known(self) -> dict[str, Any]:
        """What the last climb of each rung told, for a witness to build on."""
        return {step.layer: step.facts for climb in self._climbs if not climb.aside for step in climb.steps}

    def _findings(self) -> list[Finding]:
        own = [finding for climb in self._climbs for step in climb.steps for finding in step.findings]
        return [*self._below, *own]

    def _new_climb(self, purpose: str, *, aside: bool = False) -> Climb:
        climb = Climb(purpose=purpose, started_s=self._net.now(), aside=aside)
        self._climbs.append(climb)
        return climb

    def _new_ground(self) -> Ground:
        trunk = self._trunk
        known = [*self._climbs, *(self._beside.given_up if self._beside else ())]
        return Ground(
            target=trunk.target,
            policy=trunk.policy,
            deadline=self._deadline,
            addresses=trunk.addresses,
            address=self.address,
            tried=tuple([attempt for climb in known for attempt in climb.attempts]),
            facts=dict(trunk.facts),
            errands=trunk.errands,
        )


class _Mark:
    """Something that is decided once, and that others may wait for. Costs nothing while nobody waits."""

    def __init__(self) -> None:
        self._value: bool | None = None
        self._event: anyio.Event | None = None

    def set(self, value: bool) -> None:
        if self._value is None:
            self._value = value
            if self._event is not None:
                self._event.set()

    async def wait(self) -> bool:
        if self._value is None:
            self._event = self._event or anyio.Event()
            await self._event.wait()
        return bool(self._value)


def _declared(limbs: Sequence[Layer], name: str) -> tuple[Layer, Witness]:
    return next((layer, witness) for layer in limbs for witness in layer.witnesses if witness.name == name)


def _on_link(route: Route) -> bool:
    """Whether the kernel has to find the address itself by ARP or ND."""
    return route.errno_name is None and route.gateway is None and not route.local
