"""What bears out a hole and what speaks against it: signs, repetitions, datagrams, and what routers report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleetprobe.layers.mtu.facts import MtuFacts
from fleetprobe.layers.mtu.judge import judge, judge_path
from fleetprobe.layers.mtu.rungs import Met, Rung
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Confidence, State
from fleetprobe.net.fake import FakeNet
from fleetprobe.net.fake_path import plain_search
from fleetprobe.net.interface import Icmp
from fleetprobe.net.path import DfProbe, DfSearch, Direction, Passed
from fleetprobe.net.script import Hear, Mute, Reset, Say, Step
from fleetprobe.net.witness import Ping
from tests.engine.world import V4, examine, row, target
from tests.layers.mtu_world import HOST, LONG, PROOF, SHORT, P, S, climbed, hole, lost_above, swallowing

FORWARD, REVERSE = Direction.FORWARD, Direction.REVERSE
PATH_1400 = plain_search(HOST, (1400, 1420, 1500), passes_bytes=1400)
PATH_1500 = plain_search(HOST, (1400, 1420, 1500))


def repeated(times: int) -> tuple[tuple[int, Met], ...]:
    return (*PROOF, *times * ((1400, P), (1420, S)))


# Signs of the kernel.


def test_with_a_sign_twice_is_enough_and_it_is_proven() -> None:
    (finding,) = judge(climbed(*PROOF, hole=hole()), Policy())
    assert (finding.confidence, finding.could_also_be) == (Confidence.PROVEN, ())


def test_without_any_sign_five_times_are_enough_and_it_is_inferred() -> None:
    assert judge(climbed(*repeated(2)), Policy()) == ()
    (finding,) = judge(climbed(*repeated(3)), Policy())
    assert finding.confidence is Confidence.INFERRED
    assert finding.could_also_be == ("tcp.flow_dependent", "http.timeout")


def test_a_sign_in_the_climb_alone_is_not_one_of_the_boundary() -> None:
    facts = replace(climbed(*PROOF), hole=hole())
    assert facts.boundary is None
    at_the_stall = tuple(replace(rung, hole=hole()) if rung.size_bytes == 1420 else rung for rung in facts.rungs)
    assert replace(facts, rungs=at_the_stall).boundary == (1400, 1420)


def test_a_full_datagram_that_arrived_speaks_against_a_forward_sign() -> None:
    facts = climbed(*PROOF, hole=hole(FORWARD))
    assert facts.boundary == (1400, 1420)
    assert replace(facts, search=PATH_1400).boundary == (1400, 1420)
    assert replace(facts, search=PATH_1500).boundary is None
    echo = Ping(address=HOST, permitted=True, started_s=0.0, ended_s=0.1, replied=True, packets=1)
    assert replace(facts, search=replace(PATH_1400, echo=echo, echo_bytes=1500)).boundary is None
    assert replace(climbed(*PROOF, hole=hole(REVERSE)), search=PATH_1500).boundary == (1400, 1420)


def test_a_full_segment_in_order_on_the_same_connection_speaks_against_a_reverse_sign() -> None:
    # 1368 bytes of data, 12 of time stamps and 40 of headers: a packet of 1420.
    assert climbed(*PROOF, hole=replace(hole(), receive_mss_bytes=1367)).boundary == (1400, 1420)
    assert climbed(*PROOF, hole=replace(hole(), receive_mss_bytes=1368)).boundary is None


def lost_unseen() -> FakeNet:
    """Everything large is lost at once, so that nothing out of order is left to be seen."""
    net = FakeNet()
    for _ in range(3):
        net.host(V4, 80, Hear(b"\r\n\r\n"), Mute())
    return net


def test_a_server_that_hangs_now_and_then_is_not_given_a_boundary() -> None:
    # The climb and its repetition hang, small packets pass, one in the middle hangs: by chance, in order of size.
    net = lost_unseen().host(V4, 80, *LONG).host(V4, 80, Hear(b"\r\n\r\n"), Mute()).host(V4, 80, *LONG)
    told = row(examine(net, target(host=V4)))
    assert told["code"] != "mtu.black_hole"
    assert told["path_mtu_bytes"] is None


# Datagrams and reports.


def reported(mtu: int, passes: int) -> DfSearch:
    """A router says `mtu` of what is larger; what is larger than `passes` and not than that vanishes."""
    told = []
    for size in (1280, 1380, 1400, 1420, 1450, 1476, 1492, 1500):
        if size > mtu:
            icmp = Icmp(3, 4, sender="192.0.2.1", from_self=False)
            told.append(DfProbe(size, None, Passed.TOO_BIG, icmp, mtu, 1.0, 50_000, packets=1))
        else:
            told.append(DfProbe(size, None, Passed.PASSED if size <= passes else Passed.SILENT, packets=1))
    return DfSearch(address=HOST, port=33_434, started_s=0.0, ended_s=0.1, probes=tuple(told), device_mtu_bytes=1500)


def test_a_report_that_datagrams_bear_out_is_a_reduced_path() -> None:
    (finding,) = judge_path(climbed(search=reported(1400, 1400)), Policy())
    assert (finding.code, finding.confidence) == ("mtu.reduced", Confidence.OBSERVED)


def test_a_report_that_the_same_search_contradicts_is_not_believed() -> None:
    facts = climbed(search=reported(1480, 1400))
    assert facts.reported is None
    assert "path_mtu_bytes" not in facts.columns()
    assert judge_path(facts, Policy()) == ()


def test_a_report_about_a_host_that_answers_no_datagram_is_inferred() -> None:
    (finding,) = judge_path(climbed(search=reported(1400, 0)), Policy())
    assert (finding.code, finding.confidence) == ("mtu.reduced", Confidence.INFERRED)


@pytest.mark.parametrize("direction", ["reverse"])
def test_the_proven_boundary_stands_before_what_a_router_says_of_our_direction(direction: str) -> None:
    facts = climbed(*PROOF, hole=hole(), search=reported(1492, 1492))
    assert facts.columns() == {"path_mtu_bytes": 1400, "path_mtu_direction": direction}
    (finding,) = judge(facts, Policy())
    assert "packets of 1400 bytes (MSS 1360) pass" in finding.summary


def test_a_datagram_lost_by_chance_is_no_second_direction() -> None:
    one_lost = replace(PATH_1500, probes=tuple(
        replace(probe, outcome=Passed.SILENT) if probe.size_bytes == 1420 else probe for probe in PATH_1500.probes
    ))
    assert climbed(*PROOF, hole=hole(), search=one_lost).direction == "reverse"
    assert climbed(*PROOF, hole=hole(), search=PATH_1400).direction == "both"


def test_nothing_is_claimed_of_a_ladder_that_proved_nothing() -> None:
    assert climbed((1280, P), (1400, P), (1450, S), hole=hole()).columns() == {}


def test_our_side_in_small_pieces_shows_the_way_back() -> None:
    forward = climbed(*PROOF, hole=hole(FORWARD), search=PATH_1400)
    assert forward.direction == "forward"
    assert replace(forward, in_pieces=Rung(1500, P)).direction == "forward"
    assert replace(forward, in_pieces=Rung(1500, S, hole(REVERSE))).direction == "both"


# What happens to the climb meanwhile.


def test_a_server_that_gives_up_on_us_does_not_hide_the_hole() -> None:
    (finding,) = judge(climbed(*PROOF, hole=hole()), Policy())
    assert {"tcp.closed", "tcp.reset", "http.status", "tls.dropped"} <= finding.supersedes
    (unseen,) = judge(climbed(*repeated(3)), Policy())
    assert "http.status" not in unseen.supersedes, "without a sign in the climb a loud end speaks for itself"


@pytest.mark.parametrize("passes", [576, 1000, 1200])
def test_a_hole_below_what_every_link_carries_is_found_too(passes: int) -> None:
    told = row(examine(swallowing(passes - 40), target(host=V4)))
    assert (told["code"], told["confidence"], told["path_mtu_bytes"]) == ("mtu.black_hole", "proven", passes)


def test_an_exchange_that_ends_in_a_reset_says_nothing_of_sizes() -> None:
    net = FakeNet().host(V4, 80, *LONG, large_lost=lost_above(1360)).host(V4, 80, Hear(b"\r\n\r\n"), Reset())
    told = row(examine(net, target(host=V4)))
    (step,) = (layer for layer in told["layers"] if layer["layer"] == "mtu")
    assert {rung["met"] for rung in step["facts"]["ladder"]} == {"unclear"}
    assert told["code"] != "mtu.black_hole"


def facts_of(told: dict[str, Any]) -> dict[str, Any]:
    (step,) = (layer for layer in told["layers"] if layer["layer"] == "mtu")
    facts: dict[str, Any] = step["facts"]
    return facts


def test_a_slow_answer_to_a_large_request_is_no_stall() -> None:
    slow: tuple[Step, ...] = (Hear(b"\r\n\r\n"), Say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", after_ms=1300))
    net = FakeNet().host(V4, 80, *SHORT).host(V4, 80, *slow)
    net.path(V4, lambda sizes, ttls: plain_search(HOST, sizes, ttls, passes_bytes=1))
    told = row(examine(net, target(host=V4)))
    assert (told["state"], told["findings"]) == ("ok", [])
    assert [rung["met"] for rung in facts_of(told)["ladder"]] == ["stalls"], "silent for longer, and without a sign"


def test_facts_without_a_ladder_say_no_size() -> None:
    assert MtuFacts(address=HOST, port=80, top_bytes=1500).boundary is None
    assert State.OK is judge_path(climbed(search=PATH_1400, segment_bytes=1400), Policy())[0].state
