"""The probe of TLS on a scripted network: what it offers, what it leaves on the ground, what it tells."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fleetprobe.layer import Ground
from fleetprobe.layers.tls.certificate import Certificate
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.judge import judge
from fleetprobe.layers.tls.layer import probe
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Target
from fleetprobe.net.fake import FakeNet, FakeStream, drive
from fleetprobe.net.handshake import Handshake, Hello
from fleetprobe.net.interface import Address, Event, Fault
from fleetprobe.net.script import Close, Mute, Reset, Step

CA = trustme.CA()
DER = tuple(
    x509.load_pem_x509_certificate(pem.bytes()).public_bytes(Encoding.DER)
    for pem in CA.issue_cert("shop.test").cert_chain_pems
)
WHOLE = Handshake(
    started_s=0.0, ended_s=0.03, protocol_version="TLSv1.3", cipher="TLS_AES_128_GCM_SHA256", chain_der=DER
)
POLICY = Policy(exchange_s=2.0)


def climb(
    target: Target, seen: Handshake = WHOLE, address: str = "203.0.113.9"
) -> tuple[TlsFacts, Ground, Hello]:
    """Probe one scripted server; the facts, the ground afterwards and the hello that was offered."""
    offered: list[Hello] = []

    def shake(hello: Hello) -> Handshake:
        offered.append(hello)
        return seen

    net = FakeNet().host(address, target.port, tls=shake, rtt_ms=7.0)
    where = Address(address, 6 if ":" in address else 4)
    _, stream = drive(net.dial(where, target.port, net.now() + 1))
    ground = Ground(target=target, policy=POLICY, deadline=net.now() + 10, address=where, stream=stream)
    return drive(probe(ground, net)), ground, offered[0]


def test_a_completed_handshake_gives_its_facts_and_columns() -> None:
    facts, ground, _ = climb(Target(service="https", host="shop.test", port=443))
    assert isinstance(ground.stream, FakeStream)
    assert ground.stream.secured
    assert (facts.address, facts.server_name, facts.rtt_ms) == ("203.0.113.9:443", "shop.test", 7.0)
    assert tuple(facts.named_certificates.values()) == DER
    leaf = facts.certificates[0]
    assert isinstance(leaf, Certificate)
    assert facts.columns() == {
        "tls_protocol_version": "TLSv1.3",
        "tls_cipher": "TLS_AES_128_GCM_SHA256",
        "tls_next_protocol": None,
        "tls_alert": None,
        "tls_server_chain_length": 1,
        "openssl_verify_code": 0,
        "tls_server_hash_sha256": leaf.sha256,
        "tls_server_subject": leaf.subject,
        "tls_server_issuer": leaf.issuer,
        "tls_server_not_after": facts.record()["certificates"][0]["not_after"],
    }
    assert facts.record()["chain_sha256"] == [leaf.sha256]
    assert facts.record()["duration_ms"] == 30.0
    assert [finding.code for finding in judge(facts, POLICY)] == [None]


@pytest.mark.parametrize(
    ("target", "server_name", "asked"),
    [
        (Target(service="tls", host="shop.test", port=443), "shop.test", "shop.test"),
        (Target(service="tls", host="shop.test", port=443, sni="other.test."), "other.test", "other.test"),
        (Target(service="tls", host="203.0.113.9", port=443), None, "203.0.113.9"),
        (Target(service="tls", host="203.0.113.9", port=443, sni="shop.test"), "shop.test", "shop.test"),
        (
            Target(service="tls", host="shop.test", port=443, connect_to="203.0.113.9"),
            "shop.test",
            "shop.test",
        ),
    ],
    ids=["host", "sni", "literal", "literal with sni", "dialled elsewhere"],
)
def test_the_name_offered_is_the_name_judged_and_never_an_address(
    target: Target, server_name: str | None, asked: str
) -> None:
    facts, _, hello = climb(target)
    assert hello.server_name == server_name
    assert facts.server_name == asked


def test_http_is_offered_to_https_alone_and_the_targets_own_trust_is_used() -> None:
    assert climb(Target(service="https", host="a.test", port=443))[2].alpn == ("http/1.1",)
    assert climb(Target(service="tls", host="a.test", port=443))[2].alpn == ()
    assert climb(Target(service="tls", host="a.test", port=443, ca_file="own.pem"))[2].ca_file == "own.pem"


def test_a_failed_handshake_leaves_the_plain_stream_for_the_engine_to_end() -> None:
    dropped = Handshake(started_s=0.0, ended_s=0.001, fault=Fault(Event.RESET, "ECONNRESET"))
    facts, ground, _ = climb(Target(service="tls", host="shop.test", port=443), dropped, "2001:db8::9")
    assert isinstance(ground.stream, FakeStream)
    assert ground.stream.secured is None
    assert not ground.stream.aborted
    assert facts.address == "[2001:db8::9]:443"
    assert facts.columns()["errno_name"] == "ECONNRESET"
    assert [finding.code for finding in judge(facts, POLICY)] == ["tls.dropped"]


@pytest.mark.parametrize(("step", "event"), [(Close(), Event.CLOSED), (Reset(), Event.RESET), (Mute(), None)])
def test_after_a_client_certificate_was_asked_for_the_end_is_waited_for_a_little(
    step: Step, event: Event | None
) -> None:
    asking = replace(WHOLE, client_certificate_requested=True)
    net = FakeNet().host("203.0.113.9", 443, step, tls=asking)
    where = Address("203.0.113.9", 4)
    for service, expected in (("tls", event), ("https", None)):
        target = Target(service=service, host="shop.test", port=443)
        _, stream = drive(net.dial(where, 443, net.now() + 1))
        ground = Ground(target=target, policy=POLICY, deadline=net.now() + 10, address=where, stream=stream)
        began = net.now()
        facts = drive(probe(ground, net))
        word = facts.last_word.event if facts.last_word and facts.last_word.event is not Event.SILENT else None
        assert word is expected
        assert net.now() - began < 0.6


def test_silence_ends_with_the_budget_of_the_exchange_and_not_later() -> None:
    silent = Handshake(started_s=0.0, ended_s=0.0, fault=Fault(Event.SILENT))
    facts, _, _ = climb(Target(service="tls", host="shop.test", port=443), silent)
    assert facts.duration_ms == pytest.approx(2000.0)


def test_of_a_long_chain_the_first_are_read_and_all_are_kept() -> None:
    long = replace(WHOLE, chain_der=DER * 100)
    facts, _, _ = climb(Target(service="tls", host="shop.test", port=443), long)
    assert (len(facts.certificates), len(facts.handshake.chain_der)) == (16, 100)
    assert tuple(facts.named_certificates.values()) == DER, 'each once'
    record = facts.record()
    assert (record["chain_length"], len(record["chain_sha256"]), len(record["certificates"])) == (100, 64, 8)
