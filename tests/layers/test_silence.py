"""What is heard around a silent port decides whom to blame: every branch of the judge, each with a look-alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleetprobe.codes.table import CODES
from fleetprobe.decide import decide
from fleetprobe.layer import Ground
from fleetprobe.layers.silence import EMITS, SilenceFacts, judge, probe
from fleetprobe.layers.sockets import attempt_of_ping
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Target
from fleetprobe.model.verdict import Confidence, Finding, State, Verdict
from fleetprobe.net.fake import FakeNet, drive
from fleetprobe.net.interface import Address, Dial, Event, Fault, Icmp, Route
from fleetprobe.net.script import REFUSED, SILENT
from fleetprobe.net.survey import Held, Survey
from fleetprobe.net.witness import Hop, Neighbour, NeighbourState, Ping, Poke, Poked, Reached, Walk

HOST = Address("203.0.113.9", 4)
SIBLING = Address("203.0.113.77", 4)
R1, R2 = "198.18.1.1", "198.18.12.2"
ROUTED = Route(address=HOST.text, gateway=R1, source="198.18.1.10", interface="eth0")
ON_LINK = Route(address=HOST.text, source="203.0.113.2", interface="eth0")
PORT = 443
EPERM = Fault(Event.ERROR, "EPERM")
NO_DESCRIPTOR = Fault(Event.ERROR, "EMFILE")


def dial(port: int = 80, fault: Fault | None = SILENT, address: Address = HOST) -> Dial:
    return Dial(address=address, port=port, started_s=0.0, ended_s=0.6, fault=fault)


def from_router(kind: int, code: int, sender: str = R2) -> Fault:
    return Fault(Event.ERROR, "EHOSTUNREACH", Icmp(type=kind, code=code, sender=sender, from_self=False))


def poke(outcome: Poked = Poked.SILENT, to: Address = HOST, **more: Any) -> Poke:
    return Poke(address=to, port=33434, ttl=None, outcome=outcome, started_s=0.0, ended_s=0.6, packets=2, **more)


def ping(*, replied: bool = False, permitted: bool = True, to: Address = HOST, fault: Fault | None = None) -> Ping:
    return Ping(address=to, permitted=permitted, started_s=0.0, ended_s=0.6, replied=replied, fault=fault)


def gateway(state: NeighbourState | None) -> Neighbour | None:
    if state is None:
        return None
    return Neighbour(address=R1, interface="eth0", state=state, mac="02:00:00:00:00:01")


def walk(*senders: str | None, to: Address = HOST, reached: Reached | None = None, **more: Any) -> Walk:
    """Routers by distance, None for a silent one; the end, if reached, is one hop beyond them."""
    hops = [Hop(ttl=n, icmp=who and Icmp(11, 0, who, False), rtt_ms=1.0) for n, who in enumerate(senders, 1)]  # type: ignore[arg-type]  # None stays None
    end = len(senders) + 1 if reached else None
    if end is not None:
        hops.append(Hop(ttl=end, icmp=None, rtt_ms=1.0))
    return Walk(
        address=to, port=PORT, started_s=0.0, ended_s=0.6, hops=tuple(hops), reached_ttl=end, reached_by=reached,
        **more,
    )


def facts(route: Route = ROUTED, **heard: Any) -> SilenceFacts:
    """Nothing was heard from anybody, but for what is said here. The gateway's address is known and confirmed."""
    state = heard.pop("state", NeighbourState.REACHABLE)
    path: Walk | None = heard.get("walk")
    told: dict[str, Any] = {
        "address": HOST, "port": PORT, "started_s": 0.0, "ended_s": 0.65, "knocks": (dial(80), dial(1)),
        "poke": poke(), "ping": ping(), "walk": None, "walked": path.address.text if path else None,
        "neighbour": gateway(state),
    }
    return SilenceFacts(Survey(**{**told, **heard}), route)


def blame(told: SilenceFacts) -> Finding:
    """The one finding with a code."""
    (finding,) = [one for one in judge(told, Policy()) if one.code is not None]
    return finding


def passes(told: SilenceFacts) -> set[str]:
    return {one.layer for one in judge(told, Policy()) if one.code is None}


ALIVE = [
    pytest.param({"knocks": (dial(80, None), dial(1))}, id="another port accepts"),
    pytest.param({"knocks": (dial(80), dial(1, REFUSED))}, id="another port refuses"),
    pytest.param({"poke": poke(Poked.PORT_CLOSED)}, id="UDP port unreachable from the host itself"),
    pytest.param({"poke": poke(Poked.ANSWERED)}, id="a UDP answer"),
    pytest.param({"heard_port": 22}, id="another port answered earlier in the run"),
    pytest.param({"knocks": (dial(80, from_router(3, 3, HOST.text)), dial(1))}, id="ICMP that bears its address"),
]


@pytest.mark.parametrize("heard", ALIVE)
def test_one_sign_of_life_is_enough_for_a_filtered_port(heard: dict[str, Any]) -> None:
    told = facts(**heard)
    finding = blame(told)
    assert (finding.code, finding.state, finding.confidence) == ("tcp.filtered", State.FAIL, Confidence.INFERRED)
    assert passes(told) == {"ip"}


@pytest.mark.parametrize(
    "heard",
    [
        pytest.param({"poke": poke(Poked.ICMP, icmp=Icmp(3, 1, R2, False))}, id="UDP: another's message"),
        pytest.param({"knocks": (dial(80, from_router(3, 1)), dial(1))}, id="a router's word on another port"),
        pytest.param({"poke": poke(Poked.FROM_SELF, icmp=Icmp(3, 1, "198.18.1.10", True))}, id="our own kernel's word"),
        pytest.param({"gateway_poke": poke(Poked.PORT_CLOSED, Address(R1, 4))}, id="the gateway's sign of life"),
        pytest.param({"gateway_heard": True}, id="others behind the same gateway answered"),
        pytest.param({"walk": walk(R1, R2, to=SIBLING, reached=Reached.OPEN)}, id="a sibling answers at its port"),
    ],
)
def test_what_others_say_is_no_sign_of_life_of_the_host(heard: dict[str, Any]) -> None:
    assert blame(facts(**heard)).code != "tcp.filtered"


def test_a_missing_reply_to_ping_decides_nothing() -> None:
    for heard in ({}, {"knocks": (dial(80), dial(1, REFUSED))}, {"walk": walk(R1, R2)}):
        silent, unasked = blame(facts(**heard)), blame(facts(**heard, ping=ping(permitted=False)))
        assert (silent.code, silent.state) == (unasked.code, unasked.state)


def test_ping_that_our_own_firewall_refuses_does_not_decide_when_udp_could_leave() -> None:
    told = facts(ping=ping(fault=EPERM), poke=poke(Poked.PORT_CLOSED))
    assert blame(told).code == "tcp.filtered"


def test_a_reply_to_ping_alone_is_weaker_than_any_other_sign_of_life() -> None:
    """Boxes answer pings in the name of hosts that are gone, so the silent host must stay possible."""
    finding = blame(facts(ping=ping(replied=True)))
    assert finding.confidence is Confidence.INFERRED
    assert finding.code != "tcp.filtered" or "ip.host_silent" in finding.could_also_be


def test_udp_that_our_own_firewall_refuses_is_our_own_fault() -> None:
    finding = blame(facts(poke=poke(Poked.DENIED, fault=EPERM)))
    assert (finding.code, finding.state) == ("local.send_denied", State.UNKNOWN)


@pytest.mark.parametrize("heard", [{"knocks": (dial(80), dial(1, REFUSED))}, {"heard_port": 22}])
def test_a_firewall_of_ours_that_forbids_udp_alone_explains_no_silence_of_tcp(heard: dict[str, Any]) -> None:
    assert blame(facts(poke=poke(Poked.DENIED, fault=EPERM), **heard)).code == "tcp.filtered"


@pytest.mark.parametrize(("share", "ours"), [(0.95, True), (1.0, True), (0.949, False), (0.0, False), (None, False)])
def test_our_own_connection_table_is_full_from_95_percent(share: float | None, ours: bool) -> None:
    finding = blame(facts(conntrack_share=share))
    assert (finding.code == "local.conntrack_full") is ours
    assert (finding.state is State.UNKNOWN) is ours


def test_a_full_table_of_ours_that_lets_another_new_flow_pass_explains_nothing() -> None:
    told = facts(conntrack_share=0.97, knocks=(dial(80), dial(1, REFUSED)))
    assert blame(told).code == "tcp.filtered"


@pytest.mark.parametrize("state", [NeighbourState.INCOMPLETE, NeighbourState.FAILED])
def test_a_next_hop_that_does_not_answer_arp_is_our_own_side_and_shared(state: NeighbourState) -> None:
    finding = blame(facts(state=state))
    assert (finding.code, finding.state) == ("vantage.gateway_unreachable", State.BLOCKED)
    assert finding.confidence is Confidence.OBSERVED
    assert finding.factor == f"gateway {R1}"


@pytest.mark.parametrize("state", [NeighbourState.INCOMPLETE, NeighbourState.FAILED])
def test_an_on_link_target_that_does_not_answer_arp_is_unresolved_itself(state: NeighbourState) -> None:
    finding = blame(facts(ON_LINK, state=state))
    assert (finding.code, finding.state) == ("link.neighbour_unresolved", State.FAIL)


@pytest.mark.parametrize("state", [NeighbourState.REACHABLE, NeighbourState.STALE, NeighbourState.PERMANENT, None])
def test_an_on_link_target_whose_mac_is_known_is_silent_above_the_link(state: NeighbourState | None) -> None:
    assert blame(facts(ON_LINK, state=state)).code == "ip.host_silent"


@pytest.mark.parametrize("state", [NeighbourState.INCOMPLETE, NeighbourState.FAILED])
def test_what_answers_now_through_a_next_hop_shows_that_it_is_there(state: NeighbourState) -> None:
    """An entry is being asked again while packets still pass."""
    assert blame(facts(state=state, knocks=(dial(80, None), dial(1)))).code == "tcp.filtered"


@pytest.mark.parametrize("state", [NeighbourState.PERMANENT, NeighbourState.STALE, NeighbourState.PROBE])
def test_an_unconfirmed_next_hop_behind_which_nothing_answers_is_suspected(state: NeighbourState) -> None:
    finding = blame(facts(state=state))
    assert (finding.code, finding.confidence) == ("vantage.gateway_unreachable", Confidence.INFERRED)


@pytest.mark.parametrize(
    "heard",
    [
        pytest.param({"gateway_heard": True}, id="others answered through it"),
        pytest.param({"gateway_poke": poke(Poked.PORT_CLOSED, Address(R1, 4))}, id="it answers UDP"),
        pytest.param({"gateway_ping": ping(replied=True, to=Address(R1, 4))}, id="it answers ping"),
        pytest.param({"walk": walk(None, R2)}, id="a router behind it is heard"),
        pytest.param({"knocks": (dial(80), dial(1, REFUSED))}, id="the host answers through it"),
    ],
)
@pytest.mark.parametrize("state", [NeighbourState.PERMANENT, NeighbourState.STALE, NeighbourState.PROBE])
def test_an_unconfirmed_next_hop_is_cleared_by_anything_that_comes_through(
    state: NeighbourState, heard: dict[str, Any]
) -> None:
    assert blame(facts(state=state, **heard)).code != "vantage.gateway_unreachable"


@pytest.mark.parametrize("state", [NeighbourState.REACHABLE, NeighbourState.NOARP, NeighbourState.NONE, None])
def test_a_confirmed_next_hop_is_not_suspected_for_being_silent(state: NeighbourState | None) -> None:
    assert blame(facts(state=state)).code == "ip.host_silent"


def test_routers_that_repeat_are_a_loop() -> None:
    finding = blame(facts(walk=walk(R1, R2, R1, R2, R1, R2, loop=(R1, R2))))
    assert (finding.code, finding.state) == ("ip.routing_loop", State.FAIL)
    assert R1 in finding.summary
    assert R2 in finding.summary


def test_a_loop_on_the_way_to_a_sibling_does_not_convict_a_host_that_answers() -> None:
    circle = walk(R1, R2, R1, R2, R1, R2, to=SIBLING, loop=(R1, R2))
    assert blame(facts(walk=circle, knocks=(dial(80), dial(1, REFUSED)))).code == "tcp.filtered"


def test_a_loop_on_the_way_to_a_sibling_is_an_inference_about_this_address() -> None:
    circle = walk(R1, R2, R1, R2, R1, R2, to=SIBLING, loop=(R1, R2))
    finding = blame(facts(walk=circle))
    assert finding.code == "ip.routing_loop"
    assert SIBLING.text in finding.summary
    assert finding.confidence is Confidence.INFERRED


def test_the_last_router_that_answers_is_named_and_the_link_is_proven() -> None:
    told = facts(walk=walk(R1, R2, None, None))
    finding = blame(told)
    assert (finding.code, finding.confidence) == ("ip.path_dies", Confidence.INFERRED)
    assert f"{R2} (hop 2)" in finding.summary
    assert finding.factor == f"router {R2}"
    assert passes(told) == {"link"}


def test_a_gateway_that_lives_is_hop_1_when_no_router_says_anything() -> None:
    finding = blame(facts(gateway_heard=True, walk=walk(None, None)))
    assert finding.code == "ip.path_dies"
    assert f"{R1} (hop 1)" in finding.summary


def test_a_path_that_is_known_to_reach_a_sibling_does_not_die_before_it() -> None:
    """The walk of the /24 met another host of it: the routers do their part, so this host is the silent one."""
    assert blame(facts(walk=walk(R1, R2, to=SIBLING, reached=Reached.OPEN))).code == "ip.host_silent"


def test_the_path_is_told_beside_a_filtered_port_too() -> None:
    finding = blame(facts(walk=walk(R1, R2, None), knocks=(dial(80), dial(1, REFUSED))))
    assert finding.code == "tcp.filtered"
    assert f"hop 2 ({R2})" in finding.summary


def test_a_port_that_answers_the_walk_itself_is_no_filtered_one_and_no_silent_host() -> None:
    """Two connects were lost, and the SYNs of the walk were answered: loss, or one bad path of several."""
    for reached in (Reached.OPEN, Reached.RST):
        finding = blame(facts(walk=walk(R1, R2, reached=reached)))
        assert (finding.code, finding.confidence) == ("tcp.flow_dependent", Confidence.INFERRED)


def test_what_answered_the_walk_of_another_port_is_the_host_and_not_this_port() -> None:
    for reached in (Reached.OPEN, Reached.RST):
        finding = blame(facts(walk=replace(walk(R1, R2, reached=reached), port=PORT + 1)))
        assert (finding.code, finding.confidence) == ("tcp.filtered", Confidence.INFERRED)
        assert f"port {PORT + 1}" in finding.summary


def test_packets_of_a_walk_made_before_are_not_missed_at_our_own_interface() -> None:
    path = replace(walk(R1, R2), dials=(dial(PORT),) * 16)
    assert blame(facts(walk=path, left=8)).code == "local.send_denied"
    for earlier in (replace(path, port=PORT + 1), replace(path, started_s=-5.0)):
        assert blame(facts(walk=earlier, left=8)).code == "ip.path_dies"


def test_a_port_that_answers_a_further_attempt_is_left_to_another_climb() -> None:
    for other in ({}, {"knocks": (dial(80), dial(1, REFUSED))}, {"state": NeighbourState.FAILED}):
        finding = blame(facts(fresh=(dial(PORT), dial(PORT, None)), **other))
        assert (finding.code, finding.confidence) == ("tcp.flow_dependent", Confidence.INFERRED)
        assert "loss" in finding.summary
        assert finding.could_also_be == ("tcp.syn_retransmit",)
        assert not any("tcp.syn_retransmit" in wrong for wrong in CODES["tcp.flow_dependent"].not_this)
    assert blame(facts(fresh=(dial(PORT), dial(PORT), dial(PORT)))).code == "ip.host_silent"


OLD = Held(port=22, age_s=4.0, lives=True)


def test_an_old_connection_that_lives_while_new_ones_to_its_port_die_is_a_proof() -> None:
    told = facts(held=OLD, knocks=(dial(22), dial(1)))
    finding = blame(told)
    assert (finding.code, finding.confidence) == ("tcp.new_flows_dropped", Confidence.PROVEN)
    assert passes(told) == {"ip"}


@pytest.mark.parametrize(
    "heard",
    [
        pytest.param({"held": replace(OLD, lives=False), "knocks": (dial(22), dial(1))}, id="the old one is dead too"),
        pytest.param({"held": OLD, "knocks": (dial(22, None), dial(1))}, id="a new one to its port stands"),
        pytest.param({"held": OLD, "knocks": (dial(80), dial(1))}, id="its port was not asked again"),
        pytest.param({"held": OLD, "knocks": (dial(22, NO_DESCRIPTOR), dial(1))}, id="the new one never left us"),
        pytest.param({"knocks": (dial(22), dial(1))}, id="no old one"),
    ],
)
def test_without_both_halves_of_the_comparison_new_flows_are_not_accused(heard: dict[str, Any]) -> None:
    assert blame(facts(**heard)).code != "tcp.new_flows_dropped"


def test_nothing_from_anybody_is_a_silent_host_and_says_what_else_it_could_be() -> None:
    told = facts()
    finding = blame(told)
    assert (finding.code, finding.state, finding.confidence) == ("ip.host_silent", State.FAIL, Confidence.INFERRED)
    assert {"tcp.filtered", "ip.path_dies"} <= set(finding.could_also_be)
    assert passes(told) == set()


def test_questions_that_never_left_us_are_no_silence_of_the_host() -> None:
    """No descriptor was left for the survey, so nothing was asked of the host by it."""
    told = facts(
        knocks=(dial(80, NO_DESCRIPTOR), dial(1, NO_DESCRIPTOR)), poke=poke(Poked.LOCAL, fault=NO_DESCRIPTOR),
        ping=ping(fault=NO_DESCRIPTOR),
    )
    finding = blame(told)
    assert finding.code not in ("ip.host_silent", "ip.path_dies")
    assert finding.state is State.UNKNOWN


EVERY = [
    facts(), facts(heard_port=22), facts(conntrack_share=1.0), facts(poke=poke(Poked.DENIED, fault=EPERM)),
    facts(state=NeighbourState.FAILED), facts(ON_LINK, state=NeighbourState.FAILED),
    facts(state=NeighbourState.PERMANENT), facts(walk=walk(R1, R2)), facts(walk=walk(R1, R2, R1, loop=(R1, R2))),
]


@pytest.mark.parametrize("told", EVERY)
def test_every_answer_takes_the_place_of_the_bare_timeout_and_nothing_else(told: SilenceFacts) -> None:
    finding = blame(told)
    assert finding.supersedes == {"tcp.timeout"}
    assert finding.code in EMITS
    assert len(finding.summary) <= 160


@pytest.mark.parametrize("told", EVERY)
def test_what_is_inferred_names_its_alternatives(told: SilenceFacts) -> None:
    finding = blame(told)
    assert finding.confidence is not Confidence.INFERRED or finding.could_also_be


@pytest.mark.parametrize("told", EVERY)
def test_what_stays_possible_is_never_excluded_in_the_same_breath(told: SilenceFacts) -> None:
    finding = blame(told)
    assert finding.code is not None
    excluded = " ".join(CODES[finding.code].not_this)
    assert not [code for code in finding.could_also_be if f"({code})" in excluded]


@pytest.mark.parametrize("told", EVERY)
def test_two_silent_connects_and_the_survey_make_a_verdict_without_a_further_question(told: SilenceFacts) -> None:
    timeout = Finding(
        layer="tcp", state=State.FAIL, code="tcp.timeout", silences=2, confidence=Confidence.INFERRED, summary="silent"
    )
    verdict = decide(("link", "ip", "tcp"), [timeout, *judge(told, Policy())])
    assert isinstance(verdict, Verdict)
    assert verdict.code == blame(told).code
    assert verdict.state is blame(told).state


def test_facts_say_what_each_question_brought() -> None:
    told = facts(
        knocks=(dial(80, from_router(3, 13)), dial(1, REFUSED)), walk=walk(R1, None, R2), heard_port=22,
        conntrack_share=0.5, ping=ping(permitted=False), gateway_heard=True, fresh=(dial(PORT),),
        held=Held(port=22, age_s=3.0, lives=False),
    ).record()
    assert told == {
        "fresh": ["silent"], "held": "dead",
        "other_ports": {"80": f"ICMP 3/13 from {R2}", "1": "ECONNREFUSED"}, "heard_port": 22, "udp": "silent",
        "ping": "not permitted", "hops": [R1, "*", R2], "last_hop": f"{R2} at hop 3", "walked": HOST.text,
        "gateway": R1, "gateway_state": "REACHABLE", "gateway_alive": True, "conntrack_share": 0.5,
    }
    assert facts(ON_LINK).record().keys() == {"fresh", "other_ports", "udp", "ping"}
    assert facts().columns() == {}


def test_the_probe_asks_once_within_its_budget_and_lists_every_socket() -> None:
    net = FakeNet().host(HOST.text, PORT, fault=SILENT).way(ROUTED)
    target = Target(service="tcp", host=HOST.text, port=PORT)
    ground = Ground(target=target, policy=Policy(), deadline=net.now() + 60, address=HOST)
    started = net.now()
    told = drive(probe(ground, net))
    assert net.now() - started <= Policy().survey_s
    assert net.count("survey", HOST.text, PORT) == 1
    assert {attempt.purpose for attempt in ground.attempts} == {"survey"}
    assert [(one.transport, one.port) for one in ground.attempts] == [
        ("tcp", 22), ("tcp", 1), ("tcp", PORT), ("udp", 33434),
    ]
    assert blame(told).code == "tcp.filtered"


def test_a_walk_made_for_a_sibling_is_listed_with_the_sibling_alone() -> None:
    own = walk(R1, dials=(dial(PORT),))
    assert len(facts(walk=own).survey.dials) == 3
    other = replace(own, address=SIBLING)
    assert len(facts(walk=other).survey.dials) == 2


def test_the_deadline_of_the_target_cuts_the_survey() -> None:
    net = FakeNet().way(ROUTED)
    target = Target(service="tcp", host=HOST.text, port=PORT)
    ground = Ground(target=target, policy=Policy(), deadline=net.now() + 0.2, address=HOST)
    started = net.now()
    drive(probe(ground, net))
    assert net.now() - started == pytest.approx(0.2)




@pytest.mark.parametrize(
    ("to", "words"),
    [(HOST, f"(hop 2) on the way to {HOST.text}"), (SIBLING, f"on the way to the /24 of {HOST.text}")],
)
def test_a_path_walked_to_a_neighbour_is_not_told_as_the_path_to_this_host(to: Address, words: str) -> None:
    finding = blame(facts(walk=walk(R1, R2, to=to)))
    assert finding.code == "ip.path_dies"
    assert finding.summary.endswith(words)


@pytest.mark.parametrize(
    ("permitted", "shared", "listed"), [(True, False, [("icmp", HOST.text)]), (False, False, []), (True, True, [])]
)
def test_a_ping_is_listed_where_it_was_sent_and_for_whom(
    permitted: bool, shared: bool, listed: list[tuple[str, str]]
) -> None:
    survey = replace(facts().survey, ping=ping(permitted=permitted), host_shared=shared)
    attempts = [attempt_of_ping(one, "survey") for one in survey.pings]
    assert [(attempt.transport, attempt.address) for attempt in attempts] == listed
    assert all((attempt.port, attempt.outcome) == (0, "silent") for attempt in attempts)
