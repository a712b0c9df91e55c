"""One target until decided: the trunk once, a branch for each address, and which address speaks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import anyio

from fleetprobe.decide import best, decide, worst
from fleetprobe.engine.ascent import ascend
from fleetprobe.engine.branch import Branch
from fleetprobe.engine.budget import Gate
from fleetprobe.engine.families import with_partial
from fleetprobe.engine.ways import Ways, ways_of
from fleetprobe.examination import AddressResult, Climb, Examination
from fleetprobe.layer import Errands, Ground, Ladder
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Target
from fleetprobe.model.verdict import Confidence, Finding, State, Verdict
from fleetprobe.net.interface import Address, Net

MOST_ADDRESSES = 8


class Examiner:
    """Examines targets one at a time; many calls may run side by side over the same net and gate."""

    def __init__(self, net: Net, policy: Policy, gate: Gate, errands: Errands | None = None) -> None:
        self._net = net
        self._policy = policy
        self._gate = gate
        self._errands = errands

    async def examine(self, target: Target, ladder: Ladder) -> Examination:
        """Everything that can be told about the target, within its deadline."""
        ways = ways_of(ladder)
        started_at, started = time.time(), self._net.now()
        connect_s = target.timeout_s or self._policy.connect_s
        ground = Ground(
            target=target, policy=self._policy, deadline=started + self._policy.deadline_for(connect_s),
            errands=self._errands,
        )
        trunk = Climb(purpose="climb", started_s=started)
        await ascend(ways.trunk, ground, trunk, self._net)
        below = [finding for step in trunk.steps for finding in step.findings]
        results: list[AddressResult] = []
        if not trunk.broke:
            addresses = ground.addresses or (_literal(target),)
            results = await self._fork(ways, ground, addresses[:MOST_ADDRESSES], below)
        speaker = _speaker(target, results)
        return Examination(
            target=target,
            ladder=ways.names[True],
            started_at=started_at,
            started_s=started,
            ended_s=self._net.now(),
            trunk=trunk,
            addresses=results,
            speaker=speaker,
            verdict=self._verdict(ways, below, results, speaker, untried=len(ground.addresses) - len(results)),
        )

    async def _fork(
        self, ways: Ways, ground: Ground, addresses: Sequence[Address], below: Sequence[Finding]
    ) -> list[AddressResult]:
        """Every address at once; the usual single one without a task of its own."""
        branches = [Branch(self._net, self._gate, ways, ground, address, below) for address in addresses]
        if len(branches) == 1:
            await branches[0].run(())
        else:
            async with anyio.create_task_group() as group:
                for index, branch in enumerate(branches):
                    family = branch.address.family
                    elder = [other for other in branches[:index] if other.address.family == family]
                    group.start_soon(branch.run, elder)
        return [branch.result() for branch in branches]

    def _verdict(
        self,
        ways: Ways,
        below: Sequence[Finding],
        results: Sequence[AddressResult],
        speaker: int | None,
        *,
        untried: int,
    ) -> Verdict:
        if speaker is not None:
            verdict = with_partial(results, speaker, self._net.heard)
            return _weaker(verdict) if untried > 0 and verdict.state is State.FAIL else verdict
        told = decide(ways.names[True], below)
        assert isinstance(told, Verdict)
        return told


def _weaker(verdict: Verdict) -> Verdict:
    """A failure of the addresses tried, while the name has more of them."""
    finding = verdict.finding
    if finding is None or finding.confidence is Confidence.PROVEN:
        return verdict
    return replace(verdict, finding=replace(finding, confidence=Confidence.INFERRED))


def _literal(target: Target) -> Address:
    text = target.connect_to or target.host
    return Address(text, 6 if ":" in text else 4)


def _speaker(target: Target, results: Sequence[AddressResult]) -> int | None:
    if not results:
        return None
    verdicts = [result.verdict for result in results]
    return worst(verdicts) if target.expect.addresses == "all" else best(verdicts)
