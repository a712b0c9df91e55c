"""One address of one target: admitted, climbed, and questioned until its verdict stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import anyio

from fleetprobe.decide import Ask, decide
from fleetprobe.engine.ascent import AskRung, ascend, end
from fleetprobe.engine.beside import Beside
from fleetprobe.engine.budget import Gate
from fleetprobe.engine.ways import Ways
from fleetprobe.examination import AddressResult, Climb
from fleetprobe.layer import Ground, Ladder, Layer, Witness, found
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
        try:
            await ascend(self._ways.base, ground, climb, self._net)
            if elder and self._trunk.target.expect.addresses != "all":
                with anyio.move_on_after(self._trunk.policy.beside_s):
                    for branch in elder:
                        if await branch._stands.wait():
                            self._stands.set(not climb.broke)
                            return False
            if self._ways.upper and not climb.broke:
                await ascend(self._ways.upper, ground, climb, self._net, self._with_another_beside())
            self._stands.set(not climb.broke)
            return True
        finally:
            end(ground, climb)

    def _with_another_beside(self) -> AskRung | None:
        """How the rungs above the connection are asked when a silence there may be repeated."""
        if not self._trunk.policy.witnesses:
            return None
        limbs = self._ways.limbs[True]
        self._beside = Beside(lambda climb, until_s: self._climb_anew(climb, limbs, until_s), self._net.now)
        return self._beside.ask

    async def _settle(self, whole: bool) -> None:
        """Ask one witness after another until the cause is settled or nothing more can tell."""
        offers = self._ways.offers[whole] if self._trunk.policy.witnesses else ()
        asked: set[Ask] = set()
        while True:
            match decide(self._ways.names[whole], self._findings(), offers, asked):
                case Ask() as ask:
                    asked.add(ask)
                    if self._net.now() < self._deadline:
                        await self._witness(ask, whole)
                case Verdict() as verdict:
                    self._verdict = verdict
                    return

    async def _witness(self, ask: Ask, whole: bool) -> None:
        """Put the question. A witness without a probe of its own is the climb done again."""
        limbs = self._ways.limbs[whole]
        layer, witness = _declared(limbs, ask.witness)
        if witness.probe is not None and witness.judge is not None:
            aside = (replace(layer, probe=witness.probe, judge=witness.judge),)
            await self._climb_anew(self._new_climb(ask.witness, aside=True), aside, self._deadline)
        elif self._beside and (begun := await self._beside.take(self._climbs[0])) is not None:
            self._climbs.append(begun)
        elif self._new_ground().handshakes_left:
            await self._climb_anew(self._new_climb(ask.witness), limbs, self._deadline)

    async def _climb_anew(self, climb: Climb, limbs: Ladder, until_s: float) -> None:
        """One more climb, or one more question, over a connection of its own."""
        ground = self._new_ground()
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
            tried=tuple(attempt for climb in known for attempt in climb.attempts),
            facts=dict(trunk.facts),
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
