"""Every look-alike of a dead port, told apart by the witnesses in a routed world: both families, both loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from fleetprobe.net.interface import Address, Event, Icmp
from fleetprobe.net.witness import (
    CUT_SHORT,
    Link,
    NeighbourState,
    Poked,
    Reached,
    any_answer,
    host_answer,
)
from tests.net.world import Question, World, at

pytestmark = pytest.mark.lab

R1 = {4: "198.18.1.1", 6: "2001:db8:1::1"}
R1_FAR_SIDE = {4: "198.18.1.1", 6: "2001:db8:12::1"}
R2 = {4: "198.18.12.2", 6: "2001:db8:12::2"}
SELF = {4: "198.18.1.10", 6: "2001:db8:1::10"}
TIME_EXCEEDED = {4: (11, 0), 6: (3, 0)}
PORT_UNREACHABLE = {4: (3, 3), 6: (1, 4)}
ADMIN_PROHIBITED = {4: (3, 13), 6: (1, 1)}
HOST_UNREACHABLE = {4: (3, 1), 6: (1, 3)}

def place(family: int, four: str, six: str) -> Address:
    return Address(four if family == 4 else six, family)


def enough_never(_dial: object) -> bool:
    return False


def questions(family: int) -> dict[str, Question]:
    loop = place(family, "198.51.100.7", "2001:db8:51::7")
    absent_on_link = place(family, "198.18.1.99", "2001:db8:1::99")
    dropped = place(family, "198.18.200.1", "2001:db8:200::1")
    prohibited = place(family, "198.18.201.1", "2001:db8:201::1")
    asked: dict[str, Question] = {}

    def ask(name: str, verb: str, *words: Any, **named: Any) -> None:
        asked[f"{name} v{family}"] = (verb, words, named)

    for name, last, port in (
        ("open", 10, 80), ("closed", 10, 81), ("port dropped", 11, 443), ("all dropped", 13, 443),
        ("router resets", 20, 443), ("host rejects", 21, 443), ("router prohibits", 22, 443),
        ("own drop", 30, 80), ("own tcp drop", 31, 80), ("own reset", 32, 80), ("own reject", 33, 80),
        ("long", 50, 80),
    ):
        ask(f"walk {name}", "walk", at(family, last), port, 2.0)
    ask("walk loop", "walk", loop, 80, 2.0)
    ask("walk dropped by route", "walk", dropped, 80, 2.0)
    ask("walk prohibited by route", "walk", prohibited, 80, 2.0)
    ask("walk likely", "walk", at(family, 10), 80, 2.0, likely_hops=3)
    ask("walk short", "walk", at(family, 10), 80, 2.0, most_hops=2)
    ask("walk hurried", "walk", at(family, 13), 80, 0.15)
    for name, last in (("host", 10), ("router rejects", 24), ("silent", 13), ("own drop", 30), ("own reject", 33)):
        ask(f"poke {name}", "poke", at(family, last), 0.8)
        ask(f"ping {name}", "ping", at(family, last), 0.8)
    ask("ping filtered", "ping", at(family, 25), 0.8)
    ask("poke limited", "poke", at(family, 10), 0.8, ttl=2)
    for kind, number in (("blackhole", 210), ("prohibit", 211), ("unreachable", 212)):
        gone = place(family, f"198.18.{number}.1", f"2001:db8:{number}::1")
        ask(f"poke {kind}", "poke", gone, 0.5)
        ask(f"ping {kind}", "ping", gone, 0.5)
        ask(f"walk {kind}", "walk", gone, 80, 0.5)
        ask(f"knock {kind}", "knock", gone, (80,), 0.5)
    ask("poke absent", "poke", absent_on_link, 3.5)
    ask("knock absent", "knock", absent_on_link, (80,), 3.5)
    ask("knock absent behind", "knock", at(family, 99), (80,), 3.5, enough=host_answer)
    ask("knock ports", "knock", at(family, 11), (443, 80, 81), 2.0)
    ask("knock host only", "knock", at(family, 22), (443, 80), 2.0, enough=host_answer)
    ask("knock all", "knock", at(family, 10), (80, 81, 82), 2.0, enough=enough_never)
    ask("knock limited", "knock", at(family, 10), (80,), 2.0, ttl=2)
    ask("knock silent", "knock", at(family, 13), (80, 81), 1.3)
    for name, last, port, named in (
        ("router", 20, 443, {}), ("host", 10, 81, {}), ("router, no udp", 41, 443, {"open_port": 80}),
        ("router, nothing open", 41, 443, {}), ("host, no udp", 40, 81, {"open_port": 80}),
        ("host, nothing open", 40, 81, {}), ("host, datagram lost", 43, 81, {}), ("self", 32, 80, {}),
        ("open port", 10, 80, {}),
    ):
        ask(f"origin {name}", "rst_origin", at(family, last), port, 2.0, **named)
    return asked


@pytest.fixture(scope="session", params=["asyncio", "uvloop"])
def told(request: pytest.FixtureRequest, world: World) -> Callable[[str], Any]:
    """What the verb of a name answered; all are asked at once, so they must not disturb each other."""
    asked = {**questions(4), **questions(6)}
    answers: Mapping[str, tuple[Any, float]] = world.order("ask", request.param, asked)
    assert not asked.keys() - answers.keys()
    for name, (_verb, words, _named) in asked.items():
        assert answers[name][1] < words[-1] + 0.5, f"{name} outlived its deadline"
    return lambda name: answers[name][0]


@pytest.fixture(params=[4, 6], ids=["v4", "v6"])
def family(request: pytest.FixtureRequest) -> int:
    return int(request.param)


Told = Callable[[str], Any]


def kind(icmp: Icmp | None) -> tuple[int, int] | None:
    return None if icmp is None else (icmp.type, icmp.code)


def senders(walk: Any) -> list[str | None]:
    return [hop.sender for hop in walk.hops]


# --- walk -----------------------------------------------------------------------------------------------


def test_a_walk_to_an_open_port_names_both_routers_and_the_distance(told: Told, family: int) -> None:
    walk = told(f"walk open v{family}")
    assert senders(walk) == [R1[family], R2[family], None]
    assert (walk.reached_ttl, walk.reached_by) == (3, Reached.OPEN)
    assert [kind(hop.icmp) for hop in walk.hops[:2]] == [TIME_EXCEEDED[family]] * 2
    assert all(hop.rtt_ms is not None and 0 < hop.rtt_ms < 900 for hop in walk.hops)
    assert (walk.tcp_packets, walk.udp_packets, walk.loop, walk.own_fault) == (12, 0, (), None)


def test_a_walk_that_knows_the_distance_sends_no_more_than_one_syn_beyond_it(told: Told, family: int) -> None:
    walk = told(f"walk likely v{family}")
    assert (walk.reached_ttl, walk.reached_by, walk.tcp_packets) == (3, Reached.OPEN, 4)
    assert len(walk.dials) == 4


def test_a_walk_shorter_than_the_path_ends_on_the_way(told: Told, family: int) -> None:
    walk = told(f"walk short v{family}")
    assert senders(walk) == [R1[family], R2[family]]
    assert (walk.reached_ttl, walk.tcp_packets) == (None, 2)


def test_a_walk_to_a_closed_port_ends_with_the_rst_of_the_host(told: Told, family: int) -> None:
    walk = told(f"walk closed v{family}")
    assert (walk.reached_ttl, walk.reached_by) == (3, Reached.RST)
    assert senders(walk) == [R1[family], R2[family], None]


@pytest.mark.parametrize("name", ["port dropped", "all dropped"])
def test_a_walk_to_a_dropped_port_ends_behind_the_last_router(told: Told, family: int, name: str) -> None:
    walk = told(f"walk {name} v{family}")
    assert (walk.reached_ttl, walk.reached_by) == (None, None)
    assert walk.last_answering.ttl == 2
    assert walk.last_answering.sender == R2[family]
    assert senders(walk)[2:] == [None] * 10
    assert (walk.tcp_packets, walk.udp) == (12, ()), "one SYN for each hop and no repetition"
    assert walk.ended_s - walk.started_s < 1.3


def test_a_rst_from_a_router_ends_the_walk_before_the_host(told: Told, family: int) -> None:
    walk = told(f"walk router resets v{family}")
    assert (walk.reached_ttl, walk.reached_by) == (2, Reached.RST)


def test_a_port_unreachable_of_the_host_is_not_taken_for_a_router(told: Told, family: int) -> None:
    walk = told(f"walk host rejects v{family}")
    assert (walk.reached_ttl, walk.reached_by) == (3, Reached.PORT_UNREACHABLE)
    assert kind(walk.hops[-1].icmp) == PORT_UNREACHABLE[family]


def test_a_prohibition_names_the_router_and_its_code(told: Told, family: int) -> None:
    walk = told(f"walk router prohibits v{family}")
    assert (walk.reached_ttl, walk.reached_by) == (2, Reached.REJECTED)
    assert (walk.hops[-1].sender, kind(walk.hops[-1].icmp)) == (R1[family], ADMIN_PROHIBITED[family])
    assert walk.last_answering.ttl == 1


def test_a_route_that_prohibits_ends_the_walk_at_its_router(told: Told, family: int) -> None:
    walk = told(f"walk prohibited by route v{family}")
    assert walk.reached_by is Reached.REJECTED
    assert (walk.hops[-1].sender, kind(walk.hops[-1].icmp)) == (R1[family], ADMIN_PROHIBITED[family])


def test_a_blackhole_route_at_the_first_router_leaves_no_tcp_answer_and_few_udp_ones(
    told: Told, family: int
) -> None:
    walk = told(f"walk dropped by route v{family}")
    assert walk.reached_ttl is None
    assert walk.last_answering is None
    assert {poke.outcome for poke in walk.udp} == {Poked.SILENT}


def test_a_routing_loop_is_recognised_by_routers_that_come_back(told: Told, family: int) -> None:
    walk = told(f"walk loop v{family}")
    assert set(walk.loop) == {R1_FAR_SIDE[family], R2[family]}
    assert walk.reached_ttl is None
    assert walk.tcp_packets == 12, "a second volley would only go round again"


def test_a_path_longer_than_the_first_volley_is_walked_on_and_one_repeated_sender_is_no_loop(
    told: Told, family: int
) -> None:
    walk = told(f"walk long v{family}")
    assert senders(walk) == [R1[family]] * 12 + [R2[family], None]
    assert (walk.reached_ttl, walk.reached_by, walk.loop) == (14, Reached.OPEN, ())
    assert walk.tcp_packets == 16


def test_our_own_drop_of_everything_shows_as_silence_at_hop_1_and_a_denied_datagram(
    told: Told, family: int
) -> None:
    walk = told(f"walk own drop v{family}")
    assert {hop.rtt_ms for hop in walk.hops} == {None}
    assert {poke.outcome for poke in walk.udp} == {Poked.DENIED}
    assert {poke.fault.errno_name for poke in walk.udp} == {"EPERM"}
    assert walk.udp_packets == 0


def test_our_own_drop_of_tcp_shows_as_silence_at_hop_1_where_datagrams_are_answered(
    told: Told, family: int
) -> None:
    walk = told(f"walk own tcp drop v{family}")
    assert {hop.rtt_ms for hop in walk.hops} == {None}
    assert [poke.icmp.sender for poke in walk.udp[:2]] == [R1[family], R2[family]]
    assert [poke.outcome for poke in walk.udp] == [Poked.ICMP] * 2 + [Poked.PORT_CLOSED] * 4
    assert (walk.tcp_packets, walk.udp_packets) == (12, 6)


def test_our_own_reset_comes_at_ttl_1(told: Told, family: int) -> None:
    walk = told(f"walk own reset v{family}")
    assert (walk.reached_ttl, walk.reached_by, walk.udp) == (1, Reached.RST, ())


def test_our_own_reject_is_no_answer_of_a_hop(told: Told, family: int) -> None:
    walk = told(f"walk own reject v{family}")
    assert (walk.reached_ttl, walk.last_answering) == (None, None)
    assert all(hop.icmp.from_self and hop.rtt_ms is None for hop in walk.hops)
    assert walk.hops[0].sender == SELF[family]
    assert walk.own_fault == walk.dials[0].fault


def test_a_walk_with_little_time_keeps_it(told: Told, family: int) -> None:
    walk = told(f"walk hurried v{family}")
    assert walk.ended_s - walk.started_s < 0.4
    assert walk.last_answering.ttl == 2


# --- poke and ping --------------------------------------------------------------------------------------


def test_a_closed_udp_port_proves_the_host_alive_and_tells_its_distance(told: Told, family: int) -> None:
    poke = told(f"poke host v{family}")
    assert (poke.outcome, poke.host_alive, poke.hops, poke.packet_ttl) == (Poked.PORT_CLOSED, True, 3, 62)
    assert (poke.icmp.sender, kind(poke.icmp)) == (at(family, 10).text, PORT_UNREACHABLE[family])
    assert (poke.packets, poke.fault) == (1, None)
    assert 0 < poke.rtt_ms < 500
    assert poke.local_port > 0


def test_a_port_unreachable_of_a_router_proves_nothing_about_the_host(told: Told, family: int) -> None:
    poke = told(f"poke router rejects v{family}")
    assert (poke.outcome, poke.host_alive, poke.hops) == (Poked.ICMP, False, 1)
    assert (poke.icmp.sender, kind(poke.icmp)) == (R1[family], PORT_UNREACHABLE[family])


def test_a_datagram_of_limited_life_names_the_router_where_it_ended(told: Told, family: int) -> None:
    poke = told(f"poke limited v{family}")
    assert (poke.outcome, poke.hops) == (Poked.ICMP, 2)
    assert (poke.icmp.sender, kind(poke.icmp)) == (R2[family], TIME_EXCEEDED[family])


def test_silence_is_asked_twice(told: Told, family: int) -> None:
    poke, ping = told(f"poke silent v{family}"), told(f"ping silent v{family}")
    assert (poke.outcome, poke.packets, poke.rtt_ms) == (Poked.SILENT, 2, None)
    assert (ping.permitted, ping.replied, ping.packets, ping.icmp) == (True, False, 2, None)
    assert 0.75 < poke.ended_s - poke.started_s < 1.2


def test_our_own_firewall_denies_the_datagram(told: Told, family: int) -> None:
    for name in ("own drop", "own reject"):
        poke = told(f"poke {name} v{family}")
        assert (poke.outcome, poke.fault.errno_name, poke.packets) == (Poked.DENIED, "EPERM", 0)


def test_our_own_firewall_denies_the_echo_or_leaves_it_without_a_reply(told: Told, family: int) -> None:
    dropped, rejected = told(f"ping own drop v{family}"), told(f"ping own reject v{family}")
    assert not dropped.replied
    assert not rejected.replied
    if family == 4:
        assert dropped.fault.errno_name == rejected.fault.errno_name == "EPERM"
    else:  # ICMPv6 swallows the verdict of the output hook
        assert dropped.fault is None
        assert rejected.icmp.from_self


def test_a_reply_to_an_echo_has_a_time_and_a_ttl(told: Told, family: int) -> None:
    ping = told(f"ping host v{family}")
    assert (ping.permitted, ping.replied, ping.reply_ttl, ping.packets) == (True, True, 62, 1)
    assert 0 < ping.rtt_ms < 500
    assert ping.icmp is None


def test_a_filtered_echo_is_silence_and_no_fault(told: Told, family: int) -> None:
    ping = told(f"ping filtered v{family}")
    assert (ping.replied, ping.icmp, ping.fault) == (False, None, None)


@pytest.mark.parametrize(
    ("route", "name"), [("blackhole", "EINVAL"), ("prohibit", "EACCES"), ("unreachable", "EHOSTUNREACH")]
)
def test_our_own_routes_refuse_every_verb_without_a_packet(
    told: Told, family: int, route: str, name: str
) -> None:
    poke, ping = told(f"poke {route} v{family}"), told(f"ping {route} v{family}")
    walk, (dial,) = told(f"walk {route} v{family}"), told(f"knock {route} v{family}")
    assert (poke.outcome, poke.fault.errno_name, poke.packets) == (Poked.LOCAL, name, 0)
    assert (ping.permitted, ping.fault.errno_name, ping.packets) == (True, name, 0)
    assert {one.fault.errno_name for one in walk.dials} == {name}
    assert (walk.tcp_packets, walk.udp_packets, walk.reached_ttl) == (0, 0, None)
    assert (dial.fault.errno_name, any_answer(dial)) == (name, False)
    assert walk.own_fault.errno_name == name
    assert walk.ended_s - walk.started_s < 0.4


def test_a_neighbour_that_is_not_there_is_our_own_kernels_word_after_three_seconds(
    told: Told, family: int
) -> None:
    poke, (dial,) = told(f"poke absent v{family}"), told(f"knock absent v{family}")
    assert (poke.outcome, kind(poke.icmp)) == (Poked.FROM_SELF, HOST_UNREACHABLE[family])
    assert dial.fault.icmp.from_self
    assert not any_answer(dial)
    assert 2.5 < dial.ended_s - dial.started_s < 3.5


def test_a_neighbour_missing_behind_the_last_router_is_that_routers_word(told: Told, family: int) -> None:
    (dial,) = told(f"knock absent behind v{family}")
    assert (dial.fault.icmp.sender, kind(dial.fault.icmp)) == (R2[family], HOST_UNREACHABLE[family])
    assert any_answer(dial)
    assert not host_answer(dial)


# --- knock ----------------------------------------------------------------------------------------------


def test_a_knock_ends_with_the_first_answer_and_marks_what_it_cut(told: Told, family: int) -> None:
    silent, *others = told(f"knock ports v{family}")
    assert silent.port == 443
    assert (silent.fault.event, silent.fault.detail) == (Event.SILENT, CUT_SHORT)
    assert silent.ended_s - silent.started_s < 1.0
    assert any(any_answer(dial) and host_answer(dial) for dial in others)


def test_a_knock_that_wants_the_host_itself_is_not_content_with_a_router(told: Told, family: int) -> None:
    prohibited, opened = told(f"knock host only v{family}")
    assert prohibited.fault.icmp is None or not host_answer(prohibited)
    assert opened.fault is None
    assert opened.rtt_ms > 0


def test_a_knock_that_is_never_content_hears_every_port(told: Told, family: int) -> None:
    opened, *closed = told(f"knock all v{family}")
    assert opened.fault is None
    assert [dial.port for dial in closed] == [81, 82]
    assert {dial.fault.errno_name for dial in closed} == {"ECONNREFUSED"}
    assert {dial.fault.icmp for dial in closed} == {None}


def test_a_knock_of_limited_life_names_the_router_where_it_ended(told: Told, family: int) -> None:
    (dial,) = told(f"knock limited v{family}")
    assert (dial.fault.icmp.sender, kind(dial.fault.icmp)) == (R2[family], TIME_EXCEEDED[family])


def test_a_knock_into_silence_repeats_its_syns_and_keeps_its_deadline(told: Told, family: int) -> None:
    for dial in told(f"knock silent v{family}"):
        assert (dial.fault.event, dial.fault.detail) == (Event.SILENT, "")
        assert dial.syn_retransmits == 1
        assert 1.25 < dial.ended_s - dial.started_s < 1.7


# --- rst_origin -----------------------------------------------------------------------------------------


def test_the_rst_of_a_router_is_nearer_than_the_host(told: Told, family: int) -> None:
    origin = told(f"origin router v{family}")
    assert (origin.rst_ttl, origin.host_ttl, origin.nearer) == (2, 3, True)
    assert origin.expires_at == R2[family]
    assert origin.before.sender == R1[family]
    assert (origin.tcp_packets, origin.udp_packets) == (3, 5)


def test_the_rst_of_the_host_is_as_far_as_the_host(told: Told, family: int) -> None:
    origin = told(f"origin host v{family}")
    assert (origin.rst_ttl, origin.host_ttl, origin.nearer, origin.expires_at) == (3, 3, False, None)
    assert origin.tcp_packets + origin.udp_packets <= 17


def test_where_the_host_drops_udp_the_routers_before_it_still_tell(told: Told, family: int) -> None:
    for name in ("router, no udp", "router, nothing open"):
        origin = told(f"origin {name} v{family}")
        assert (origin.rst_ttl, origin.expires_at, origin.nearer) == (2, R2[family], True)


def test_where_the_host_drops_udp_an_open_port_tells(told: Told, family: int) -> None:
    origin = told(f"origin host, no udp v{family}")
    assert (origin.rst_ttl, origin.host_ttl, origin.nearer) == (3, 3, False)
    assert (origin.tcp_packets, origin.udp_packets) == (6, 5)


@pytest.mark.parametrize("name", ["host, nothing open", "host, datagram lost"])
def test_silence_at_the_ttl_of_the_rst_accuses_nobody(told: Told, family: int, name: str) -> None:
    origin = told(f"origin {name} v{family}")
    assert (origin.rst_ttl, origin.nearer, origin.expires_at) == (3, None, None)
    assert origin.udp_packets == 6, "the datagram that told nothing is repeated once"


def test_our_own_rst_comes_before_the_first_router(told: Told, family: int) -> None:
    origin = told(f"origin self v{family}")
    assert (origin.rst_ttl, origin.before, origin.expires_at, origin.nearer) == (1, None, R1[family], True)


def test_an_open_port_has_no_rst_to_ask_about(told: Told, family: int) -> None:
    origin = told(f"origin open port v{family}")
    assert (origin.rst_ttl, origin.nearer, origin.pokes) == (None, None, ())


# --- links, neighbours, counters ------------------------------------------------------------------------

LINK = """
ip link del eth9 2>/dev/null || true
ip link add eth9 type veth peer name c9
ip link set c9 up
ip link set eth9 up
ip address add 198.18.9.10/24 dev eth9
ip address add 2001:db8:9::10/64 dev eth9 nodad
"""


@pytest.fixture
def link(world: World) -> Iterator[World]:
    """A further link of cl whose other end has no address."""
    world.order("sh", "cl", LINK)
    yield world
    world.order("sh", "cl", "ip link del eth9")


def named(world: World, name: str) -> Link:
    (found,) = (one for one in world.ask("links") if one.name == name)
    assert isinstance(found, Link)
    return found


def test_a_healthy_link_is_up_with_carrier_and_addresses(link: World) -> None:
    found = named(link, "eth9")
    assert (found.up, found.carrier, found.operstate, found.mtu_bytes) == (True, True, "UP", 1500)
    assert found.addresses[:2] == ("198.18.9.10/24", "2001:db8:9::10/64")
    assert found.mac is not None
    assert len(found.mac) == 17
    assert named(link, "lo").loopback


def test_a_link_whose_other_end_is_down_has_no_carrier(link: World) -> None:
    link.order("sh", "cl", "ip link set c9 down")
    found = named(link, "eth9")
    assert (found.up, found.carrier) == (True, False)
    assert found.operstate in ("DOWN", "LOWERLAYERDOWN")


def test_a_link_shut_by_the_administrator_is_not_up(link: World) -> None:
    link.order("sh", "cl", "ip link set eth9 mtu 1400 down")
    found = named(link, "eth9")
    assert (found.up, found.operstate, found.mtu_bytes) == (False, "DOWN", 1400)


def test_an_address_that_duplicate_detection_holds_back_is_left_out(link: World) -> None:
    script = "echo 1 > /proc/sys/net/ipv6/conf/eth9/accept_dad; ip address add 2001:db8:9::11/64 dev eth9"
    link.order("sh", "cl", script)
    assert "2001:db8:9::11/64" not in named(link, "eth9").addresses


@pytest.mark.parametrize("address", ["198.18.9.77", "2001:db8:9::77"])
def test_a_neighbour_is_incomplete_while_it_is_asked_and_never_reachable(link: World, address: str) -> None:
    assert link.ask("neighbour", address, "eth9") is None
    link.ask("poke", Address(address, 6 if ":" in address else 4), 0.05)
    found = link.ask("neighbour", address, "eth9")
    assert (found.state, found.mac, found.address) == (NeighbourState.INCOMPLETE, None, address)


def test_a_neighbour_that_has_just_answered_is_known_with_its_address(world: World, family: int) -> None:
    world.ask("poke", at(family, 10), 0.5)
    found = world.ask("neighbour", R1[family], "eth0")
    assert found.state in (NeighbourState.REACHABLE, NeighbourState.DELAY, NeighbourState.STALE)
    assert len(found.mac) == 17
    assert world.ask("neighbour", R1[family], "eth0", loop="asyncio") == found
    assert world.ask("neighbour", R1[family], "no-such") is None


@pytest.mark.parametrize("address", ["198.18.9.78", "2001:db8:9::78"])
def test_a_wrong_neighbour_written_by_hand_is_permanent_and_silent(link: World, address: str) -> None:
    link.order("sh", "cl", f"ip neighbour replace {address} lladdr 02:00:00:00:00:99 dev eth9 nud permanent")
    poke = link.ask("poke", Address(address, 6 if ":" in address else 4), 0.3)
    found = link.ask("neighbour", address, "eth9")
    assert (found.state, found.mac) == (NeighbourState.PERMANENT, "02:00:00:00:00:99")
    assert poke.outcome is Poked.SILENT


def test_counters_tell_a_syn_that_left_from_one_that_our_own_firewall_kept(world: World, family: int) -> None:
    def left(last: int) -> int:
        before = world.ask("packets_out", "eth0")
        world.ask("knock", at(family, last), (443,), 0.1)
        return int(world.ask("packets_out", "eth0") - before)

    world.ask("ping", at(family, 10), 0.5)
    assert left(11) >= 1
    # Our kernel may ask after a neighbour of its own accord at any one moment, but not at three.
    assert min(left(30) for _ in range(3)) == 0
    assert world.ask("packets_out", "no-such") is None


def test_a_user_outside_the_ping_group_is_told_so(world: World, family: int) -> None:
    ping = world.ask("ping", Address(SELF[family], family), 0.5, loop="in sv")
    assert (ping.permitted, ping.replied, ping.fault.errno_name) == (False, False, "EACCES")
    assert ping.packets == 0


def test_all_icmp_filtered_still_leaves_the_distance_to_an_open_port(world: World, family: int) -> None:
    rules = """nft -f - <<'RULES'
    table inet shut { chain input { type filter hook input priority -1; policy accept;
    icmp type { time-exceeded, destination-unreachable } drop
    icmpv6 type { time-exceeded, destination-unreachable } drop
    }; }
RULES
"""
    world.order("sh", "cl", rules)
    try:
        walk = world.ask("walk", at(family, 10), 80, 2.0)
    finally:
        world.order("sh", "cl", "nft delete table inet shut")
    assert [hop.rtt_ms is None for hop in walk.hops] == [True, True, False]
    assert (walk.reached_ttl, walk.reached_by, walk.last_answering) == (3, Reached.OPEN, None)
    assert walk.ended_s - walk.started_s < 0.5


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_no_descriptor_is_left_behind(world: World, loop: str) -> None:
    def open_files() -> int:
        words: dict[str, Question] = {
            "poke": ("poke", (at(4, 10), 0.2), {}), "walk": ("walk", (at(6, 20), 443, 0.2), {}),
            "ping": ("ping", (at(4, 13), 0.2), {}), "knock": ("knock", (at(6, 11), (80, 443), 0.2), {}),
            "origin": ("rst_origin", (at(4, 20), 443, 0.2), {}),
        }
        return int(world.order("ask", loop, words)["open files"][0])

    first = open_files()
    assert {open_files() for _ in range(3)} == {first}
