"""Chains that are too large, too long or too dear: told by what was seen, never by OpenSSL's words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.judge import judge
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Confidence, Finding, State
from fleetprobe.net.handshake import CHAIN_BYTES, Handshake
from fleetprobe.net.interface import Event, Fault
from tests.layers.test_tls_rejected import PATH

POLICY = Policy(as_of=datetime(2026, 6, 1, tzinfo=UTC))
REFUSED = Handshake(
    started_s=0.0, ended_s=0.1, fault=Fault(Event.ERROR, detail="tls"), first_bytes=b"\x16\x03\x03\x00\x7a",
    alerts_sent=((2, 47),), bytes_received=CHAIN_BYTES, openssl_reason="anything",
)


def told(seen: Handshake, **more: object) -> list[Finding]:
    facts = TlsFacts("203.0.113.9:443", "shop.test", seen, (), 1.0)
    return list(judge(replace(facts, **more), POLICY))  # type: ignore[arg-type]


def test_a_chain_that_openssl_does_not_read_is_told_by_its_alert_and_its_bytes() -> None:
    (finding,) = told(REFUSED)
    assert (finding.code, finding.state, finding.confidence) == (
        "tls.chain_oversize", State.FAIL, Confidence.OBSERVED,
    )
    assert "more than 100 KiB" in finding.summary
    assert (finding.facts["too"], finding.facts["limit_bytes"]) == ("large", 102400)


@pytest.mark.parametrize(
    "seen",
    [
        replace(REFUSED, bytes_received=CHAIN_BYTES - 1),
        replace(REFUSED, alerts_sent=((2, 50),)),
        replace(REFUSED, alerts_sent=()),
        replace(REFUSED, alerts_sent=((1, 47),)),
    ],
    ids=["fewer bytes", "another alert", "no alert", "a warning"],
)
def test_what_only_looks_like_it_is_a_broken_protocol(seen: Handshake) -> None:
    assert [finding.code for finding in told(seen)] == ["tls.protocol_error"]


def test_an_alert_of_the_server_outweighs_ours() -> None:
    assert [finding.code for finding in told(replace(REFUSED, alerts_received=((2, 80),)))] == ["tls.alert"]


def test_a_chain_that_is_dear_to_verify_is_given_up_and_nothing_is_said_of_its_trust() -> None:
    seen = replace(REFUSED, alerts_sent=((2, 42),), too_dear=True, bytes_received=50_000, chain_der=(b"ab", b"c"))
    findings = told(seen, certificates=PATH[:3], path=PATH)
    assert [finding.code for finding in findings] == ["tls.chain_oversize"]
    assert (findings[0].facts["too"], findings[0].facts["bytes"]) == ("dear", 3)
    assert "its trust not judged" in findings[0].summary
    assert "trust_anchor" not in findings[0].facts


def test_a_server_that_speaks_none_of_our_protocols_is_told_which_these_were() -> None:
    seen = replace(REFUSED, alerts_sent=(), alerts_received=((2, 120),))
    (finding,) = told(seen, alpn_offered=("http/1.1",))
    assert (finding.code, finding.facts["alpn_offered"]) == ("tls.alert", ["http/1.1"])
    assert finding.summary.endswith("it speaks none of what we offered by ALPN (http/1.1)")
    (finding,) = told(seen)
    assert finding.summary.endswith("we offered no ALPN")
