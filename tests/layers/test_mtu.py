"""The ladder of sizes: what is asked after a stall, what is a proof, and what looks like a hole and is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleetprobe.layers.mtu.facts import Met, MtuFacts, Rung
from fleetprobe.layers.mtu.judge import judge, judge_path
from fleetprobe.layers.mtu.sizes import mss_of, steps_below, tunnels_between
from fleetprobe.model.policy import Mtu, Policy
from fleetprobe.model.verdict import Confidence, State
from fleetprobe.net.fake import FakeNet
from fleetprobe.net.fake_path import plain_search
from fleetprobe.net.interface import Address, Route
from fleetprobe.net.path import Direction, Hole
from fleetprobe.net.script import Close, Hear, LargeLost, Mute, Say, Step
from tests.engine.world import V4, V6, examine, row, target

HOST = Address("203.0.113.9", 4)
P, S, U = Met.PASSES, Met.STALLS, Met.UNCLEAR
BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 6000\r\n\r\n" + b"x" * 6000
LONG: tuple[Step, ...] = (Hear(b"\r\n\r\n"), Say(BODY), Close())


def hole(direction: Direction = Direction.REVERSE) -> Hole:
    return Hole(
        direction=direction, since_ms=800.0, sacked_segments=0, unacked_segments=0, bytes_acked=80, bytes_received=0,
        data_segments_in=1, out_of_order_segments=1, retransmits=0,
    )


def swallowing(passes_mss: int | None, address: str = V4) -> FakeNet:
    lost = LargeLost(hole(), passes_mss_bytes=passes_mss, from_bytes=1000)
    return FakeNet().host(address, 80, *LONG, large_lost=lost)


def climbed(*rungs: tuple[int, Met], **more: Any) -> MtuFacts:
    return MtuFacts(
        address=HOST, port=80, top_bytes=1500, rungs=tuple(Rung(size, met) for size, met in rungs), **more
    )


PROOF = ((1280, P), (1400, P), (1420, S), (1400, P), (1420, S))


@pytest.mark.parametrize(("address", "headers"), [(V4, 40), (V6, 60)])
def test_a_path_that_eats_large_packets_is_proven_with_its_size_and_its_remedy(address: str, headers: int) -> None:
    net = swallowing(1400 - headers, address)
    told = row(examine(net, target(host=address)))
    assert (told["state"], told["code"], told["layer"], told["confidence"]) == (
        "fail", "mtu.black_hole", "mtu", "proven",
    )
    assert (told["path_mtu_bytes"], told["path_mtu_direction"]) == (1400, "reverse")
    assert f"packets of 1400 bytes (MSS {1400 - headers}) pass, of 1420 vanish" in told["summary"]
    (clamp,) = (line for line in told["fix_commands"] if "TCPMSS" in line)
    assert clamp.startswith("sudo ip6tables" if ":" in address else "sudo iptables")
    assert clamp.endswith(f"--set-mss {1400 - headers}")
    assert told["could_also_be"] == []
    assert not {finding["code"] for finding in told["findings"]} & {"http.timeout", "tcp.stalled"}
    assert "tcp" in told["proven_layers"]
    assert {"mtu"} == {attempt["purpose"] for attempt in told["attempts"]} - {"climb"}
    assert net.left_open == 0
    assert net.count("dial") <= 12


def test_the_proof_is_there_when_the_climb_gives_up_so_that_it_costs_no_time() -> None:
    told = row(examine(swallowing(1360), target(host=V4)))
    assert told["duration_ms"] < 4000


def test_without_the_question_it_stays_a_stall() -> None:
    told = row(examine(swallowing(1360), target(host=V4), policy=Policy(mtu=Mtu.NEVER)))
    assert told["code"] == "http.timeout"
    assert "mtu" not in {attempt["purpose"] for attempt in told["attempts"]}


def test_on_our_own_machine_the_size_is_not_in_question() -> None:
    net = swallowing(1360).way(Route(address=V4, interface="lo", local=True))
    assert row(examine(net, target(host=V4)))["code"] == "http.timeout"


def test_a_server_that_hangs_at_any_size_is_no_hole_and_costs_one_more_connection() -> None:
    told = row(examine(FakeNet().host(V4, 80, Hear(b"GET"), Mute()), target(host=V4)))
    assert told["code"] == "http.timeout"
    assert [attempt["purpose"] for attempt in told["attempts"]] == ["climb", "mtu", "again"]


def test_a_stall_that_does_not_happen_again_is_no_hole() -> None:
    net = FakeNet().host(V4, 80, *LONG, large_lost=LargeLost(hole(), from_bytes=1000)).host(V4, 80, *LONG)
    told = row(examine(net, target(host=V4)))
    assert told["state"] in ("ok", "slow")
    assert "mtu.black_hole" not in {finding["code"] for finding in told["findings"]}


def test_a_hole_that_swallows_every_size_is_no_matter_of_size() -> None:
    told = row(examine(swallowing(None), target(host=V4)))
    assert told["code"] == "http.timeout"


def test_what_passes_in_small_packets_only_says_which_tunnels_are_like_that() -> None:
    (finding,) = judge(climbed((1280, P), (1450, P), (1476, S), (1450, P), (1476, S), hole=hole()), Policy())
    assert "VXLAN?" in finding.summary
    assert finding.facts["tunnels"] == ["VXLAN"]


@pytest.mark.parametrize(
    "rungs",
    [
        pytest.param(((1280, S),), id="nothing passes"),
        pytest.param(((1280, P), (1400, P), (1500, P)), id="nothing stalls"),
        pytest.param(((1280, P), (1400, S), (1280, P)), id="the stall was seen once"),
        pytest.param(((1280, P), (1400, S), (1400, S)), id="the pass was seen once"),
        pytest.param(((1280, P), (1400, S), (1280, S), (1400, S)), id="a size that passed stalls"),
        pytest.param(((1280, P), (1400, S), (1280, P), (1400, P)), id="a size that stalled passes"),
        pytest.param(((1280, P), (1400, U)), id="an end that says nothing"),
    ],
)
def test_anything_else_than_a_boundary_seen_twice_is_no_verdict(rungs: tuple[tuple[int, Met], ...]) -> None:
    assert judge(climbed(*rungs), Policy()) == ()


def test_the_boundary_is_the_whole_proof() -> None:
    (finding,) = judge(climbed(*PROOF, hole=hole(), gateway="192.0.2.1"), Policy())
    assert (finding.state, finding.confidence, finding.silences) == (State.FAIL, Confidence.PROVEN, 0)
    assert finding.factor == "reverse path behind 192.0.2.1 above 1400 bytes"


def test_both_ways_are_told_when_large_datagrams_do_not_arrive_either() -> None:
    search = plain_search(HOST, (1400, 1420, 1500), passes_bytes=1400)
    assert climbed(*PROOF, hole=hole(), search=search).direction == "both"
    assert climbed(*PROOF, hole=hole(), search=plain_search(HOST, (1400, 1420, 1500))).direction == "reverse"
    assert climbed(*PROOF, search=search).direction == "forward"
    assert climbed(*PROOF).direction is None


def test_sizes_are_whole_packets_and_a_segment_is_less() -> None:
    assert (mss_of(1500, 4), mss_of(1500, 6)) == (1460, 1440)
    assert steps_below(1500)[0] == 1280
    assert max(steps_below(1500)) < 1500
    assert list(steps_below(9000)) == sorted(steps_below(9000))


@pytest.mark.parametrize(
    ("passes", "stalls", "names"),
    [
        (1492, 1500, ("PPPoE",)), (1476, 1492, ("IPIP or 6in4", "GRE")),
        (1420, 1450, ("WireGuard over IPv4", "WireGuard", "IPsec")),
        (1400, 1420, ("IPsec",)), (1280, 1380, ("a link at the IPv6 minimum",)), (1300, 1380, ()),
    ],
)
def test_a_tunnel_is_named_when_its_size_lies_between(passes: int, stalls: int, names: tuple[str, ...]) -> None:
    assert tunnels_between(passes, stalls) == names


# The check of a path after a climb that went well.


SHORT: tuple[Step, ...] = (Hear(b"\r\n\r\n"), Say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"), Close())


def looked_at(net: FakeNet, mode: Mtu = Mtu.AUTO) -> dict[str, Any]:
    return row(examine(net, target(host=V4), policy=Policy(mtu=mode)))


def codes(told: dict[str, Any]) -> list[str]:
    return [finding["code"] for finding in told["findings"]]


def test_a_path_that_carries_full_packets_costs_datagrams_only_and_is_not_talked_about() -> None:
    net = FakeNet().host(V4, 80, *SHORT)
    told = looked_at(net)
    assert (told["state"], codes(told), net.count("dial"), net.count("df_search")) == ("ok", [], 1, 1)
    asked = [(attempt["purpose"], attempt["transport"]) for attempt in told["attempts"]]
    assert asked == [("climb", "tcp"), *[("mtu", "udp")] * len((*steps_below(1500), 1500))]


def test_the_way_to_a_prefix_is_looked_at_once() -> None:
    net = FakeNet().host(V4, 80, *SHORT)
    for _ in range(3):
        looked_at(net)
    assert net.count("df_search") == 1
    looked_at(net, Mtu.ALWAYS)
    assert net.count("df_search") == 2
    looked_at(net, Mtu.NEVER)
    assert net.count("df_search") == 2


def test_a_router_that_says_so_makes_a_path_smaller_and_no_more() -> None:
    def told_by_router(sizes: Any, ttls: Any) -> Any:
        return plain_search(HOST, sizes, ttls, passes_bytes=1400, reported_by="192.0.2.1")

    told = looked_at(FakeNet().host(V4, 80, *SHORT).path(V4, told_by_router))
    assert (told["state"], codes(told)) == ("ok", ["mtu.reduced"])
    assert told["path_mtu_bytes"] == 1400
    assert "1400 bytes (MSS 1360), as router 192.0.2.1 says" in told["findings"][0]["summary"]


def silently(sizes: Any, ttls: Any) -> Any:
    return plain_search(HOST, sizes, ttls, passes_bytes=1400)


def test_large_datagrams_that_vanish_are_a_hole_only_when_large_requests_do_too() -> None:
    lost = LargeLost(hole(Direction.FORWARD), passes_mss_bytes=1360, from_bytes=1000)
    net = FakeNet().host(V4, 80, *SHORT, large_lost=lost).path(V4, silently)
    told = looked_at(net)
    assert (told["state"], codes(told)) == ("ok", ["mtu.black_hole"])
    (finding,) = told["findings"]
    assert (finding["severity"], finding["facts"]["path_mtu_direction"]) == ("warn", "forward")
    assert finding["facts"]["path_mtu_bytes"] == 1400
    assert net.left_open == 0


def test_large_datagrams_that_vanish_alone_are_nothing_to_report_unless_asked() -> None:
    assert codes(looked_at(FakeNet().host(V4, 80, *SHORT).path(V4, silently))) == []
    asked = looked_at(FakeNet().host(V4, 80, *SHORT).path(V4, silently), Mtu.ALWAYS)
    assert codes(asked) == ["mtu.unproven"]
    assert "datagrams above 1400 bytes are not answered, and a large request passes" in asked["findings"][0]["summary"]


def test_segments_that_were_small_from_the_first_are_clamped() -> None:
    facts = climbed(search=plain_search(HOST, (1280, 1400, 1500), passes_bytes=1400), segment_bytes=1360)
    assert facts.clamped
    assert not replace(facts, segment_bytes=1500).clamped
    assert not replace(facts, search=plain_search(HOST, (1280, 1400, 1500))).clamped
    (finding,) = judge_path(facts, Policy())
    assert (finding.code, finding.state) == ("mtu.clamped", State.OK)
    assert "UDP and QUIC above 1400 bytes will not arrive" in finding.summary


def test_a_hole_that_the_server_finds_a_way_around_is_masked_and_no_failure() -> None:
    (finding,) = judge(replace(climbed(*PROOF, hole=hole()), masked=True), Policy())
    assert (finding.code, finding.state) == ("mtu.masked", State.OK)
