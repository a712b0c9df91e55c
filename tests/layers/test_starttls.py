"""The dialogues that lead to TLS: who agrees, who does not, who lies, and who is another service."""

from __future__ import annotations

import json
import ssl
import struct
from collections.abc import Sequence
from dataclasses import replace
from time import process_time
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from fleetprobe.codes.command import STARTTLS
from fleetprobe.inventory.services import SERVICES, usual_service
from fleetprobe.layer import Ground
from fleetprobe.layers.ladders import LADDERS
from fleetprobe.layers.starttls.dialogues import DIALOGUES
from fleetprobe.layers.starttls.facts import UpgradeFacts
from fleetprobe.layers.starttls.judge import judge
from fleetprobe.layers.starttls.layer import LAYER, READ_IS_BYTES, TALK_BYTES, WORK_BYTES, probe
from fleetprobe.layers.starttls.talk import LINE_BYTES, Caller, Stage
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Target
from fleetprobe.model.verdict import Confidence, Finding
from fleetprobe.net.fake import FakeNet, drive
from fleetprobe.net.handshake import Handshake
from fleetprobe.net.interface import Address, Event, Fault
from fleetprobe.net.script import Close, Hear, Mute, Reset, Say, Step
from tests.engine.world import V4, examine, row, target

HOST = Address("2001:db8::9", 6)
POLICY = Policy()
CHAIN = trustme.CA().issue_cert("mx.test").cert_chain_pems
WHOLE = Handshake(
    started_s=0.0, ended_s=0.01, protocol_version="TLSv1.3", bytes_received=2000,
    chain_der=tuple(ssl.PEM_cert_to_DER_cert(pem.bytes().decode()) for pem in CHAIN),
)

GREETING, EHLO = b"220 mx.test ESMTP\r\n", b"250-mx.test\r\n250-SIZE 100\r\n250 STARTTLS\r\n"
FEATURES = b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>"
XML = b"<?xml version='1.0'?><stream:stream id='1' xmlns:stream='http://etherx.jabber.org/streams'>"
STREAM = XML + FEATURES
PROCEED = b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"


def mysql(capabilities: int = 0xFFFF, version: bytes = b"8.0.36") -> bytes:
    payload = b"\x0a" + version + b"\0" + bytes(12) + b"\0" + struct.pack("<H", capabilities) + bytes(30)
    return len(payload).to_bytes(3, "little") + b"\0" + payload


def mysql_no(number: int = 1040, words: bytes = b"Too many connections", sequence: int = 0) -> bytes:
    payload = b"\xff" + struct.pack("<H", number) + words
    return len(payload).to_bytes(3, "little") + bytes([sequence]) + payload


def ldap(result: int = 0, number: int = 1, words: bytes = b"") -> bytes:
    operation = bytes([0x0A, 1, result, 4, 0, 4, len(words)]) + words
    message = bytes([2, 1, number, 0x78, len(operation)]) + operation
    return bytes([0x30, len(message)]) + message


TALKS: dict[str, tuple[Step, ...]] = {
    "smtp": (Say(GREETING), Hear(b"EHLO [IPv6:"), Say(EHLO), Hear(b"STARTTLS\r\n"), Say(b"220 2.0.0 Go\r\n")),
    "imap": (
        Say(b"* OK [CAPABILITY IMAP4rev1] hello\r\n"), Hear(b"f1 CAPABILITY\r\n"),
        Say(b"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\nf1 OK done\r\n"), Hear(b"f2 STARTTLS\r\n"),
        Say(b"f2 OK begin\r\n"),
    ),
    "pop3": (
        Say(b"+OK ready\r\n"), Hear(b"CAPA\r\n"), Say(b"+OK\r\nTOP\r\nSTLS\r\n.\r\n"), Hear(b"STLS\r\n"),
        Say(b"+OK\r\n"),
    ),
    "ftp": (Say(b"220-Welcome\r\nto us\r\n220 ready\r\n"), Hear(b"AUTH TLS\r\n"), Say(b"234 go\r\n")),
    "postgres": (Hear(b"\0\0\0\x08\x04\xd2\x16\x2f"), Say(b"S")),
    "mysql": (Say(mysql()), Hear(b"\x20\0\0\1\0\x8a\x08\0")),
    "ldap": (Hear(b"1.3.6.1.4.1.1466.20037"), Say(ldap())),
    "xmpp": (Hear(b"to=\"mx.test\""), Say(STREAM), Hear(b"<starttls "), Say(PROCEED)),
}


def ask(
    service: str, *script: Step, tls: Handshake = WHOLE, rtt_ms: float = 1.0
) -> tuple[UpgradeFacts | TlsFacts, FakeNet]:
    asked = Target(service=service, host="mx.test", port=SERVICES[service].port or 0)
    net = FakeNet().host(HOST.text, asked.port, *script, tls=tls, rtt_ms=rtt_ms)
    dial, stream = drive(net.dial(HOST, asked.port, net.now() + 1))
    ground = Ground(target=asked, policy=POLICY, deadline=net.now() + 60, address=HOST, stream=stream)
    ground.facts["tcp"] = _Tcp(dial)
    return drive(probe(ground, net)), net


class _Tcp:
    def __init__(self, dial: Any) -> None:
        self.dial = replace(dial, local_address="2001:db8::1")


def said(service: str, *script: Step, **more: Any) -> tuple[Finding, Any]:
    """The first finding, and the facts."""
    facts, _ = ask(service, *script, **more)
    finding = judge(facts, POLICY)[0]
    json.dumps(facts.record())
    assert finding.code is None or finding.code in LAYER.emits
    return finding, facts


every = pytest.mark.parametrize("service", DIALOGUES)


def test_the_services_are_the_same_in_the_inventory_the_ladders_and_the_commands() -> None:
    assert set(DIALOGUES) == STARTTLS == set(TALKS)
    for service in DIALOGUES:
        assert [layer.name for layer in LADDERS[service]] == ["dns", "link", "ip", "tcp", "tls"]
        port = SERVICES[service].port
        assert port is not None
        assert usual_service(port) == "tcp"


@every
def test_who_agrees_gets_a_handshake_and_the_facts_tell_of_both(service: str) -> None:
    finding, facts = said(service, *TALKS[service])
    assert isinstance(facts, TlsFacts)
    assert finding.code is None
    assert facts.record()["event"] == "completed"
    assert facts.record()["upgrade"]["starttls"] == service
    assert facts.record()["upgrade"]["duration_ms"] >= 0.0


@every
def test_bytes_may_come_one_by_one(service: str) -> None:
    script: list[Step] = []
    for step in TALKS[service]:
        drops = [Say(bytes([byte]), after_ms=0.1) for byte in step.data] if isinstance(step, Say) else [step]
        script.extend(drops)
    assert isinstance(said(service, *script)[1], TlsFacts)


@every
@pytest.mark.parametrize("together", [True, False], ids=["one segment", "another segment"])
def test_a_byte_behind_the_agreement_and_before_our_hello_is_an_injection(service: str, together: bool) -> None:
    *script, last = TALKS[service]
    if service == "mysql":
        # It agrees by its greeting.
        script, last = [], TALKS[service][0]
    assert isinstance(last, Say)
    extra = [Say(last.data + b"x")] if together else [Say(last.data), Say(b"x", after_ms=0.0)]
    facts, net = ask(service, *script, *extra)
    finding = judge(facts, POLICY)[0]
    assert (finding.code, finding.confidence) == ("tls.starttls_injected", Confidence.OBSERVED)
    assert finding.facts["surplus"] == "x"
    assert finding.facts["how"] == "surplus"
    assert not net.streams[0].secured
    assert net.count("handshake") == 0


@pytest.mark.parametrize(("service", "script"), [
    ("smtp", [Say(GREETING), Hear(b"EHLO"), Say(EHLO + b"220 go\r\n"), Hear(b"STARTTLS"), Mute()]),
    ("pop3", [Say(b"+OK\r\n"), Hear(b"CAPA"), Say(b"+OK\r\nSTLS\r\n.\r\n+OK\r\n"), Mute()]),
    ("ftp", [Say(b"220 x\r\n234 go\r\n"), Mute()]),
    ("ftp", [Say(b"220 x\r\n504 no\r\n234 go\r\n"), Hear(b"AUTH TLS"), Mute()]),
    ("ftp", [Say(b"220 x\r\n"), Hear(b"AUTH TLS"), Say(b"504 no\r\n234 go\r\n"), Mute()]),
    ("imap", [Say(b"* OK\r\n"), Hear(b"f1"), Say(b"* CAPABILITY STARTTLS\r\nf1 OK\r\nf2 OK\r\n"), Mute()]),
    ("xmpp", [Hear(b"to="), Say(STREAM + PROCEED), Mute()]),
])
def test_an_agreement_before_the_question_is_an_injection(service: str, script: list[Step]) -> None:
    finding, _ = said(service, *script)
    assert finding.code == "tls.starttls_injected"
    assert finding.facts["how"] == "unasked"
    assert "before it was asked" in (finding.summary or "")


@pytest.mark.parametrize(("service", "script"), [
    ("imap", [
        Say(b"* OK\r\n* OK still here\r\n"), Hear(b"f1"), Say(b"* CAPABILITY STARTTLS\r\nf1 OK\r\n* OK ping\r\n"),
        Hear(b"f2"), Say(b"f2 OK\r\n"),
    ]),
    ("xmpp", [Hear(b"to="), Say(STREAM + b" \n"), Hear(b"<starttls"), Say(PROCEED)]),
    ("imap", [
        Say(b"* OK\r\n"), Hear(b"f1"), Say(b"*  CAPABILITY  STARTTLS\r\nf1 OK\r\n"), Hear(b"f2"), Say(b"f2 OK\r\n"),
    ]),
    ("imap", [
        Say(b"* OK\r\n"), Hear(b"f1"), Say(b"* CAPABILITY STARTTLS\r\nf1 OK\r\n*"),
        Hear(b"f2"), Say(b" OK still here\r\nf2 OK\r\n"),
    ]),
    ("ftp", [Say(b"120 wait\r\n220 x\r\n"), Hear(b"AUTH"), Say(b"234 go\r\n")]),
    ("ftp", [Say(b"220 x\r\n"), Hear(b"AUTH TLS"), Say(b"504 what?\r\n"), Hear(b"AUTH SSL"), Say(b"234 go\r\n")]),
    ("smtp", [Say(b"220-a\n220 b\n"), Hear(b"EHLO"), Say(b"250-x\n250 starttls\n"), Hear(b"STARTTLS"), Say(b"220\n")]),
    ("xmpp", [
        Hear(b"to="), Say(XML[21:] + FEATURES), Hear(b"<starttls"),
        Say(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'></proceed>"),
    ]),
    ("xmpp", [
        Hear(b"to="), Say((XML + FEATURES).replace(b"stream:", b"s:")), Hear(b"<starttls"),
        Say(PROCEED.replace(b"<proceed xmlns", b"<t:proceed xmlns:t")),
    ]),
    ("xmpp", [
        Hear(b"to="), Say(XML + FEATURES.replace(b"stream:", b"").replace(b"<starttls xmlns", b"<t:starttls xmlns:t")),
        Hear(b"<starttls"), Say(b"<t:proceed>\n</t:proceed>"),
    ]),
    ("ldap", [Hear(b"1.3.6"), Say(ldap(words=b"fine")[:9]), Say(ldap(words=b"fine")[9:])]),
])
def test_what_the_protocols_allow_is_no_injection(service: str, script: list[Step]) -> None:
    assert said(service, *script)[0].code is None


def test_a_mail_server_older_than_capa_is_asked_for_tls_all_the_same() -> None:
    assert said("pop3", *POP3_WITHOUT_CAPA)[0].code is None


@pytest.mark.parametrize(("service", "script", "stripped"), [
    ("smtp", [Say(GREETING), Hear(b"EHLO"), Say(b"250-mx\r\n250 SIZE\r\n")], False),
    ("smtp", [Say(GREETING), Hear(b"EHLO"), Say(b"502 what?\r\n")], False),
    ("smtp", [Say(GREETING), Hear(b"EHLO"), Say(b"250-mx\r\n250-XSTARTTLS\r\n250 HELP STARTTLS\r\n")], False),
    ("smtp", [Say(GREETING), Hear(b"EHLO"), Say(b"250-mx\r\n250-XXXXXXXA\r\n250 SIZE\r\n")], True),
    ("smtp", [Say(b"220 ****************\r\n"), Hear(b"EHLO"), Say(b"250 mx\r\n")], True),
    ("imap", [Say(b"* OK\r\n"), Hear(b"f1"), Say(b"* CAPABILITY IMAP4rev1\r\nf1 OK\r\n")], False),
    ("imap", [Say(b"* OK\r\n"), Hear(b"f1"), Say(b"* CAPABILITY IMAP4rev1 XXXXXXXX\r\nf1 OK\r\n")], True),
    ("imap", [Say(b"* OK\r\n"), Hear(b"f1"), Say(b"* STARTTLS CAPABILITY\r\nf1 OK\r\n")], False),
    ("imap", [Say(b"* OK\r\n"), Hear(b"f1"), Say(b"f1 BAD\r\n")], False),
    ("imap", [Say(b"* PREAUTH welcome\r\n")], True),
    ("pop3", [Say(b"+OK\r\n"), Hear(b"CAPA"), Say(b"+OK STLS\r\nTOP\r\n.\r\n")], False),
    ("pop3", [Say(b"+OK\r\n"), Hear(b"CAPA"), Say(b"+OK\r\nXXXX\r\n.\r\n")], True),
    ("mysql", [Say(mysql(0xF7FF))], False),
    ("xmpp", [Hear(b"to="), Say(XML + b"<stream:features><a/></stream:features><starttls/>")], False),
    ("xmpp", [Hear(b"to="), Say(XML + b"<stream:features/>")], False),
    ("xmpp", [Hear(b"to="), Say(XML + b"<features><a><starttls/></a></features>")], False),
    ("xmpp", [Hear(b"to="), Say(XML + b"<starttls/><features/>")], False),
])
def test_what_is_not_offered_is_refused_and_a_blanked_word_hints_at_a_filter(
    service: str, script: list[Step], stripped: bool
) -> None:
    finding, facts = said(service, *script, Mute())
    assert (finding.code, finding.confidence) == ("tls.starttls_refused", Confidence.OBSERVED)
    assert finding.facts["how"] == "not_offered"
    assert finding.facts.get("stripped", False) is stripped
    assert finding.could_also_be == (("tls.interception_suspected",) if stripped else ())
    assert facts.record()["said"]


POP3_WITHOUT_CAPA = (
    Say(b"+OK\r\n"), Hear(b"CAPA"), Say(b"-ERR unknown\r\n"), Hear(b"STLS\r\n"), Say(b"+OK begin\r\n"),
)


@pytest.mark.parametrize(("service", "answer", "stripped"), [
    ("smtp", b"454 4.7.0 TLS not available\r\n", False),
    ("smtp", b"250 2.0.0 Ok\r\n", False),
    ("smtp", b"500 5.5.1 Command unrecognized: XXXXXXXX\r\n", True),
    ("imap", b"f2 NO not now\r\n", False),
    ("imap", b"* OK wait\r\nf2 BAD what\r\n", False),
    ("pop3", b"-ERR no\r\n", False),
    ("pop3 without CAPA", b"-ERR no\r\n", False),
    ("ftp", b"530 Please login\r\n", False),
    ("ftp", b"502-no\r\nsuch\r\n502 command\r\n", False),
    ("postgres", b"N", False),
    ("ldap", ldap(2, words=b"unsupported"), False),
    ("ldap", ldap(52), False),
    ("xmpp", b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>", False),
])
def test_a_refusal_is_told_with_the_servers_words(service: str, answer: bytes, stripped: bool) -> None:
    script = POP3_WITHOUT_CAPA if service == "pop3 without CAPA" else TALKS[service]
    finding, _ = said(service.split()[0], *script[:-1], Say(answer), Close())
    assert (finding.code, finding.confidence) == ("tls.starttls_refused", Confidence.OBSERVED)
    assert finding.facts["how"] == "refused"
    assert finding.facts.get("stripped", False) is stripped
    assert finding.facts["stage"] == Stage.UPGRADE


def test_the_result_of_ldap_is_named_by_its_number() -> None:
    finding, _ = said("ldap", Hear(b"1.3"), Say(ldap(52)))
    assert (finding.summary or "").endswith("refuses the upgrade to TLS: result 52")


@pytest.mark.parametrize("sequence", [1, 2])
@pytest.mark.parametrize("at_once", [True, False], ids=["there before our hello", "behind our hello"])
def test_an_error_of_mysql_in_the_place_of_tls_is_a_refusal(sequence: int, at_once: bool) -> None:
    error = mysql_no(3159, b"#08S01no", sequence)
    late = Handshake(
        started_s=0.0, ended_s=0.01, fault=Fault(Event.ERROR, detail="tls"), bytes_received=40, heard_s=0.01,
        first_bytes=error,
    )
    finding, _ = said("mysql", *TALKS["mysql"], *([Say(error, after_ms=0.0)] if at_once else []), tls=late)
    assert (finding.code, finding.facts["how"]) == ("tls.starttls_refused", "refused")


def test_who_knows_neither_word_for_tls_refuses_it() -> None:
    greeting, no = Say(b"220 x\r\n"), Say(b"504 no\r\n")
    finding, _ = said("ftp", greeting, Hear(b"AUTH TLS"), no, Hear(b"AUTH SSL"), no, Mute())
    assert (finding.code, finding.facts["how"]) == ("tls.starttls_refused", "refused")


@pytest.mark.parametrize("end", [Mute(), Close(), Reset()])
def test_a_refusal_stands_whatever_becomes_of_the_second_word(end: Step) -> None:
    finding, _ = said("ftp", Say(b"220 x\r\n"), Hear(b"AUTH TLS"), Say(b"504 no\r\n"), Hear(b"AUTH SSL"), end)
    assert (finding.code, finding.confidence) == ("tls.starttls_refused", Confidence.OBSERVED)
    assert '"504 no"' in (finding.summary or "")


@pytest.mark.parametrize("end", [Mute(), Close(), Reset()])
def test_a_greeting_with_that_number_in_it_is_no_refusal(end: Step) -> None:
    finding, _ = said("ftp", Say(b"220-x\r\n504 y\r\n220 z\r\n"), Hear(b"AUTH TLS"), end)
    assert finding.confidence is Confidence.INFERRED or finding.code == "tcp.reset"


def test_who_refuses_otherwise_is_not_asked_by_another_word() -> None:
    _, net = ask("ftp", Say(b"220 x\r\n"), Hear(b"AUTH TLS"), Say(b"530 Please login\r\n"), Mute())
    assert b"AUTH SSL" not in net.streams[0].sent


def test_an_error_of_mysql_before_our_request_is_no_answer_to_it() -> None:
    finding, _ = said("mysql", Say(mysql() + mysql_no(3159, b"#08S01no", 2)), Hear(), Mute())
    assert finding.code == "tls.starttls_injected"


@pytest.mark.parametrize(("service", "script"), [
    ("smtp", [Say(b"554 5.7.1 go away\r\n")]),
    ("smtp", [Say(b"421 busy\r\n"), Close()]),
    ("smtp", [Say(GREETING), Hear(b"EHLO"), Say(b"451 later\r\n")]),
    ("smtp", [Say(GREETING), Hear(b"EHLO"), Say(b"550 5.7.1 Access denied\r\n")]),
    ("smtp", [Say(GREETING), Hear(b"EHLO"), Say(b"554 5.7.1 Client host rejected: Access denied\r\n")]),
    ("imap", [Say(b"* BYE busy\r\n")]),
    ("imap", [Say(b"* OK\r\n"), Hear(b"f1"), Say(b"* OK wait\r\n* BYE busy\r\n"), Close()]),
    ("imap", [*TALKS["imap"][:-1], Say(b"* bye busy\r\n"), Close()]),
    ("mysql", [Say(mysql_no(sequence=1))]),
    ("pop3", [Say(b"-ERR [SYS/TEMP] busy\r\n")]),
    ("ftp", [Say(b"421 too many users\r\n")]),
    ("postgres", [Hear(), Say(b"Ecould not fork new process for connection: x\n\0")]),
    ("postgres", [Hear(), Say(b"E" + struct.pack(">I", 20) + b"SFATAL\0C53300\0\0\0")]),
    ("mysql", [Say(mysql_no())]),
    ("mysql", [Say(mysql_no(1129, b"Host is blocked"))]),
    ("ldap", [Hear(), Say(ldap(52, 0))]),
    ("xmpp", [Hear(), Say(XML + b"<stream:error><host-unknown/></stream:error></stream:stream>")]),
    ("xmpp", [Hear(), Say(XML.replace(b"stream:", b"s:") + b"<s:error><host-unknown/></s:error></s:stream>")]),
])
def test_a_service_that_turns_us_away_says_nothing_of_tls(service: str, script: list[Step]) -> None:
    finding, facts = said(service, *script)
    assert finding.code == "app.unexpected"
    assert facts.record()["said"]
    if service == "xmpp":
        assert "host-unknown" in (finding.summary or "")
    if service == "imap":
        assert (finding.summary or "").lower().endswith('turns us away: "* bye busy"')


FTP_GREETING = b"220 ProFTPD FTP Server ready\r\n"
MAIL_GREETING = b"220 mx.test ESMTP Postfix\r\n"


@pytest.mark.parametrize(("service", "script", "words"), [
    ("smtp", [Say(FTP_GREETING), Hear(b"EHLO"), Say(b"500 EHLO not understood\r\n")], "speaks FTP, not SMTP"),
    ("smtp", [Say(b"220 (vsFTPd 3.0.3)\r\n"), Hear(b"EHLO"), Say(b"503 Login first\r\n")], "speaks FTP, not SMTP"),
    ("smtp", [Say(b"220 welcome\r\n"), Hear(b"EHLO"), Say(b"530 Please login\r\n")], "does not speak SMTP"),
    ("ftp", [Say(MAIL_GREETING), Hear(b"AUTH"), Say(b"503 5.5.1 not enabled\r\n")], "speaks SMTP, not FTP"),
    ("ftp", [Say(b"220-hi\r\n" + MAIL_GREETING), Hear(b"AUTH"), Say(b"502 5.5.2 what?\r\n")], "does not speak FTP"),
    ("postgres", [Hear(), Say(b"NOTICE AUTH :*** Looking up\r\n")], "speaks IRC, not PostgreSQL"),
    ("postgres", [Hear(), Say(b"N"), Say(b"O\r\n", after_ms=0.0)], "does not speak PostgreSQL"),
])
def test_whose_answer_two_services_know_is_told_apart_by_the_rest_of_it(
    service: str, script: list[Step], words: str
) -> None:
    finding, _ = said(service, *script, Mute())
    assert (finding.code, finding.confidence) == ("app.protocol_mismatch", Confidence.OBSERVED)
    assert words in (finding.summary or "")


@pytest.mark.parametrize(("service", "script"), [
    ("smtp", [Say(b"220 ftp-gate.test ready\r\n"), Hear(b"EHLO"), Say(b"500 what?\r\n")]),
    ("smtp", [Say(b"220 ftp ready\r\n"), Hear(b"EHLO"), Say(b"250 hello\r\n")]),
    ("smtp", [Say(b"220 ESMTP beside FTP\r\n"), Hear(b"EHLO"), Say(b"502 what?\r\n")]),
    ("smtp", [Say(b"220 ftp ready\r\n"), Hear(b"EHLO"), Say(EHLO), Hear(b"STARTTLS"), Say(b"500 what?\r\n")]),
    ("ftp", [Say(b"220 smtp.test ready\r\n"), Hear(b"AUTH"), Say(b"502 no\r\n")]),
    ("ftp", [Say(b"220 smtp ready\r\n"), Hear(b"AUTH"), Say(b"530 Please login\r\n")]),
    ("ftp", [Say(b"220 FTP beside SMTP\r\n"), Hear(b"AUTH"), Say(b"500 no\r\n")]),
    ("postgres", [Hear(), Say(b"N")]),
])
def test_a_name_in_a_greeting_does_not_outweigh_an_answer_that_only_this_service_gives(
    service: str, script: list[Step]
) -> None:
    assert said(service, *script, Mute())[0].code == "tls.starttls_refused"


@pytest.mark.parametrize("script", [
    [Hear(), Say(XML + b"<stream:features><!-- <starttls/> --></stream:features>")],
    [Hear(), Say(XML + b"<!DOCTYPE a>" + FEATURES)],
    [Hear(), Say(XML + b"words" + FEATURES)],
    [Hear(), Say(XML + b"</stream:stream>")],
    [Hear(), Say(STREAM), Hear(), Say(b"<!-- --><proceed/>")],
    [Hear(), Say(STREAM), Hear(), Say(b"<proceed>words</proceed>")],
    [Hear(), Say(STREAM), Hear(), Say(b"<proceed><a/></proceed>")],
], ids=["an offer in a comment", "a DTD", "words", "end", "a comment", "words in the answer", "tags in the answer"])
def test_what_no_stream_of_xml_may_hold_is_not_looked_past(script: list[Step]) -> None:
    assert said("xmpp", *script, Mute())[0].code == "app.protocol_mismatch"


@pytest.mark.parametrize("stray", [b"</proceed>", b" ", b"<iq/>", b"x"])
def test_stray_bytes_behind_an_agreement_in_xml_are_no_part_of_it(stray: bytes) -> None:
    finding, _ = said("xmpp", *TALKS["xmpp"][:-1], Say(PROCEED + stray))
    assert (finding.code, finding.facts["surplus_bytes"]) == ("tls.starttls_injected", len(stray))


HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
ALERT = bytes.fromhex("15030100020232")


@every
@pytest.mark.parametrize("words", [
    b"SSH-2.0-OpenSSH_9.7\r\n", HTTP, ALERT, b"\0\0\0\0\0\0\0\0\0\0", b"<html>no</html>\r\n", b"\r\n\r\n",
], ids=["SSH", "HTTP", "TLS", "zeros", "HTML", "empty lines"])
def test_another_service_is_named_as_such(service: str, words: bytes) -> None:
    finding, _ = said(service, Say(words), Mute())
    silent = service == "xmpp" and not words.strip()
    assert finding.code == ("tcp.stalled" if silent else "app.protocol_mismatch")
    if words is ALERT:
        assert "speaks TLS from the first byte" in (finding.summary or "")
    if words is HTTP:
        assert "speaks HTTP" in (finding.summary or "")


LONG = b"a" * (LINE_BYTES + 1)


@pytest.mark.parametrize(("service", "script"), [
    pytest.param("smtp", [Say(b"220-x\r\n" * 20_000)], id="endless greeting"),
    pytest.param("smtp", [Say(b"220 " + LONG)], id="endless line"),
    pytest.param("smtp", [Say(b"220 a\r" * 2000)], id="CR without LF"),
    pytest.param("smtp", [Say(b"220-a\r\n250 b\r\n")], id="two numbers in one reply"),
    pytest.param("smtp", [Say(GREETING), Hear(b"EHLO"), Say(b"250-x\r\n" + b"250-y\r\n" * 20_000)], id="endless list"),
    pytest.param("imap", [Say(b"* OK\r\n"), Hear(b"f1"), Say(b"* x\r\n" * 20_000)], id="endless untagged"),
    pytest.param("imap", [Say(b"* OK\r\n"), Hear(b"f1"), Say(b"f2 OK\r\n")], id="another tag"),
    pytest.param("pop3", [Say(b"+OK\r\n"), Hear(b"CAPA"), Say(b"+OK\r\n" + b"TOP\r\n" * 20_000)], id="no dot"),
    pytest.param("ftp", [Say(b"220-" + b"x\r\n" * 30_000)], id="endless welcome"),
    pytest.param("ftp", [Say(b"120 wait\r\n" * 10_000)], id="preliminary for ever"),
    pytest.param("postgres", [Hear(), Say(b"E" + b"\xff" * 5000)], id="endless error"),
    pytest.param("mysql", [Say(b"\xff\xff\xff\0\x0a8.0\0")], id="huge packet"),
    pytest.param("mysql", [Say(b"\0\0\0\0")], id="empty packet"),
    pytest.param("mysql", [Say(b"\1\0\0\0\x0a")], id="packet of one byte"),
    pytest.param("mysql", [Say(b"\x0c\0\0\0\x0a8.0.36\0abcd")], id="packet cut before its flags"),
    pytest.param("mysql", [Say(b"\x06\0\0\0\x0a8.0.3")], id="version without an end"),
    pytest.param("ldap", [Hear(), Say(b"\x30\x84\xff\xff\xff\xff")], id="huge length"),
    pytest.param("ldap", [Hear(), Say(b"\x30\x80\x02\x01\x01")], id="indefinite length"),
    pytest.param("ldap", [Hear(), Say(b"\x30\x89" + b"\1" * 9)], id="length of nine bytes"),
    pytest.param("ldap", [Hear(), Say(b"\x30\x05\x02\x01\x01\x78\x7f")], id="inner longer than outer"),
    pytest.param("ldap", [Hear(), Say(b"\x30\x00")], id="empty message"),
    pytest.param("xmpp", [Hear(), Say(XML + b"<a>" * 20_000)], id="endless features"),
    pytest.param("xmpp", [Hear(), Say(b"<?xml " + b"a" * 20_000)], id="endless prolog"),
])
def test_no_end_and_no_sense_is_no_answer_of_this_protocol(service: str, script: list[Step]) -> None:
    finding, facts = said(service, *script, Mute())
    assert finding.code == "app.protocol_mismatch"
    assert facts.ending.bytes_received <= TALK_BYTES
    assert len(finding.summary or "") <= 160


def drops(data: bytes) -> list[Step]:
    return [Say(bytes([byte]), after_ms=1) for byte in data]


def test_who_drips_bytes_is_left_after_so_many_of_them() -> None:
    finding, facts = said("smtp", *drops(b"220-x\r\n" * 250), Mute())
    assert finding.code == "app.protocol_mismatch"
    count = facts.ending.bytes_received
    assert count * (count + 1) // 2 + count * READ_IS_BYTES >= WORK_BYTES
    assert 1000 < count < 1500
    assert facts.record()["too_much"]


def test_an_honest_answer_of_many_words_may_come_byte_by_byte() -> None:
    long = b"250-mx " + b"w" * 500 + b"\r\n250-SIZE 100\r\n250 STARTTLS\r\n"
    greeting = drops(b"220 " + b"m" * 90 + b"\r\n")
    script = [*greeting, Hear(b"EHLO"), *drops(long), Hear(b"STARTTLS"), *drops(b"220 go\r\n")]
    assert said("smtp", *script)[0].code is None


@pytest.mark.parametrize(("service", "script", "code"), [
    ("smtp", [Mute()], "app.no_banner"),
    ("postgres", [Mute()], "app.no_banner"),
    ("smtp", [Close()], "tcp.closed"),
    ("smtp", [Reset()], "tcp.reset"),
    ("ldap", [Hear(), Reset()], "tcp.reset"),
    ("smtp", [Say(b"220 x"), Mute()], "tcp.stalled"),
    ("smtp", [Say(b"220 x"), Close()], "app.protocol_mismatch"),
    ("smtp", [Say(b"220-wait\r\n"), Mute()], "app.no_banner"),
    ("ftp", [Say(b"220-a\r\n"), Say(b"b\r\n", after_ms=900), Mute()], "app.no_banner"),
    ("smtp", [Say(b"220-wait\r\n220"), Mute()], "tcp.stalled"),
    ("smtp", [Say(GREETING), Mute()], "tcp.stalled"),
    ("smtp", [Say(GREETING), Hear(b"EHLO"), Reset()], "tcp.reset"),
    ("smtp", [Say(GREETING), Hear(b"EHLO"), Close()], "tls.starttls_refused"),
    ("smtp", [*TALKS["smtp"][:-1], Close()], "tls.starttls_refused"),
    ("smtp", [*TALKS["smtp"][:-1], Say(b"22"), Mute()], "tcp.stalled"),
    ("mysql", [Say(mysql()[:20]), Mute()], "tcp.stalled"),
])
def test_what_breaks_off_is_judged_by_how_it_did(service: str, script: list[Step], code: str) -> None:
    finding, _ = said(service, *script)
    assert finding.code == code
    if code == "tls.starttls_refused":
        assert finding.confidence is Confidence.INFERRED
        assert finding.facts["how"] == "closed"
    if code == "app.no_banner" and script != [Mute()]:
        assert (finding.confidence, finding.could_also_be) == (Confidence.INFERRED, ("app.slow",))
    elif code == "app.no_banner":
        assert (finding.summary or "").endswith("so does a port that waits for TLS at once")


def plain(first: bytes, after_ms: float) -> Handshake:
    seconds = after_ms / 1000
    return Handshake(
        started_s=0.0, ended_s=seconds, heard_s=seconds, fault=Fault(Event.ERROR, detail="tls"), first_bytes=first,
        bytes_received=len(first),
    )


@pytest.mark.parametrize(("after_ms", "rtt_ms", "code"), [
    (1.0, 20.0, "tls.starttls_injected"), (21.0, 20.0, "tls.not_tls"), (0.1, 0.3, "tls.not_tls"),
])
def test_plain_bytes_behind_our_hello_are_an_injection_where_they_came_too_soon_to_answer_it(
    after_ms: float, rtt_ms: float, code: str
) -> None:
    words = plain(b"250 queued\r\n", after_ms)
    finding, facts = said("smtp", *TALKS["smtp"], tls=replace(words, heard_s=None), rtt_ms=rtt_ms)
    assert finding.code == code
    assert facts.record()["upgrade"]["said"].startswith("220")
    if code == "tls.not_tls":
        assert finding.could_also_be == ("tls.starttls_injected",)


@pytest.mark.parametrize("end", [
    Handshake(started_s=0.0, ended_s=0.001, fault=Fault(Event.RESET, "ECONNRESET")),
    Handshake(started_s=0.0, ended_s=0.001, fault=Fault(Event.CLOSED)),
    Handshake(
        started_s=0.0, ended_s=0.001, fault=Fault(Event.ERROR, detail="tls"), first_bytes=b"\x15\x03\x03\x00\x02",
        alerts_received=((2, 40),), bytes_received=7,
    ),
    Handshake(started_s=0.0, ended_s=0.0, fault=Fault(Event.SILENT)),
], ids=["reset", "closed", "alert", "silence"])
@pytest.mark.parametrize("service", ["smtp", "postgres"])
def test_no_hello_is_ever_said_that_no_dialogue_went_before(service: str, end: Handshake) -> None:
    port = SERVICES[service].port
    assert port is not None
    script = [replace(step, contains=b"EHLO") if step == Hear(b"EHLO [IPv6:") else step for step in TALKS[service]]
    net = FakeNet().host(V4, port, *script, tls=end)
    told = row(examine(net, target(service, host=V4, port=port)))
    assert told["state"] in ("fail", "unknown")
    assert net.left_open == 0
    shaken = [stream for stream in net.streams if stream.sent]
    assert shaken
    assert all((b"STARTTLS" if service == "smtp" else b"\x04\xd2\x16\x2f") in stream.sent for stream in shaken)
    assert {attempt["purpose"] for attempt in told["attempts"]} <= {"climb", "again", "mtu"}


@pytest.mark.parametrize(("script", "layer", "code"), [
    ([Say(GREETING), Hear(b"EHLO"), Say(b"250 mx\r\n")], "tls", "tls.starttls_refused"),
    ([Say(b"554 no\r\n")], "app", "app.unexpected"),
    ([Say(b"SSH-2.0-x\r\n")], "app", "app.protocol_mismatch"),
])
def test_the_record_names_the_rung_and_gives_a_command_that_asks_the_same(
    script: list[Step], layer: str, code: str
) -> None:
    told = row(examine(FakeNet().host(V4, 25, *script), target("smtp", host=V4, port=25)))
    assert (told["state"], told["layer"], told["code"]) == ("fail", layer, code)
    assert told["proven_layers"] == ["link", "ip", "tcp"]
    names = [entry["layer"] for entry in told["layers"]]
    assert names.index("tcp") < names.index("tls")
    assert names[-1] == layer
    if layer == "tls":
        assert told["repro"][0] == f"openssl s_client -starttls smtp -connect {V4}:25 -showcerts </dev/null"


def test_xmpp_is_asked_for_by_name_in_the_command_too() -> None:
    net = FakeNet().host(V4, 5222, Hear(), Say(XML + b"<stream:features/>"))
    told = row(examine(net, target("xmpp", host=V4, port=5222, sni="chat.test")))
    assert "-starttls xmpp -xmpphost chat.test " in told["repro"][0]
    assert b'to="chat.test"' in net.streams[-1].sent


CALLER = Caller("mx.test", None)


@every
@pytest.mark.parametrize("line", [
    b"220-x\r\n", b"* x\r\n", b"+OK\r\n", b"E", b"220-" + b"XXXX " * 100, b"\x30\x84\0\0", XML + b"<stream:error ",
    b"<stream:error ", b"</stream:features ", b" ",
    b"<" + b"a:" * 500, XML + b"<a></a>" * 500, XML + b"<a " + b"/" * 5000,
    b"220-" + b"a" * 251 + b"\n", b"* " + b"a" * 253 + b"\n",
], ids=lambda line: repr(line[:12]))
def test_a_reader_that_is_given_ever_more_takes_no_time_worth_speaking_of(service: str, line: bytes) -> None:
    endless = (line * TALK_BYTES)[:TALK_BYTES]
    began = process_time()
    for question in DIALOGUES[service].questions:
        for step in (1, 256, 1460):
            work = count = 0
            while work < WORK_BYTES and count < TALK_BYTES and question.read(endless[:count]) is None:
                count += step
                work += READ_IS_BYTES + count
    # Measured: at most 0.14 s for all the reads of one dialogue, of which this is up to nine.
    assert process_time() - began < 3.0
HOSTILE = st.one_of(
    st.binary(max_size=400),
    st.lists(st.sampled_from([
        GREETING, EHLO, b"220 x\r\n", b"220-", b"\r", b"\n", b"\0", b"* OK\r\n", b"* CAPABILITY STARTTLS\r\n",
        b"f1 OK\r\n", b"f2 OK\r\n", b"+OK\r\n", b"STLS\r\n", b".\r\n", b"S", b"N", b"E", mysql(),
        mysql()[:17], mysql_no(), ldap(),
        ldap(52, 0), b"\x30\x84\0\0", b"\x30", XML, FEATURES, PROCEED, b"<stream:error>",
        b"</stream:error>", b"<!--", b"</", b"\xff", b"234 x\r\n",
        b"120 x\r\n",
    ]), max_size=12).map(b"".join),
)


@every
@given(data=HOSTILE)
def test_no_bytes_make_a_reader_raise_and_none_takes_what_is_not_there(service: str, data: bytes) -> None:
    for question in DIALOGUES[service].questions:
        reply = question.read(data)
        assert reply is None or 0 <= reply.taken <= len(data)
        question.say(CALLER)
    assert len(DIALOGUES[service].unasked(data)) <= len(data)


@every
@given(data=HOSTILE, cut=st.integers(0, 400))
def test_an_answer_does_not_depend_on_how_it_was_cut(service: str, data: bytes, cut: int) -> None:
    for question in DIALOGUES[service].questions:
        early, whole = question.read(data[:cut]), question.read(data)
        if early is not None and whole is not None:
            assert early.word == whole.word
            assert early.taken <= whole.taken
        assert early is None or whole is not None


@every
@given(pieces=st.lists(HOSTILE, max_size=5), close=st.booleans())
def test_whatever_is_said_the_climb_has_a_finding_that_can_be_written_down(
    service: str, pieces: Sequence[bytes], close: bool
) -> None:
    script = [Say(piece) for piece in pieces if piece]
    finding, facts = said(service, *script, Close() if close else Mute())
    assert (finding.summary or "").isprintable()
    if isinstance(facts, TlsFacts):
        assert facts.upgrade is not None
        assert facts.upgrade.clear
    else:
        assert finding.breaks
