"""What is remembered of neighbours: by prefix and next hop, bounded, and only what somebody else said."""

from __future__ import annotations

import ipaddress

import pytest

from fleetprobe.net import nearby
from fleetprobe.net.fake import FakeNet, drive
from fleetprobe.net.heard import Heard
from fleetprobe.net.interface import Address, Dial, Event, Fault, Icmp, Route
from fleetprobe.net.nearby import NOTHING_NEARBY, Nearby, Neighbourhoods, prefix_key
from fleetprobe.net.script import REFUSED, SILENT

GATEWAY, ROUTER = "198.18.1.1", "198.18.13.2"
NO = Icmp(3, 13, ROUTER, from_self=False)


def v4(last: int, net: str = "203.0.113") -> Address:
    return Address(f"{net}.{last}", 4)


def rejected(icmp: Icmp = NO) -> Fault:
    return Fault(Event.ERROR, "EHOSTUNREACH", icmp)


def dial(address: Address, fault: Fault | None, port: int = 443, ended_s: float = 1.0) -> Dial:
    return Dial(address=address, port=port, started_s=0.0, ended_s=ended_s, fault=fault)


def noted(*dials: Dial, gateway: str = GATEWAY) -> Neighbourhoods:
    known = Neighbourhoods()
    for one in dials:
        known.note(one, gateway)
    return known


def test_a_routers_word_is_told_to_the_whole_prefix_with_its_age_and_of_whom_it_was_said() -> None:
    known = noted(dial(v4(1), rejected(), ended_s=1.0), dial(v4(2), rejected(), ended_s=3.0))
    (word,) = known.around(v4(9), GATEWAY, 5.0).words
    assert (word.icmp, word.port, word.addresses, word.age_s) == (NO, 443, (v4(1).text, v4(2).text), 2.0)


def test_a_word_is_not_told_beyond_its_prefix_or_its_next_hop() -> None:
    known = noted(dial(v4(1), rejected()))
    assert known.around(v4(9, "203.0.112"), GATEWAY, 5.0) == Nearby()
    assert known.around(v4(9), "198.18.1.254", 5.0) == Nearby()
    assert known.around(v4(9), GATEWAY, 5.0) != Nearby()


def test_words_of_two_routers_for_two_ports_and_with_two_meanings_stay_apart() -> None:
    other = Icmp(3, 13, "198.18.12.2", from_self=False)
    route = Icmp(3, 0, ROUTER, from_self=False)
    known = noted(
        dial(v4(1), rejected()), dial(v4(2), rejected(other)), dial(v4(3), rejected(), port=80),
        dial(v4(4), rejected(route)),
    )
    assert [(word.port, word.icmp) for word in known.around(v4(9), GATEWAY, 5.0).words] == [
        (443, NO), (443, other), (80, NO), (443, route),
    ]


def test_the_address_of_whom_it_was_said_last_is_the_last() -> None:
    known = noted(*(dial(v4(last), rejected()) for last in (1, 2, 1)))
    assert known.around(v4(9), GATEWAY, 5.0).words[0].addresses == (v4(2).text, v4(1).text)


def test_what_is_heard_again_is_not_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearby, "_MOST_WORDS", 2)
    known = noted(*(dial(v4(1), rejected(), port=port) for port in (1, 2, 1, 3)))
    assert {word.port for word in known.around(v4(9), GATEWAY, 5.0).words} == {1, 3}


@pytest.mark.parametrize(
    "fault",
    [
        SILENT,
        Fault(Event.ERROR, "EMFILE"),
        rejected(Icmp(3, 1, "198.18.1.10", from_self=True)),
        rejected(Icmp(11, 0, ROUTER, from_self=False)),
        rejected(Icmp(3, 4, ROUTER, from_self=False)),
    ],
    ids=["silence", "no descriptor", "our own kernel", "time exceeded", "packet too big"],
)
def test_what_is_nobodys_refusal_is_not_remembered(fault: Fault) -> None:
    assert noted(dial(v4(1), fault)).around(v4(9), GATEWAY, 5.0) == Nearby()


@pytest.mark.parametrize("fault", [None, REFUSED, rejected(Icmp(3, 3, "203.0.113.1", from_self=False))])
def test_an_answer_of_a_host_shows_that_its_port_is_reached_and_is_no_routers_word(fault: Fault | None) -> None:
    found = noted(dial(v4(1), fault)).around(v4(9), GATEWAY, 5.0)
    assert (found.words, found.answers(443), found.answers(80)) == ((), True, False)


def test_words_addresses_and_prefixes_are_bounded_and_the_latest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearby, "_MOST_WORDS", 3)
    monkeypatch.setattr(nearby, "_SAID_KEPT", 2)
    known = noted(*(dial(v4(1), rejected(), port=port) for port in range(1, 9)))
    assert [word.port for word in known.around(v4(9), GATEWAY, 5.0).words] == [6, 7, 8]
    for last in range(1, 9):
        known.note(dial(v4(last), rejected(), port=8), GATEWAY)
    assert known.around(v4(9), GATEWAY, 5.0).words[-1].addresses == tuple(v4(n).text for n in range(5, 9))
    for net in ("198.51.100", "192.0.2"):
        known.note(dial(v4(1, net), rejected()), GATEWAY)
    assert [bool(known.around(v4(1, net), GATEWAY, 5.0).words) for net in ("203.0.113", "198.51.100", "192.0.2")] == [
        False, True, True,
    ]


def test_when_ports_are_too_many_to_count_every_port_counts_as_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """To forget one would be to lend a word that somebody's answer speaks against."""
    monkeypatch.setattr(nearby, "MOST_PORTS", 3)
    known = noted(*(dial(v4(1), None, port=port) for port in (1, 2)))
    assert not known.around(v4(9), GATEWAY, 5.0).answers(9)
    for port in (3, 4, 5):
        known.note(dial(v4(1), None, port=port), GATEWAY)
    found = known.around(v4(9), GATEWAY, 5.0)
    assert (found.answers(9), len(found.ports)) == (True, 3)


def test_prefixes_that_answered_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearby, "_ANSWERED_KEPT", 2)
    nets = ("203.0.113", "198.51.100", "192.0.2")
    known = noted(*(dial(v4(1, net), None) for net in nets))
    assert [known.around(v4(9, net), GATEWAY, 5.0).answers(443) for net in nets] == [False, True, True]


@pytest.mark.parametrize(
    "text",
    ["2001:db8::1", "2001:db8:0:1::5", "2001:db8:64::9", "2001:db8:64:1:2:3:4:5", "2001:db8:0:0:1::", "fe80::1", "::1",
     "2001::", "::5:6:7:8", "0:0:2:3:4:5:6:7", "64:ff9b::203.0.113.9"],
)
def test_the_key_of_an_ipv6_address_is_its_48_bits_as_a_library_has_them(text: str) -> None:
    canonical = str(ipaddress.IPv6Address(text))
    groups = ipaddress.IPv6Address(text).exploded.split(":")[:3]
    expected = ":".join(f"{int(group, 16):x}" for group in groups)
    assert prefix_key(Address(canonical, 6), GATEWAY) == (GATEWAY, expected)


def test_a_zone_is_no_part_of_the_prefix() -> None:
    assert prefix_key(Address("fe80::1%eth0", 6), "x") == prefix_key(Address("fe80::2%eth1", 6), "x")


# What a run remembers.


def test_a_run_remembers_words_behind_a_gateway_only() -> None:
    heard, address = Heard(), v4(1)
    routed = Route(address=address.text, gateway=GATEWAY, interface="eth0")
    on_link = Route(address=address.text, interface="eth0")
    ours = Route(address=address.text, gateway=GATEWAY, local=True)
    for route in (on_link, ours, None):
        heard.note(dial(address, rejected()), route)
    assert heard.nearby(v4(9), routed, 5.0) == Nearby()
    heard.note(dial(address, rejected()), routed)
    assert [word.icmp for word in heard.nearby(v4(9), routed, 5.0).words] == [NO]
    assert heard.nearby(v4(9), on_link, 5.0) is NOTHING_NEARBY


def test_a_gateway_through_which_a_router_speaks_is_alive_though_no_host_answered() -> None:
    heard = Heard()
    heard.note(dial(v4(1), rejected()), Route(address=v4(1).text, gateway=GATEWAY))
    assert heard.beyond(GATEWAY)
    heard.note(dial(v4(1), SILENT), Route(address=v4(1).text, gateway="198.18.1.254"))
    assert not heard.beyond("198.18.1.254")
    assert not heard.family(4)
    assert heard.port(v4(1), 80) is None


def test_what_a_survey_overhears_is_no_port_to_knock_on() -> None:
    heard, route = Heard(), Route(address=v4(1).text, gateway=GATEWAY)
    heard.overhear(dial(v4(1), REFUSED, port=1), route)
    assert heard.nearby(v4(9), route, 5.0).answers(1)
    assert heard.port(v4(1), 443) is None


def test_a_scripted_network_remembers_as_the_live_one_does() -> None:
    net = FakeNet().host(v4(1).text, 443, fault=rejected()).host(v4(2).text, 80)
    for one, port in ((v4(1), 443), (v4(2), 80)):
        drive(net.dial(one, port, net.now() + 3.3))
    told = drive(net.survey(v4(9), 443, net.now() + 0.65))
    assert [(word.icmp, word.port, word.addresses) for word in told.nearby.words] == [(NO, 443, (v4(1).text,))]
    assert told.nearby.ports == (80,)
    elsewhere = drive(net.survey(v4(9, "198.51.100"), 443, net.now() + 0.65))
    assert elsewhere.nearby == Nearby()
