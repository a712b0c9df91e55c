"""Sizes and holes on real paths: what DF searches and open connections see of them, in both families."""

from __future__ import annotations

from typing import Any

import pytest

from fleetprobe.net.interface import Event
from fleetprobe.net.path import DfSearch, Direction, Passed
from tests.net.world import Question, World, at

pytestmark = pytest.mark.lab

SIZES = (1280, 1400, 1401, 1420, 1492, 1500)
LADDER = (*SIZES, 1300, 1320, 1340, 1360, 1380, 1440, 1480)
R1 = {4: "198.18.1.1", 6: "2001:db8:1::1"}
R2 = {4: "198.18.12.2", 6: "2001:db8:12::2"}
TOO_BIG = {4: (3, 4), 6: (2, 0)}
HEADERS = {4: 40, 6: 60}
CLEAN, REPORTED, FORWARD, REVERSE, BOTH, SPARING, ONE_LOST = 10, 14, 15, 16, 17, 18, 19
TALKING = 7001


@pytest.fixture(params=[4, 6], ids=["v4", "v6"])
def family(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def search(world: World, family: int, last: int, loop: str = "uvloop", **named: Any) -> DfSearch:
    named = {"device_mtu_bytes": 1500, "sizes": SIZES, "wait_s": 0.6} | named
    sizes, wait_s = named.pop("sizes"), named.pop("wait_s")
    told = world.ask("df_search", at(family, last), sizes, wait_s, loop=loop, **named)
    assert isinstance(told, DfSearch)
    return told


def exchange(
    world: World, family: int, last: int, request_bytes: int, reply_bytes: int, wait_s: float = 3.0, **named: Any
) -> dict[str, Any]:
    told = world.ask("exchange", at(family, last), TALKING, request_bytes, reply_bytes, wait_s, **named)
    assert isinstance(told, dict)
    assert told["dial"].fault is None
    return told


def outcomes(told: DfSearch) -> dict[int, Passed]:
    return {probe.size_bytes: probe.outcome for probe in told.probes}


# --- searches -------------------------------------------------------------------------------------------


def test_on_a_clean_path_every_size_is_answered_by_the_host_at_once(world: World, family: int, loop: str) -> None:
    told = search(world, family, CLEAN, loop)
    assert set(outcomes(told).values()) == {Passed.PASSED}
    assert (told.largest_passed, told.smallest_failed, told.reported_mtu) == (1500, None, None)
    assert (told.device_mtu_bytes, told.cached_mtu_bytes) == (1500, None)
    assert told.ended_s - told.started_s < 0.3
    assert [probe.size_bytes for probe in told.probes] == sorted(SIZES)
    assert {probe.packets for probe in told.probes} == {1}
    assert len({probe.local_port for probe in told.probes}) == len(SIZES)
    for probe in told.probes:
        assert probe.icmp is not None and probe.icmp.sender == at(family, CLEAN).text
        assert probe.rtt_ms is not None and 0 < probe.rtt_ms < 300


def test_what_is_larger_than_the_device_is_refused_at_home_and_sends_nothing(world: World, family: int) -> None:
    told = search(world, family, CLEAN, sizes=(1500, 1501, 9000))
    assert outcomes(told) == {1500: Passed.PASSED, 1501: Passed.LOCAL, 9000: Passed.LOCAL}
    refused = told.probes[-1]
    assert (refused.packets, refused.errno_name, refused.mtu_bytes, refused.icmp) == (0, "EMSGSIZE", 1500, None)
    assert (told.largest_passed, told.smallest_failed) == (1500, None)


def test_a_router_that_speaks_is_named_with_its_mtu(world: World, family: int, loop: str) -> None:
    told = search(world, family, REPORTED, loop)
    assert (told.largest_passed, told.smallest_failed, told.reported_mtu) == (1400, 1401, 1400)
    for probe in told.probes:
        assert probe.outcome is (Passed.PASSED if probe.size_bytes <= 1400 else Passed.TOO_BIG)
        if probe.outcome is Passed.TOO_BIG:
            assert probe.icmp is not None
            assert (probe.icmp.sender, (probe.icmp.type, probe.icmp.code)) == (R1[family], TOO_BIG[family])
            assert (probe.mtu_bytes, probe.packets) == (1400, 1)
    assert told.ended_s - told.started_s < 0.3


def test_a_path_mtu_learnt_before_is_told_and_passed_by(world: World, family: int) -> None:
    search(world, family, REPORTED)
    told = search(world, family, REPORTED)
    assert told.cached_mtu_bytes == 1400
    assert outcomes(told)[1500] is Passed.TOO_BIG, "from the wire, not from our own memory"


def test_a_silent_drop_of_large_packets_shows_its_boundary_to_the_byte(
    world: World, family: int, loop: str
) -> None:
    told = search(world, family, FORWARD, loop)
    assert (told.largest_passed, told.smallest_failed, told.reported_mtu) == (1400, 1401, None)
    assert {probe.packets for probe in told.probes if probe.size_bytes > 1400} == {2}
    assert {probe.outcome for probe in told.probes if probe.size_bytes > 1400} == {Passed.SILENT}
    assert 0.6 <= told.ended_s - told.started_s < 0.9


def test_a_search_cannot_see_a_drop_on_the_way_back(world: World, family: int) -> None:
    assert search(world, family, REVERSE).largest_passed == 1500


def test_a_host_that_limits_its_icmp_answers_the_largest_sizes_first(world: World, family: int) -> None:
    told = search(world, family, SPARING, sizes=LADDER)
    assert Passed.SILENT in outcomes(told).values(), "the limit was not met"
    assert (told.largest_passed, told.smallest_failed) == (1500, None)
    assert max(probe.packets for probe in told.probes) == 1
    assert told.ended_s - told.started_s < 0.5, "nothing that was silent was worth the second half"


def test_pairs_of_limited_ttl_show_behind_which_hop_large_packets_die(world: World, family: int) -> None:
    told = search(world, family, FORWARD, sizes=(200, 1500), ttls=(1, 2, 3, None))
    assert [(probe.ttl, probe.size_bytes) for probe in told.probes] == [
        (ttl, size) for ttl in (1, 2, 3, None) for size in (200, 1500)
    ]
    assert (told.farthest_ttl(200), told.farthest_ttl(1500)) == (3, 1)
    assert told.largest_passed == 200
    senders = [probe.icmp.sender if probe.icmp else None for probe in told.probes]
    assert senders == [R1[family], R1[family], R2[family], None, at(family, FORWARD).text, None,
                       at(family, FORWARD).text, None]


def test_a_larger_packet_that_arrived_at_a_nearer_hop_saves_nobody_the_repetition(world: World, family: int) -> None:
    told = search(world, family, FORWARD, sizes=(1420, 1500), ttls=(1, 2))
    packets = {(probe.ttl, probe.size_bytes): probe.packets for probe in told.probes}
    assert packets == {(1, 1420): 1, (1, 1500): 1, (2, 1420): 2, (2, 1500): 2}


def test_what_our_own_firewall_keeps_is_told_as_such(world: World, family: int) -> None:
    told = search(world, family, 30, sizes=(200,))
    (probe,) = told.probes
    assert (probe.outcome, probe.icmp, probe.errno_name, probe.packets) == (Passed.OTHER, None, "EPERM", 0)


# --- connections ----------------------------------------------------------------------------------------


def test_a_clean_path_carries_large_requests_and_replies(world: World, family: int) -> None:
    told = exchange(world, family, CLEAN, 3096, 6000, hole_s=0.3)
    assert (told["received"], told["got"].event, told["got"].hole) == (6000, Event.DONE, None)


def test_large_segments_lost_on_the_way_back_end_the_wait_early(world: World, family: int, loop: str) -> None:
    told = exchange(world, family, REVERSE, 64, 6000, hole_s=0.4, loop=loop)
    got = told["got"]
    assert (got.event, told["received"]) == (Event.SILENT, 0)
    assert got.hole is not None
    assert (got.hole.direction, got.hole.bytes_received, got.hole.unacked_segments) == (Direction.REVERSE, 0, 0)
    assert got.hole.out_of_order_segments > 0 and got.hole.data_segments_in > 0
    assert got.hole.since_ms >= 400
    assert 0.4 <= told["waited_s"] < 0.75


def test_large_segments_lost_on_the_way_there_end_the_wait_early(world: World, family: int, loop: str) -> None:
    mss = 1448 if family == 4 else 1428
    told = exchange(world, family, FORWARD, 2 * mss + 200, 64, hole_s=0.4, loop=loop)
    got = told["got"]
    assert (got.event, told["received"]) == (Event.SILENT, 0)
    assert got.hole is not None
    assert (got.hole.direction, got.hole.sacked_segments, got.hole.unacked_segments) == (Direction.FORWARD, 1, 3)
    assert got.hole.retransmits >= 2
    assert 0.4 <= told["waited_s"] < 0.75


@pytest.mark.parametrize(("last", "sizes"), [(FORWARD, (3096, 64)), (REVERSE, (64, 6000))])
def test_without_a_watch_the_hole_is_told_at_the_deadline(
    world: World, family: int, last: int, sizes: tuple[int, int]
) -> None:
    told = exchange(world, family, last, *sizes, wait_s=0.9)
    assert told["got"].event is Event.SILENT
    assert told["got"].hole.direction is (Direction.FORWARD if last == FORWARD else Direction.REVERSE)
    assert 0.85 <= told["waited_s"] < 1.2


@pytest.mark.parametrize("last", [FORWARD, REVERSE, BOTH])
def test_segments_small_enough_pass_through_in_both_directions(world: World, family: int, last: int) -> None:
    for packet, passes in ((1400, True), (1401, False)):
        mss = packet - HEADERS[family]
        told = exchange(world, family, last, 3096, 6000, wait_s=0.8, hole_s=0.3, mss_bytes=mss)
        assert told["info"].advertised_mss_bytes <= mss
        assert told["dial"].mss_bytes == mss - 12
        assert (told["received"] == 6000) is passes


def test_a_server_that_says_nothing_is_in_no_hole(world: World, family: int) -> None:
    for last in (CLEAN, FORWARD, REVERSE):
        told = exchange(world, family, last, 64, 0, wait_s=0.7, hole_s=0.2)
        assert (told["got"].event, told["got"].hole) == (Event.SILENT, None)
        assert told["waited_s"] >= 0.65


def test_a_client_hello_of_more_than_one_segment_shows_the_hole_by_itself(world: World, family: int) -> None:
    lost = world.ask("hello", at(family, FORWARD), TALKING, 3.0, hole_s=0.4)
    assert lost.fault.event is Event.SILENT
    assert lost.hole.direction is Direction.FORWARD
    assert lost.ended_s - lost.started_s < 0.8
    for last, mss in ((CLEAN, None), (FORWARD, 1280 - HEADERS[family])):
        silent = world.ask("hello", at(family, last), TALKING, 0.8, hole_s=0.2, mss_bytes=mss)
        assert (silent.fault.event, silent.hole, silent.bytes_unacked) == (Event.SILENT, None, 0)


def test_a_gap_that_was_filled_and_a_server_that_then_thinks_are_no_hole(world: World, family: int) -> None:
    told = exchange(world, family, ONE_LOST, 64, 6000, wait_s=1.2, hole_s=0.3, expected=6001)
    assert told["info"].out_of_order_segments > 0, "nothing was lost"
    assert (told["received"], told["got"].event, told["got"].hole) == (6000, Event.SILENT, None)
    assert told["waited_s"] >= 1.15


def test_no_descriptor_is_left_behind(world: World, loop: str) -> None:
    def open_files() -> int:
        words: dict[str, Question] = {
            "search": ("df_search", (at(4, FORWARD), SIZES, 0.2), {"ttls": (1, 2, None)}),
            "exchange": ("exchange", (at(6, REVERSE), TALKING, 64, 6000, 0.5), {"hole_s": 0.3}),
        }
        return int(world.order("ask", loop, words)["open files"][0])

    first = open_files()
    assert {open_files() for _ in range(3)} == {first}
