"""The judge of TLS on literal facts: each code from the least evidence that carries it, and look-alikes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fleetprobe.codes.table import CODES
from fleetprobe.layers.tls import gap, hygiene, large_hello, other_offer, upkeep
from fleetprobe.layers.tls import rejected as rejected_codes
from fleetprobe.layers.tls.alerts import alert_name
from fleetprobe.layers.tls.certificate import Certificate, Malformed, Read
from fleetprobe.layers.tls.exchange import begins_record
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.judge import judge
from fleetprobe.layers.tls.layer import LAYER
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Confidence, Finding, State
from fleetprobe.net.handshake import Handshake
from fleetprobe.net.interface import Event, Fault

AS_OF = datetime(2026, 6, 1, tzinfo=UTC)
POLICY = Policy(as_of=AS_OF, expiring=timedelta(0))
"""Of warnings see test_tls_warnings.py."""
DAY = timedelta(days=1)

LEAF = Certificate(
    sha256="AA" * 32,
    subject="CN=shop.test",
    issuer="CN=Lab Intermediate",
    common_name="shop.test",
    not_before=AS_OF - 30 * DAY,
    not_after=AS_OF + 30 * DAY,
    dns_names=("shop.test",),
    ip_addresses=(),
    key_type="EC",
    key_bits=256,
    signature_hash="sha256",
    is_ca=False,
    self_signed=False,
)
MIDDLE = replace(
    LEAF, sha256="BB" * 32, subject="CN=Lab Intermediate", issuer="CN=Lab Root", is_ca=True, dns_names=()
)
ROOT = replace(MIDDLE, sha256="CC" * 32, subject="CN=Lab Root", self_signed=True)
BROKEN = Malformed(sha256="DD" * 32, field="extensions")
WHOLE = Handshake(started_s=10.0, ended_s=10.02, bytes_received=2000, chain_der=(b"leaf", b"middle"))


def facts(
    seen: Handshake = WHOLE, *certificates: Read, name: str = "shop.test", rtt: float = 1.0
) -> TlsFacts:
    return TlsFacts("203.0.113.9:443", name, seen, certificates or (LEAF, MIDDLE), rtt)


def ended(event: Event, errno_name: str | None = None, **changes: Any) -> TlsFacts:
    """A handshake that broke with this event before any byte came, unless said otherwise."""
    seen = Handshake(started_s=10.0, ended_s=15.0, fault=Fault(event, errno_name))
    return TlsFacts("203.0.113.9:443", "shop.test", replace(seen, **changes), (), 1.0)


def rejected(*errors: tuple[int, int]) -> Handshake:
    return replace(WHOLE, verify_errors=errors)


def codes(given: TlsFacts) -> list[str | None]:
    return [finding.code for finding in judge(given, POLICY)]


def one(given: TlsFacts) -> Finding:
    (finding,) = judge(given, POLICY)
    return finding


RECORD = b"\x16\x03\x03\x00\x7a\x02"

BREAKS: dict[str, tuple[TlsFacts, str]] = {
    "HTTP instead of TLS": (ended(Event.ERROR, first_bytes=b"HTTP/1.1 400"), "tls.not_tls"),
    "a banner and then RST is still not TLS": (ended(Event.RESET, first_bytes=b"SSH-2.0-x"), "tls.not_tls"),
    "a banner and then silence is still not TLS": (ended(Event.SILENT, first_bytes=b"220 mx"), "tls.not_tls"),
    "silence after an acknowledged hello": (ended(Event.SILENT), "tls.no_answer"),
    "silence after a part": (ended(Event.SILENT, bytes_received=6, first_bytes=RECORD), "tls.stalled"),
    "silence with our bytes unacknowledged": (ended(Event.SILENT, bytes_unacked=517), "tcp.stalled"),
    "silence after a part with our bytes unacknowledged": (
        ended(Event.SILENT, bytes_unacked=80, bytes_received=6, first_bytes=RECORD),
        "tcp.stalled",
    ),
    "silence of our own making": (ended(Event.SILENT, lag_ms=2600.0), "local.overload"),
    "silence with a little lag": (ended(Event.SILENT, lag_ms=2400.0), "tls.no_answer"),
    "FIN": (ended(Event.CLOSED), "tls.dropped"),
    "RST": (ended(Event.RESET, "ECONNRESET"), "tls.dropped"),
    "RST after a part": (ended(Event.RESET, bytes_received=6, first_bytes=RECORD), "tls.dropped"),
    "a warning alert and then FIN": (
        ended(Event.CLOSED, alerts_received=((1, 112),), first_bytes=b"\x15\x03\x03"),
        "tls.dropped",
    ),
    "close_notify": (
        ended(Event.CLOSED, alerts_received=((1, 0),), close_notify=True, first_bytes=b"\x15\x03\x03"),
        "tls.dropped",
    ),
    "the peer's user gave up": (ended(Event.CLOSED, alerts_received=((2, 90), (1, 0))), "tls.dropped"),
    "a fatal alert and then RST": (ended(Event.RESET, alerts_received=((2, 40),)), "tls.alert"),
    "a fatal alert": (ended(Event.ERROR, alerts_received=((2, 80),)), "tls.alert"),
    "no protocol in common": (ended(Event.ERROR, alerts_received=((2, 120),)), "tls.alert"),
    "a name that the server does not know": (
        ended(Event.ERROR, alerts_received=((2, 112),)), "tls.unrecognized_name",
    ),
    "the same where no name was sent": (
        replace(ended(Event.ERROR, alerts_received=((2, 112),)), server_name="203.0.113.9"), "tls.sni_required",
    ),
    "in TLS 1.3 every alert is fatal": (ended(Event.ERROR, alerts_received=((1, 116),)), "tls.alert"),
    "alert 70 received": (ended(Event.ERROR, alerts_received=((2, 70),)), "tls.version_unsupported"),
    "alert 70 sent by us": (ended(Event.ERROR, alerts_sent=((2, 70),)), "tls.version_unsupported"),
    "an error of the library on a TLS record": (
        ended(Event.ERROR, first_bytes=RECORD, alerts_sent=((2, 47),)),
        "tls.protocol_error",
    ),
    "a client certificate demanded in TLS 1.2": (
        ended(Event.ERROR, alerts_received=((2, 40),), client_certificate_requested=True),
        "tls.client_certificate_required",
    ),
    "the same in the words of Go and Java": (
        ended(Event.ERROR, alerts_received=((2, 42),), client_certificate_requested=True),
        "tls.client_certificate_required",
    ),
    "an alert about something else after one was asked for": (
        ended(Event.ERROR, alerts_received=((2, 80),), client_certificate_requested=True), "tls.alert",
    ),
    "the end without an alert after one was asked for": (
        ended(Event.CLOSED, client_certificate_requested=True, bytes_received=900, first_bytes=RECORD), "tls.dropped",
    ),
    "retransmits exhausted": (ended(Event.ERROR, "ETIMEDOUT"), "tcp.stalled"),
    "ICMP host unreachable": (ended(Event.ERROR, "EHOSTUNREACH"), "ip.host_unreachable"),
    "ICMP net unreachable": (ended(Event.ERROR, "ENETUNREACH"), "ip.net_unreachable"),
    "ICMP administratively prohibited": (ended(Event.ERROR, "EACCES"), "ip.admin_prohibited"),
    "ICMP port unreachable": (ended(Event.ERROR, "ECONNREFUSED"), "tcp.rejected"),
    "our own firewall": (ended(Event.ERROR, "EPERM"), "local.send_denied"),
    "our own buffers": (ended(Event.ERROR, "ENOBUFS"), "local.overload"),
    "an errno nobody thought of": (ended(Event.ERROR, "EBADF"), "local.bug"),
}


@pytest.mark.parametrize("case", BREAKS.values(), ids=BREAKS)
def test_a_broken_handshake_has_one_code(case: tuple[TlsFacts, str]) -> None:
    given, code = case
    finding = one(given)
    assert finding.code == code
    assert 0 < len(finding.summary) <= 160
    assert finding.summary.isascii()
    assert given.address in finding.summary
    silent = code in ("tls.no_answer", "tls.stalled", "tcp.stalled")
    assert finding.silences == (1 if silent else 0)
    assert (finding.confidence is Confidence.INFERRED) == (silent or code.startswith("ip."))


@pytest.mark.parametrize(
    ("first", "whether"),
    [
        (b"\x16", True),
        (b"\x15\x03", True),
        (b"\x16\x03\x00", True),
        (b"\x16\x03\x04\xff\xff", True),
        (b"\x16\x03\x05", False),
        (b"\x16\x02\x00", False),
        (b"\x13\x03\x03", False),
        (b"\x19\x03\x03", False),
        (b"\x80\x2e\x04", False),
    ],
)
def test_what_can_begin_a_tls_record(first: bytes, whether: bool) -> None:
    assert begins_record(first) == whether


WITHOUT_KEYS = replace(LEAF, key_type="Ed25519", key_bits=None, signature_hash=None)
HEALTHY: dict[str, TlsFacts] = {
    "nothing wrong": facts(),
    "a key without a length": facts(WHOLE, WITHOUT_KEYS, MIDDLE),
    "an expired certificate that the verifier did not use": facts(
        WHOLE, LEAF, replace(MIDDLE, not_after=AS_OF - DAY), MIDDLE
    ),
    "an unreadable extra certificate that the verifier did not need": facts(WHOLE, LEAF, MIDDLE, BROKEN),
    "SHA-1 under a self-signed root": facts(WHOLE, LEAF, MIDDLE, replace(ROOT, signature_hash="sha1")),
    "SHA-1 on a cross-sign further up, for which the store may have a twin": facts(
        WHOLE, LEAF, MIDDLE, replace(ROOT, issuer="CN=Old Root", self_signed=False, signature_hash="sha1")
    ),
    "SHA-1 under a root that issued the leaf itself": facts(
        WHOLE, replace(LEAF, issuer="CN=Lab Root"), replace(ROOT, signature_hash="sha1")
    ),
    "the last second of its last day": facts(WHOLE, replace(LEAF, not_after=AS_OF), MIDDLE),
    "the first second of its first day": facts(WHOLE, replace(LEAF, not_before=AS_OF), MIDDLE),
    "as slow as its round trips allow": facts(replace(WHOLE, ended_s=11.6), rtt=200.0),
    "slow, but our own loop was late": facts(replace(WHOLE, ended_s=12.0, lag_ms=300.0)),
}


@pytest.mark.parametrize("given", HEALTHY.values(), ids=HEALTHY)
def test_what_only_looks_like_a_fault_passes(given: TlsFacts) -> None:
    finding = one(given)
    assert (finding.layer, finding.code, finding.state) == ("tls", None, State.OK)
    assert finding.facts == {}, "what it saw is told once, by its step"


EXPIRED = replace(LEAF, not_after=AS_OF - DAY)
UNFIT: dict[str, tuple[TlsFacts, list[str]]] = {
    "self-signed": (facts(rejected((18, 0)), replace(LEAF, self_signed=True)), ["tls.self_signed"]),
    "its issuer's namesake": (facts(rejected((18, 0))), ["tls.rejected_by_verifier"]),
    "root sent and not trusted": (facts(rejected((19, 2)), LEAF, MIDDLE, ROOT), ["tls.untrusted_root"]),
    "no issuer, two numbers": (facts(rejected((20, 0), (21, 0)), LEAF), ["tls.issuer_unknown"]),
    "no issuer of the intermediate": (facts(rejected((20, 1))), ["tls.issuer_unknown"]),
    "an intermediate as the only anchor": (facts(rejected((2, 1))), ["tls.issuer_unknown"]),
    "an unknown number": (facts(rejected((34, 1))), ["tls.rejected_by_verifier"]),
    "an unknown number beside a known one": (
        facts(rejected((34, 1), (20, 1))),
        ["tls.issuer_unknown", "tls.rejected_by_verifier"],
    ),
    "no certificate at all": (
        TlsFacts("203.0.113.9:443", "shop.test", replace(WHOLE, chain_der=()), (), 1.0),
        ["tls.rejected_by_verifier"],
    ),
    "leaf expired by OpenSSL and by date": (facts(rejected((10, 0)), EXPIRED, MIDDLE), ["tls.expired"]),
    "leaf expired by date alone": (facts(WHOLE, EXPIRED, MIDDLE), ["tls.expired"]),
    "issuer expired": (
        facts(rejected((10, 1)), LEAF, replace(MIDDLE, not_after=AS_OF - DAY)),
        ["tls.expired"],
    ),
    "root of the store expired": (facts(rejected((10, 2))), ["tls.expired"]),
    "leaf not yet valid": (
        facts(rejected((9, 0)), replace(LEAF, not_before=AS_OF + DAY), MIDDLE),
        ["tls.not_yet_valid"],
    ),
    "another name": (facts(name="other.test"), ["tls.name_mismatch"]),
    "short RSA key": (facts(WHOLE, replace(LEAF, key_type="RSA", key_bits=1024), MIDDLE), ["tls.weak_key"]),
    "short key by OpenSSL": (facts(rejected((66, 0))), ["tls.weak_key"]),
    "short key of the issuer by OpenSSL": (facts(rejected((67, 1))), ["tls.weak_key"]),
    "SHA-1 on the leaf": (facts(WHOLE, replace(LEAF, signature_hash="sha1"), MIDDLE), ["tls.weak_signature"]),
    "SHA-1 on the issuer": (
        facts(WHOLE, LEAF, replace(MIDDLE, signature_hash="sha1")),
        ["tls.weak_signature"],
    ),
    "weak digest by OpenSSL": (facts(rejected((68, 1))), ["tls.weak_signature"]),
    "unreadable leaf": (facts(WHOLE, BROKEN, MIDDLE), ["tls.malformed"]),
    "unreadable issuer where one was sought": (
        facts(rejected((20, 0)), LEAF, BROKEN),
        ["tls.issuer_unknown", "tls.malformed"],
    ),
    "everything at once": (
        facts(
            rejected((18, 0), (10, 0)), replace(EXPIRED, key_type="RSA", key_bits=512, self_signed=True),
            name="other.test",
        ),
        ["tls.self_signed", "tls.expired", "tls.name_mismatch", "tls.weak_key"],
    ),
    "an alert beside an expired chain": (
        facts(
            replace(rejected((10, 0)), fault=Fault(Event.ERROR), alerts_received=((2, 40),)), EXPIRED, MIDDLE
        ),
        ["tls.alert", "tls.expired"],
    ),
    "silence beside an expired chain, which does not explain it": (
        facts(replace(rejected((10, 0)), fault=Fault(Event.SILENT)), EXPIRED, MIDDLE),
        ["tls.stalled"],
    ),
}


@pytest.mark.parametrize("case", UNFIT.values(), ids=UNFIT)
def test_each_cause_gives_one_finding(case: tuple[TlsFacts, list[str]]) -> None:
    given, expected = case
    findings = judge(given, POLICY)
    assert [finding.code for finding in findings] == expected
    ranks = [finding.rank for finding in findings]
    assert ranks == sorted(ranks)
    assert {name: findings[0].facts[name] for name in given.record()} == given.record()
    for finding in findings:
        assert 0 < len(finding.summary) <= 160
        assert finding.summary.isascii()


def test_slow_is_said_beside_the_pass_with_its_limit() -> None:
    first, slow = judge(facts(replace(WHOLE, ended_s=11.9), rtt=200.0), POLICY)
    assert first.code is None
    assert (slow.code, slow.state) == ("tls.slow", State.SLOW)
    assert slow.facts == {"duration_ms": 1900.0, "limit_ms": 1700.0}


def test_an_unknown_issuer_leaves_open_what_it_could_be_and_names_who_is_wanted() -> None:
    finding = one(facts(rejected((20, 1))))
    assert finding.confidence is Confidence.INFERRED
    assert {"tls.missing_intermediate", "tls.untrusted_root"} <= set(finding.could_also_be)
    assert finding.facts["issuer_wanted"] == "CN=Lab Root"


def test_a_number_without_a_verdict_of_its_own_is_told_with_its_depth() -> None:
    finding = one(facts(rejected((34, 1))))
    assert finding.facts["openssl_verify_codes"] == [34]
    assert "verify code 34 at depth 1" in finding.summary


def test_a_certificate_out_of_date_by_two_witnesses_is_listed_once() -> None:
    finding = one(facts(rejected((10, 0)), EXPIRED, MIDDLE))
    assert [item["depth"] for item in finding.facts["out_of_date"]] == [0]


def test_which_certificate_expired_is_told_by_depth() -> None:
    stale = replace(MIDDLE, not_after=AS_OF - DAY)
    finding = one(facts(rejected((10, 1)), LEAF, stale))
    assert [(item["depth"], item["subject"]) for item in finding.facts["out_of_date"]] == [
        (1, "CN=Lab Intermediate")
    ]
    assert "2026-05-31T00:00:00Z" in finding.summary
    absent = one(facts(rejected((10, 2))))
    assert absent.facts["out_of_date"] == [{"depth": 2, "presented": False}]


@pytest.mark.parametrize(
    ("changes", "how"),
    [
        ({"fault": Fault(Event.RESET)}, "rst"),
        ({"fault": Fault(Event.CLOSED)}, "fin"),
        ({"fault": Fault(Event.CLOSED), "close_notify": True, "alerts_received": ((1, 0),)}, "close_notify"),
    ],
)
def test_how_it_was_dropped_is_a_fact_and_not_a_code(changes: dict[str, Any], how: str) -> None:
    finding = one(ended(Event.CLOSED, ended_s=10.0008, **changes))
    assert finding.facts["how"] == how
    assert finding.facts["phase"] == "after hello"
    assert "0.8 ms after our ClientHello" in finding.summary


def test_who_sends_drop_by_drop_is_not_said_to_have_fallen_silent() -> None:
    part = ended(Event.SILENT, bytes_received=8, first_bytes=RECORD)
    still = one(replace(part, handshake=replace(part.handshake, heard_s=14.9)))
    assert (still.code, still.facts["quiet_ms"]) == ("tls.stalled", pytest.approx(100.0))
    assert "sent 8 bytes of handshake in 5.0 s and was not done yet" in still.summary
    stopped = one(replace(part, handshake=replace(part.handshake, heard_s=10.1)))
    assert (stopped.code, stopped.facts["quiet_ms"]) == ("tls.stalled", pytest.approx(4900.0))
    assert "fell silent after 8 bytes" in stopped.summary


def test_what_was_said_before_the_end_is_told() -> None:
    warned = one(ended(Event.CLOSED, alerts_received=((1, 112),), first_bytes=b"\x15\x03\x03"))
    assert warned.summary.endswith("after TLS alert 112 (unrecognized_name)")
    assert warned.could_also_be == ()
    asked = one(ended(Event.RESET, client_certificate_requested=True, bytes_received=900, first_bytes=RECORD))
    assert asked.summary.endswith("after it asked for a client certificate")
    assert asked.could_also_be == ("tls.client_certificate_required",)


AFTER = replace(WHOLE, client_certificate_requested=True)


@pytest.mark.parametrize(
    ("last_word", "found"),
    [
        (Fault(Event.ERROR, alert=116), [("tls.client_certificate_required", Confidence.OBSERVED)]),
        (Fault(Event.ERROR, alert=42), [("tls.client_certificate_required", Confidence.OBSERVED)]),
        (Fault(Event.ERROR, alert=80), [("tls.alert", Confidence.OBSERVED)]),
        (Fault(Event.CLOSED), [("tls.client_certificate_required", Confidence.INFERRED)]),
        (Fault(Event.RESET, "ECONNRESET"), [("tls.client_certificate_required", Confidence.INFERRED)]),
        (Fault(Event.ERROR, "EHOSTUNREACH"), [(None, Confidence.OBSERVED)]),
        (Fault(Event.SILENT), [(None, Confidence.OBSERVED)]),
        (None, [(None, Confidence.OBSERVED)]),
    ],
)
def test_what_comes_right_after_the_handshake_tells_whether_the_certificate_was_a_demand(
    last_word: Fault | None, found: list[tuple[str | None, Confidence]]
) -> None:
    findings = judge(replace(facts(AFTER), last_word=last_word), POLICY)
    assert [(finding.code, finding.confidence) for finding in findings] == found
    if found[0][1] is Confidence.INFERRED:
        assert findings[0].could_also_be == ("tcp.reset", "tcp.closed")


def test_the_authorities_wanted_are_told_harmless_and_bounded() -> None:
    names = ("CN=\x1b[2JLab Root,O=" + "x" * 240, *(f"CN=Root {n}" for n in range(7)))
    seen = replace(AFTER, client_authorities=names, client_authority_count=40)
    given = replace(facts(seen), last_word=Fault(Event.ERROR, alert=116))
    finding = one(given)
    assert finding.summary.isprintable()
    assert len(finding.summary) <= 160
    assert "Lab Root" in finding.summary
    assert finding.facts["client_authority_count"] == 40
    assert len(finding.facts["client_authorities"]) == 8
    assert all(name.isprintable() for name in finding.facts["client_authorities"])


def test_an_alert_is_named_by_its_number_and_tells_of_a_wanted_client_certificate() -> None:
    wanted = ended(Event.ERROR, alerts_received=((2, 40),), client_certificate_requested=True)
    finding = one(wanted)
    assert (finding.facts["alert"], finding.facts["alert_name"]) == (40, "handshake_failure")
    assert "client certificate" in finding.summary
    assert (
        "client certificate"
        not in one(
            replace(wanted, handshake=replace(wanted.handshake, client_certificate_requested=False))
        ).summary
    )
    assert alert_name(254) == "alert_254"


def test_a_hostile_name_reaches_neither_summary_nor_record_as_it_is() -> None:
    hostile = replace(LEAF, subject="CN=\x1b[2J\u202e" + "x" * 5000, dns_names=("\x1b]0;x\x07.test",) * 500)
    given = facts(rejected((18, 0)), hostile)
    for finding in judge(given, POLICY):
        assert finding.summary.isprintable()
    record = given.record()["certificates"][0]
    assert len(record["subject"]) <= 512
    assert (len(record["san"]), record["san_count"]) == (64, 500)


def test_every_code_it_can_give_is_declared_and_emitted_by_the_table() -> None:
    produced = {code for given, code in BREAKS.values()} | {
        code for _, some in UNFIT.values() for code in some
    }
    warned = hygiene.EMITS | upkeep.EMITS | {"tls.slow"}
    assert produced | warned | rejected_codes.EMITS | gap.EMITS | large_hello.EMITS | other_offer.EMITS == LAYER.emits
    assert all(CODES[code].emitted for code in LAYER.emits)


def test_a_bad_certificate_lets_the_climb_go_on_and_a_broken_handshake_does_not() -> None:
    certificates = {code for _, some in UNFIT.values() for code in some} - {"tls.alert", "tls.stalled"}
    assert (certificates | gap.EMITS | rejected_codes.EMITS) - {"tls.chain_oversize"} == LAYER.goes_on
    assert not LAYER.goes_on & {code for _, code in BREAKS.values()}


@pytest.mark.parametrize("position", [0, 1])
def test_a_certificate_that_openssl_cannot_use_is_malformed_and_not_an_unknown_issuer(position: int) -> None:
    sought = ((20, position), (21, 0))
    whole = facts(rejected(*sought))
    presented = list(whole.certificates)
    odd = presented[position]
    assert isinstance(odd, Certificate)
    presented[position] = replace(odd, unread=("key_usage",))
    given = replace(whole, certificates=tuple(presented), path=tuple(presented[: position + 1]))
    told = {finding.code: finding for finding in judge(given, POLICY)}
    assert told["tls.malformed"].facts["field"] == "key_usage"
    assert told["tls.malformed"].supersedes == {"tls.issuer_unknown"}
    # Where OpenSSL takes it all the same, nobody is told.
    fine = replace(given, handshake=replace(given.handshake, verify_errors=()))
    assert "tls.malformed" not in {finding.code for finding in judge(fine, POLICY)}
