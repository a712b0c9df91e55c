"""The dns layer: what each answer of each nameserver means, and what it must not be taken for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetprobe.codes.table import CODES
from fleetprobe.layer import Ground
from fleetprobe.layers.dns import LAYER, DnsFacts, judge, probe
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Target
from fleetprobe.model.verdict import Confidence, Finding
from fleetprobe.net.fake import FakeNet, drive
from fleetprobe.net.interface import Address, DnsReply, Event, Fault, Icmp, RecordType, Resolution

POLICY = Policy()
FIRST, SECOND = "192.0.2.53:53", "[2001:db8::53]:53"
SILENT = Fault(Event.SILENT)
REFUSED = Fault(Event.ERROR, "ECONNREFUSED", Icmp(3, 3, "192.0.2.53", from_self=False))
NO_WAY = Fault(Event.ERROR, "ENETUNREACH")
NO_SOURCE = Fault(Event.ERROR, "EADDRNOTAVAIL")
NO_DESCRIPTOR = Fault(Event.ERROR, "EMFILE")
A, AAAA = RecordType.A, RecordType.AAAA

Said = str | Fault | DnsReply


def reply(said: Said, kind: RecordType, server: str = FIRST) -> DnsReply:
    if isinstance(said, DnsReply):
        return replace(said, record_type=kind, server=server)
    rcode, fault = (said, None) if isinstance(said, str) else (None, said)
    return DnsReply(server=server, record_type=kind, duration_ms=3.0, rcode=rcode, fault=fault)


def alias(*chain: str, rcode: str = "NOERROR") -> DnsReply:
    return DnsReply(server=FIRST, record_type=A, duration_ms=3.0, rcode=rcode, cnames=chain)


def cut(fault: Fault) -> DnsReply:
    return replace(reply("NOERROR", A), truncated=True, fault=fault)


NOTHING = Resolution(
    name="shop.test", addresses=(), source="none", started_s=0.0, duration_ms=4000.0, servers=(FIRST, SECOND)
)
"""A name about which nothing is known yet."""


def nothing(
    v4: Said, v6: Said | None = None, *, also: Sequence[Said] = (), controls: Sequence[Said] = ()
) -> Resolution:
    """No address: what the first nameserver said per type, and the second to both."""
    replies = [reply(v4, A), reply(v4 if v6 is None else v6, AAAA)]
    replies += [reply(said, kind, SECOND) for said in also for kind in (A, AAAA)]
    servers = (FIRST, SECOND)
    checks = [reply(said, A, server) for said, server in zip(controls, servers, strict=False)]
    return replace(NOTHING, replies=tuple(replies), controls=tuple(checks))


def found(resolution: Resolution) -> Finding:
    (finding,) = judge(DnsFacts(resolution), POLICY)
    return finding


LOOP = alias("b.test", "shop.test")
DANGLING = alias("gone.test", rcode="NXDOMAIN")


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        pytest.param(nothing("NXDOMAIN"), "dns.nxdomain", id="no such name"),
        pytest.param(nothing("NXDOMAIN", SILENT), "dns.nxdomain", id="no such name, one type silent"),
        pytest.param(nothing("SERVFAIL", also=["NXDOMAIN"]), "dns.nxdomain", id="one fails, one denies"),
        pytest.param(nothing("NOERROR"), "dns.nodata", id="no address of either type"),
        pytest.param(nothing(SILENT, also=["NOERROR"]), "dns.nodata", id="one silent, one has no address"),
        pytest.param(nothing("NOERROR", "SERVFAIL"), "dns.servfail", id="no A, and AAAA fails"),
        pytest.param(nothing("SERVFAIL"), "dns.servfail", id="fails"),
        pytest.param(nothing("REFUSED", also=["SERVFAIL"]), "dns.servfail", id="fails beside refused"),
        pytest.param(nothing("YXDOMAIN"), "dns.servfail", id="a code nobody expects"),
        pytest.param(nothing("REFUSED"), "dns.refused", id="refused"),
        pytest.param(nothing("NOTAUTH"), "dns.refused", id="not authoritative"),
        pytest.param(nothing("FORMERR", also=["REFUSED"]), "dns.refused", id="refused beside malformed"),
        pytest.param(nothing("FORMERR"), "dns.formerr", id="malformed"),
        pytest.param(nothing(SILENT, also=["FORMERR"]), "dns.formerr", id="malformed beside silence"),
        pytest.param(nothing("NOTIMP"), "dns.formerr", id="not implemented"),
        pytest.param(nothing(LOOP), "dns.cname_loop", id="aliases in a circle"),
        pytest.param(nothing(alias("shop.test")), "dns.cname_loop", id="an alias of itself"),
        pytest.param(nothing(alias("b.test", "c.test", "b.test")), "dns.cname_loop", id="circle further on"),
        pytest.param(nothing(alias(*(f"c{n}.test" for n in range(16)))), "dns.cname_loop", id="no end"),
        pytest.param(nothing(DANGLING), "dns.cname_dangling", id="an alias of nothing"),
        pytest.param(nothing(cut(REFUSED)), "dns.tcp_blocked", id="cut, and TCP refused"),
        pytest.param(nothing(REFUSED), "vantage.resolver_unreachable", id="every nameserver refuses"),
        pytest.param(nothing(REFUSED, also=[NO_WAY]), "vantage.resolver_unreachable", id="no way at all"),
        pytest.param(nothing(NO_DESCRIPTOR), "local.fd_limit", id="no descriptor left"),
        pytest.param(nothing(NO_DESCRIPTOR, also=[SILENT]), "local.fd_limit", id="no descriptor, one silent"),
        pytest.param(nothing(NO_DESCRIPTOR, also=["SERVFAIL"]), "local.fd_limit", id="none, one fails"),
        pytest.param(nothing("NOERROR", NO_DESCRIPTOR), "local.fd_limit", id="half asked is not no address"),
        pytest.param(nothing(cut(NO_DESCRIPTOR)), "local.fd_limit", id="no descriptor for TCP"),
        pytest.param(nothing(SILENT, controls=[NO_DESCRIPTOR]), "local.fd_limit", id="none for the control"),
        pytest.param(nothing(Fault(Event.ERROR, "ENFILE")), "local.fd_limit", id="none in the system"),
        pytest.param(nothing(cut(NO_SOURCE)), "local.ports_exhausted", id="no port for TCP"),
        pytest.param(nothing(NO_SOURCE), "vantage.resolver_unreachable", id="no address of ours"),
        pytest.param(nothing(Fault(Event.ERROR, "EPERM")), "local.send_denied", id="our own firewall"),
        pytest.param(nothing(Fault(Event.ERROR, "EAGAIN")), "local.overload", id="no turn, or our own lag"),
        pytest.param(nothing(Fault(Event.ERROR, "ENOBUFS")), "local.overload", id="no buffer"),
        pytest.param(nothing(Fault(Event.ERROR, "EILSEQ")), "input.invalid", id="no host name"),
        pytest.param(nothing(NO_DESCRIPTOR, also=["NXDOMAIN"]), "dns.nxdomain", id="denied whatever we lack"),
        pytest.param(replace(NOTHING, servers=()), "vantage.resolver_unreachable", id="no nameserver"),
    ],
)
def test_somebody_spoke_so_one_event_is_enough(seen: Resolution, code: str) -> None:
    finding = found(seen)
    assert (finding.code, finding.confidence, finding.silences) == (code, Confidence.OBSERVED, 0)
    assert finding.could_also_be == ()


def test_an_end_that_was_asked_for_and_has_nothing_is_observed() -> None:
    bare = replace(alias("bare.test"), end_said="NOERROR")
    finding = found(nothing(bare))
    assert (finding.code, finding.confidence) == ("dns.cname_dangling", Confidence.OBSERVED)
    assert finding.summary.endswith("shop.test is an alias of bare.test, which has no address")
    only_one_type = replace(NOTHING, replies=(reply(bare, A),))
    assert found(only_one_type).confidence is Confidence.INFERRED


@pytest.mark.parametrize("seen", [nothing(alias("bare.test")), nothing("NOERROR", alias("bare.test"))])
def test_the_end_of_an_alias_was_never_asked_so_its_lack_is_inferred(seen: Resolution) -> None:
    finding = found(seen)
    assert (finding.code, finding.confidence) == ("dns.cname_dangling", Confidence.INFERRED)
    assert finding.could_also_be


@pytest.mark.parametrize(
    ("seen", "code", "silences"),
    [
        pytest.param(nothing(SILENT, controls=["REFUSED"]), "dns.timeout", 2, id="alive by its control"),
        pytest.param(nothing("NOERROR", SILENT), "dns.timeout", 2, id="alive by the other type"),
        pytest.param(nothing(SILENT, also=[REFUSED], controls=["NOERROR"]), "dns.timeout", 2, id="one dead"),
        pytest.param(nothing(SILENT), "dns.timeout", 1, id="no time for a control"),
        pytest.param(nothing(cut(SILENT)), "dns.tcp_blocked", 2, id="cut, and TCP silent"),
        pytest.param(nothing(SILENT, controls=[SILENT]), "vantage.resolver_unreachable", 2, id="dead"),
        pytest.param(
            nothing(SILENT, also=[REFUSED], controls=[SILENT, REFUSED]), "vantage.resolver_unreachable", 2,
            id="one dead, one refuses",
        ),
    ],
)  # fmt: skip
def test_silence_is_inferred_and_says_what_else_it_could_be(
    seen: Resolution, code: str, silences: int
) -> None:
    finding = found(seen)
    assert (finding.code, finding.confidence, finding.silences) == (code, Confidence.INFERRED, silences)
    assert finding.could_also_be == CODES[code].could_also_be


WORKS = replace(
    NOTHING, addresses=(Address("2001:db8::9", 6), Address("192.0.2.9", 4)), source="dns", duration_ms=12.0,
    cnames=("web.test",), min_ttl_s=30,
)  # fmt: skip


def codes(resolution: Resolution) -> list[str | None]:
    return [finding.code for finding in judge(DnsFacts(resolution), POLICY)]


def test_addresses_are_a_pass_with_the_answer_in_its_facts() -> None:
    facts = DnsFacts(WORKS)
    assert codes(WORKS) == [None]
    assert facts.record()["answers"] == ["2001:db8::9", "192.0.2.9"]
    assert facts.record()["cnames"] == ["web.test"]
    assert facts.columns() == {"dns_rcode": "NOERROR", "dns_answers": ["2001:db8::9", "192.0.2.9"]}


def test_addresses_are_a_pass_whatever_the_second_opinions_said() -> None:
    assert codes(replace(WORKS, replies=nothing("SERVFAIL", SILENT).replies)) == [None]


@pytest.mark.parametrize(("duration_ms", "expected"), [(1000.0, [None]), (1000.1, [None, "dns.slow"])])
def test_slow_is_above_the_threshold_and_still_a_pass(duration_ms: float, expected: list[str | None]) -> None:
    assert codes(replace(WORKS, duration_ms=duration_ms)) == expected


def half_answered(name: str = "shop.test", servers: Sequence[str] = (FIRST,)) -> Resolution:
    return replace(
        WORKS, name=name, addresses=WORKS.addresses[1:], duration_ms=2200.0, unanswered=(AAAA,),
        replies=tuple(replace(reply(SILENT, AAAA, server), duration_ms=1200.0) for server in servers),
    )  # fmt: skip


def test_a_type_never_answered_is_slow_and_the_summary_names_it_and_who_kept_silent() -> None:
    seen = half_answered()
    passing, slow = judge(DnsFacts(seen), POLICY)
    assert (passing.code, slow.code) == (None, "dns.slow")
    assert slow.summary == (
        f"shop.test: A answered, AAAA unanswered by {FIRST} for 1.2 s; clients that want both lose that time"
    )
    assert slow.facts["unanswered"] == ["AAAA"]


def test_both_types_slow_is_plainly_slow_and_blames_no_type() -> None:
    _, slow = judge(DnsFacts(replace(WORKS, duration_ms=2200.0)), POLICY)
    assert (slow.code, slow.summary) == ("dns.slow", "shop.test took 2200 ms to resolve")
    assert "unanswered" not in slow.facts


def test_a_type_never_answered_of_a_long_name_by_many_long_nameservers_fits_the_summary() -> None:
    longest = f"[{':'.join(['2001'] * 8)}]:65535"
    summary = judge(DnsFacts(half_answered("x" * 200, [longest, SECOND, FIRST])), POLICY)[1].summary
    assert f"x...: A answered, AAAA unanswered by {longest} and 2 more for 1.2 s" in summary
    assert summary.endswith(" lose that time")


def test_a_hosts_line_is_a_warning_that_names_it_and_no_answer_of_dns() -> None:
    pinned = replace(WORKS, source="hosts", hosts_line="/etc/hosts:12", cnames=(), min_ttl_s=None)
    assert codes(pinned) == [None, "dns.hosts_override"]
    warning = judge(DnsFacts(pinned), POLICY)[1]
    assert "/etc/hosts:12" in warning.summary
    assert not warning.breaks
    assert DnsFacts(pinned).columns()["dns_rcode"] is None


def test_a_failure_fills_the_columns_with_what_it_rests_on() -> None:
    assert DnsFacts(nothing("SERVFAIL", also=["NXDOMAIN"])).columns() == {
        "dns_rcode": "NXDOMAIN", "dns_answers": None,
    }  # fmt: skip
    assert DnsFacts(nothing(REFUSED)).columns() == {
        "dns_rcode": None, "dns_answers": None, "errno_name": "ECONNREFUSED",
    }  # fmt: skip


def test_every_reply_and_control_is_in_the_facts_with_its_server() -> None:
    seen = nothing(SILENT, also=["SERVFAIL"], controls=["REFUSED"])
    record = DnsFacts(seen).record()
    assert [(row["server"], row["record_type"], row.get("rcode")) for row in record["replies"]] == [
        (FIRST, "A", None), (FIRST, "AAAA", None), (SECOND, "A", "SERVFAIL"), (SECOND, "AAAA", "SERVFAIL"),
    ]  # fmt: skip
    assert record["controls"][0]["rcode"] == "REFUSED"


def test_the_order_of_replies_does_not_matter() -> None:
    seen = nothing("SERVFAIL", SILENT, also=["REFUSED", "NXDOMAIN"])
    assert found(seen).code == found(replace(seen, replies=seen.replies[::-1])).code == "dns.nxdomain"


SAIDS: list[Said] = [
    "NXDOMAIN", "NOERROR", "SERVFAIL", "REFUSED", "FORMERR", "NOTZONE", SILENT, REFUSED, NO_DESCRIPTOR,
    LOOP, DANGLING, cut(SILENT), cut(REFUSED), Fault(Event.CLOSED), Fault(Event.RESET, "ECONNRESET"),
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(SAIDS), st.sampled_from(SAIDS), st.lists(st.sampled_from(SAIDS), max_size=2),
    st.lists(st.sampled_from(SAIDS), max_size=2),
)  # fmt: skip
def test_whatever_is_said_there_is_one_declared_breaking_finding(
    v4: Said, v6: Said, also: list[Said], controls: list[Said]
) -> None:
    finding = found(nothing(v4, v6, also=also, controls=controls))
    assert finding.code in LAYER.emits
    assert finding.breaks
    assert 0 < len(finding.summary) <= 160
    json.dumps(finding.facts)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300), st.lists(st.text(max_size=1100), min_size=1, max_size=16))
def test_hostile_names_come_out_printable_and_bounded(name: str, chain: list[str]) -> None:
    replies = tuple(reply(alias(*chain), kind, f"192.0.2.{n}:53") for n in range(8) for kind in (A, AAAA))
    seen = replace(NOTHING, name=name, cnames=tuple(chain), replies=replies, controls=replies)
    finding = found(seen)
    assert len(json.dumps(finding.facts)) < 60_000
    assert finding.summary.isprintable()
    assert finding.summary.isascii()


def test_every_code_it_declares_is_in_the_table() -> None:
    assert set(CODES) >= LAYER.emits


@pytest.mark.parametrize(("connect_to", "asked"), [(None, "shop.test"), ("edge.test", "edge.test")])
def test_the_probe_asks_for_what_is_dialled_and_leaves_its_addresses(
    connect_to: str | None, asked: str
) -> None:
    net = FakeNet().name(asked, "192.0.2.9", "2001:db8::9")
    target = Target(service="tcp", host="shop.test", port=80, connect_to=connect_to)
    ground = Ground(target=target, policy=POLICY, deadline=net.now() + 60)
    facts = drive(probe(ground, net))
    assert ground.addresses == (Address("192.0.2.9", 4), Address("2001:db8::9", 6))
    assert facts.resolution.addresses == ground.addresses
    assert net.calls == [("resolve", asked, 0)]


def test_the_probe_never_waits_past_the_targets_deadline() -> None:
    net = FakeNet().name("shop.test", "192.0.2.9", duration_ms=10_000.0)
    for left_s, expected_s in ((60.0, POLICY.dns_s), (0.5, 0.5)):
        started = net.now()
        target = Target(service="tcp", host="shop.test", port=80)
        drive(probe(Ground(target=target, policy=POLICY, deadline=started + left_s), net))
        assert net.now() - started == pytest.approx(expected_s)
