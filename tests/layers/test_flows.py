"""Whether the outcome follows the source port: what is asked again, and what of it is a proof."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from fleetprobe.layer import Ground
from fleetprobe.layers import flows
from fleetprobe.layers.tcp import TcpFacts
from fleetprobe.model.attempt import Attempt
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Target
from fleetprobe.model.verdict import Confidence, State
from fleetprobe.net.fake import FakeNet
from fleetprobe.net.interface import Address, Dial, Event, Fault

HOST = Address("203.0.113.9", 4)
SILENT, REFUSED = Fault(event=Event.SILENT), Fault(event=Event.ERROR, errno_name="ECONNREFUSED")
DEAD, ALIVE = 40_000, 40_001


def dial(local_port: int, fault: Fault | None = None, *, retransmits: int = 0, started_s: float = 0.0) -> Dial:
    return Dial(
        address=HOST, port=80, started_s=started_s, ended_s=started_s + 1.2, fault=fault, local_port=local_port,
        syn_retransmits=retransmits,
    )


TWINS = replace(dial(ALIVE, started_s=1.25), twin=dial(DEAD, SILENT))
"""The first attempt was silent, its twin was answered."""
SPLIT = (dial(DEAD, SILENT), dial(ALIVE))


class Scripted(FakeNet):
    """Answers each round of `flows` from a list."""

    def __init__(self, *rounds: tuple[Dial, ...]) -> None:
        super().__init__()
        self._rounds = list(rounds)
        self.asked: list[tuple[int, ...]] = []

    async def flows(
        self, address: Address, port: int, local_ports: Sequence[int], until_s: float
    ) -> tuple[Dial, ...]:
        self.asked.append(tuple(local_ports))
        return self._rounds.pop(0)


def ask(net: FakeNet, first: Dial, tried: int = 2) -> tuple[flows.FlowFacts, Ground]:
    opened = Attempt(
        purpose="climb", transport="tcp", address=HOST.text, port=80, local_port=1, started_s=0.0, ended_s=1.0,
        outcome="silent",
    )
    ground = Ground(
        target=Target(service="tcp", host=HOST.text, port=80), policy=Policy(), deadline=net.now() + 60.0,
        address=HOST, facts={"tcp": TcpFacts(first, None)}, tried=(opened,) * tried,
    )
    return asyncio.run(flows.probe(ground, net)), ground


def test_the_same_difference_every_time_is_a_proof() -> None:
    net = Scripted(SPLIT, SPLIT)
    facts, ground = ask(net, TWINS)
    (finding,) = flows.judge(facts, Policy())
    assert (finding.code, finding.confidence, finding.state) == (
        "tcp.flow_dependent", Confidence.PROVEN, State.FAIL,
    )
    assert net.asked == [(DEAD, ALIVE)] * 2
    assert [attempt.purpose for attempt in ground.attempts] == ["flows"] * 4
    assert finding.facts["silent_again"] == ["silent", "silent"]
    assert str(DEAD) in finding.summary
    assert str(ALIVE) in finding.summary


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param((dial(DEAD), dial(ALIVE)), id="the silent port answers"),
        pytest.param((dial(DEAD, SILENT), dial(ALIVE, SILENT)), id="both are silent"),
        pytest.param((dial(DEAD, REFUSED), dial(ALIVE)), id="the silent port is refused"),
        pytest.param((dial(DEAD, SILENT), dial(ALIVE, retransmits=1)), id="the other one needed its SYN twice: loss"),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_one_round_without_the_difference_ends_it(odd: tuple[Dial, ...], place: int) -> None:
    net = Scripted(*(odd if nth == place else SPLIT for nth in range(2)))
    facts, _ = ask(net, TWINS)
    assert flows.judge(facts, Policy()) == ()
    assert len(net.asked) == place + 1


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(dial(ALIVE, retransmits=1), id="one attempt was all"),
        pytest.param(replace(dial(ALIVE), twin=dial(DEAD, SILENT, started_s=1.25)), id="the first one came through"),
    ],
)
def test_nothing_is_asked_where_there_is_nothing_to_compare(first: Dial) -> None:
    net = Scripted()
    facts, ground = ask(net, first)
    assert (net.asked, ground.attempts, flows.judge(facts, Policy()), facts.record()) == ([], [], (), {})


@pytest.mark.parametrize(("tried", "rounds"), [(4, 2), (5, 0), (8, 0)])
def test_no_address_is_asked_for_more_than_eight_connections(tried: int, rounds: int) -> None:
    net = Scripted(SPLIT, SPLIT)
    ask(net, TWINS, tried)
    assert len(net.asked) == rounds
