"""The http layer: what it asks, what it makes of every kind of answer, and what it must not confuse."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetprobe.codes.table import CODES
from fleetprobe.layer import Ground
from fleetprobe.layers.http.facts import HttpFacts
from fleetprobe.layers.http.judge import judge
from fleetprobe.layers.http.layer import LAYER, host_header, probe
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Expectations, Target
from fleetprobe.model.verdict import Confidence, Finding, State
from fleetprobe.net.fake import FakeNet, drive
from fleetprobe.net.interface import Address
from fleetprobe.net.script import Close, Deaf, Hear, Mute, Reset, Say, Step

POLICY = Policy()
PLAIN = Target(service="http", host="shop.test", port=80)
HOST = Address("203.0.113.9", 4)


def target(
    *, status: tuple[tuple[int, int], ...] | None = None, body: str | None = None, service: str = "http"
) -> Target:
    return replace(PLAIN, service=service, expect=Expectations(status=status, body=body))


def exchange(*script: Step, asked: Target = PLAIN) -> tuple[HttpFacts, FakeNet]:
    """The facts of one exchange with a peer that follows the script."""
    net = FakeNet().host(HOST.text, asked.port, *script)
    _, stream = drive(net.dial(HOST, asked.port, net.now() + 1))
    ground = Ground(target=asked, policy=POLICY, deadline=net.now() + 60, address=HOST, stream=stream)
    return drive(probe(ground, net)), net


def answered(
    wire: bytes, *, asked: Target = PLAIN, after_ms: float = 5.0, then: Step | None = None
) -> Sequence[Finding]:
    """What the layer says when this is the answer, followed by a close or what else is given."""
    facts, _ = exchange(Hear(b"\r\n\r\n"), Say(wire, after_ms), then or Close(), asked=asked)
    return judge(facts, POLICY)


def response(status: int, body: bytes = b"", fields: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %d Whatever\r\nServer: demo/1\r\nContent-Length: %d\r\n%s\r\n"
    return head % (status, len(body), fields) + body


def codes(findings: Sequence[Finding]) -> list[str | None]:
    return [finding.code for finding in findings]


# The request.


def test_the_request_is_plain_and_asks_for_no_compression() -> None:
    _, net = exchange(Hear(), Say(response(200)), asked=replace(PLAIN, path="/health?x=1"))
    head, end = bytes(net.streams[0].sent).split(b"\r\n", 1)
    assert head == b"GET /health?x=1 HTTP/1.1"
    fields = dict(line.split(b": ", 1) for line in end.strip().split(b"\r\n"))
    assert fields.pop(b"User-Agent").startswith(b"fleetprobe/")
    assert fields == {b"Host": b"shop.test", b"Accept": b"*/*", b"Connection": b"close"}


@pytest.mark.parametrize(("changed", "host"), [
    (replace(PLAIN, port=8080), "shop.test:8080"),
    (replace(PLAIN, service="https", port=443), "shop.test"),
    (replace(PLAIN, service="https", port=80), "shop.test:80"),
    (replace(PLAIN, host="2001:db8::9", port=8080), "[2001:db8::9]:8080"),
    (replace(PLAIN, host="fe80::1%eth0"), "[fe80::1]"),
    (replace(PLAIN, host="203.0.113.9", sni="shop.test"), "shop.test"),
    (replace(PLAIN, sni="other.test"), "shop.test"),
    (replace(PLAIN, host_header="front.test:1", sni="other.test"), "front.test:1"),
    (replace(PLAIN, host="203.0.113.9", connect_to="198.51.100.1"), "203.0.113.9"),
])
def test_host_names_what_was_asked_for(changed: Target, host: str) -> None:
    assert host_header(changed) == host


@given(path=st.text(max_size=30), host=st.text(min_size=1, max_size=30))
def test_nothing_in_an_inventory_can_break_out_of_the_request(path: str, host: str) -> None:
    asked = replace(PLAIN, path="/" + path.encode("utf-8", "replace").decode(), host_header=host)
    _, net = exchange(Hear(), Say(response(200)), asked=asked)
    sent = bytes(net.streams[0].sent)
    assert sent.isascii()
    assert (sent.count(b"\r\n"), sent.count(b"\n")) == (6, 6)


# Status without expectation.


@pytest.mark.parametrize(("status", "expected"), [
    (200, [None]),
    (204, [None]),
    (301, [None]),
    (304, [None]),
    (401, [None, "http.auth_required"]),
    (403, [None, "http.auth_required"]),
    (407, [None, "http.auth_required"]),
    (429, [None, "http.rate_limited"]),
    (400, ["http.status"]),
    (404, ["http.status"]),
    (421, ["http.misdirected"]),
    (500, ["http.status"]),
    (502, ["http.bad_gateway"]),
    (503, ["http.unavailable"]),
    (504, ["http.gateway_timeout"]),
    (507, ["http.status"]),
    (999, ["http.status"]),
])
def test_a_status_without_expectation_reads_as_the_design_says(
    status: int, expected: list[str | None]
) -> None:
    findings = answered(response(status))
    assert codes(findings) == expected
    assert all(finding.confidence is Confidence.OBSERVED for finding in findings)
    assert findings[0].breaks is (expected[0] is not None)


@pytest.mark.parametrize(("status", "spans", "code"), [
    (502, ((502, 502),), None),
    (404, ((400, 499),), None),
    (200, ((200, 299),), None),
    (401, ((401, 401),), None),
    (301, ((200, 299),), "http.status"),
    (200, ((300, 399), (404, 404)), "http.status"),
    (429, ((200, 299),), "http.status"),
    (502, ((200, 299),), "http.bad_gateway"),
])
def test_an_expected_status_alone_decides(
    status: int, spans: tuple[tuple[int, int], ...], code: str | None
) -> None:
    assert codes(answered(response(status), asked=target(status=spans))) == [code]


def test_a_gateway_error_says_who_is_up_and_who_is_not() -> None:
    (finding,) = answered(response(502))
    assert "203.0.113.9:80 (demo/1) answered 502 Bad Gateway" in finding.summary
    assert "the proxy is up" in finding.summary


def test_plain_http_on_a_tls_port_is_said_in_plain_words_and_stays_a_status() -> None:
    page = b"<center>The plain HTTP request was sent to HTTPS port</center>"
    (finding,) = answered(response(400, page))
    assert finding.code == "http.status"
    assert "the port wants TLS" in finding.summary
    (look_alike,) = answered(response(400, b"No required SSL certificate was sent"))
    assert look_alike.code == "http.status"
    assert "the port wants TLS" not in look_alike.summary


NO_CERTIFICATE = response(400, b"<center>No required SSL certificate was sent</center>")


@pytest.mark.parametrize(("wire", "encrypted", "asked", "code"), [
    (NO_CERTIFICATE, True, True, "http.client_certificate_required"),
    (response(496), True, True, "http.client_certificate_required"),
    (NO_CERTIFICATE, True, False, "http.status"),
    (NO_CERTIFICATE, False, False, "http.status"),
    (response(400, b"Bad Request"), True, True, "http.status"),
    (response(404, b"No required SSL certificate was sent"), True, True, "http.status"),
])
def test_a_client_certificate_is_missed_where_it_was_asked_for_and_the_answer_says_so(
    wire: bytes, encrypted: bool, asked: bool, code: str
) -> None:
    facts, _ = exchange(Hear(b"\r\n\r\n"), Say(wire), Close())
    facts = replace(facts, encrypted=encrypted, ending=replace(facts.ending, certificate_requested=asked))
    (finding,) = judge(facts, POLICY)
    assert finding.code == code
    assert ("we have none" in finding.summary) is (code != "http.status")
    (expected,) = judge(replace(facts, expect_status=((400, 499),)), POLICY)
    assert expected.code is None


# Body.


def test_an_expected_text_is_found_in_any_part_of_the_body() -> None:
    far_in = response(200, b"x" * 5000 + b"all is well")
    assert codes(answered(far_in, asked=target(body="is well"))) == [None]
    assert codes(answered(response(200, "größer".encode("latin-1")), asked=target(body="größer"))) == [None]


def test_a_missing_text_is_observed_in_a_whole_body_and_inferred_in_a_part() -> None:
    (whole,) = answered(response(200, b"welcome to nginx"), asked=target(body="all is well"))
    assert (whole.code, whole.confidence) == ("http.unexpected_body", Confidence.OBSERVED)
    (part,) = answered(response(200, b"x" * 70_000), asked=target(body="all is well"))
    assert (part.code, part.confidence) == ("http.unexpected_body", Confidence.INFERRED)
    (packed,) = answered(
        response(200, b"\x1f\x8b...", b"Content-Encoding: gzip\r\n"), asked=target(body="all is well")
    )
    assert (packed.code, packed.confidence) == ("http.unexpected_body", Confidence.INFERRED)
    assert "compressed" in packed.summary


def test_a_wrong_status_and_a_missing_text_are_both_found() -> None:
    findings = answered(response(404, b"gone"), asked=target(body="all is well"))
    assert codes(findings) == ["http.status", "http.unexpected_body"]


def test_a_text_is_not_missed_in_a_body_that_broke_off() -> None:
    short = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nall is"
    assert codes(answered(short, asked=target(body="all is well"))) == ["http.truncated"]


def test_more_than_a_large_body_is_not_read_and_that_is_not_truncated() -> None:
    wire = b"HTTP/1.1 200 OK\r\nContent-Length: 90000000\r\n\r\n" + b"x" * 400_000
    facts, _ = exchange(Hear(), Say(wire), Reset())
    assert codes(judge(facts, POLICY)) == [None]
    assert facts.record()["body_cut"] == "bytes"


REQUEST = Hear(b"GET")


# Not HTTP.


@pytest.mark.parametrize(("wire", "words"), [
    (b"SSH-2.0-OpenSSH_9.2\r\n", 'in SSH, not HTTP: "SSH-2.0-OpenSSH_9.2'),
    (b"\x15\x03\x03\x00\x02\x02\x46", "speaks TLS"),
    (b"<html>hello</html>", "HTML without HTTP"),
    (b"220 mail.test ESMTP\r\n", "in SMTP"),
    (b"\x1b[2J\xff\x00", 'not HTTP: "\\x1b[2J'),
])
def test_what_is_not_http_is_named(wire: bytes, words: str) -> None:
    (finding,) = answered(wire)
    assert finding.code == "http.malformed"
    assert words in finding.summary
    assert finding.summary.isprintable()


def test_a_first_byte_that_is_not_http_is_looked_at_a_little_longer() -> None:
    facts, net = exchange(REQUEST, Say(b"S"), Say(b"SH-2.0-x\r\n"))
    assert (facts.looks_like, facts.first_bytes) == ("SSH", b"SSH-2.0-x\r\n")
    lonely, net = exchange(REQUEST, Say(b"S"), Mute())
    assert lonely.looks_like is None
    assert net.now() < 1000.5


def test_broken_framing_is_malformed_even_with_a_good_status() -> None:
    findings = answered(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert codes(findings) == ["http.malformed"]
    assert findings[0].facts["framing_error"] == "framing broken"


# Slow.


def test_a_late_first_byte_is_slow_and_a_far_one_is_not() -> None:
    slow = answered(response(200), after_ms=2600)
    assert codes(slow) == [None, "http.slow"]
    assert slow[1].state is State.SLOW
    facts, _ = exchange(REQUEST, Say(response(200), after_ms=2600))
    far = replace(facts, ending=replace(facts.ending, rtt_ms=301.0))
    assert codes(judge(far, POLICY)) == [None]


def test_slowness_is_not_judged_when_we_were_late_ourselves() -> None:
    facts, _ = exchange(REQUEST, Say(response(200), after_ms=2600, late_ms=300))
    assert codes(judge(facts, POLICY)) == [None]


def test_a_slow_failure_is_a_failure_first() -> None:
    assert codes(answered(response(500), after_ms=2600)) == ["http.status", "http.slow"]


# The layer as a whole.


def test_it_emits_only_codes_of_the_table_that_are_not_planned() -> None:
    assert {code for code in LAYER.emits if not CODES[code].emitted} == set()


STEPS = st.lists(
    st.one_of(
        st.builds(Say, st.sampled_from([b"HTTP/1.1 200 OK\r\n", b"\r\n", b"abc"])),
        st.builds(Say, st.just(b"Server: \xff\x1b[2J\r\n")),
        st.builds(Say, st.binary(min_size=1, max_size=50), st.floats(0, 4000)),
        st.just(Hear()),
        st.builds(Close), st.builds(Reset), st.builds(Mute), st.builds(Deaf),
    ),
    max_size=8,
)


@given(STEPS, st.sampled_from([PLAIN, target(body="abc"), target(status=((500, 599),))]))
def test_any_peer_gives_findings_that_are_declared_printable_and_json_ready(
    script: list[Step], asked: Target
) -> None:
    facts, net = exchange(*script, asked=asked)
    findings = judge(facts, POLICY)
    assert findings
    assert net.now() <= 1000.001 + 2 * POLICY.exchange_s + 0.3
    json.dumps(dict(facts.record()), ensure_ascii=False, allow_nan=False).encode("utf-8")
    for finding in findings:
        assert finding.code is None or finding.code in LAYER.emits
        assert len(finding.summary) <= 160
        assert finding.summary.isprintable()
