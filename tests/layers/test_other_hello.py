"""Other names and other offers: what proves that it is one of them for which a server refuses, and what does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from fleetprobe.layers.tls import other_name, other_offer
from fleetprobe.layers.tls.large_hello import ANSWERED, DROPPED, SILENT, failure
from fleetprobe.layers.tls.other_name import NameFacts, other_names
from fleetprobe.layers.tls.other_offer import OfferFacts
from fleetprobe.layers.tls.trial import Trial
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Target
from fleetprobe.model.verdict import Confidence
from fleetprobe.net.fake import FakeNet
from fleetprobe.net.handshake import Handshake, Hello
from fleetprobe.net.interface import Address, Event, Fault
from tests.engine.world import GOOD, V4, V6, examine, row, target

WHOLE = Handshake(
    started_s=0.0, ended_s=0.01, protocol_version="TLSv1.2", cipher="ECDHE-RSA-AES128-GCM-SHA256", bytes_received=2000
)
STRANGE = replace(WHOLE, cipher="ECDHE-ECDSA-AES128-CCM", unusual_cipher=True)
CLOSED = Handshake(started_s=0.0, ended_s=0.001, fault=Fault(Event.CLOSED))
RESET = Handshake(started_s=0.0, ended_s=0.001, fault=Fault(Event.RESET, "ECONNRESET"))
NEVER = Handshake(started_s=0.0, ended_s=0.0, fault=Fault(Event.SILENT))


def alert(number: int) -> Handshake:
    return Handshake(
        started_s=0.0, ended_s=0.001, fault=Fault(Event.ERROR, detail="tls"), first_bytes=b"\x15\x03\x03\x00\x02",
        bytes_received=7, alerts_received=((2, number),),
    )


def asked(
    hear: Callable[[Hello], Handshake] | Handshake, address: str = V4, **more: Any
) -> tuple[dict[str, Any], list[str]]:
    net = FakeNet().name("shop.test", address).host(address, 443, *GOOD, tls=hear)
    told = row(examine(net, target("https", port=443, **{"host": address, **more})))
    assert net.left_open == 0
    return told, [attempt["purpose"] for attempt in told["attempts"]]


ENDS = {"fin": CLOSED, "rst": RESET, "refused": alert(40), "internal error": alert(80), "unknown name": alert(112)}


@pytest.mark.parametrize("address", [V4, V6])
@pytest.mark.parametrize("cut", ENDS.values(), ids=ENDS)
def test_a_server_that_answers_for_another_name_only_is_proven_to_need_one(cut: Handshake, address: str) -> None:
    told, purposes = asked(
        lambda hello: WHOLE if hello.server_name == "shop.test" else cut, address, host_header="shop.test:8443"
    )
    assert (told["state"], told["code"], told["confidence"]) == ("fail", "tls.sni_required", "proven")
    assert "answers for the name shop.test and" in told["summary"]
    assert told["summary"].endswith("a hello without a name")
    assert {finding["code"] for finding in told["findings"]} <= {"tls.sni_required"}
    assert purposes.count("name") == 5
    assert len(purposes) <= 7


@pytest.mark.parametrize("cut", ENDS.values(), ids=ENDS)
def test_a_connection_that_ends_for_its_name_alone_may_lead_to_a_dead_backend(cut: Handshake) -> None:
    told, purposes = asked(lambda hello: cut if hello.server_name else WHOLE, host="shop.test")
    # Only the alert about names is about names.
    about_names = (2, 112) in cut.alerts_received
    assert (told["code"], told["confidence"]) == ("tls.unrecognized_name", "proven" if about_names else "inferred")
    assert told["could_also_be"] in ([] if about_names else ["tls.dropped"], [] if about_names else ["tls.alert"])
    assert "answers without a name" in told["summary"]
    assert purposes.count("name") == 5


def test_a_wrong_name_in_the_inventory_is_held_against_the_right_one() -> None:
    told, _ = asked(
        lambda hello: WHOLE if hello.server_name == "shop.test" else alert(112), host="shop.test", sni="wrong.test"
    )
    assert (told["code"], told["confidence"]) == ("tls.sni_required", "proven")
    (facts,) = (step["facts"] for step in told["layers"] if "names_tried" in step["facts"])
    assert (facts["named"], facts["other_name"], facts["failed"]) == (
        "wrong.test", "shop.test", "alert unrecognized_name",
    )
    assert [one["changed"] for one in facts["names_tried"]] == [
        "shop.test", "nothing", "nothing", "shop.test", "shop.test",
    ]


def test_the_servers_own_word_is_enough_where_nothing_else_is_known() -> None:
    told, purposes = asked(alert(112))
    assert (told["code"], told["confidence"], purposes) == ("tls.sni_required", "observed", ["climb"])
    told, purposes = asked(alert(112), host="shop.test")
    assert (told["code"], told["confidence"]) == ("tls.unrecognized_name", "observed")
    assert purposes == ["climb", "name"]


@pytest.mark.parametrize(("cut", "code"), [(CLOSED, "tls.dropped"), (RESET, "tls.dropped"), (alert(40), "tls.alert")])
def test_who_ends_every_hello_keeps_its_finding_and_costs_three_more_connections(cut: Handshake, code: str) -> None:
    told, purposes = asked(cut, host="shop.test")
    assert (told["code"], told["confidence"]) == (code, "observed")
    assert purposes == ["climb", "hello", "name", "offer"]
    assert told["duration_ms"] < 100


def test_who_takes_long_to_say_no_is_not_asked_again_and_again() -> None:
    told, purposes = asked(replace(RESET, ended_s=0.9), host="shop.test")
    assert (told["code"], purposes) == ("tls.dropped", ["climb", "hello"])
    told, purposes = asked(replace(RESET, ended_s=0.7), host="shop.test")
    assert (told["code"], purposes) == ("tls.dropped", ["climb", "hello", "name", "offer"])
    assert told["duration_ms"] < 4000


def test_who_is_silent_or_says_something_else_is_not_asked_for_names_and_offers() -> None:
    for hear in (NEVER, alert(120), alert(10)):
        _, purposes = asked(hear, host="shop.test")
        assert not {"name", "offer"} & set(purposes)


@pytest.mark.parametrize(("cut", "seen"), [(CLOSED, "ours it drops"), (alert(40), "ours met alert handshake_failure"),
                                           (alert(71), "ours met alert insufficient_security")])
def test_a_suite_that_we_never_offer_names_what_the_server_takes(cut: Handshake, seen: str) -> None:
    told, purposes = asked(lambda hello: STRANGE if hello.any_cipher else cut, host="shop.test")
    assert (told["code"], told["confidence"]) == ("tls.no_shared_cipher", "proven")
    assert told["summary"].endswith(f"takes TLSv1.2 with ECDHE-ECDSA-AES128-CCM, which we do not offer: {seen}")
    assert purposes.count("offer") == 5
    assert len(purposes) <= 8


def test_suites_of_tls_1_3_are_offered_to_who_wants_that_version() -> None:
    def hear(hello: Hello) -> Handshake:
        if not hello.any_cipher:
            return alert(40)
        return alert(70) if hello.below_tls13 else replace(
            STRANGE, protocol_version="TLSv1.3", cipher="TLS_AES_128_CCM_SHA256"
        )

    told, purposes = asked(hear)
    assert (told["code"], told["confidence"]) == ("tls.no_shared_cipher", "observed")
    assert "takes TLSv1.3 with TLS_AES_128_CCM_SHA256" in told["summary"]
    assert purposes == ["climb", "hello", "offer", "offer", "offer"]


def test_who_merely_came_back_meanwhile_is_not_said_to_take_other_suites_only() -> None:
    said: list[Hello] = []

    def hear(hello: Hello) -> Handshake:
        said.append(hello)
        if hello.below_tls13:
            return alert(70)
        return alert(40) if len(said) < 4 else replace(STRANGE, protocol_version="TLSv1.3")

    told, _ = asked(hear)
    assert told["code"] != "tls.no_shared_cipher"


@pytest.mark.parametrize("cut", [CLOSED, RESET, alert(40), alert(70)], ids=["fin", "rst", "40", "70"])
def test_who_bears_no_newer_version_is_proven_by_a_hello_without_it(cut: Handshake) -> None:
    told, purposes = asked(lambda hello: WHOLE if hello.below_tls13 else cut)
    assert (told["code"], told["confidence"]) == ("tls.version_unsupported", "proven")
    assert "takes TLSv1.2" in told["summary"]
    assert "not if TLS 1.3 is offered" in told["summary"]
    assert purposes.count("offer") == 5


def test_a_change_that_others_make_needless_is_none() -> None:
    """The short hello is answered although nothing is changed: it was neither the name nor the offer."""
    told, purposes = asked(lambda hello: WHOLE if hello.small else CLOSED, host="shop.test")
    assert told["code"] == "tls.dropped"
    assert purposes == ["climb", "hello", "hello"]


TURNS = [turns for some in (2, 3, 4, 5) for turns in product((CLOSED, STRANGE), repeat=some) if turns[0] is CLOSED]


@pytest.mark.parametrize("turns", TURNS, ids=lambda turns: "".join("-+"[one is STRANGE] for one in turns))
@pytest.mark.parametrize("host", [V4, "shop.test"])
def test_servers_that_take_turns_and_are_broken_in_part_are_not_called_so(
    turns: Sequence[Handshake], host: str
) -> None:
    net = FakeNet().name("shop.test", V4)
    for one in (tuple(turns) * 10)[:10]:
        net.host(V4, 443, tls=one)
    told = row(examine(net, target("https", host=host, port=443)))
    assert told["code"] == "tls.dropped"
    assert len([attempt for attempt in told["attempts"] if attempt["transport"] == "tcp"]) <= 8


SHOP = Target(service="https", host="shop.test", port=443)


@pytest.mark.parametrize(("asked_for", "sent", "others"), [
    (SHOP, "shop.test", [None]),
    (replace(SHOP, sni="a.test"), "a.test", ["shop.test", None]),
    (replace(SHOP, host_header="b.test:80"), "shop.test", ["b.test", None]),
    (replace(SHOP, host=V4), None, []),
    (replace(SHOP, host=V6), None, []),
    (replace(SHOP, host=V4, host_header="b.test."), None, ["b.test"]),
    (replace(SHOP, host=V4, host_header="[2001:db8::1]:443"), None, []),
    (replace(SHOP, host=V4, host_header="a b\r\nc"), None, []),
    (replace(SHOP, host=V4, host_header="x" * 254), None, []),
])
def test_other_names_are_those_of_the_inventory(
    asked_for: Target, sent: str | None, others: list[str | None]
) -> None:
    assert other_names(asked_for, sent) == others


def names(*trials: tuple[str, str], failed: str = DROPPED, other: str | None = "b.test") -> NameFacts:
    return NameFacts(
        address=Address(V6, 6), port=65_535, named="a" * 253, other=other, failed=failed,
        trials=tuple(Trial(*one) for one in trials),
    )


PROOF = (("x", ANSWERED), ("", DROPPED), ("", DROPPED), ("x", ANSWERED), ("x", ANSWERED))
LESS = [
    (), *(PROOF[:some] for some in range(1, 5)),
    *((*PROOF[:at], (PROOF[at][0], SILENT), *PROOF[at + 1 :]) for at in range(5)),
    (*PROOF[:1], ("", ANSWERED), *PROOF[2:]), (*PROOF[:1], ("x", DROPPED), *PROOF[2:]),
]


@pytest.mark.parametrize("trials", LESS)
def test_anything_less_is_no_verdict_about_names(trials: Sequence[tuple[str, str]]) -> None:
    assert len(other_name.judge(names(*PROOF), Policy())) == 1
    assert other_name.judge(names(*trials), Policy()) == ()
    assert other_name.judge(None, Policy()) == ()


@pytest.mark.parametrize("trials", LESS)
@pytest.mark.parametrize("unusual", [True, False])
def test_anything_less_is_no_verdict_about_offers(trials: Sequence[tuple[str, str]], unusual: bool) -> None:
    def offers(some: Sequence[tuple[str, str]]) -> OfferFacts:
        made = tuple(Trial(what, how, "TLSv1.2", "AES128-CCM", unusual) for what, how in some)
        return OfferFacts(address=Address(V4, 4), port=443, failed=DROPPED, trials=made)

    (finding,) = other_offer.judge(offers(PROOF), Policy())
    assert finding.confidence is Confidence.PROVEN
    assert other_offer.judge(offers(trials), Policy()) == ()
    assert other_offer.judge(None, Policy()) == ()


@pytest.mark.parametrize("failed", [DROPPED, failure(112), failure(40)])
@pytest.mark.parametrize("other", ["b" * 253, None])
def test_the_longest_sentences_fit(failed: str, other: str | None) -> None:
    trials = [(what, how if how == ANSWERED else failed) for what, how in PROOF]
    facts = replace(names(*trials, failed=failed, other=other), address=Address("2001:db8:" + "ffff:" * 5 + "ffff", 6))
    (finding,) = other_name.judge(facts, Policy())
    assert finding.summary.isprintable()
    assert " one for a" in finding.summary
