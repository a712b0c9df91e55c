"""A RST convicts a box in between only on evidence that loss cannot forge."""

from __future__ import annotations

from typing import Any

import pytest

from fleetprobe.decide import decide
from fleetprobe.layer import Ground, found
from fleetprobe.layers.origin import EMITS, OriginFacts, judge, probe
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Target
from fleetprobe.model.verdict import Confidence, State, Verdict
from fleetprobe.net.fake import FakeNet, drive
from fleetprobe.net.interface import Address, Dial, Event, Fault, Icmp, Route
from fleetprobe.net.script import REFUSED
from fleetprobe.net.witness import Hop, Poke, Poked, RstOrigin

HOST = Address("203.0.113.9", 4)
R1, R2 = "198.18.1.1", "198.18.12.2"
EXPIRED = Hop(ttl=1, icmp=Icmp(11, 0, R1, False), rtt_ms=1.0)


def origin(port: int = 443, **seen: Any) -> RstOrigin:
    return RstOrigin(address=HOST, port=port, started_s=0.0, ended_s=0.2, **seen)


NEARER = origin(rst_ttl=2, host_ttl=3, expires_at=R2, before=EXPIRED)


def test_a_rst_where_other_packets_still_have_hops_to_go_is_a_box_in_between() -> None:
    (finding,) = judge(OriginFacts(NEARER, 443), Policy())
    assert (finding.code, finding.state, finding.confidence) == ("tcp.rejected", State.FAIL, Confidence.PROVEN)
    assert finding.supersedes == {"tcp.refused"}
    assert "hop 2" in finding.summary
    assert R2 in finding.summary
    assert finding.facts == {"rst_ttl": 2, "host_ttl": 3, "expires_at": R2, "by": R1}
    assert {finding.code} < EMITS


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(None, id="on our own link no box can stand between"),
        pytest.param(origin(), id="the RST did not come again"),
        pytest.param(origin(rst_ttl=3, host_ttl=3, before=EXPIRED), id="as far as the host"),
        pytest.param(origin(rst_ttl=1, host_ttl=1), id="the host is one hop away"),
        pytest.param(origin(rst_ttl=2, host_ttl=3, before=EXPIRED), id="it seems farther, as loss alone can do"),
        pytest.param(origin(rst_ttl=2), id="the host never answered anything"),
        pytest.param(
            origin(rst_ttl=2, expires_at=R2, own_fault=Fault(Event.ERROR, "EMFILE")), id="our own kernel was in the way"
        ),
    ],
)
def test_anything_less_leaves_the_refusal_as_it_stands(seen: RstOrigin | None) -> None:
    assert judge(OriginFacts(seen, 443), Policy()) == ()


@pytest.mark.parametrize(
    ("left", "confidence", "open_codes"),
    [
        (0, Confidence.OBSERVED, ()),
        (3, Confidence.INFERRED, ("tcp.rejected",)),
        (None, Confidence.INFERRED, ("tcp.rejected",)),
    ],
    ids=["packets were kept back", "packets left", "unknown"],
)
def test_a_rst_that_comes_back_from_the_first_hop_is_our_own_firewalls(
    left: int | None, confidence: Confidence, open_codes: tuple[str, ...]
) -> None:
    """The host is known to be farther; where that is not known, only packets that never left convict us."""
    unknown = judge(OriginFacts(origin(rst_ttl=1, left=left, tcp_packets=3), 443), Policy())
    assert bool(unknown) is (left == 0)
    for host_ttl in (3, 2):
        seen = origin(rst_ttl=1, host_ttl=host_ttl, left=left, tcp_packets=3)
        (finding,) = judge(OriginFacts(seen, 443), Policy())
        assert (finding.code, finding.state) == ("local.send_denied", State.UNKNOWN)
        assert (finding.confidence, finding.could_also_be) == (confidence, open_codes)


def test_the_refusal_gives_way_to_the_box_and_the_host_is_no_longer_said_to_be_reached() -> None:
    refused = found("tcp.refused", "RST", {})
    ladder = ("link", "ip", "tcp")
    alone = decide(ladder, [refused])
    assert isinstance(alone, Verdict)
    assert (alone.code, "ip" in alone.proven_layers) == ("tcp.refused", True)
    verdict = decide(ladder, [refused, *judge(OriginFacts(NEARER, 443), Policy())])
    assert isinstance(verdict, Verdict)
    assert (verdict.code, verdict.state) == ("tcp.rejected", State.FAIL)
    assert "ip" not in verdict.proven_layers
    assert not [one for one in verdict.also if one.code == "tcp.refused"]


def ground(net: FakeNet, port: int = 443) -> Ground:
    target = Target(service="tcp", host=HOST.text, port=port)
    return Ground(target=target, policy=Policy(), deadline=net.now() + 60, address=HOST)


def test_every_socket_of_the_question_is_listed_by_the_target_that_asked_and_by_no_other() -> None:
    syn = Dial(address=HOST, port=443, started_s=0.0, ended_s=0.1, fault=REFUSED)
    asked = Poke(address=HOST, port=33434, ttl=2, outcome=Poked.ICMP, started_s=0.0, ended_s=0.1)
    told = origin(rst_ttl=2, expires_at=R2, before=EXPIRED, dials=(syn, syn), pokes=(asked,))
    net = FakeNet().origin(HOST.text, told)
    first, second = ground(net), ground(net, 444)
    assert drive(probe(first, net)).origin == told
    assert [(one.purpose, one.transport) for one in first.attempts] == [
        ("origin", "tcp"), ("origin", "tcp"), ("origin", "udp"),
    ]
    shared = drive(probe(second, net))
    assert shared.origin == told
    assert second.attempts == []


def test_what_was_asked_for_one_port_is_not_told_as_seen_on_another() -> None:
    """The answer is kept per address; a box may refuse one port and the host itself another."""
    net = FakeNet().origin(HOST.text, origin(port=443, rst_ttl=2, expires_at=R2, before=EXPIRED))
    told = drive(probe(ground(net, 444), net))
    for finding in judge(told, Policy()):
        assert f"{HOST.text}:444" in finding.summary or finding.confidence is not Confidence.PROVEN


def test_on_our_own_link_there_is_nothing_to_tell() -> None:
    net = FakeNet().way(Route(address=HOST.text, interface="eth0"))
    told = drive(probe(ground(net), net))
    assert (told.origin, told.record(), told.columns()) == (None, {}, {})
