"""Whether the outcome follows the source port: one member of a bundle of paths or servers is dead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleetprobe.layer import Ground, found
from fleetprobe.layers.sockets import attempt_of, outcome, where
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Confidence, Finding
from fleetprobe.net.interface import Dial, Event, Net


@dataclass(frozen=True, slots=True)
class FlowFacts:
    """The same two source ports again, twice: the one that was silent and the one that was answered.

    | field | type | meaning |
    |---|---|---|
    | silent_port | int | the source port whose SYNs met silence |
    | answered_port | int | the source port that connected |
    | silent_again, answered_again | list | what each met when tried again |
    """

    silent_port: int | None
    answered_port: int | None
    rounds: tuple[tuple[Dial, ...], ...]

    def record(self) -> Mapping[str, Any]:
        """The facts as JSON-ready values."""
        if self.silent_port is None:
            return {}
        return {
            "silent_port": self.silent_port,
            "answered_port": self.answered_port,
            "silent_again": [outcome(dials[0].fault) for dials in self.rounds],
            "answered_again": [outcome(dials[1].fault) for dials in self.rounds],
        }

    def columns(self) -> Mapping[str, Any]:
        """A witness fills no column: those belong to the climb."""
        return {}


_ROUNDS = 2
"""With the climb itself the difference is then seen three times; more would cost more than a target may."""
_ROUND_S = 1.2
"""Long enough for one retransmit, so that one lost SYN is not taken for a dead path."""


async def probe(ground: Ground, net: Net) -> FlowFacts:
    """Try both ports again, as long as the difference holds. Asks nothing when one attempt was all, or enough."""
    assert ground.address is not None
    dial: Dial = ground.facts["tcp"].dial
    twin = dial.twin
    if twin is None or dial.local_port is None or twin.local_port is None:
        return FlowFacts(None, None, ())
    if ground.handshakes_left < 2 * _ROUNDS:
        return FlowFacts(None, None, ())
    if dial.started_s < twin.started_s:
        # The first attempt came through after all: its twin was only cut short.
        return FlowFacts(None, None, ())
    ports = (twin.local_port, dial.local_port)
    rounds: list[tuple[Dial, ...]] = []
    for _ in range(_ROUNDS):
        until_s = ground.until(_ROUND_S, net.now())
        rounds.append(await net.flows(ground.address, ground.target.port, ports, until_s))
        ground.attempts += [attempt_of(one, "flows") for one in rounds[-1]]
        if not _differ(rounds[-1]):
            break
    return FlowFacts(*ports, tuple(rounds))


def judge(facts: FlowFacts, policy: Policy) -> Sequence[Finding]:
    """Only the same difference every time is a proof."""
    if len(facts.rounds) < _ROUNDS or not all(_differ(dials) for dials in facts.rounds):
        return ()
    dial = facts.rounds[0][0]
    summary = (
        f"{where(dial.address.text, dial.port)} answers source port {facts.answered_port} every time "
        f"and port {facts.silent_port} never"
    )
    return (
        found(
            "tcp.flow_dependent", summary, facts.record(),
            confidence=Confidence.PROVEN, supersedes=frozenset({"tcp.syn_retransmit"}),
        ),
    )


def _differ(dials: Sequence[Dial]) -> bool:
    """One silent, the other answered at once: a retransmit there would be a sign of plain loss."""
    silent, answered = dials
    if silent.fault is None or silent.fault.event is not Event.SILENT:
        return False
    return answered.fault is None and not answered.syn_retransmits


EMITS = frozenset({"tcp.flow_dependent"})
