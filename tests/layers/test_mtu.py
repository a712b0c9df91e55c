"""The ladder of sizes: what is asked after a stall, what is a proof, and what looks like a hole and is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetprobe.layers.mtu.facts import Dropped
from fleetprobe.layers.mtu.judge import judge
from fleetprobe.layers.mtu.rungs import Met, Rung
from fleetprobe.layers.mtu.sizes import mss_of, steps_below, tunnels_between
from fleetprobe.model.policy import Mtu, Policy
from fleetprobe.model.verdict import Confidence, State
from fleetprobe.net.fake import FakeNet
from fleetprobe.net.fake_path import plain_search
from fleetprobe.net.fake_witness import plain_links
from fleetprobe.net.interface import Route
from fleetprobe.net.path import Direction
from fleetprobe.net.script import Hear, Mute
from fleetprobe.net.witness import Link
from tests.engine.world import V4, V6, examine, row, target
from tests.layers.mtu_world import HOST, LONG, PROOF, P, S, U, climbed, hole, lost_above, swallowing


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
    net = FakeNet().host(V4, 80, *LONG, large_lost=lost_above(None)).host(V4, 80, *LONG)
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


def test_a_hole_that_the_server_finds_a_way_around_is_masked_and_no_failure() -> None:
    (finding,) = judge(replace(climbed(*PROOF, hole=hole()), masked=True), Policy())
    assert (finding.code, finding.state) == ("mtu.masked", State.OK)


def wide(mtu_bytes: int) -> Link:
    """Our own interface, of another width."""
    return replace(plain_links()[0], mtu_bytes=mtu_bytes)


# To the byte, where one target is asked about in full.


def to_the_byte(passes_mss: int, address: str = V4) -> tuple[FakeNet, dict[str, object]]:
    net = swallowing(passes_mss, address)
    return net, row(examine(net, target(host=address), policy=Policy(mtu_to_the_byte=True)))


@pytest.mark.parametrize("size", [1280, 1281, 1300, 1379, 1397, 1399, 1400, 1419, 1491, 1492, 1499])
@pytest.mark.parametrize(("address", "headers"), [(V4, 40), (V6, 60)])
def test_the_boundary_is_found_to_the_byte(size: int, address: str, headers: int) -> None:
    net, told = to_the_byte(size - headers, address)
    assert (told["code"], told["path_mtu_bytes"]) == ("mtu.black_hole", size)
    assert f"packets of {size} bytes (MSS {size - headers}) pass, of {size + 1} vanish" in str(told["summary"])
    assert net.count("dial") <= 30
    assert net.left_open == 0


def test_on_jumbo_links_the_byte_costs_no_more_connections_than_elsewhere() -> None:
    net = swallowing(3333 - 40).wires(wide(9000))
    told = row(examine(net, target(host=V4), policy=Policy(mtu_to_the_byte=True)))
    assert told["path_mtu_bytes"] == 3333
    assert net.count("dial") <= 30


def test_sizes_between_that_come_out_of_order_leave_the_step_that_was_proven() -> None:
    proof = climbed(*PROOF, hole=hole())
    odd = replace(proof, refined=(Rung(1404, S), Rung(1408, P), Rung(1412, S), Rung(1416, P)))
    assert odd.boundary == (1400, 1420)
    assert replace(proof, refined=(Rung(1410, S), Rung(1405, P), Rung(1410, S), Rung(1405, P))).boundary == (1405, 1410)
    assert replace(proof, refined=(Rung(1410, S), Rung(1405, P))).boundary == (1400, 1420), "seen once is not proven"


def test_how_long_the_proof_took_is_told() -> None:
    told = row(examine(swallowing(1360), target(host=V4)))
    (step,) = (layer for layer in told["layers"] if layer["layer"] == "mtu")
    assert 1500 < step["facts"]["proof_ms"] < 3000


# What takes our packets, as far as it can be told over IPv4.


@pytest.mark.parametrize(
    ("met", "seen", "dropped"),
    [
        pytest.param(P, None, Dropped.UNHEARD, id="a router fragments them when it may"),
        pytest.param(S, Direction.FORWARD, Dropped.SILENTLY, id="they vanish all the same"),
        pytest.param(S, Direction.REVERSE, Dropped.UNHEARD, id="ours arrive and the answer vanishes"),
        pytest.param(S, None, None, id="silence without a sign"),
        pytest.param(U, None, None, id="an end that says nothing"),
    ],
)
def test_what_takes_large_packets_of_ours(met: Met, seen: Direction | None, dropped: Dropped | None) -> None:
    rung = Rung(1500, met, hole(seen) if seen else None)
    assert climbed(*PROOF, hole=hole(Direction.FORWARD), may_fragment=rung).dropped == dropped


def test_a_filtered_message_is_named_in_the_verdict() -> None:
    (finding,) = judge(climbed(*PROOF, hole=hole(Direction.FORWARD), may_fragment=Rung(1500, P)), Policy())
    assert "of 1420 vanish, ICMP filtered" in finding.summary
    assert finding.facts["dropped"] == "icmp filtered"


def test_a_link_no_larger_than_the_floor_has_no_sizes_to_ask_about() -> None:
    net = swallowing(1200).wires(wide(1280))
    told = row(examine(net, target(host=V4)))
    assert (told["code"], net.count("df_search")) == ("http.timeout", 0)
    assert "mtu" not in {attempt["purpose"] for attempt in told["attempts"]}
