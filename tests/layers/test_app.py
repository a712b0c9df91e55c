"""The app layer: greetings of ssh and of anything else, and what comes instead."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetprobe.codes.table import CODES
from fleetprobe.layer import Ground
from fleetprobe.layers.app import BANNER_BYTES, LAYER, LINES, AppFacts, judge, probe
from fleetprobe.layers.conversation import Phase
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Expectations, Target
from fleetprobe.model.verdict import Confidence, Finding
from fleetprobe.net.fake import FakeNet, drive
from fleetprobe.net.interface import Address
from fleetprobe.net.script import Close, Mute, Reset, Say, Step

POLICY = Policy()
SSH = Target(service="ssh", host="bastion.test", port=22)
BANNER = replace(SSH, service="banner", port=25)
HOST = Address("2001:db8::9", 6)


def listen(*script: Step, asked: Target = SSH) -> tuple[AppFacts, FakeNet]:
    net = FakeNet().host(HOST.text, asked.port, *script)
    _, stream = drive(net.dial(HOST, asked.port, net.now() + 1))
    ground = Ground(target=asked, policy=POLICY, deadline=net.now() + 60, address=HOST, stream=stream)
    return drive(probe(ground, net)), net


def said(*script: Step, asked: Target = SSH) -> Sequence[Finding]:
    return judge(listen(*script, asked=asked)[0], POLICY)


def expecting(text: str, asked: Target = BANNER) -> Target:
    return replace(asked, expect=Expectations(body=text))


@pytest.mark.parametrize("script", [
    pytest.param([Say(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n")], id="at once"),
    pytest.param([Say(b"SSH-2.0-Old\n")], id="newline alone"),
    pytest.param([Say(b"SS"), Say(b"H-2.0-x"), Say(b"\r\n")], id="in pieces"),
    pytest.param([Say(b"Keep out!\r\nAll is logged.\r\nSSH-2.0-x\r\n")], id="after other lines"),
    pytest.param([Say(b"SSH-2.0-x\r\n"), Reset()], id="and then a reset"),
])
def test_an_ssh_server_passes_and_nothing_is_sent_to_it(script: list[Step]) -> None:
    facts, net = listen(*script)
    assert [finding.code for finding in judge(facts, POLICY)] == [None]
    assert facts.record()["identification"].startswith("SSH-2.0-")
    assert net.streams[0].sent == b""


HALF = Say(b"SSH-2.0-x")
BUSY = Say(b"Exceeded MaxStartups\r\n")


@pytest.mark.parametrize(("script", "code", "phase"), [
    pytest.param([Mute()], "app.no_banner", Phase.BEFORE_DATA, id="silent"),
    pytest.param([Reset()], "tcp.reset", Phase.BEFORE_DATA, id="reset"),
    pytest.param([Close()], "tcp.closed", Phase.BEFORE_DATA, id="closed"),
    pytest.param([HALF, Mute()], "tcp.stalled", Phase.IN_BANNER, id="half a line, then silent"),
    pytest.param([HALF, Reset()], "tcp.reset", Phase.IN_BANNER, id="half a line, then reset"),
    pytest.param([HALF, Close()], "app.protocol_mismatch", Phase.IN_BANNER, id="half a line, closed"),
    pytest.param([Say(b"hello\r\n"), Mute()], "app.protocol_mismatch", Phase.IN_BANNER, id="other words"),
    pytest.param([BUSY, Close()], "app.protocol_mismatch", Phase.IN_BANNER, id="busy"),
    pytest.param([Say(b"220 mx.test ESMTP\r\n")], "app.protocol_mismatch", Phase.OVER, id="SMTP"),
    pytest.param([Say(b"line\r\n" * 300)], "app.protocol_mismatch", Phase.OVER, id="endless lines"),
    pytest.param([Say(b"x" * 20_000)], "app.protocol_mismatch", Phase.OVER, id="endless bytes"),
    pytest.param([Mute(late_ms=6000)], "local.overload", Phase.BEFORE_DATA, id="we were late"),
])
def test_each_failed_greeting_has_its_code_and_phase(script: list[Step], code: str, phase: Phase) -> None:
    facts, _ = listen(*script)
    (finding,) = judge(facts, POLICY)
    assert (finding.code, facts.ending.phase) == (code, phase)
    silent = code in ("app.no_banner", "tcp.stalled")
    assert finding.silences == silent
    assert finding.confidence is (Confidence.INFERRED if silent else Confidence.OBSERVED)


def test_silence_is_told_with_its_figures_and_brackets() -> None:
    (finding,) = said(Mute())
    assert finding.summary == "[2001:db8::9]:22 stayed silent for 3.5 s after the connection"
    assert finding.could_also_be == CODES["app.no_banner"].could_also_be


def test_another_protocol_is_named_at_once_and_shown() -> None:
    facts, net = listen(Say(b"HTTP/1.1 400 Bad Request\r\n\x1b[2J"))
    assert net.now() < 1000.1
    summary = judge(facts, POLICY)[0].summary
    assert summary == '[2001:db8::9]:22 speaks HTTP, not SSH: "HTTP/1.1 400 Bad Request"'


def test_an_identification_after_too_many_lines_does_not_count() -> None:
    enough = listen(Say(b"x\n" * (LINES - 1) + b"SSH-2.0-x\r\n"))[0]
    too_many = listen(Say(b"x\n" * LINES + b"SSH-2.0-x\r\n"))[0]
    assert (enough.identification, too_many.identification) == (b"SSH-2.0-x", None)


def test_a_flood_is_read_to_the_cap_and_no_further() -> None:
    facts, net = listen(Say(b"x" * 100), Say(b"x" * 20_000))
    assert (len(facts.banner), net.count("receive")) == (BANNER_BYTES, 3)


@pytest.mark.parametrize("before", [b"x\n" * LINES, b"x" * (BANNER_BYTES - 5) + b"\n"])
def test_an_identification_that_begins_where_we_stop_is_a_mismatch(before: bytes) -> None:
    assert [finding.code for finding in said(Say(before + b"SSH-"))] == ["app.protocol_mismatch"]


def test_a_banner_of_any_kind_passes_when_nothing_is_expected() -> None:
    assert [finding.code for finding in said(Say(b"\x00\xff"), asked=BANNER)] == [None]


def test_an_expected_text_must_occur_in_the_banner() -> None:
    greeting = Say(b"220-mx.test\r\n"), Say(b"220 ESMTP ready\r\n")
    assert [f.code for f in said(*greeting, asked=expecting("ESMTP"))] == [None]
    (wrong,) = said(*greeting, asked=expecting("Exim"))
    assert (wrong.code, wrong.silences) == ("app.protocol_mismatch", 0)
    assert wrong.summary == '[2001:db8::9]:25 greets with "220-mx.test", without "Exim"'


def test_an_expected_text_counts_for_ssh_too() -> None:
    server = Say(b"SSH-2.0-dropbear_2022\r\n")
    assert [f.code for f in said(server, asked=expecting("dropbear", SSH))] == [None]
    assert [f.code for f in said(server, asked=expecting("OpenSSH", SSH))] == ["app.protocol_mismatch"]


def test_a_reset_before_the_expected_text_is_a_reset() -> None:
    (finding,) = said(Say(b"220-"), Reset(), asked=expecting("ESMTP"))
    assert finding.code == "tcp.reset"


def test_the_record_columns_tell_how_it_broke() -> None:
    assert listen(Reset())[0].columns() == {"errno_name": "ECONNRESET"}
    assert listen(Say(b"SSH-2.0-x\r\n"))[0].columns() == {}


def test_it_emits_only_codes_of_the_table_that_are_not_planned() -> None:
    assert {code for code in LAYER.emits if not CODES[code].emitted} == set()


STEPS = st.lists(
    st.one_of(
        st.builds(Say, st.sampled_from([b"SSH-2.0-x", b"\r\n", b"SSH-", b"\n", b"220 x\r\n"])),
        st.builds(Say, st.binary(min_size=1, max_size=50), st.floats(0, 4000)),
        st.builds(Close), st.builds(Reset), st.builds(Mute),
    ),
    max_size=8,
)


@given(STEPS, st.sampled_from([SSH, BANNER, expecting("SSH-2.0", SSH), expecting("x")]))
def test_any_peer_gives_a_finding_that_is_declared_printable_and_json_ready(
    script: list[Step], asked: Target
) -> None:
    facts, net = listen(*script, asked=asked)
    assert net.now() <= 1000.001 + POLICY.exchange_s + 0.001
    assert len(facts.banner) <= BANNER_BYTES
    json.dumps(dict(facts.record()), ensure_ascii=False, allow_nan=False).encode("utf-8")
    for finding in judge(facts, POLICY):
        assert finding.code is None or finding.code in LAYER.emits
        assert len(finding.summary) <= 160
        assert finding.summary.isprintable()
