"""One target until decided: climb, ask witnesses while they can tell more, conclude."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

import anyio

from fleetprobe.decide import Ask, Offer, best, decide, worst
from fleetprobe.engine.budget import Gate
from fleetprobe.engine.families import with_partial
from fleetprobe.examination import AddressResult, Climb, Examination, Step
from fleetprobe.layer import Ground, Ladder, Layer, found
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Target
from fleetprobe.model.verdict import Finding, State, Verdict
from fleetprobe.net.interface import Address, Net, Route

MOST_ADDRESSES = 8


class Examiner:
    """Examines targets one at a time; many calls may run side by side over the same net and gate."""

    def __init__(self, net: Net, policy: Policy, gate: Gate) -> None:
        self._net = net
        self._policy = policy
        self._gate = gate

    async def examine(self, target: Target, ladder: Ladder) -> Examination:
        """Everything that can be told about the target, within its deadline."""
        started_at, started = time.time(), self._net.now()
        connect_s = target.timeout_s or self._policy.connect_s
        ground = Ground(target=target, policy=self._policy, deadline=started + self._policy.deadline_for(connect_s))
        trunk_layers = tuple(layer for layer in ladder if not layer.per_address)
        limbs = tuple(layer for layer in ladder if layer.per_address)
        trunk = Climb(purpose="climb", started_s=started)
        await self._ascend(trunk_layers, ground, trunk)
        below = [finding for step in trunk.steps for finding in step.findings]
        results: list[AddressResult] = []
        if not trunk.broke:
            addresses = ground.addresses or (_literal(target),)
            results = await self._fork(_Ways(trunk_layers, limbs), ground, addresses[:MOST_ADDRESSES], below)
        names = _names(ladder)
        speaker = _speaker(target, results)
        verdict = _no_address(names, below) if speaker is None else with_partial(results, speaker, self._net.heard)
        return Examination(
            target=target,
            ladder=names,
            started_at=started_at,
            started_s=started,
            ended_s=self._net.now(),
            trunk=trunk,
            addresses=results,
            speaker=speaker,
            verdict=verdict,
        )

    async def _fork(
        self, ways: _Ways, ground: Ground, addresses: Sequence[Address], below: Sequence[Finding]
    ) -> list[AddressResult]:
        """Climb on every address at once: whole on the first working one of each family, else only connect."""
        branches = [_Branch(self, ways, ground, address, below) for address in addresses]
        if len(branches) == 1:
            await branches[0].run(())
        else:
            async with anyio.create_task_group() as group:
                for index, branch in enumerate(branches):
                    family = branch.address.family
                    elder = [other for other in branches[:index] if other.address.family == family]
                    group.start_soon(branch.run, elder)
        return [branch.result() for branch in branches]

    async def _ascend(self, layers: Ladder, ground: Ground, climb: Climb) -> None:
        """Ask rung after rung until one breaks in a way that leaves nothing to stand on."""
        for layer in layers:
            step = await self._ask(layer, ground)
            climb.steps.append(step)
            if any(finding.breaks and finding.code not in layer.goes_on for finding in step.findings):
                break
        climb.attempts = ground.attempts
        climb.ended_s = self._net.now()

    async def _ask(self, layer: Layer, ground: Ground) -> Step:
        started = self._net.now()
        try:
            facts = await layer.probe(ground, self._net)
            ended = self._net.now()
            ground.facts[layer.name] = facts
            findings = tuple(_placed(finding, layer.name) for finding in layer.judge(facts, self._policy))
        except Exception as bug:  # noqa: BLE001  # a bug of ours has its own code
            facts, ended = None, self._net.now()
            findings = (_bug(layer, bug),)
        return Step(
            layer=layer.name,
            started_s=started,
            ended_s=ended,
            findings=findings,
            facts=facts,
            duration=layer.duration,
        )


class _Ways:
    """How far a branch may climb: the whole ladder, or only to the connection."""

    def __init__(self, trunk: Ladder, limbs: Ladder) -> None:
        self.base = tuple(takewhile(lambda layer: layer.everywhere, limbs))
        self.upper = limbs[len(self.base) :]
        self.names = {True: _names(trunk + limbs), False: _names(trunk + self.base)}
        self.limbs = {True: limbs, False: self.base}


class _Branch:
    """One address of one target."""

    def __init__(
        self, examiner: Examiner, ways: _Ways, trunk: Ground, address: Address, below: Sequence[Finding]
    ) -> None:
        self.address = address
        self._examiner = examiner
        self._ways = ways
        self._trunk = trunk
        self._below = below
        self._climbs: list[Climb] = []
        self._extra: list[Finding] = []
        self._queue_s = 0.0
        self._verdict: Verdict | None = None
        self._connected: bool | None = None
        self._base_over: anyio.Event | None = None

    async def run(self, elder: Sequence[_Branch]) -> None:
        """Be admitted, climb, settle."""
        gate, net = self._examiner._gate, self._examiner._net
        denied = gate.denied(self.address)
        if denied is not None:
            self._verdict = Verdict(state=State.BLOCKED, finding=found("policy.denied", denied, {}))
            self._over(connected=False)
            return
        on_link = _on_link(net.route(self.address))
        self._queue_s = await gate.enter(self.address, net.now, on_link=on_link)
        try:
            whole = await self._climb_first(elder)
            await self._settle(whole)
        finally:
            self._over(connected=False)
            gate.leave(self.address, on_link=on_link)

    def result(self) -> AddressResult:
        """What is known when the branch is over."""
        assert self._verdict is not None
        return AddressResult(
            address=self.address, climbs=self._climbs, verdict=self._verdict, queue_s=self._queue_s
        )

    async def _climb_first(self, elder: Sequence[_Branch]) -> bool:
        """The first climb. Returns whether it is this branch's part to climb the whole ladder."""
        climb, ground = self._new_climb("climb"), self._new_ground()
        try:
            await self._examiner._ascend(self._ways.base, ground, climb)
            self._over(connected=not climb.broke)
            for branch in elder:
                if await branch.connects():
                    return False
            if not climb.broke:
                await self._examiner._ascend(self._ways.upper, ground, climb)
            return True
        finally:
            _end(ground, climb)

    async def connects(self) -> bool:
        """Wait until the base of the first climb is over; whether it reached a connection."""
        if self._connected is None:
            self._base_over = self._base_over or anyio.Event()
            await self._base_over.wait()
        return bool(self._connected)

    def _over(self, *, connected: bool) -> None:
        if self._connected is None:
            self._connected = connected
        if self._base_over is not None:
            self._base_over.set()

    async def _settle(self, whole: bool) -> None:
        """Ask one witness after another until the cause is settled or nothing more can tell."""
        limbs, names = self._ways.limbs[whole], self._ways.names[whole]
        offers = self._offers(limbs)
        asked: set[Ask] = set()
        while True:
            match decide(names, self._findings(), offers, asked):
                case Ask() as ask if not self._time_left():
                    asked.add(ask)
                case Ask() as ask:
                    asked.add(ask)
                    await self._witness(ask, limbs)
                case Verdict() as verdict:
                    self._verdict = verdict
                    return

    def _time_left(self) -> bool:
        return self._examiner._net.now() < self._trunk.deadline

    def _offers(self, limbs: Ladder) -> tuple[Offer, ...]:
        if not self._examiner._policy.witnesses:
            return ()
        return tuple(
            Offer(witness.name, witness.when, witness.times) for layer in limbs for witness in layer.witnesses
        )

    async def _witness(self, ask: Ask, limbs: Ladder) -> None:
        """Put the question. A witness without a probe of its own is the climb done again."""
        declared = next(
            (layer, witness)
            for layer in limbs
            for witness in layer.witnesses
            if witness.name == ask.witness
        )
        layer, witness = declared
        climb, ground = self._new_climb(ask.witness), self._new_ground()
        try:
            if witness.probe is None or witness.judge is None:
                await self._examiner._ascend(limbs, ground, climb)
            else:
                climb.aside = True
                ground.facts.update(self._known())
                stand_in = replace(layer, probe=witness.probe, judge=witness.judge)
                await self._examiner._ascend((stand_in,), ground, climb)
        finally:
            _end(ground, climb)
        climb.attempts = [replace(attempt, purpose=ask.witness) for attempt in climb.attempts]

    def _known(self) -> dict[str, Any]:
        """What the last climb of each rung told, for a witness to build on."""
        return {step.layer: step.facts for climb in self._climbs if not climb.aside for step in climb.steps}

    def _findings(self) -> list[Finding]:
        own = [finding for climb in self._climbs for step in climb.steps for finding in step.findings]
        return [*self._below, *own]

    def _new_climb(self, purpose: str) -> Climb:
        climb = Climb(purpose=purpose, started_s=self._examiner._net.now())
        self._climbs.append(climb)
        return climb

    def _new_ground(self) -> Ground:
        trunk = self._trunk
        return Ground(
            target=trunk.target,
            policy=trunk.policy,
            deadline=trunk.deadline,
            addresses=trunk.addresses,
            address=self.address,
            facts=dict(trunk.facts),
        )


def _on_link(route: Route) -> bool:
    """Whether the kernel has to find the address itself by ARP or ND."""
    return route.errno_name is None and route.gateway is None and not route.local


def _end(ground: Ground, climb: Climb) -> None:
    if ground.stream is None:
        return
    if climb.broke or not climb.steps:
        ground.stream.abort()
    else:
        ground.stream.release()


def _names(ladder: Ladder) -> tuple[str, ...]:
    return tuple(layer.name for layer in ladder)


def _literal(target: Target) -> Address:
    text = target.connect_to or target.host
    return Address(text, 6 if ":" in text else 4)


def _speaker(target: Target, results: Sequence[AddressResult]) -> int | None:
    if not results:
        return None
    verdicts = [result.verdict for result in results]
    return worst(verdicts) if target.expect.addresses == "all" else best(verdicts)


def _no_address(names: Sequence[str], below: Sequence[Finding]) -> Verdict:
    verdict = decide(names, below)
    assert isinstance(verdict, Verdict)
    return verdict


def _placed(finding: Finding, rung: str) -> Finding:
    return finding if finding.layer == rung else replace(finding, rung=rung)


def _bug(layer: Layer, bug: Exception) -> Finding:
    trace = "".join(traceback.format_exception(bug))[-2000:]
    facts = {"layer": layer.name, "exception": type(bug).__name__, "traceback": trace}
    return found("local.bug", f"a bug of ours in the {layer.name} layer: {type(bug).__name__}", facts)
