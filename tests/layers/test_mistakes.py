"""The mistakes that separate a shaky diagnosis from a clean one, row by row of the teaching text's table.

For each symptom that the present code tells, the wrong conclusion stands in `not_this`, and neither the summary nor
the fix nor what it could also be says it. Network symptoms are played to the end over a scripted network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fleetprobe.codes.table import CODES
from fleetprobe.decide import decide
from fleetprobe.layer import passed
from fleetprobe.layers.tls.certificate import Certificate
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.judge import judge as judge_tls
from fleetprobe.layers.tls.repair import Added, Repair
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Confidence, State, Verdict
from fleetprobe.net.fake import FakeNet
from fleetprobe.net.handshake import Handshake
from fleetprobe.net.interface import Address, DnsReply, RecordType, Resolution
from fleetprobe.net.path import Direction, Hole
from fleetprobe.net.script import REFUSED, SILENT, Close, Hear, LargeLost, Say
from fleetprobe.net.survey import Survey
from fleetprobe.net.witness import NeighbourState
from tests.engine.world import GOOD, V4, V6, examine, row, target
from tests.layers.test_silence import facts as silence
from tests.layers.test_silence import walk

AS_OF = datetime(2026, 6, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Told:
    """What a user reads."""

    code: str
    summary: str
    fix: str
    not_this: Sequence[str]
    could_also_be: Sequence[str]

    def excludes(self, wrong: str, forbidden: str, *wrong_codes: str) -> None:
        """`wrong` is ruled out aloud; `forbidden`, a pattern, is said nowhere as if it were so."""
        assert any(re.search(wrong, line) for line in self.not_this), self.not_this
        for words in (self.summary, self.fix):
            assert not re.search(forbidden, words, re.IGNORECASE), words
        assert not set(wrong_codes) & {self.code, *self.could_also_be}


def played(net: FakeNet, **asked: Any) -> Told:
    """What the record of one target says."""
    record: Mapping[str, Any] = row(examine(net, target(**asked)))
    return Told(record["code"], record["summary"], record["fix"], record["not_this"], record["could_also_be"])


# Row 1: "Name won't resolve, IP pings fine" is DNS, and not "Network is down".


def unresolved(rcode: str) -> FakeNet:
    replies = tuple(
        DnsReply(server="192.0.2.53:53", record_type=kind, duration_ms=2.0, rcode=rcode) for kind in RecordType
    )
    told = Resolution(
        name="shop.test", addresses=(), source="none", started_s=0.0, duration_ms=4.0, replies=replies,
        servers=("192.0.2.53:53",),
    )
    return FakeNet().answer(told).host(V4, 80, *GOOD)


@pytest.mark.parametrize(
    ("rcode", "code"),
    [
        ("NXDOMAIN", "dns.nxdomain"), ("NOERROR", "dns.nodata"), ("SERVFAIL", "dns.servfail"),
        ("REFUSED", "dns.refused"),
    ],
)
def test_a_name_that_does_not_resolve_is_no_network_that_is_down(rcode: str, code: str) -> None:
    told = played(unresolved(rcode))
    assert told.code == code
    told.excludes(r"network that is down", r"network (is )?down|cable|router|firewall", "vantage.no_egress")
    assert played(unresolved(rcode), host=V4).code is None


# Row 2: "Connection refused instantly" is a host that is up, and not "Firewall is dropping us".


@pytest.mark.parametrize("address", [V4, V6])
def test_a_refusal_is_no_firewall_that_drops_us(address: str) -> None:
    told = played(FakeNet().host(address, 80, fault=REFUSED), host=address)
    assert told.code == "tcp.refused"
    told.excludes(r"firewall that drops packets", r"firewall|drop|filter|block", "tcp.filtered", "tcp.timeout")
    assert any("host that is down" in line for line in told.not_this)


# Row 3: "Connection times out" is packets dropped or a dead host, and not "Port is closed".


def around(survey: Survey) -> FakeNet:
    return FakeNet().host(V4, 80, fault=SILENT).around(replace(survey, address=Address(V4, 4), port=80))


SILENCES = {
    "tcp.filtered": silence(heard_port=22),
    "ip.path_dies": silence(walk=walk("198.18.1.1", "198.18.12.2")),
    "ip.host_silent": silence(),
}


@pytest.mark.parametrize("code", SILENCES)
def test_a_timeout_is_no_closed_port(code: str) -> None:
    told = played(around(SILENCES[code].survey), host=V4)
    assert told.code == code
    told.excludes(r"closed port", r"closed|refus|nothing listens|start the service", "tcp.refused")


def test_a_timeout_without_any_witness_is_no_closed_port() -> None:
    net = FakeNet().host(V4, 80, fault=SILENT)
    record = row(examine(net, target(host=V4), policy=Policy(witnesses=False)))
    told = Told(record["code"], record["summary"], record["fix"], record["not_this"], record["could_also_be"])
    assert (record["state"], told.code) == ("unknown", "tcp.timeout")
    told.excludes(r"closed port", r"closed|refus|nothing listens|start the service", "tcp.refused")


def test_a_dead_gateway_is_not_so_many_dead_hosts() -> None:
    told = played(around(silence(state=NeighbourState.FAILED).survey), host=V4)
    assert told.code == "vantage.gateway_unreachable"
    told.excludes(r"as many outages", r"host is (down|silent)|closed", "ip.host_silent", "tcp.refused")


# Row 5: "SSL error, but nc succeeds" is the certificate, and not "Server is down".

LEAF = Certificate(
    sha256="AA" * 32, subject="CN=shop.test", issuer="CN=Lab Intermediate", common_name="shop.test",
    not_before=AS_OF - timedelta(30), not_after=AS_OF + timedelta(30), dns_names=("shop.test",), ip_addresses=(),
    key_type="EC", key_bits=256, signature_hash="sha256", is_ca=False, self_signed=False,
)
OLD = replace(LEAF, not_after=AS_OF - timedelta(1))
WHOLE = Handshake(started_s=10.0, ended_s=10.02, bytes_received=2000, chain_der=(b"leaf",))


def shaken(leaf: Certificate, *errors: tuple[int, int], name: str = "shop.test") -> Told:
    facts = TlsFacts("203.0.113.9:443", name, replace(WHOLE, verify_errors=errors), (leaf,), 1.0)
    verdict = decide(("ip", "tcp", "tls"), [passed("tcp", {}), *judge_tls(facts, Policy(as_of=AS_OF))])
    assert isinstance(verdict, Verdict)
    assert verdict.state is State.FAIL
    assert verdict.proven_layers == ("ip", "tcp")
    assert verdict.finding is not None
    code = CODES[verdict.code or ""]
    return Told(code.name, verdict.finding.summary, code.fix, code.not_this, verdict.finding.could_also_be)


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (shaken(OLD, (10, 0)), "tls.expired"),
        (shaken(LEAF, name="other.test"), "tls.name_mismatch"),
        (shaken(replace(LEAF, self_signed=True), (18, 0)), "tls.self_signed"),
        (shaken(LEAF, (20, 0), (21, 0)), "tls.issuer_unknown"),
        (shaken(LEAF, (19, 1)), "tls.untrusted_root"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_certificate_error_is_no_server_that_is_down(told: Told, code: str) -> None:
    assert told.code == code
    told.excludes(
        r"server that is down", r"server is down|unreachable|restart|firewall|timed? ?out",
        "tcp.timeout", "tcp.refused", "ip.host_silent",
    )


def test_a_path_that_eats_large_packets_is_no_fault_of_the_application() -> None:
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 6000\r\n\r\n" + b"x" * 6000
    hole = Hole(
        direction=Direction.REVERSE, since_ms=800.0, sacked_segments=0, unacked_segments=0, bytes_acked=80,
        bytes_received=0, data_segments_in=1, out_of_order_segments=1, retransmits=0,
    )
    net = FakeNet().host(
        V4, 80, Hear(b"\r\n\r\n"), Say(body), Close(),
        large_lost=LargeLost(hole, passes_mss_bytes=1360, from_bytes=1000),
    )
    told = played(net, host=V4)
    assert told.code == "mtu.black_hole"
    told.excludes(
        r"an application fault", r"application|server is|restart|timed? ?out",
        "http.timeout", "tcp.stalled", "tcp.timeout",
    )


# Row 6: "Works in browser, fails in curl" is an incomplete chain, and not "curl is broken".


def test_a_chain_that_browsers_complete_is_no_fault_of_curl() -> None:
    above = replace(LEAF, sha256="BB" * 32, subject=LEAF.issuer, issuer="CN=Lab Root", is_ca=True)
    root = replace(above, sha256="CC" * 32, subject="CN=Lab Root", self_signed=True)
    known = Repair((LEAF, above), (Added(above, "198.51.100.7:443"),), root)
    facts = TlsFacts(
        "203.0.113.9:443", "shop.test", replace(WHOLE, verify_errors=((20, 0), (21, 0))), (LEAF,), 1.0, repair=known
    )
    verdict = decide(("ip", "tcp", "tls"), [passed("tcp", {}), *judge_tls(facts, Policy(as_of=AS_OF))])
    assert isinstance(verdict, Verdict)
    assert verdict.finding is not None
    assert (verdict.code, verdict.finding.confidence) == ("tls.missing_intermediate", Confidence.PROVEN)
    assert "198.51.100.7:443 presents it" in verdict.finding.summary
    code = CODES["tls.missing_intermediate"]
    told = Told(code.name, verdict.finding.summary, code.fix, code.not_this, verdict.finding.could_also_be)
    told.excludes(r"a fault of curl", r"curl|browser|client|untrusted", "tls.untrusted_root", "tls.issuer_unknown")
