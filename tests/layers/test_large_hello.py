"""A hello that is too long for who reads it: what proves it, and what only looks like it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from fleetprobe.layer import Ground
from fleetprobe.layers.tcp import TcpFacts
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.large_hello import (
    ANSWERED,
    DROPPED,
    SEGMENT_BYTES,
    SILENT,
    TIMESTAMPS_BYTES,
    UNCLEAR,
    HelloFacts,
    Said,
    judge,
    met,
    probe,
)
from fleetprobe.model.attempt import Attempt
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Target
from fleetprobe.net.fake import FakeNet, drive
from fleetprobe.net.fake_path import hello_bytes_of, plain_search
from fleetprobe.net.handshake import Handshake, Hello
from fleetprobe.net.interface import Address, Event, Fault
from fleetprobe.net.path import Direction, Hole
from fleetprobe.net.script import LargeLost
from tests.engine.world import GOOD, V4, V6, examine, row, target

WHOLE = Handshake(started_s=0.0, ended_s=0.01, protocol_version="TLSv1.3", bytes_received=2000)
CLOSED = Handshake(started_s=0.0, ended_s=0.001, fault=Fault(Event.CLOSED))
RESET = Handshake(started_s=0.0, ended_s=0.001, fault=Fault(Event.RESET, "ECONNRESET"))
NEVER = Handshake(started_s=0.0, ended_s=0.0, fault=Fault(Event.SILENT))
SERVER_HELLO, ALERT_RECORD = b"\x16\x03\x03\x00\x7a", b"\x15\x03\x03\x00\x02"
LARGE, SMALL_BYTES = 1572, SEGMENT_BYTES - TIMESTAMPS_BYTES


def alert(number: int, level: int = 2) -> Handshake:
    return Handshake(
        started_s=0.0, ended_s=0.001, fault=Fault(Event.ERROR, detail="tls"), first_bytes=ALERT_RECORD,
        bytes_received=7, alerts_received=((level, number),),
    )


FAREWELL = replace(alert(0, level=1), fault=Fault(Event.CLOSED, detail="close_notify"), close_notify=True)
ENDS = {"fin": CLOSED, "rst": RESET, "close_notify": FAREWELL, "alert": alert(50), "silence": NEVER}


def reading_once(cut: Handshake, limit_bytes: int = 1400) -> Callable[[Hello], Handshake]:
    """A server that takes so many bytes for the whole hello."""
    return lambda hello: WHOLE if hello_bytes_of(hello) <= limit_bytes else cut


def asked(net: FakeNet, address: str = V4, service: str = "https") -> dict[str, Any]:
    told = row(examine(net, target(service, host=address, port=443)))
    assert net.left_open == 0
    return told


def purposes(told: dict[str, Any]) -> list[str]:
    return [attempt["purpose"] for attempt in told["attempts"]]


@pytest.mark.parametrize("service", ["https", "tls"])
@pytest.mark.parametrize("address", [V4, V6])
@pytest.mark.parametrize("cut", ENDS.values(), ids=ENDS)
def test_length_alone_is_proven_to_be_the_fault_however_the_long_hello_ends(
    cut: Handshake, address: str, service: str
) -> None:
    net = FakeNet().host(address, 443, *GOOD, tls=reading_once(cut))
    told = asked(net, address, service)
    assert (told["state"], told["code"], told["layer"], told["confidence"]) == (
        "fail", "tls.large_hello_intolerant", "tls", "proven",
    )
    assert f"answers a ClientHello of {SMALL_BYTES} bytes" in told["summary"]
    assert f"one of {LARGE}, in any segments" in told["summary"]
    assert {finding["code"] for finding in told["findings"]} <= {"tls.large_hello_intolerant"}
    assert told["could_also_be"] == []
    assert told["proven_layers"][-1] == "tcp"
    assert purposes(told).count("hello") == 6
    assert set(purposes(told)) <= {"climb", "again", "hello"}
    assert [stream.mss_bytes for stream in net.streams].count(SEGMENT_BYTES) == 6


def test_the_long_hello_and_the_small_one_differ_in_nothing_but_their_padding() -> None:
    said: list[Hello] = []

    def hear(hello: Hello) -> Handshake:
        said.append(hello)
        return reading_once(CLOSED)(hello)

    asked(FakeNet().host(V4, 443, tls=hear))
    climbed, small, large, *others = said
    assert (climbed.small, climbed.pad_to_bytes) == (False, None)
    assert (small.small, small.pad_to_bytes, small.alpn) == (True, SMALL_BYTES, climbed.alpn)
    assert large == replace(small, pad_to_bytes=LARGE)
    assert others == [large, small, small, small]


def test_the_facts_say_every_hello_and_what_it_met() -> None:
    told = asked(FakeNet().host(V4, 443, tls=reading_once(CLOSED)))
    (facts,) = (step["facts"] for step in told["layers"] if "hellos" in step["facts"])
    assert facts == {
        "failed_bytes": LARGE, "failed": DROPPED, "segment_bytes": SEGMENT_BYTES,
        "hellos": [
            {"size_bytes": SMALL_BYTES, "met": ANSWERED}, {"size_bytes": LARGE, "met": DROPPED},
            {"size_bytes": LARGE, "met": DROPPED}, {"size_bytes": SMALL_BYTES, "met": ANSWERED},
            {"size_bytes": SMALL_BYTES, "met": ANSWERED}, {"size_bytes": SMALL_BYTES, "met": ANSWERED},
        ],
    }


@pytest.mark.parametrize(("cut", "code"), [
    (CLOSED, "tls.dropped"), (RESET, "tls.dropped"), (alert(80), "tls.alert"), (alert(40), "tls.alert"),
])
def test_who_ends_every_hello_keeps_its_finding_and_is_asked_no_more_of_this(cut: Handshake, code: str) -> None:
    told = asked(FakeNet().host(V4, 443, tls=cut))
    assert (told["code"], told["confidence"]) == (code, "observed")
    assert purposes(told)[:2] == ["climb", "hello"]
    assert purposes(told).count("hello") == 1


def test_who_answers_no_hello_is_silent_still_and_takes_hardly_longer() -> None:
    told = asked(FakeNet().host(V4, 443, tls=NEVER))
    assert (told["code"], told["confidence"]) == ("tls.no_answer", "inferred")
    assert purposes(told) == ["climb", "hello", "mtu", "again"]
    began = {attempt["purpose"]: attempt["start_ms"] for attempt in told["attempts"]}
    assert 300 <= began["mtu"] - began["hello"] <= 310


def test_a_version_that_is_refused_is_no_question_of_length() -> None:
    told = asked(FakeNet().host(V4, 443, tls=alert(70)))
    assert told["code"] == "tls.version_unsupported"
    assert "hello" not in purposes(told)


def test_a_dislike_of_the_post_quantum_share_is_no_question_of_length() -> None:
    told = asked(FakeNet().host(V4, 443, tls=lambda hello: WHOLE if hello.small else CLOSED))
    assert told["code"] == "tls.dropped"
    assert purposes(told) == ["climb", "hello", "hello"]


@pytest.mark.parametrize("other", [alert(120), NEVER], ids=["an alert", "silence"])
def test_a_long_hello_that_ends_otherwise_proves_nothing(other: Handshake) -> None:
    def hear(hello: Hello) -> Handshake:
        return CLOSED if not hello.small else WHOLE if hello.pad_to_bytes == SMALL_BYTES else other

    told = asked(FakeNet().host(V4, 443, tls=hear))
    assert told["code"] == "tls.dropped"
    assert purposes(told) == ["climb", "hello", "hello"]


TURNS = [
    turns for several in (2, 3, 4, 5, 6) for turns in product((CLOSED, WHOLE), repeat=several) if turns[0] is CLOSED
]


@pytest.mark.parametrize("turns", TURNS, ids=lambda turns: "".join("-+"[one is WHOLE] for one in turns))
def test_servers_that_take_turns_and_are_broken_in_part_are_not_called_so(turns: tuple[Handshake, ...]) -> None:
    net = FakeNet()
    for one in (turns * 8)[:8]:
        net.host(V4, 443, tls=one)
    told = asked(net)
    assert told["code"] == "tls.dropped"
    assert purposes(told).count("hello") <= 6


def test_a_hole_that_the_kernel_saw_is_proven_and_this_is_not_asked() -> None:
    net = FakeNet().host(V4, 443, *GOOD, tls=WHOLE, large_lost=LargeLost(hole(), 1360, from_bytes=1000))
    told = asked(net.path(V4, lambda sizes, ttls: plain_search(Address(V4, 4), sizes, ttls, passes_bytes=1400)))
    assert (told["code"], told["confidence"]) == ("mtu.black_hole", "proven")
    assert "hello" not in purposes(told)


def hole() -> Hole:
    return Hole(
        direction=Direction.FORWARD, since_ms=800.0, sacked_segments=1, unacked_segments=1, bytes_acked=0,
        bytes_received=0, data_segments_in=0, out_of_order_segments=0, retransmits=2,
    )


def put(
    net: FakeNet, climbed: Handshake, *, tried: int = 1, rtt_ms: float = 1.0, timestamps: bool = True
) -> tuple[HelloFacts | None, Ground]:
    """The question alone, after a climb that ended so, and so many connections."""
    address = Address(V4, 4)
    dial, stream = drive(net.dial(address, 443, net.now() + 1))
    assert stream is not None
    stream.abort()
    one = Attempt(
        purpose="climb", transport="tcp", address=V4, port=443, local_port=1, started_s=0.0, ended_s=0.0,
        outcome="connected",
    )
    ground = Ground(
        target=Target(service="https", host="shop.test", port=443), policy=Policy(), deadline=net.now() + 30,
        address=address, tried=(one,) * tried,
        facts={
            "tcp": TcpFacts(replace(dial, rtt_ms=rtt_ms, timestamps=timestamps), None),
            "tls": TlsFacts(f"{V4}:443", "shop.test", climbed, (), 1.0),
        },
    )
    facts = drive(probe(ground, net))
    assert net.left_open == 0
    return facts, ground


def test_what_loses_large_packets_lets_the_long_hello_through_in_small_segments() -> None:
    net = FakeNet().host(V4, 443, tls=WHOLE, large_lost=LargeLost(hole(), 1360, from_bytes=1000))
    facts, _ = put(net, replace(NEVER, hello_bytes=LARGE, bytes_unacked=LARGE))
    assert facts is not None
    assert [said.met for said in facts.hellos] == [ANSWERED, ANSWERED]
    assert judge(facts, Policy()) == ()


NOT_ASKED = {
    "it completed": replace(WHOLE, hello_bytes=LARGE),
    "the server began to answer": replace(CLOSED, hello_bytes=LARGE, first_bytes=SERVER_HELLO, bytes_received=60),
    "it does not speak TLS": replace(CLOSED, hello_bytes=LARGE, first_bytes=b"SSH-2.0-x\r\n", bytes_received=11),
    "our own hello was small": replace(CLOSED, hello_bytes=SEGMENT_BYTES),
    "our own loop was late": replace(NEVER, hello_bytes=LARGE, ended_s=3.5, lag_ms=3000.0),
    "our own kernel gave up": replace(CLOSED, hello_bytes=LARGE, fault=Fault(Event.ERROR, "EHOSTUNREACH")),
}


@pytest.mark.parametrize("climbed", NOT_ASKED.values(), ids=NOT_ASKED)
def test_it_is_not_asked_when(climbed: Handshake) -> None:
    facts, ground = put(FakeNet().host(V4, 443, tls=reading_once(CLOSED)), climbed)
    assert facts is None
    assert ground.attempts == []
    assert judge(facts, Policy()) == ()


def test_it_is_not_asked_of_an_address_that_was_asked_enough() -> None:
    at = replace(CLOSED, hello_bytes=LARGE)
    assert put(FakeNet().host(V4, 443, tls=reading_once(CLOSED)), at, tried=3)[0] is None
    facts, ground = put(FakeNet().host(V4, 443, tls=reading_once(CLOSED)), at, tried=2)
    assert len(judge(facts, Policy())) == 1
    assert [attempt.purpose for attempt in ground.attempts] == ["hello"] * 6


@pytest.mark.parametrize(("timestamps", "small_bytes"), [(True, 524), (False, 536)])
def test_the_small_hello_fills_its_segment_to_the_byte(timestamps: bool, small_bytes: int) -> None:
    facts, _ = put(
        FakeNet().host(V4, 443, tls=reading_once(CLOSED)), replace(CLOSED, hello_bytes=LARGE), timestamps=timestamps
    )
    assert facts is not None
    assert {said.size_bytes for said in facts.hellos if said.met == ANSWERED} == {small_bytes}


@pytest.mark.parametrize("rtt_ms", [1.0, 300.0])
def test_a_server_far_away_has_time_to_answer_the_small_hello_after_a_silence(rtt_ms: float) -> None:
    answer = replace(WHOLE, ended_s=0.05 + 2 * rtt_ms / 1000.0)
    net = FakeNet()
    net.host(V4, 443, connect_ms=rtt_ms, tls=lambda hello: answer if hello_bytes_of(hello) < 1000 else NEVER)
    facts, _ = put(net, replace(NEVER, hello_bytes=LARGE), rtt_ms=rtt_ms)
    assert len(judge(facts, Policy())) == 1


def test_a_connection_that_is_refused_meanwhile_ends_the_question() -> None:
    net = FakeNet().host(V4, 443, tls=CLOSED).host(V4, 443, fault=Fault(Event.ERROR, "ECONNREFUSED"))
    facts, _ = put(net, replace(CLOSED, hello_bytes=LARGE))
    assert facts is not None
    assert facts.hellos == (Said(SMALL_BYTES, UNCLEAR),)
    assert judge(facts, Policy()) == ()


def facts_of(*hellos: tuple[int, str], failed: tuple[int, str] = (LARGE, DROPPED), address: str = V4) -> HelloFacts:
    return HelloFacts(
        address=Address(address, 6 if ":" in address else 4), port=65_535, failed=Said(*failed),
        hellos=tuple(Said(*one) for one in hellos),
    )


GOOD_ONE, BAD_ONE = (524, ANSWERED), (LARGE, DROPPED)
PROOF = (GOOD_ONE, BAD_ONE, BAD_ONE, GOOD_ONE, GOOD_ONE, GOOD_ONE)


@pytest.mark.parametrize("hellos", [
    (), *(PROOF[:some] for some in range(1, 6)), ((524, SILENT),), (GOOD_ONE, (LARGE, ANSWERED)),
    *((*PROOF[:at], (PROOF[at][0], how), *PROOF[at + 1 :]) for at in range(6) for how in (UNCLEAR, SILENT)),
    # What was to be long was not so long, or what was to be small was not small.
    (GOOD_ONE, (1000, DROPPED), *PROOF[2:]),
    (*PROOF[:3], (LARGE, ANSWERED), *PROOF[4:]), (*PROOF[:5], BAD_ONE),
])
def test_anything_less_is_no_verdict(hellos: tuple[tuple[int, str], ...]) -> None:
    assert len(judge(facts_of(*PROOF), Policy())) == 1
    assert judge(facts_of(*hellos), Policy()) == ()


def test_the_longest_sentence_fits() -> None:
    longest = met(alert(113))
    (finding,) = judge(
        facts_of(GOOD_ONE, (15_000, longest), (15_000, longest), *PROOF[3:], failed=(15_000, longest),
                 address="2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"), Policy(),
    )
    assert finding.summary.endswith("in any segments")


@pytest.mark.parametrize(("seen", "how"), [
    (WHOLE, ANSWERED), (CLOSED, DROPPED), (RESET, DROPPED), (FAREWELL, DROPPED), (NEVER, SILENT),
    (alert(50), "alert decode_error"),
    (replace(CLOSED, first_bytes=SERVER_HELLO), ANSWERED),
    (replace(CLOSED, first_bytes=b"HTTP/1.1 400"), UNCLEAR),
    (replace(NEVER, ended_s=1.0, lag_ms=501.0), UNCLEAR),
    (replace(NEVER, ended_s=1.0, lag_ms=499.0), SILENT),
    (replace(CLOSED, fault=Fault(Event.ERROR, "ENETUNREACH")), UNCLEAR),
])
def test_a_hello_ends_in_one_of_these_ways(seen: Handshake, how: str) -> None:
    assert met(seen) == how
