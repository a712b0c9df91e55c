"""When a router's word about neighbours may be lent to a silent host, and each likeness that must not be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fleetprobe.audit.causes import cause_id
from fleetprobe.codes.table import CODES
from fleetprobe.decide import decide
from fleetprobe.layers.icmp import answered
from fleetprobe.layers.silence import EMITS, SilenceFacts, judge
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Confidence, Finding, State, Verdict
from fleetprobe.net.interface import Address, Dial, Icmp, Route
from fleetprobe.net.nearby import MOST_PORTS, Nearby, RouterWord
from fleetprobe.net.script import REFUSED
from fleetprobe.net.witness import NeighbourState, Poked, Reached
from tests.layers.test_silence import (
    HOST,
    ON_LINK,
    PORT,
    R1,
    R2,
    SIBLING,
    blame,
    dial,
    facts,
    from_router,
    passes,
    ping,
    poke,
    walk,
)

R3 = "198.18.13.2"
OTHERS = ("203.0.113.5", "203.0.113.77", "203.0.113.78", "203.0.113.79")
PROHIBITED, NO_ROUTE = (3, 13), (3, 0)
HOST6 = Address("2001:db8:64::9", 6)
OTHERS6 = ("2001:db8:64::5", "2001:db8:64::77", "2001:db8:64::78", "2001:db8:64::79")


def word(
    kind: tuple[int, int] = PROHIBITED, *told: str, by: str = R2, port: int = PORT, age_s: float = 2.0
) -> RouterWord:
    return RouterWord(icmp=Icmp(*kind, by, from_self=False), port=port, addresses=told or OTHERS, age_s=age_s)


def around(*words: RouterWord, ports: tuple[int, ...] = (), **heard: Any) -> SilenceFacts:
    """A silent host behind two routers that are heard, and what was heard of its neighbours."""
    return facts(**{"walk": walk(R1, R2, None), "nearby": Nearby(words=words, ports=ports), **heard})


def around6(*words: RouterWord) -> SilenceFacts:
    plain = facts().survey
    silent = tuple(replace(one, address=HOST6) for one in plain.knocks)
    told = replace(
        plain, address=HOST6, knocks=silent, poke=poke(to=HOST6), ping=ping(to=HOST6), gateway_heard=True,
        nearby=Nearby(words=words),
    )
    return SilenceFacts(told, Route(address=HOST6.text, gateway="2001:db8:1::1", interface="eth0"))


def test_what_several_neighbours_were_told_explains_the_silence_by_inference() -> None:
    told = around(word())
    finding = blame(told)
    assert (finding.code, finding.state, finding.confidence) == (
        "ip.admin_prohibited", State.FAIL, Confidence.INFERRED,
    )
    assert (finding.silences, finding.supersedes) == (2, frozenset({"tcp.timeout"}))
    assert finding.could_also_be == ("ip.path_dies", "tcp.timeout")
    assert passes(told) == {"link"}


def test_the_facts_name_who_said_what_of_whom_and_when() -> None:
    told = around(word())
    finding = blame(told)
    assert finding.facts == told.record()  # the record of a target shows what the probe saw
    assert borrowed(told) == {
        "icmp_lent_by": R2, "icmp_lent_type": 3, "icmp_lent_code": 13, "icmp_lent_for": "203.0.113.79",
        "icmp_lent_port": PORT, "icmp_lent_age_s": 2.0,
    }
    assert finding.facts["icmp_nearby"] == [f"ICMP 3/13 from {R2} about 203.0.113.79:443"]


def borrowed(told: SilenceFacts) -> dict[str, Any]:
    return {name: value for name, value in told.record().items() if name.startswith("icmp_lent")}


def test_the_summary_says_so_in_plain_words() -> None:
    assert blame(around(word())).summary == (
        "203.0.113.9:443 is silent; neighbours got ICMP 3/13 (administratively prohibited) from 198.18.12.2, "
        "which seems to limit them"
    )


def test_the_longest_addresses_leave_room_for_the_router() -> None:
    long = Address("2001:db8:1111:2222:3333:4444:5555:6666", 6)
    router = "2001:db8:1111:2222:3333:4444:5555:7777"
    told = around6(word((1, 1), *OTHERS6, by=router, port=65535))
    finding = blame(SilenceFacts(replace(told.survey, address=long, port=65535), told.route))
    assert finding.code == "ip.admin_prohibited"
    assert finding.summary.endswith(f"from {router}")
    assert len(finding.summary) <= 160


def test_it_shares_its_cause_with_the_neighbours() -> None:
    finding = blame(around(word()))
    neighbour = answered(Icmp(*PROHIBITED, R2, from_self=False), OTHERS[0], PORT, {})
    assert finding.code is not None
    assert finding.factor is not None
    assert neighbour.code is not None
    assert neighbour.factor is not None
    assert cause_id(finding.code, finding.factor) == cause_id(neighbour.code, neighbour.factor)


@pytest.mark.parametrize("kind", [(3, 9), (3, 13)])
def test_prohibitions_of_a_network_are_lent(kind: tuple[int, int]) -> None:
    assert blame(around(word(kind))).code == "ip.admin_prohibited"


@pytest.mark.parametrize("kind", [(3, 0), (3, 6), (3, 11)])
def test_missing_routes_are_lent(kind: tuple[int, int]) -> None:
    assert blame(around(word(kind))).code == "ip.net_unreachable"


@pytest.mark.parametrize(
    ("kind", "code"),
    [((1, 0), "ip.net_unreachable"), ((1, 1), "ip.admin_prohibited"), ((1, 5), "ip.admin_prohibited"),
     ((1, 6), "ip.admin_prohibited")],
)
def test_the_same_is_lent_over_ipv6(kind: tuple[int, int], code: str) -> None:
    finding = blame(around6(word(kind, *OTHERS6, by="2001:db8:13::2")))
    assert (finding.code, finding.confidence) == (code, Confidence.INFERRED)


@pytest.mark.parametrize("kind", [(3, 1), (3, 2), (3, 3), (3, 5), (3, 7), (3, 10), (3, 12)])
def test_what_is_said_of_one_host_or_port_is_lent_to_nobody(kind: tuple[int, int]) -> None:
    assert blame(around(word(kind))).code == "ip.path_dies"


@pytest.mark.parametrize("kind", [(1, 2), (1, 3), (1, 4)])
def test_what_is_said_of_one_host_or_port_is_lent_to_nobody_over_ipv6(kind: tuple[int, int]) -> None:
    assert blame(around6(word(kind, *OTHERS6, by="2001:db8:13::2"))).code == "ip.path_dies"


def test_a_prohibition_of_one_port_is_not_lent_to_another() -> None:
    assert blame(around(word(port=80))).code == "ip.path_dies"


def test_a_missing_route_is_lent_to_every_port() -> None:
    finding = blame(around(word(NO_ROUTE, OTHERS[0], port=80), word(NO_ROUTE, OTHERS[1], port=22, age_s=1.0)))
    assert (finding.code, finding.facts["icmp_lent_port"]) == ("ip.net_unreachable", 22)


def test_one_neighbour_alone_may_have_a_rule_to_itself() -> None:
    assert blame(around(word(PROHIBITED, OTHERS[0]))).code == "ip.path_dies"
    assert blame(around(word(NO_ROUTE, OTHERS[0]))).code == "ip.path_dies"


def test_what_was_said_of_this_very_address_and_port_is_enough() -> None:
    """Another name of the same service was told; this climb was not."""
    finding = blame(around(word(PROHIBITED, HOST.text)))
    assert (finding.code, finding.facts["icmp_lent_for"]) == ("ip.admin_prohibited", HOST.text)
    assert finding.factor == f"router {R2}"


@pytest.mark.parametrize(("age_s", "lent"), [(10.0, True), (10.1, False)])
def test_a_word_from_long_before_explains_no_limit_now(age_s: float, lent: bool) -> None:
    assert (blame(around(word(age_s=age_s))).code == "ip.admin_prohibited") is lent


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(word(by=R3), id="another router"),
        pytest.param(word((3, 9)), id="another word of the same router"),
        pytest.param(word((3, 1)), id="it delivers to one, who is not there"),
        pytest.param(word((3, 10), age_s=500.0), id="a rule for one host, long ago"),
    ],
)
def test_words_about_one_port_that_disagree_are_not_lent(other: RouterWord) -> None:
    assert blame(around(word(), other)).code == "ip.path_dies"
    assert blame(around(other, word())).code == "ip.path_dies"


def test_words_about_the_same_port_come_before_those_about_others() -> None:
    assert blame(around(word(), word(NO_ROUTE, port=80, by=R3))).code == "ip.admin_prohibited"
    assert blame(around(word(port=80), word(NO_ROUTE, port=22))).code == "ip.path_dies"


def test_a_prohibition_is_not_lent_where_a_neighbour_answers_at_the_port() -> None:
    assert blame(around(word(), ports=(PORT,))).code == "ip.path_dies"
    assert blame(around(word(), ports=tuple(range(1000, 1000 + MOST_PORTS)))).code == "ip.path_dies"
    assert blame(around(word(), ports=(22, 1))).code == "ip.admin_prohibited"


def test_a_missing_route_is_not_lent_where_a_neighbour_answers_at_any_port() -> None:
    assert blame(around(word(NO_ROUTE), ports=(22,))).code == "ip.path_dies"


SIBLINGS_WALK = replace(walk(R1, R2, R3, to=SIBLING), port=80)


@pytest.mark.parametrize(
    ("kind", "path", "code"),
    [
        pytest.param(PROHIBITED, walk(R1, R2, R3), "ip.path_dies", id="this SYN gets past the router"),
        pytest.param(PROHIBITED, walk(R1, R2, None), "ip.admin_prohibited", id="nobody answers behind it"),
        pytest.param(PROHIBITED, walk(R1, None), "ip.admin_prohibited", id="the router itself is not heard"),
        pytest.param(PROHIBITED, walk(R1, R2, R2), "ip.admin_prohibited", id="it is heard twice"),
        pytest.param(PROHIBITED, walk(R1, R2, R3, to=SIBLING), "ip.path_dies", id="a neighbour's SYN gets past it"),
        pytest.param(PROHIBITED, SIBLINGS_WALK, "ip.admin_prohibited", id="to another port, which no rule forbids"),
        pytest.param(NO_ROUTE, SIBLINGS_WALK, "ip.path_dies", id="to another port, though no route would be there"),
        pytest.param(PROHIBITED, walk(R1, to=SIBLING, reached=Reached.RST), "ip.host_silent", id="a neighbour is met"),
        pytest.param(PROHIBITED, None, "ip.admin_prohibited", id="no walk"),
    ],
)
def test_a_packet_that_came_through_speaks_against_the_word(kind: tuple[int, int], path: Any, code: str) -> None:
    assert blame(around(word(kind), walk=path, gateway_heard=True)).code == code


NOT_ABOUT_THE_HOST = {"local.conntrack_full", "vantage.gateway_unreachable", "ip.routing_loop"}
"""Their facts may show a word that could have been lent: they speak of what is nearer to us."""


@pytest.mark.parametrize(
    ("heard", "code"),
    [
        pytest.param({"knocks": (dial(80), dial(1, REFUSED))}, "tcp.filtered", id="alive at another port"),
        pytest.param({"heard_port": 22}, "tcp.filtered", id="alive earlier in the run"),
        pytest.param({"poke": poke(Poked.PORT_CLOSED)}, "tcp.filtered", id="alive by UDP"),
        pytest.param({"ping": ping(replied=True)}, "tcp.timeout", id="answers ping"),
        pytest.param({"fresh": (dial(PORT, None),)}, "tcp.flow_dependent", id="the port answers after all"),
        pytest.param({"conntrack_share": 1.0}, "local.conntrack_full", id="our own table is full"),
        pytest.param({"state": NeighbourState.FAILED}, "vantage.gateway_unreachable", id="the gateway is gone"),
        pytest.param({"walk": walk(R1, R2, R1, R2, R1, loop=(R1, R2))}, "ip.routing_loop", id="a loop"),
        pytest.param({"fresh": (dial(PORT, from_router(3, 1)),)}, "ip.host_unreachable", id="told of it itself"),
    ],
)
def test_what_the_host_itself_shows_always_wins(heard: dict[str, Any], code: str) -> None:
    told = around(word(), **heard)
    assert blame(told).code == code
    assert not borrowed(told) or code in NOT_ABOUT_THE_HOST


def test_nothing_is_lent_on_our_own_link() -> None:
    assert blame(facts(ON_LINK)).code == "ip.host_silent"


def test_what_it_would_be_without_the_word_stays_possible() -> None:
    assert blame(facts(nearby=Nearby(words=(word(),)))).could_also_be == ("ip.host_silent", "tcp.timeout")


@pytest.mark.parametrize("kind", [PROHIBITED, NO_ROUTE])
def test_lent_words_settle_the_verdict_and_exclude_nothing_that_stays_possible(kind: tuple[int, int]) -> None:
    told = around(word(kind))
    finding = blame(told)
    timeout = Finding(
        layer="tcp", state=State.FAIL, code="tcp.timeout", silences=2, confidence=Confidence.INFERRED, summary="silent"
    )
    verdict = decide(("link", "ip", "tcp"), [timeout, *judge(told, Policy())])
    assert isinstance(verdict, Verdict)
    assert (verdict.code, verdict.state, verdict.proven_layers) == (finding.code, State.FAIL, ("link",))
    assert finding.code in EMITS
    excluded = " ".join(CODES[finding.code].not_this)
    assert not [code for code in finding.could_also_be if f"({code})" in excluded]


# What reached the survey's own SYN to the very port.


def test_a_word_that_comes_late_to_a_further_attempt_is_observed() -> None:
    told = facts(fresh=(dial(PORT, from_router(3, 13)),), walk=walk(R1, R2))
    finding = blame(told)
    assert (finding.code, finding.confidence, finding.silences) == ("ip.admin_prohibited", Confidence.OBSERVED, 0)
    assert (finding.factor, finding.supersedes) == (f"router {R2}", frozenset({"tcp.timeout"}))
    assert finding.summary == f"{R2} answered the SYN to 203.0.113.9:443 with ICMP 3/13: administratively prohibited"


def test_a_word_about_the_port_itself_says_more_than_a_sign_of_life_at_another() -> None:
    told = facts(fresh=(dial(PORT, from_router(3, 13)),), knocks=(dial(80), dial(1, REFUSED)))
    assert blame(told).code == "ip.admin_prohibited"


@pytest.mark.parametrize(
    "one",
    [
        pytest.param(dial(PORT, from_router(11, 0)), id="a SYN of a walk that ran out of hops"),
        pytest.param(dial(80, from_router(3, 13)), id="a word about another port"),
    ],
)
def test_other_words_in_the_survey_are_nobodys_refusal_of_this_port(one: Dial) -> None:
    path = walk(R1, R2, dials=(one,))
    assert blame(facts(walk=path)).code == "ip.path_dies"


def test_a_refused_syn_of_the_walk_counts_if_the_walk_was_made_to_this_address() -> None:
    refused = (dial(PORT, from_router(3, 13)),)
    assert blame(facts(walk=walk(R1, dials=refused))).code == "ip.admin_prohibited"
    assert blame(facts(walk=walk(R1, to=SIBLING, dials=refused))).code == "ip.path_dies"


@pytest.mark.parametrize(
    ("kind", "told", "code"),
    [
        (PROHIBITED, OTHERS[:3], "ip.path_dies"), (PROHIBITED, OTHERS, "ip.admin_prohibited"),
        (NO_ROUTE, OTHERS[:1], "ip.path_dies"), (NO_ROUTE, OTHERS[:2], "ip.net_unreachable"),
    ],
)
def test_fewer_words_than_a_limit_lets_through_explain_no_silence(
    kind: tuple[int, int], told: tuple[str, ...], code: str
) -> None:
    """Two hosts with a rule of their own are told both times; a limit would have let more through."""
    assert blame(around(word(kind, *told))).code == code
