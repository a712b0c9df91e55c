"""What the doctor says about literal facts: every outcome of every judge, and a fix wherever one is needed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetprobe.model.verdict import Outcome
from fleetprobe.net.interface import DnsReply, Event, Fault, RecordType
from fleetprobe.net.witness import Link, NeighbourState, Poked
from fleetprobe.vantage import limits, machine, ways
from fleetprobe.vantage.check import Check
from fleetprobe.vantage.doctor import checks, spoils
from fleetprobe.vantage.facts import (
    Anchor,
    Clock,
    Conntrack,
    DefaultRoute,
    Descriptors,
    Gateway,
    Hop,
    PingRights,
    Ports,
    Resolver,
    Software,
    TcpCensus,
    TcpSettings,
    Trust,
    Vantage,
    Ways,
)

ETH0 = Link(
    name="eth0", index=2, up=True, carrier=True, operstate="UP", mtu_bytes=1500, mac="02:00:00:00:00:01",
    loopback=False, addresses=("192.0.2.7/24", "2001:db8::7/64", "fe80::1/64"),
)
LO = Link(
    name="lo", index=1, up=True, carrier=True, operstate="UNKNOWN", mtu_bytes=65536, mac=None, loopback=True,
    addresses=("127.0.0.1/8", "::1/128"),
)
DOCKER = Link(
    name="docker0", index=3, up=True, carrier=False, operstate="DOWN", mtu_bytes=1500, mac="02:00:00:00:00:02",
    loopback=False, addresses=("198.18.9.1/16",),
)
PORT_OF_A_BRIDGE = replace(DOCKER, name="veth1", index=4, addresses=("fe80::2/64",))
BY_ETH0 = DefaultRoute(hops=(Hop(gateway="192.0.2.1", interface="eth0"),), metric=0, table=254)
V4 = Ways(family=4, networks=1, defaults=(BY_ETH0,))
V6 = Ways(
    family=6, networks=1, defaults=(replace(BY_ETH0, hops=(Hop(gateway="2001:db8::1", interface="eth0"),)),)
)
GATEWAY = Gateway(
    family=4, address="192.0.2.1", interface="eth0", state=NeighbourState.REACHABLE, poked=Poked.PORT_CLOSED
)
PORTS = Ports(low=32768, high=60999, reserved=0)
CENSUS = TcpCensus(
    states={"ESTAB": 5, "TIME-WAIT": 40, "CLOSE-WAIT": 2}, busiest_far_end="203.0.113.5:443", busiest_time_wait=30,
    close_wait_owners={"shop (71)": 2}, complete=True,
)
CLOCK = Clock(year=2026, synchronised=True, most_wrong_ms=12.0, stepped_ms=0.0, monotonic_resolution_ms=1e-6)
TRUST = Trust(
    source="/etc/ssl/cert.pem", count=140, sha256="AB", skipped=0, soonest=(Anchor(name="Old Root", days_left=400),),
    expired=0,
)
TCP = TcpSettings(tcp_syn_linear_timeouts=4, tcp_syn_retries=6, tcp_mtu_probing=0, tcp_sack=1, ip_no_pmtu_disc=0)
PING = PingRights(lowest_group=0, highest_group=99, in_range=True, raw_sockets=False, errno_name=None)


def reply(rcode: str | None = "NOERROR", ms: float = 3.0, fault: Fault | None = None) -> DnsReply:
    return DnsReply(server="192.0.2.53:53", record_type=RecordType.A, duration_ms=ms, rcode=rcode, fault=fault)


def resolver(answer: DnsReply | None) -> Resolver:
    return Resolver(server="192.0.2.53:53", reply=answer)


def healthy(**changes: Any) -> Vantage:
    whole = Vantage(
        links=(LO, ETH0), ways=(V4, V6), gateways=(GATEWAY,), resolvers=(resolver(reply()),),
        descriptors=Descriptors(soft=1024, hard=524288), ports=PORTS, ping=PING, conntrack=None, census=CENSUS,
        clock=CLOCK, trust=TRUST, tcp=TCP,
        software=Software(
            fleetprobe="1", python="3.11", openssl_of_python="OpenSSL 3", openssl_of_cryptography="OpenSSL 3",
            kernel="6.1", root=False,
        ),
    )
    return replace(whole, **changes)


def said(check: Check, outcome: Outcome, *words: str) -> None:
    assert check.outcome is outcome, check
    for word in words:
        assert word in check.summary
    assert (check.fix is not None) is (outcome in (Outcome.WARN, Outcome.FAIL)), check


def test_a_healthy_machine_is_fine_from_the_ground_up() -> None:
    found = checks(healthy())
    assert {check.outcome for check in found} == {Outcome.PASS}
    assert [check.name for check in found] == [
        "interface", "route", "route", "resolver", "descriptors", "ports", "ping", "conntrack", "tcp states",
        "tcp settings", "clock", "trust store", "software",
    ]
    assert not spoils(found)


def test_warnings_do_not_spoil_a_scan_and_one_failure_does() -> None:
    warned = healthy(ping=replace(PING, errno_name="EACCES"), clock=replace(CLOCK, synchronised=False))
    assert not spoils(checks(warned))
    assert spoils(checks(replace(warned, descriptors=Descriptors(soft=64, hard=64))))


def test_every_row_is_json_with_the_same_five_keys() -> None:
    for check in checks(healthy()):
        row = json.loads(json.dumps(check.row()))
        assert list(row) == ["check", "outcome", "summary", "facts", "fix"]


# --- interfaces ------------------------------------------------------------------------------------------


def test_an_interface_is_told_with_state_mtu_and_addresses_but_no_link_local_ones() -> None:
    (check,) = ways.interfaces([LO, ETH0], [V4])
    said(check, Outcome.PASS, "eth0 is up with carrier, MTU 1500, 192.0.2.7/24 2001:db8::7/64")
    assert "fe80" not in check.summary


@pytest.mark.parametrize(
    ("change", "word"),
    [({"carrier": False, "operstate": "DOWN"}, "no carrier"), ({"up": False, "operstate": "DOWN"}, "switched off"),
     ({"carrier": None, "operstate": "LOWERLAYERDOWN"}, "no carrier")],
)
def test_a_dead_interface_of_the_default_route_spoils_a_scan(change: dict[str, Any], word: str) -> None:
    nothing, own = ways.interfaces([replace(ETH0, **change)], [V4])
    said(nothing, Outcome.FAIL, "no interface but loopback")
    said(own, Outcome.FAIL, "eth0", word, "default route")


def test_a_dead_interface_beside_a_living_one_is_a_warning_and_bridge_ports_are_not_told() -> None:
    fine, docker = ways.interfaces([LO, ETH0, DOCKER, PORT_OF_A_BRIDGE], [V4])
    said(fine, Outcome.PASS)
    said(docker, Outcome.WARN, "docker0", "no carrier")


def test_a_machine_with_loopback_alone_cannot_scan_and_a_dead_loopback_is_told() -> None:
    off, nothing = ways.interfaces([replace(LO, up=False)], [])
    said(off, Outcome.WARN, "loopback (lo) is switched off")
    said(nothing, Outcome.FAIL)


@pytest.mark.parametrize(("mtu", "outcome"), [(1280, Outcome.PASS), (1279, Outcome.WARN), (500, Outcome.WARN)])
def test_an_mtu_below_what_the_family_asks_is_a_warning(mtu: int, outcome: Outcome) -> None:
    (check,) = ways.interfaces([replace(ETH0, mtu_bytes=mtu)], [V4])
    said(check, outcome, str(mtu))


def test_what_netlink_does_not_tell_is_unknown() -> None:
    assert [check.outcome for check in ways.interfaces([], [])] == [Outcome.UNKNOWN]
    assert [check.outcome for check in ways.routes([], [])] == [Outcome.UNKNOWN]


# --- routes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "poked", "outcome", "word"),
    [
        (NeighbourState.REACHABLE, Poked.PORT_CLOSED, Outcome.PASS, "which answers"),
        (NeighbourState.REACHABLE, Poked.SILENT, Outcome.PASS, "confirmed just now"),
        (NeighbourState.DELAY, Poked.SILENT, Outcome.PASS, "not confirmed lately (DELAY)"),
        (NeighbourState.PERMANENT, Poked.SILENT, Outcome.PASS, "written by hand"),
        (None, None, Outcome.PASS, "nothing was sent lately"),
        (NeighbourState.INCOMPLETE, Poked.SILENT, Outcome.FAIL, "does not answer ARP/ND"),
        (NeighbourState.FAILED, None, Outcome.FAIL, "does not answer ARP/ND"),
        (None, Poked.FROM_SELF, Outcome.FAIL, "does not answer ARP/ND"),
        (NeighbourState.REACHABLE, Poked.DENIED, Outcome.FAIL, "our own firewall"),
    ],
)
def test_a_gateway_is_judged_by_its_neighbour_state_and_not_by_silence(
    state: NeighbourState | None, poked: Poked | None, outcome: Outcome, word: str
) -> None:
    (check,) = ways.routes([V4], [replace(GATEWAY, state=state, poked=poked)])
    said(check, outcome, "192.0.2.1", word)


def test_a_route_without_gateway_is_fine() -> None:
    tunnel = replace(V4, defaults=(DefaultRoute(hops=(Hop(gateway=None, interface="tun0"),), metric=0, table=254),))
    said(ways.routes([tunnel], [])[0], Outcome.PASS, "tun0")


def test_a_missing_family_is_a_warning_beside_another_and_a_failure_alone() -> None:
    none = Ways(family=6, defaults=(), networks=0)
    said(ways.routes([V4, none], [GATEWAY])[1], Outcome.WARN, "no IPv6 route", "vantage.no_route")
    for check in ways.routes([replace(none, family=4), none], []):
        said(check, Outcome.FAIL, "no other family either")
    said(ways.routes([Ways(family=4, defaults=(), networks=3), none], [])[0], Outcome.WARN, "3 known networks")


# --- resolvers -------------------------------------------------------------------------------------------

SILENT = reply(None, 1500.0, Fault(Event.SILENT))
NOBODY = reply(None, 0.3, Fault(Event.ERROR, "ECONNREFUSED"))


def test_a_silent_resolver_is_a_warning_beside_a_living_one_and_a_failure_when_all_are() -> None:
    one, other = ways.resolvers([resolver(SILENT), resolver(reply())])
    said(one, Outcome.WARN, "silent for 1.5 s")
    said(other, Outcome.PASS, "answers in 3.0 ms")
    one, other = ways.resolvers([resolver(SILENT), resolver(NOBODY)])
    said(one, Outcome.FAIL, "silent", "no name can be resolved")
    said(other, Outcome.FAIL, "ECONNREFUSED", "no name can be resolved")


def test_a_question_that_our_own_firewall_keeps_back_is_not_blamed_on_the_resolver() -> None:
    denied = reply(None, 0.1, Fault(Event.ERROR, "EPERM"))
    (check,) = ways.resolvers([resolver(denied)])
    said(check, Outcome.FAIL, "our own firewall refuses (EPERM)")
    assert "resolv.conf" not in (check.fix or "")


@pytest.mark.parametrize("rcode", ["REFUSED", "SERVFAIL"])
def test_a_resolver_that_answers_with_an_error_is_alive_and_a_warning(rcode: str) -> None:
    said(ways.resolvers([resolver(reply(rcode))])[0], Outcome.WARN, "alive", rcode)


def test_a_slow_resolver_is_a_warning_and_one_not_asked_is_skipped() -> None:
    said(ways.resolvers([resolver(reply(ms=1200.0))])[0], Outcome.WARN, "1200.0 ms")
    said(ways.resolvers([resolver(None)])[0], Outcome.SKIPPED, "--offline")


# --- limits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("soft", "hard", "outcome"),
    [(1024, None, Outcome.PASS), (1024, 1398, Outcome.PASS), (1024, 1397, Outcome.WARN), (128, 128, Outcome.WARN),
     (127, 127, Outcome.FAIL)],
)
def test_the_hard_limit_of_descriptors_counts(soft: int, hard: int | None, outcome: Outcome) -> None:
    said(limits.descriptors(Descriptors(soft=soft, hard=hard)), outcome)


@pytest.mark.parametrize(
    ("high", "reserved", "outcome"),
    [(60999, 0, Outcome.PASS), (60999, 28200, Outcome.FAIL), (34000, 0, Outcome.WARN), (32787, 0, Outcome.FAIL)],
)
def test_few_source_ports_are_told(high: int, reserved: int, outcome: Outcome) -> None:
    said(limits.ports(Ports(low=32768, high=high, reserved=reserved)), outcome)


def test_ping_that_is_not_permitted_is_a_warning_with_the_reason() -> None:
    said(limits.ping(PING), Outcome.PASS)
    closed = PingRights(lowest_group=1, highest_group=0, in_range=False, raw_sockets=True, errno_name="EACCES")
    said(limits.ping(closed), Outcome.WARN, "ping_group_range 1 to 0", "CAP_NET_RAW")
    said(limits.ping(replace(closed, in_range=True, raw_sockets=False)), Outcome.WARN, "EACCES")


@pytest.mark.parametrize(
    ("entries", "outcome"), [(799, Outcome.PASS), (800, Outcome.WARN), (949, Outcome.WARN), (950, Outcome.FAIL)]
)
def test_a_filling_connection_table_warns_and_a_full_one_spoils(entries: int, outcome: Outcome) -> None:
    said(limits.conntrack(Conntrack(entries=entries, most=1000)), outcome)


def test_no_connection_table_is_fine_and_so_is_one_without_a_limit() -> None:
    said(limits.conntrack(None), Outcome.PASS)
    said(limits.conntrack(Conntrack(entries=5, most=0)), Outcome.PASS)


def test_a_pile_of_close_wait_is_an_application_and_no_congestion() -> None:
    piled = replace(CENSUS, states={"CLOSE-WAIT": 32}, close_wait_owners={"uid 33": 2, "shop (71)": 30})
    check = limits.tcp_states(piled, PORTS)
    said(check, Outcome.WARN, "32 sockets in CLOSE-WAIT, most by shop (71)", "forgot close()", "no congestion")
    said(limits.tcp_states(replace(piled, states={"CLOSE-WAIT": 31}), PORTS), Outcome.PASS)


def test_time_wait_is_normal_until_it_eats_the_ports_towards_one_far_end() -> None:
    said(limits.tcp_states(CENSUS, PORTS), Outcome.PASS, "TIME-WAIT is normal for the side that closed first")
    eaten = replace(CENSUS, busiest_time_wait=22586)
    said(limits.tcp_states(eaten, PORTS), Outcome.WARN, "203.0.113.5:443", "normal", "run out")
    said(limits.tcp_states(replace(eaten, busiest_time_wait=22585), PORTS), Outcome.PASS)
    said(limits.tcp_states(replace(CENSUS, states={}), None), Outcome.PASS, "0 sockets")


# --- the machine -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "outcome", "word"),
    [
        ({"year": 1970}, Outcome.FAIL, "1970"),
        ({"year": 2106}, Outcome.FAIL, "2106"),
        ({"synchronised": False, "most_wrong_ms": None}, Outcome.WARN, "unsynchronised"),
        ({"synchronised": None, "most_wrong_ms": None}, Outcome.UNKNOWN, "does not tell"),
        ({"most_wrong_ms": 9000.0}, Outcome.WARN, "9.0 s"),
        ({"stepped_ms": -250.0}, Outcome.WARN, "-250 ms"),
        ({"monotonic_resolution_ms": 4.0}, Outcome.WARN, "4 ms"),
        ({}, Outcome.PASS, "12 ms at most"),
    ],
)
def test_the_clock(change: dict[str, Any], outcome: Outcome, word: str) -> None:
    said(machine.clock(replace(CLOCK, **change)), outcome, word)


@pytest.mark.parametrize(
    ("change", "outcome", "word"),
    [
        ({}, Outcome.PASS, "140 trusted authorities in /etc/ssl/cert.pem; the first ends in 400 days"),
        ({"by": "SSL_CERT_FILE SSL_CERT_DIR"}, Outcome.PASS, "cert.pem, by SSL_CERT_FILE and SSL_CERT_DIR; the first"),
        ({"count": 0, "source": "none", "soonest": ()}, Outcome.FAIL, "holds no certificate authority"),
        ({"count": 2, "expired": 2, "soonest": ()}, Outcome.FAIL, "none that has not expired"),
        ({"expired": 4}, Outcome.PASS, "4 of them expired"),
        ({"soonest": (Anchor(name="Old Root", days_left=30),)}, Outcome.WARN, "Old Root in 30 days"),
        ({"soonest": (Anchor(name="Old Root", days_left=31),)}, Outcome.PASS, "31 days"),
        ({"unusable": "CA file x is not a regular file"}, Outcome.FAIL, "CA file x"),
    ],
)
def test_the_trust_store(change: dict[str, Any], outcome: Outcome, word: str) -> None:
    said(machine.trust(replace(TRUST, **change)), outcome, word)


@pytest.mark.parametrize(
    ("change", "name"),
    [({"tcp_mtu_probing": 2}, "tcp_mtu_probing is 2"), ({"tcp_sack": 0}, "tcp_sack is 0"),
     ({"ip_no_pmtu_disc": 1}, "ip_no_pmtu_disc is 1"), ({"tcp_syn_retries": 1}, "tcp_syn_retries is 1")],
)
def test_a_setting_that_hides_faults_is_a_warning_with_the_command(change: dict[str, Any], name: str) -> None:
    (check,) = machine.tcp_settings(replace(TCP, **change))
    said(check, Outcome.WARN, name)
    assert name.split()[0] in (check.fix or "")


def test_the_times_of_a_syn_are_told_by_kernel_and_mtu_probing_too() -> None:
    said(machine.tcp_settings(TCP)[0], Outcome.PASS, "at 1, 2, 3 and 4 s")
    said(machine.tcp_settings(replace(TCP, tcp_syn_linear_timeouts=None))[0], Outcome.PASS, "at 1 and 3 s")
    said(machine.tcp_settings(replace(TCP, tcp_mtu_probing=1))[0], Outcome.PASS, "past an MTU black hole")
    blind = TcpSettings(
        tcp_syn_linear_timeouts=None, tcp_syn_retries=None, tcp_mtu_probing=None, tcp_sack=None, ip_no_pmtu_disc=None
    )
    assert [check.outcome for check in machine.tcp_settings(blind)] == [Outcome.PASS]


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**7))
def test_no_number_breaks_a_judge_and_fuller_is_never_better(entries: int, most: int, waiting: int) -> None:
    ranks = [Outcome.PASS, Outcome.WARN, Outcome.FAIL]
    here = limits.conntrack(Conntrack(entries=entries, most=most)).outcome
    fuller = limits.conntrack(Conntrack(entries=entries + 1, most=most)).outcome
    assert ranks.index(fuller) >= ranks.index(here)
    assert limits.tcp_states(replace(CENSUS, busiest_time_wait=waiting), PORTS).outcome in ranks
