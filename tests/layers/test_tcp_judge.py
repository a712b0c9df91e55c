"""Who said no to a SYN, by the raw numbers of the message and by its sender, never by the errno alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleetprobe.codes.table import CODES
from fleetprobe.layer import Ground
from fleetprobe.layers.tcp import LAYER, TcpFacts, judge, probe
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Target
from fleetprobe.model.verdict import Confidence, Finding, State
from fleetprobe.net.fake import FakeNet, drive
from fleetprobe.net.interface import Address, Dial, Event, Fault, Icmp, Route
from fleetprobe.net.script import REFUSED, SILENT
from fleetprobe.net.witness import CUT_SHORT

HOST = {4: Address("203.0.113.9", 4), 6: Address("2001:db8:3::9", 6)}
ROUTER = {4: "198.18.12.2", 6: "2001:db8:12::2"}
SELF = {4: "198.18.1.10", 6: "2001:db8:1::10"}
GATEWAY = {4: "198.18.1.1", 6: "2001:db8:1::1"}
CUT = Fault(Event.SILENT, detail=CUT_SHORT)


def dial(family: int = 4, fault: Fault | None = None, **more: Any) -> Dial:
    told: dict[str, Any] = {"started_s": 10.0, "ended_s": 10.01, "local_address": SELF[family], "local_port": 40001}
    return Dial(address=HOST[family], port=443, fault=fault, **{**told, **more})


def facts(attempt: Dial, *, routed: bool = True) -> TcpFacts:
    family = attempt.address.family
    route = Route(address=attempt.address.text, gateway=GATEWAY[family] if routed else None, interface="eth0")
    return TcpFacts(attempt, route)


def blame(attempt: Dial, *, routed: bool = True) -> Finding:
    (finding,) = [one for one in judge(facts(attempt, routed=routed), Policy()) if one.code is not None]
    return finding


def message(family: int, kind: int, code: int, sender: str, errno_name: str = "EHOSTUNREACH") -> Fault:
    return Fault(Event.ERROR, errno_name, Icmp(kind, code, sender, sender == SELF[family]))


NET, HOST_GONE, ADMIN = "ip.net_unreachable", "ip.host_unreachable", "ip.admin_prohibited"
REJECTED, LOOP = "tcp.rejected", "ip.routing_loop"
MESSAGES = [
    # RFC 792 and RFC 1122 §3.2.2.1, with the errno of Linux's table icmp_err_convert.
    (4, 3, 0, "ENETUNREACH", NET), (4, 3, 1, "EHOSTUNREACH", HOST_GONE), (4, 3, 2, "ENOPROTOOPT", REJECTED),
    (4, 3, 3, "ECONNREFUSED", REJECTED), (4, 3, 5, "EOPNOTSUPP", HOST_GONE), (4, 3, 6, "ENETUNREACH", NET),
    (4, 3, 7, "EHOSTDOWN", HOST_GONE), (4, 3, 8, "ENONET", HOST_GONE), (4, 3, 9, "ENETUNREACH", ADMIN),
    (4, 3, 10, "EHOSTUNREACH", ADMIN), (4, 3, 11, "ENETUNREACH", NET), (4, 3, 12, "EHOSTUNREACH", HOST_GONE),
    (4, 3, 13, "EHOSTUNREACH", ADMIN), (4, 3, 14, "EHOSTUNREACH", HOST_GONE), (4, 3, 15, "EHOSTUNREACH", HOST_GONE),
    (4, 11, 0, "EHOSTUNREACH", LOOP),
    # RFC 4443 §3, with the errno of icmpv6_err_convert.
    (6, 1, 0, "ENETUNREACH", NET), (6, 1, 1, "EACCES", ADMIN), (6, 1, 2, "EHOSTUNREACH", HOST_GONE),
    (6, 1, 3, "EHOSTUNREACH", HOST_GONE), (6, 1, 4, "ECONNREFUSED", REJECTED), (6, 1, 5, "EACCES", ADMIN),
    (6, 1, 6, "EACCES", ADMIN), (6, 3, 0, "EHOSTUNREACH", LOOP),
]


@pytest.mark.parametrize(("family", "kind", "code", "errno_name", "expected"), MESSAGES)
def test_each_message_of_a_router_has_its_meaning(
    family: int, kind: int, code: int, errno_name: str, expected: str
) -> None:
    finding = blame(dial(family, message(family, kind, code, ROUTER[family], errno_name)))
    assert (finding.code, finding.state, finding.confidence) == (expected, State.FAIL, Confidence.OBSERVED)
    assert ROUTER[family] in finding.summary
    assert f"{kind}/{code}" in finding.summary
    told = finding.facts
    assert (told["icmp_type"], told["icmp_code"], told["icmp_from"]) == (kind, code, ROUTER[family])
    assert finding.factor is not None
    assert ROUTER[family] in finding.factor


@pytest.mark.parametrize(("family", "kind", "code", "errno_name", "expected"), MESSAGES)
def test_the_errno_alone_decides_nothing(family: int, kind: int, code: int, errno_name: str, expected: str) -> None:
    for name in ("EHOSTUNREACH", "ECONNREFUSED", "EACCES", "ENETUNREACH", "UNKNOWN"):
        assert blame(dial(family, message(family, kind, code, ROUTER[family], name))).code == expected


@pytest.mark.parametrize("family", [4, 6])
def test_the_same_numbers_mean_other_things_in_the_other_family(family: int) -> None:
    """3/0 is a missing route in ICMP and an expired hop limit in ICMPv6; 1/3 exists in ICMPv6 alone."""
    assert blame(dial(family, message(family, 3, 0, ROUTER[family]))).code == (NET if family == 4 else LOOP)


@pytest.mark.parametrize("family", [4, 6])
def test_a_rejection_by_the_host_itself_says_so_and_shares_no_router(family: int) -> None:
    kind, code = (3, 3) if family == 4 else (1, 4)
    finding = blame(dial(family, message(family, kind, code, HOST[family].text, "ECONNREFUSED")))
    assert finding.code == REJECTED
    assert finding.summary.startswith("the host itself")
    assert not (finding.factor or "").startswith("router")


@pytest.mark.parametrize("family", [4, 6])
def test_our_own_kernel_that_gives_up_on_a_neighbour_accuses_the_next_hop(family: int) -> None:
    unresolved = (3, 1) if family == 4 else (1, 3)
    attempt = dial(family, message(family, *unresolved, SELF[family]), ended_s=13.06)
    routed, on_link = blame(attempt), blame(attempt, routed=False)
    assert (routed.code, routed.state) == ("vantage.gateway_unreachable", State.BLOCKED)
    assert (routed.facts["gateway"], routed.factor) == (GATEWAY[family], f"gateway {GATEWAY[family]}")
    assert (on_link.code, on_link.state) == ("link.neighbour_unresolved", State.FAIL)


@pytest.mark.parametrize(("family", "kind", "code", "errno_name", "expected"), MESSAGES)
def test_no_message_of_our_own_kernel_is_ever_the_networks_word(
    family: int, kind: int, code: int, errno_name: str, expected: str
) -> None:
    finding = blame(dial(family, message(family, kind, code, SELF[family], errno_name), ended_s=13.06))
    unresolved = (kind, code) == ((3, 1) if family == 4 else (1, 3))
    assert finding.code == ("vantage.gateway_unreachable" if unresolved else "local.send_denied")


@pytest.mark.parametrize("family", [4, 6])
def test_a_rst_without_a_message_is_a_refusal_by_the_host(family: int) -> None:
    finding = blame(dial(family, REFUSED))
    assert (finding.code, finding.confidence) == ("tcp.refused", Confidence.OBSERVED)
    assert "ip" in finding.proves
    assert blame(dial(family, message(family, *((3, 3) if family == 4 else (1, 4)), ROUTER[family]))).code == REJECTED


def test_a_reset_is_no_refusal_and_tells_its_phase() -> None:
    finding = blame(dial(fault=Fault(Event.RESET, "ECONNRESET")))
    assert finding.code == "tcp.reset"
    assert (finding.facts["phase"], finding.facts["bytes_received"]) == ("before data", 0)


@pytest.mark.parametrize(
    ("errno_name", "code", "state"),
    [
        ("EMFILE", "local.fd_limit", State.UNKNOWN), ("ENFILE", "local.fd_limit", State.UNKNOWN),
        ("EADDRNOTAVAIL", "local.ports_exhausted", State.UNKNOWN),
        ("EADDRINUSE", "local.ports_exhausted", State.UNKNOWN), ("EPERM", "local.send_denied", State.UNKNOWN),
        ("ENOBUFS", "local.overload", State.UNKNOWN), ("ENOMEM", "local.overload", State.UNKNOWN),
        ("ENETUNREACH", "ip.no_route", State.BLOCKED), ("EACCES", "ip.route_rejected", State.BLOCKED),
        ("EINVAL", "ip.route_rejected", State.BLOCKED), ("EHOSTUNREACH", "ip.route_rejected", State.BLOCKED),
        ("ENETDOWN", "vantage.no_route", State.BLOCKED), ("EUNHEARDOF", "local.bug", State.UNKNOWN),
        (None, "local.bug", State.UNKNOWN),
    ],
)
def test_an_errno_without_a_packet_is_our_own_machines_word(
    errno_name: str | None, code: str, state: State
) -> None:
    finding = blame(dial(fault=Fault(Event.ERROR, errno_name), local_port=None))
    assert (finding.code, finding.state) == (code, state)
    assert finding.state is not State.FAIL


def silent_pair(first: Fault = SILENT, second: Fault = SILENT, lag_ms: float = 0.0) -> Dial:
    twin = dial(fault=second, started_s=11.25, ended_s=13.3, local_port=40002, syn_retransmits=2)
    return dial(fault=first, ended_s=13.3, syn_retransmits=3, twin=twin, lag_ms=lag_ms)


def test_two_silent_attempts_are_two_silences_and_every_syn_counts() -> None:
    finding = blame(silent_pair())
    assert (finding.code, finding.silences, finding.confidence) == ("tcp.timeout", 2, Confidence.INFERRED)
    assert "none of 7 SYN in 3.3 s" in finding.summary
    assert finding.facts["twin_local_port"] == 40002
    assert set(finding.could_also_be) == set(CODES["tcp.timeout"].could_also_be)


def test_one_silent_attempt_is_one_silence() -> None:
    alone = blame(dial(fault=SILENT, ended_s=13.3, syn_retransmits=3))
    assert (alone.code, alone.silences) == ("tcp.timeout", 1)


def test_an_attempt_that_was_cut_short_is_no_silence() -> None:
    assert facts(dial(twin=dial(fault=CUT))).silences == 0
    assert facts(silent_pair(second=CUT)).silences == 1


@pytest.mark.parametrize(("lag_ms", "code"), [(1651.0, "local.overload"), (1649.0, "tcp.timeout")])
def test_a_silence_that_was_half_our_own_lag_is_not_judged(lag_ms: float, code: str) -> None:
    assert blame(silent_pair(lag_ms=lag_ms)).code == code


def test_a_connection_passes_and_a_syn_sent_again_is_slow() -> None:
    quick, again = judge(facts(dial(rtt_ms=1.0)), Policy()), judge(facts(dial(rtt_ms=1.0, syn_retransmits=1)), Policy())
    assert [one.code for one in quick] == [None]
    assert [one.code for one in again] == [None, "tcp.syn_retransmit"]
    assert again[1].state is State.SLOW


def test_the_answer_of_a_twin_counts_from_the_first_syn_and_does_not_hide_the_loss() -> None:
    first = dial(fault=CUT, started_s=10.0, ended_s=11.26, syn_retransmits=1, local_port=40001)
    answered = dial(started_s=11.25, ended_s=11.26, local_port=40002, rtt_ms=8.0, syn_retransmits=0, twin=first)
    told = facts(answered)
    assert told.duration_ms == pytest.approx(1260.0)
    assert told.syn_retransmits == 2
    assert [one.code for one in judge(told, Policy())] == [None, "tcp.syn_retransmit"]
    assert told.columns()["network_local_port"] == 40002
    assert (told.record()["twin_local_port"], told.record()["twin_event"]) == (40001, CUT_SHORT)


def test_a_loud_twin_beside_a_silent_attempt_is_loud() -> None:
    loud = dial(fault=message(4, 3, 1, ROUTER[4]), twin=dial(fault=CUT, started_s=9.0))
    assert (blame(loud).code, blame(loud).silences) == (HOST_GONE, 0)


@pytest.mark.parametrize(("rtt_ms", "codes"), [(501.0, [None, "tcp.slow"]), (499.0, [None])])
def test_a_far_host_is_slow(rtt_ms: float, codes: list[str | None]) -> None:
    assert [one.code for one in judge(facts(dial(rtt_ms=rtt_ms)), Policy())] == codes


@pytest.mark.parametrize(("witnesses", "sockets"), [(True, ["climb", "again"]), (False, ["climb"])])
def test_a_silent_connect_gets_a_twin_unless_witnesses_are_off(witnesses: bool, sockets: list[str]) -> None:
    net = FakeNet().host(HOST[4].text, 443, fault=SILENT)
    target = Target(service="tcp", host=HOST[4].text, port=443)
    ground = Ground(target=target, policy=Policy(witnesses=witnesses), deadline=net.now() + 60, address=HOST[4])
    started = net.now()
    told = drive(probe(ground, net))
    assert [one.purpose for one in ground.attempts] == sockets
    assert told.silences == len(sockets)
    assert net.now() - started == pytest.approx(Policy().connect_s)
    if witnesses:
        first, twin = told.dial, told.dial.twin
        assert twin is not None
        assert twin.started_s - first.started_s == pytest.approx(Policy().again_s)
        assert twin.local_port != first.local_port


def test_every_code_it_gives_is_declared() -> None:
    for family, kind, code, errno_name, _ in MESSAGES:
        for sender in (ROUTER[family], SELF[family], HOST[family].text):
            for routed in (True, False):
                attempt = dial(family, message(family, kind, code, sender, errno_name))
                assert blame(attempt, routed=routed).code in LAYER.emits
    assert blame(replace(silent_pair(), lag_ms=3000.0)).code in LAYER.emits
