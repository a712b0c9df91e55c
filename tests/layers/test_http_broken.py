"""An HTTP exchange that breaks off: one event, one code (design §8), with its phase and its figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from fleetprobe.codes.table import CODES
from fleetprobe.layer import Ground
from fleetprobe.layers.conversation import Ending, Phase, broken
from fleetprobe.layers.http.facts import HttpFacts
from fleetprobe.layers.http.judge import judge
from fleetprobe.layers.http.layer import probe
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Target
from fleetprobe.model.verdict import Confidence, Finding, State
from fleetprobe.net.fake import FakeNet, FakeStream, drive
from fleetprobe.net.interface import Address, Event, Fault, Received
from fleetprobe.net.script import Close, Deaf, Fail, Hear, Mute, Reset, Say, Step

POLICY = Policy()
PLAIN = Target(service="http", host="shop.test", port=80)
HOST = Address("203.0.113.9", 4)


def exchange(*script: Step) -> tuple[HttpFacts, FakeNet]:
    """The facts of one exchange with a peer that follows the script."""
    net = FakeNet().host(HOST.text, 80, *script)
    _, stream = drive(net.dial(HOST, 80, net.now() + 1))
    ground = Ground(target=PLAIN, policy=POLICY, deadline=net.now() + 60, address=HOST, stream=stream)
    return drive(probe(ground, net)), net


def response(status: int, body: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %d Whatever\r\nServer: demo/1\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


def codes(findings: Sequence[Finding]) -> list[str | None]:
    return [finding.code for finding in findings]


REQUEST = Hear(b"GET")
START = Say(b"HTTP/1.1")
HEAD = Say(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
PART = Say(b"some of it")


@pytest.mark.parametrize(("script", "code", "phase"), [
    pytest.param([Reset(0)], "tcp.reset", Phase.SENDING, id="reset before the request"),
    pytest.param([REQUEST, Reset()], "tcp.reset", Phase.AFTER_REQUEST, id="reset after the request"),
    pytest.param([REQUEST, START, Reset()], "tcp.reset", Phase.IN_HEAD, id="reset in the head"),
    pytest.param([REQUEST, HEAD, PART, Reset()], "tcp.reset", Phase.IN_BODY, id="reset in the body"),
    pytest.param([REQUEST, Close()], "tcp.closed", Phase.AFTER_REQUEST, id="closed without a byte"),
    pytest.param([REQUEST, START, Close()], "http.truncated", Phase.IN_HEAD, id="closed in the head"),
    pytest.param([REQUEST, HEAD, PART, Close()], "http.truncated", Phase.IN_BODY, id="closed in the body"),
    pytest.param([REQUEST, HEAD, Close()], "http.truncated", Phase.IN_BODY, id="closed before the body"),
    pytest.param([REQUEST, Mute()], "http.timeout", Phase.AFTER_REQUEST, id="silent after the request"),
    pytest.param([REQUEST, START, Mute()], "http.timeout", Phase.IN_HEAD, id="silent in the head"),
    pytest.param([Deaf()], "tcp.stalled", Phase.AFTER_REQUEST, id="request never acknowledged"),
    pytest.param([REQUEST, HEAD, PART, Mute()], "tcp.stalled", Phase.IN_BODY, id="silent in the body"),
    pytest.param([REQUEST, HEAD, Mute()], "tcp.stalled", Phase.IN_BODY, id="silent before the body"),
])
def test_each_way_of_breaking_off_has_its_code_and_phase(script: list[Step], code: str, phase: Phase) -> None:
    facts, _ = exchange(*script)
    (finding,) = judge(facts, POLICY)
    assert (finding.code, facts.ending.phase) == (code, phase)
    silent = code in ("http.timeout", "tcp.stalled")
    assert finding.silences == silent
    assert finding.confidence is (Confidence.INFERRED if silent else Confidence.OBSERVED)
    assert finding.facts["phase"] == str(phase)
    assert finding.facts["bytes_sent"] == (0 if phase is Phase.SENDING else len(b"\r\n".join([
        b"GET / HTTP/1.1", b"Host: shop.test", b"User-Agent: fleetprobe/0.1.0", b"Accept: */*",
        b"Connection: close", b"", b"",
    ])))


def test_silence_ends_with_the_budget_and_is_told_with_its_figures() -> None:
    facts, net = exchange(REQUEST, Mute())
    assert net.now() == pytest.approx(1000.001 + POLICY.exchange_s)
    (finding,) = judge(facts, POLICY)
    assert finding.summary == "203.0.113.9:80 stayed silent for 3.5 s after our request"
    assert finding.could_also_be == CODES["http.timeout"].could_also_be


def test_a_reset_is_told_with_its_moment() -> None:
    facts, _ = exchange(REQUEST, Reset(after_ms=0.8))
    assert judge(facts, POLICY)[0].summary == "203.0.113.9:80 sent RST 0.8 ms after our request"


def test_a_reset_of_a_body_that_flowed_is_a_reset_all_the_same() -> None:
    drip = [Say(b"x" * 100, after_ms=900) for _ in range(3)]
    assert codes(judge(exchange(REQUEST, HEAD, *drip, Reset())[0], POLICY)) == ["tcp.reset"]


def after_failed_send(*script: Step) -> tuple[HttpFacts, float]:
    """The facts of an exchange whose request the kernel would not take, and the seconds it took."""

    class Hasty(FakeStream):
        async def send(self, data: bytes, until_s: float) -> Received:
            sent = await super().send(data, until_s)
            return replace(sent, event=Event.RESET, fault=Fault(Event.RESET, "EPIPE"))

    net = FakeNet().host(HOST.text, 80, *script)
    _, stream = drive(net.dial(HOST, 80, net.now() + 1))
    assert isinstance(stream, FakeStream)
    hasty = Hasty(net, HOST, 80, stream.plan, _steps=list(stream.plan.script))
    started = net.now()
    ground = Ground(target=PLAIN, policy=POLICY, deadline=started + 9, address=HOST, stream=hasty)
    return drive(probe(ground, net)), net.now() - started


def test_an_answer_given_before_our_request_failed_is_still_heard() -> None:
    """A server that refuses early and resets: its words are in the socket, though sending failed."""
    facts, _ = after_failed_send(Hear(), Say(response(400, b"bad"), after_ms=0), Reset(0))
    assert codes(judge(facts, POLICY)) == ["http.status"]


def test_a_request_that_failed_waits_for_nothing_and_keeps_its_reason() -> None:
    facts, took_s = after_failed_send(Mute())
    assert codes(judge(facts, POLICY)) == ["tcp.reset"]
    assert took_s < 0.1


@pytest.mark.parametrize(("fault", "code"), [
    (Fault(Event.ERROR, alert=116), "tls.client_certificate_required"),
    (Fault(Event.ERROR, alert=40), "tls.alert"),
    (Fault(Event.ERROR, detail="tls"), "tls.protocol_error"),
    (Fault(Event.ERROR, "EHOSTUNREACH"), "ip.host_unreachable"),
    (Fault(Event.ERROR, "ENETUNREACH"), "ip.net_unreachable"),
    (Fault(Event.ERROR, "ETIMEDOUT"), "tcp.stalled"),
    (Fault(Event.ERROR, "ENOBUFS"), "local.overload"),
    (Fault(Event.ERROR, "EPERM"), "local.send_denied"),
    (Fault(Event.ERROR, "EILSEQ"), "local.bug"),
])
def test_an_error_is_read_by_its_number(fault: Fault, code: str) -> None:
    (finding,) = judge(exchange(REQUEST, Fail(fault))[0], POLICY)
    assert finding.code == code
    unsure = code.startswith("ip.")
    assert finding.confidence is (Confidence.INFERRED if unsure else Confidence.OBSERVED)


def test_the_alert_for_a_missing_client_certificate_says_so() -> None:
    alert = Fault(Event.ERROR, alert=116)
    (finding,) = judge(exchange(REQUEST, Fail(alert))[0], POLICY)
    assert "demands a client certificate" in finding.summary
    assert finding.facts["alert"] == 116


@pytest.mark.parametrize(("step", "code"), [(Reset(), "tcp.reset"), (Close(), "tcp.closed")])
def test_an_end_without_a_byte_after_a_certificate_was_asked_for_leaves_that_open(step: Step, code: str) -> None:
    facts, _ = exchange(REQUEST, step)
    (plain,) = judge(facts, POLICY)
    (asked,) = judge(replace(facts, ending=replace(facts.ending, certificate_requested=True)), POLICY)
    assert (plain.code, plain.could_also_be) == (code, ())
    assert (asked.code, asked.could_also_be) == (code, ("tls.client_certificate_required",))
    assert "asked for a client certificate" in asked.summary
    late, _ = exchange(REQUEST, START, step)
    (begun,) = judge(replace(late, ending=replace(late.ending, certificate_requested=True)), POLICY)
    assert begun.could_also_be == ()


@pytest.mark.parametrize(("alert", "asked", "code"), [
    (116, False, "tls.client_certificate_required"), (116, True, "tls.client_certificate_required"),
    (42, True, "tls.client_certificate_required"), (40, True, "tls.client_certificate_required"),
    (42, False, "tls.alert"), (40, False, "tls.alert"), (80, True, "tls.alert"), (10, True, "tls.alert"),
])
def test_an_alert_about_a_certificate_is_about_ours_where_one_was_asked_for(alert: int, asked: bool, code: str) -> None:
    facts, _ = exchange(REQUEST, Fail(Fault(Event.ERROR, alert=alert)))
    (finding,) = judge(replace(facts, ending=replace(facts.ending, certificate_requested=asked)), POLICY)
    assert (finding.code, finding.confidence) == (code, Confidence.OBSERVED)
    assert finding.facts["alert"] == alert
    assert ("client certificate" in finding.summary) is (code != "tls.alert")


def test_the_record_columns_are_filled_from_the_exchange() -> None:
    good, _ = exchange(REQUEST, Say(response(200), after_ms=12))
    assert good.columns() == {"http_response_status_code": 200, "http_response_server": "demo/1"}
    assert good.duration_ms == pytest.approx(12)
    cut, _ = exchange(REQUEST, Fail(Fault(Event.ERROR, alert=116)))
    assert cut.columns()["tls_alert"] == 116
    reset, _ = exchange(REQUEST, Reset())
    assert reset.columns()["errno_name"] == "ECONNRESET"
    assert reset.duration_ms is None


def test_a_silence_that_was_our_own_lateness_blames_ourselves() -> None:
    (finding,) = judge(exchange(REQUEST, Mute(late_ms=6000))[0], POLICY)
    assert (finding.code, finding.silences) == ("local.overload", 0)


def test_a_large_body_that_still_flows_at_the_deadline_is_not_stalled() -> None:
    drip = [Say(b"x" * 100, after_ms=900) for _ in range(20)]
    facts, net = exchange(REQUEST, Say(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"), *drip)
    assert codes(judge(facts, POLICY)) == [None, "http.slow"]
    assert net.now() < 1000.1 + POLICY.exchange_s
    missed, _ = judge(replace(facts, expect_body="well", body_as_expected=False), POLICY)
    assert (missed.code, missed.confidence) == ("http.unexpected_body", Confidence.INFERRED)


LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%s\r\n"
EVENTS = CHUNKED % b"Content-Type: Text/Event-Stream; charset=utf-8\r\n"
DROP = Say(b"x", after_ms=200)


def test_seventeen_of_a_hundred_thousand_bytes_are_slow_and_said_to_be() -> None:
    facts, _ = exchange(REQUEST, Say(LONG), *[DROP] * 17, Mute())
    passing, slow = judge(facts, POLICY)
    assert (passing.code, slow.code, slow.state) == (None, "http.slow", State.SLOW)
    assert slow.summary == "203.0.113.9:80 sent 17 of 100000 bytes of its body in 3.5 s and had not finished"


def test_the_same_bytes_at_once_and_then_silence_are_a_stall() -> None:
    assert codes(judge(exchange(REQUEST, Say(LONG + b"x" * 17), Mute())[0], POLICY)) == ["tcp.stalled"]


@pytest.mark.parametrize(("head", "code"), [
    (CHUNKED % b"", "http.slow"),
    (CHUNKED % b"Content-Type: text/plain\r\n", "http.slow"),
    (b"HTTP/1.1 200 OK\r\n\r\n", "http.slow"),
    (EVENTS, None),
    (LONG.replace(b"\r\n\r\n", b"\r\nContent-Type: text/event-stream\r\n\r\n"), "http.slow"),
])
def test_a_body_of_unknown_length_that_drips_is_slow_unless_it_is_meant_to_go_on(head: bytes, code: str | None) -> None:
    drop = Say(b"1\r\nx\r\n", after_ms=400)
    facts, _ = exchange(REQUEST, Say(head), *[drop] * 12, Mute())
    assert codes(judge(facts, POLICY)) == [None, code][: 2 if code else 1]


def test_a_large_body_of_which_enough_was_read_is_well() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n"
    facts, _ = exchange(REQUEST, Say(head), *[Say(b"x" * 16384, after_ms=200) for _ in range(17)], Mute())
    assert (codes(judge(facts, POLICY)), facts.body_complete) == ([None], False)


@pytest.mark.parametrize(("piece", "code"), [(20_000, None), (200, "http.slow")])
def test_where_our_own_time_was_short_the_pace_counts(piece: int, code: str | None) -> None:
    """One second of the two that a server may take: half of what we read of a body is due by then."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n"
    net = FakeNet().host(HOST.text, 80, REQUEST, Say(head), *[Say(b"x" * piece, after_ms=100)] * 20)
    _, stream = drive(net.dial(HOST, 80, net.now() + 1))
    ground = Ground(target=PLAIN, policy=POLICY, deadline=net.now() + 1.0, address=HOST, stream=stream)
    facts = drive(probe(ground, net))
    assert facts.ending.event is Event.SILENT
    assert codes(judge(facts, POLICY)) == [None, code][: 2 if code else 1]


def test_a_body_that_came_slowly_because_we_were_late_is_not_judged() -> None:
    facts, _ = exchange(REQUEST, Say(LONG), *[DROP] * 17, Mute())
    late = replace(facts, ending=replace(facts.ending, lag_ms=351.0))
    assert codes(judge(late, POLICY)) == [None]
    assert codes(judge(replace(facts, ending=replace(facts.ending, lag_ms=349.0)), POLICY)) == [None, "http.slow"]


def test_a_dripping_error_page_is_an_error_first() -> None:
    head = LONG.replace(b"200 OK", b"502 Bad Gateway")
    facts, _ = exchange(REQUEST, Say(head), *[DROP] * 17, Mute())
    assert codes(judge(facts, POLICY)) == ["http.bad_gateway", "http.slow"]


def test_head_and_body_have_a_budget_each() -> None:
    late = Say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 3000), Say(b"hello", 3000)
    assert codes(judge(exchange(REQUEST, *late)[0], POLICY)) == [None, "http.slow"]


def test_a_body_is_stalled_however_slow_its_head_was() -> None:
    head = [Say(b"HTTP/1.1 200 OK\r\n", 1500), Say(b"Content-Length: 9\r\n", 1500), Say(b"\r\nx", 400)]
    net = FakeNet().host(HOST.text, 80, REQUEST, *head, Mute())
    _, stream = drive(net.dial(HOST, 80, net.now() + 1))
    ground = Ground(target=PLAIN, policy=POLICY, deadline=net.now() + 6.5, address=HOST, stream=stream)
    assert codes(judge(drive(probe(ground, net)), POLICY)) == ["tcp.stalled"]


def test_a_head_that_drips_past_the_budget_is_a_timeout() -> None:
    head = b"HTTP/1.1 200 OK\r\nServer: tarpit\r\n\r\n"
    facts, net = exchange(REQUEST, *[Say(bytes([byte]), after_ms=400) for byte in head])
    (finding,) = judge(facts, POLICY)
    assert (finding.code, finding.silences) == ("http.timeout", 1)
    assert net.now() == pytest.approx(1000.001 + POLICY.exchange_s)


def test_a_conversation_that_ended_well_is_not_broken() -> None:
    well = Ending(peer="203.0.113.9:80", event=Event.DONE, phase=Phase.OVER)
    with pytest.raises(ValueError, match="not broken"):
        broken(well, {}, cut="http.truncated", silent="http.timeout")
