"""The check of a path after a climb that went well, and what one target's proof is worth to the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from fleetprobe.engine.budget import Gate, Guard
from fleetprobe.engine.one import Examiner
from fleetprobe.layers.ladders import ladder_of
from fleetprobe.layers.mtu.judge import judge_path
from fleetprobe.layers.mtu.sizes import steps_below
from fleetprobe.model.policy import Mtu, Policy
from fleetprobe.model.target import Target
from fleetprobe.model.verdict import State
from fleetprobe.net.fake import FakeNet
from fleetprobe.net.fake_path import plain_search
from fleetprobe.net.known_path import ProvenHole
from fleetprobe.net.path import Direction
from fleetprobe.net.script import Hear, Mute, Say
from tests.engine.world import FREE, V4, examine, row, target
from tests.layers.mtu_world import HOST, LONG, SHORT, P, S, climbed, hole, lost_above


def looked_at(net: FakeNet, mode: Mtu = Mtu.AUTO) -> dict[str, Any]:
    return row(examine(net, target(host=V4), policy=Policy(mtu=mode)))


def codes(told: dict[str, Any]) -> list[str]:
    return [finding["code"] for finding in told["findings"]]


def silently(sizes: Any, ttls: Any) -> Any:
    return plain_search(HOST, sizes, ttls, passes_bytes=1400)


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


def test_large_datagrams_that_vanish_are_a_hole_only_when_large_requests_do_too() -> None:
    net = FakeNet().host(V4, 80, *SHORT, large_lost=lost_above(1360, Direction.FORWARD)).path(V4, silently)
    told = looked_at(net)
    assert (told["state"], told["code"], told["confidence"]) == ("fail", "mtu.black_hole", "proven")
    assert (told["path_mtu_bytes"], told["path_mtu_direction"]) == (1400, "forward")
    assert "pass, of 1420 vanish behind hop 1" in told["summary"]
    assert codes(told) == []
    assert net.left_open == 0


def test_large_datagrams_that_vanish_alone_are_nothing_to_report() -> None:
    assert codes(looked_at(FakeNet().host(V4, 80, *SHORT).path(V4, silently))) == []


@pytest.mark.parametrize(
    ("script", "said"),
    [
        # A request of several full segments was answered: the way there is well, whatever becomes of datagrams.
        pytest.param(SHORT, "back, only 2 bytes came", id="a short answer"),
        pytest.param(LONG, None, id="a long answer"),
    ],
)
def test_what_could_not_be_shown_is_said_where_it_was_asked_for(script: Any, said: str | None) -> None:
    told = looked_at(FakeNet().host(V4, 80, *script).path(V4, silently), Mtu.ALWAYS)
    assert codes(told) == ([] if said is None else ["mtu.unproven"])
    if said is not None:
        assert told["findings"][0]["summary"].endswith(said)


def test_where_no_large_request_could_be_sent_silent_datagrams_leave_the_way_there_open() -> None:
    facts = climbed(search=plain_search(HOST, (1280, 1400, 1500), passes_bytes=1400), asked=True)
    (finding,) = judge_path(replace(facts, moved_bytes=(0, 6000)), Policy())
    assert finding.code == "mtu.unproven"
    assert finding.summary.endswith("there, datagrams above 1400 bytes are not answered")
    assert judge_path(replace(facts, asked=False), Policy()) == ()


def test_a_large_request_in_segments_that_are_not_full_shows_nothing() -> None:
    facts = climbed((1500, P), asked=True, moved_bytes=(0, 6000), search=plain_search(HOST, (1500,), passes_bytes=100))
    assert [finding.code for finding in judge_path(replace(facts, segment_bytes=1400), Policy())] == ["mtu.unproven"]
    assert judge_path(replace(facts, segment_bytes=1500), Policy()) == ()


def test_segments_that_were_small_from_the_first_are_clamped() -> None:
    facts = climbed(search=plain_search(HOST, (1280, 1400, 1500), passes_bytes=1400), segment_bytes=1360)
    assert facts.clamped
    assert not replace(facts, segment_bytes=1500).clamped
    assert not replace(facts, search=plain_search(HOST, (1280, 1400, 1500))).clamped
    (finding,) = judge_path(facts, Policy())
    assert (finding.code, finding.state) == ("mtu.clamped", State.OK)
    assert "UDP and QUIC above 1400 bytes will not arrive" in finding.summary


# One proof for all behind one path.


def side_by_side(net: FakeNet, targets: Sequence[Target]) -> list[dict[str, Any]]:
    """Examined at once, as a fleet is."""
    examiner = Examiner(net, Policy(), Gate(FREE, Guard()))

    async def all_of_them() -> list[dict[str, Any]]:
        return [
            row(one) for one in await asyncio.gather(*(examiner.examine(one, ladder_of(one)) for one in targets))
        ]

    return asyncio.run(all_of_them())


def asked_for_sizes(told: dict[str, Any]) -> int:
    return sum(one["purpose"] == "mtu" and one["transport"] == "tcp" for one in told["attempts"])


def behind_one_hole(count: int, passes_mss: int | None = 1360) -> tuple[FakeNet, list[Target]]:
    net, hosts = FakeNet(), [f"203.0.113.{last}" for last in range(1, 1 + count)]
    for host in hosts:
        net.host(host, 80, *LONG, large_lost=lost_above(passes_mss))
    return net, [target(host=host) for host in hosts]


def test_a_hole_is_proven_once_and_met_with_one_stall_by_everybody_else() -> None:
    net, targets = behind_one_hole(30)
    told = side_by_side(net, targets)
    assert {(one["code"], one["confidence"], one["path_mtu_bytes"], one["path_mtu_direction"]) for one in told} == {
        ("mtu.black_hole", "proven", 1400, "reverse")
    }
    prover, *others = sorted(told, key=asked_for_sizes, reverse=True)
    assert asked_for_sizes(prover) <= 12
    assert {asked_for_sizes(one) for one in others} == {2}, "one that passes and one that stalls"
    assert {one["root_cause_id"] for one in others} == {prover["root_cause_id"]}
    assert {one["duration_ms"] < 4000 for one in told} == {True}
    assert net.left_open == 0


def test_a_proof_that_comes_to_nothing_is_taken_over_by_the_next_one() -> None:
    net, targets = behind_one_hole(6)
    # The first to ask meets loss: nothing passes twice alike.
    told = side_by_side(net.host("203.0.113.1", 80, Hear(b"\r\n\r\n"), Mute()), targets)
    rest = [one for one in told if one["server_address"] != "203.0.113.1"]
    assert {one["code"] for one in rest} == {"mtu.black_hole"}
    assert sum(asked_for_sizes(one) > 2 for one in rest) == 1


def test_another_fault_on_the_path_of_a_hole_stays_what_it_is() -> None:
    net, targets = behind_one_hole(2)
    net.host("203.0.113.3", 80, Hear(b"\r\n\r\n"), Mute())
    side_by_side(net, targets)
    (told,) = side_by_side(net, [target(host="203.0.113.3")])
    assert told["code"] == "http.timeout"


def test_who_is_behind_another_path_proves_its_own() -> None:
    net, targets = behind_one_hole(1)
    net.host("198.51.100.1", 80, *LONG, large_lost=lost_above(1240))
    told = side_by_side(net, [*targets, target(host="198.51.100.1")])
    assert [one["path_mtu_bytes"] for one in told] == [1400, 1280]


def test_who_works_behind_a_hole_is_warned_of_it_unless_it_has_moved_more() -> None:
    net, targets = behind_one_hole(2)
    net.host("203.0.113.80", 80, *SHORT).host("203.0.113.81", 80, *LONG).host("203.0.113.82", 80, *SHORT)
    proven, *_ = side_by_side(net, targets)
    short, long = (side_by_side(net, [target(host=f"203.0.113.{last}")])[0] for last in (80, 81))
    assert (short["state"], short["code"], codes(short)) == ("ok", None, ["mtu.black_hole"])
    (warning,) = short["findings"]
    assert warning["severity"] == "warn"
    assert warning["facts"]["proven_by"] in ("203.0.113.1", "203.0.113.2")
    assert "1400 bytes (MSS 1360) vanish on this path, proven with 203.0.113." in warning["summary"]
    assert short["root_cause_id"] == proven["root_cause_id"]
    assert asked_for_sizes(short) == 0
    assert (long["state"], codes(long)) == ("ok", [])
    (later,) = side_by_side(net, [target(host="203.0.113.82")])
    assert codes(later) == [], "one who has moved more shows that it is not the whole path's"


def test_one_host_is_not_the_path() -> None:
    net, targets = behind_one_hole(1)
    side_by_side(net.host("203.0.113.80", 80, *SHORT), targets)
    (told,) = side_by_side(net, [target(host="203.0.113.80")])
    assert (told["state"], codes(told)) == ("ok", [])


def test_datagrams_that_arrived_speak_against_a_forward_hole_of_the_path() -> None:
    known = ProvenHole(passes_bytes=1400, stalls_bytes=1420, direction="forward", address="203.0.113.1")
    facts = climbed(known=known, search=plain_search(HOST, (1400, 1420, 1500)))
    assert facts.unharmed
    assert not replace(facts, search=plain_search(HOST, (1400, 1420, 1500), passes_bytes=1400)).unharmed


def test_a_larger_hole_beside_a_known_one_keeps_its_own_size() -> None:
    net, targets = behind_one_hole(1)
    net.host("203.0.113.7", 80, *LONG, large_lost=lost_above(1452))
    side_by_side(net, targets)
    (told,) = side_by_side(net, [target(host="203.0.113.7")])
    assert (told["code"], told["path_mtu_bytes"]) == ("mtu.black_hole", 1492)


def test_a_server_that_hangs_by_chance_beside_a_known_hole_is_not_given_it() -> None:
    net, targets = behind_one_hole(1)
    side_by_side(net, targets)
    # The climb and its repetition hang, then one answers and one hangs: the very order of the sizes.
    hangs, answers = (Hear(b"\r\n\r\n"), Mute()), LONG
    for script in (hangs, hangs, answers, hangs, answers, answers, hangs, hangs):
        net.host("203.0.113.7", 80, *script)
    (told,) = side_by_side(net, [target(host="203.0.113.7")])
    assert told["code"] != "mtu.black_hole"


def test_what_is_seen_here_outweighs_what_is_known_of_the_path() -> None:
    known = ProvenHole(
        passes_bytes=1400, stalls_bytes=1420, direction="forward", behind_hop=1, dropped="silently",
        address="203.0.113.1",
    )
    here = climbed((1400, P), (1420, S), hole=hole(), known=known)
    assert (here.boundary, here.direction, here.last_hop, here.dropped) == ((1400, 1420), "reverse", None, None)
    alike = climbed((1400, P), (1420, S), hole=hole(Direction.FORWARD), known=known)
    assert (alike.direction, alike.last_hop, alike.dropped) == ("forward", 1, "silently")


@pytest.mark.parametrize(
    ("direction", "moved", "warned"),
    [
        ("forward", (1500, 0), False), ("forward", (0, 9000), True), ("reverse", (0, 1420), False),
        ("reverse", (9000, 1419), True), ("both", (1500, 1419), True), ("both", (1500, 1500), False),
        (None, (1500, 0), True),
    ],
)
def test_a_hole_is_not_lent_to_who_has_moved_a_full_packet_that_way(
    direction: str | None, moved: tuple[int, int], warned: bool
) -> None:
    known = ProvenHole(passes_bytes=1400, stalls_bytes=1420, direction=direction, address="203.0.113.1")
    facts = climbed(known=known, moved_bytes=moved)
    assert [finding.state for finding in judge_path(facts, Policy())] == ([State.OK] if warned else [])


def test_a_target_that_does_not_speak_http_leaves_the_large_request_to_one_that_does() -> None:
    lost = lost_above(1360, Direction.FORWARD)
    net = FakeNet().host(V4, 22, Say(b"SSH-2.0-x\r\n")).host(V4, 80, *SHORT, large_lost=lost).path(V4, silently)
    examine(net, target("ssh", host=V4, port=22))
    assert net.count("df_search") == 1
    told = looked_at(net)
    assert told["code"] == "mtu.black_hole"
    assert net.count("df_search") == 2, "the first one, and the one of the hops"
