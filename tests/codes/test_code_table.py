"""The table of codes keeps its contract: every published name, sane states, references and prose."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from itertools import pairwise

import pytest

from fleetprobe.codes.boxes import Box
from fleetprobe.codes.code import Code, Severity
from fleetprobe.codes.table import CODE_LAYERS, CODES, ROWS, code, codes_of, near_names
from fleetprobe.model.verdict import State

# The first edition, written down from the contract. Published names live in other people's scripts: nothing
# here may ever be renamed or removed. A new code goes to LATER, in the order of its release.
OURS = """
local.fd_limit local.ports_exhausted local.conntrack_full local.send_denied local.message_too_long
local.overload local.clock_skew local.bug
vantage.link_down vantage.no_address vantage.no_route vantage.gateway_unreachable
vantage.resolver_unreachable vantage.no_egress vantage.suspect
policy.denied input.invalid
"""
FAILS = """
link.neighbour_unresolved
dns.nxdomain dns.nodata dns.servfail dns.refused dns.formerr dns.timeout dns.cname_loop dns.cname_dangling
dns.delegation_broken dns.resolver_fault dns.tcp_blocked dns.large_answer_lost dns.bogon
ip.no_route ip.route_rejected ip.net_unreachable ip.host_unreachable ip.admin_prohibited ip.routing_loop
ip.path_dies ip.host_silent
tcp.refused tcp.rejected tcp.timeout tcp.filtered tcp.reset tcp.closed tcp.stalled tcp.flow_dependent
tcp.idle_evicted tcp.new_flows_dropped tcp.unexpectedly_open
mtu.black_hole
tls.not_tls tls.no_answer tls.stalled tls.dropped tls.alert tls.protocol_error tls.version_unsupported
tls.no_shared_cipher tls.unrecognized_name tls.sni_required tls.client_certificate_required
tls.large_hello_intolerant tls.starttls_refused tls.starttls_injected
tls.missing_intermediate tls.untrusted_root tls.self_signed tls.issuer_unknown tls.bad_signature
tls.issuer_not_ca tls.path_length tls.name_constraint tls.chain_oversize tls.rejected_by_verifier
tls.expired tls.not_yet_valid tls.name_mismatch tls.weak_key tls.weak_signature tls.wrong_usage
tls.malformed tls.revoked
http.status http.bad_gateway http.unavailable http.gateway_timeout http.unexpected_body http.misdirected
http.malformed http.truncated http.timeout http.redirect_loop http.redirect_denied
http.client_certificate_required
app.protocol_mismatch app.no_banner app.unexpected
"""
MILD = """
link.mac_changed
dns.slow dns.dead_nameserver dns.hosts_override dns.split_horizon dns.stale dns.source_mismatch
ip.v4_only_broken ip.v6_only_broken ip.address_partial
tcp.slow tcp.syn_retransmit tcp.icmp_filtered
mtu.reduced mtu.clamped mtu.unproven mtu.ptb_ignored mtu.masked
tls.slow tls.expiring tls.wrong_order tls.extra_certs tls.duplicate_certs tls.root_sent tls.cross_sign
tls.legacy_version tls.must_staple tls.pedantic tls.interception_suspected tls.changed
http.slow http.rate_limited http.waf http.auth_required http.quic_blocked
app.slow
"""
LATER = ""

FIRST_EDITION_SHA256 = "0861687c4782b0946cb7cb1558d3bab659e77d11809cfdab8933db9734f683e5"
SLOW = {"dns.slow", "tcp.slow", "tcp.syn_retransmit", "tls.slow", "http.slow", "app.slow"}
BLOCKED_IPS = {"ip.no_route", "ip.route_rejected"}
LAYERS_BOTTOM_UP = ("link", "dns", "ip", "tcp", "mtu", "tls", "http", "app")
OSI_LABELS = {"L1", "L2", "L2/3", "L3", "L3/4", "L4", "L5/6", "L7", "-"}

NAMED = re.compile(r"\(([a-z0-9]+\.[a-z0-9_]+)\)")
each_code = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def expected_state(row: Code) -> State:
    """Restate the state rules of the record contract, apart from how the table writes them."""
    if row.layer in {"local", "input"}:
        return State.UNKNOWN
    if row.layer in {"vantage", "policy"} or row.name in BLOCKED_IPS:
        return State.BLOCKED
    return {Severity.FAIL: State.FAIL, Severity.SLOW: State.SLOW}.get(row.severity, State.OK)


def excluded_by(row: Code) -> set[str]:
    """Return the codes that the wrong conclusions of this one name."""
    return {name for sentence in row.not_this for name in NAMED.findall(sentence)}


def names_of(rows: Iterable[Code]) -> set[str]:
    """Return the names of these codes."""
    return {row.name for row in rows}


def test_the_first_edition_of_published_names_is_never_edited() -> None:
    text = "\n".join((OURS + FAILS + MILD).split())
    assert hashlib.sha256(text.encode()).hexdigest() == FIRST_EDITION_SHA256


def test_the_table_holds_every_published_code_and_no_other() -> None:
    assert set(CODES) == set((OURS + FAILS + MILD + LATER).split())


def test_no_code_is_written_down_twice() -> None:
    assert len(CODES) == len(ROWS)


def test_codes_that_fail_a_target_and_those_about_ourselves_break_the_climb() -> None:
    assert names_of(row for row in ROWS if row.severity is Severity.FAIL) == set((OURS + FAILS).split())


def test_exactly_the_slow_codes_are_slow() -> None:
    assert names_of(row for row in ROWS if row.severity is Severity.SLOW) == SLOW


def test_rows_stand_ourselves_first_and_then_bottom_up() -> None:
    assert CODE_LAYERS[-len(LAYERS_BOTTOM_UP):] == LAYERS_BOTTOM_UP
    assert set(CODE_LAYERS) - set(LAYERS_BOTTOM_UP) == {"input", "policy", "local", "vantage"}
    rank = [CODE_LAYERS.index(row.layer) for row in ROWS]
    assert all(lower <= upper for lower, upper in pairwise(rank))


@each_code
def test_state_follows_from_layer_and_severity(row: Code) -> None:
    assert row.state is expected_state(row)


@each_code
def test_codes_left_open_exist_and_are_named_once(row: Code) -> None:
    assert set(row.could_also_be) <= set(CODES) - {row.name}
    assert len(set(row.could_also_be)) == len(row.could_also_be)


@each_code
def test_wrong_conclusions_are_reasoned_and_name_codes_that_exist(row: Code) -> None:
    assert row.not_this, "every code rules something out"
    assert excluded_by(row) <= set(CODES) - {row.name}
    for sentence in row.not_this:
        assert re.fullmatch(r"[a-z][^:]+: \S.+[^.]", sentence), sentence


@each_code
def test_nothing_is_ruled_out_and_left_open_at_once(row: Code) -> None:
    assert not excluded_by(row) & set(row.could_also_be)


@pytest.mark.parametrize("name", FAILS.split())
def test_every_failure_rules_out_another_code_by_name(name: str) -> None:
    assert excluded_by(CODES[name])


@each_code
def test_a_failure_proves_only_layers_below_its_own(row: Code) -> None:
    known = [layer for layer in LAYERS_BOTTOM_UP if layer in row.proves]
    assert tuple(known) == row.proves, "known layers, bottom first, each once"
    if row.layer not in LAYERS_BOTTOM_UP:
        assert row.proves == ()
    elif row.state in {State.FAIL, State.BLOCKED}:
        assert all(LAYERS_BOTTOM_UP.index(layer) < LAYERS_BOTTOM_UP.index(row.layer) for layer in row.proves)


@pytest.mark.parametrize("layer", ["tls", "http", "app"])
def test_everything_above_tcp_proves_the_host_and_the_port_but_never_the_path_mtu(layer: str) -> None:
    for row in codes_of(layer):
        assert row.proves[:2] == ("ip", "tcp"), row.name
        assert "mtu" not in row.proves, row.name


@each_code
def test_prose_is_short_plain_and_without_placeholders(row: Code) -> None:
    assert row.osi in OSI_LABELS
    assert len(row.fix) <= 160
    for sentence in (row.meaning, row.evidence, row.fix):
        assert sentence[0].isupper() or sentence[0].isdigit()
        assert sentence.endswith((".", "?"))
    prose = (row.meaning, row.evidence, row.fix, *row.not_this)
    assert not any(mark in text for text in prose for mark in ("{", "}", "  ", "\n"))
    assert row.boxes
    assert len(set(row.boxes)) == len(row.boxes)


@pytest.mark.parametrize("row", [*codes_of("local"), *codes_of("vantage"), *codes_of("policy")],
                         ids=lambda row: row.name)
def test_our_own_trouble_never_points_at_the_target(row: Code) -> None:
    assert not {Box.HOST, Box.SERVER, Box.BACKEND, Box.PROXY} & set(row.boxes)


# What stands in these codes was written in HTTP, in a certificate or in a DNS answer.
SPOKEN_AT_LAYER_7 = """
dns.nxdomain dns.nodata dns.servfail dns.refused dns.bogon
tls.alert tls.untrusted_root tls.self_signed tls.expired tls.name_mismatch tls.malformed
http.status http.bad_gateway http.unavailable http.gateway_timeout http.unexpected_body http.misdirected
http.malformed http.redirect_loop http.redirect_denied http.rate_limited http.waf http.auth_required
"""


@pytest.mark.parametrize("name", SPOKEN_AT_LAYER_7.split())
def test_a_box_cannot_speak_a_layer_it_does_not_read(name: str) -> None:
    too_low = [box for box in CODES[name].boxes if box.reads_up_to < 7]
    assert not too_low


@pytest.mark.parametrize(
    ("seen", "wrong"),
    [
        ("dns.nxdomain", "vantage.no_egress"),
        ("dns.servfail", "vantage.no_egress"),
        ("tcp.refused", "tcp.filtered"),
        ("tcp.refused", "ip.host_silent"),
        ("tcp.timeout", "tcp.refused"),
        ("mtu.black_hole", "http.timeout"),
        ("tls.expired", "tcp.timeout"),
        ("tls.self_signed", "tcp.timeout"),
        ("tls.missing_intermediate", "tls.untrusted_root"),
        ("http.bad_gateway", "tcp.refused"),
        ("tcp.reset", "tcp.refused"),
        ("ip.admin_prohibited", "tcp.refused"),
        ("tcp.icmp_filtered", "ip.host_silent"),
        ("link.neighbour_unresolved", "tcp.filtered"),
        ("local.ports_exhausted", "tcp.refused"),
    ],
)
def test_the_classic_wrong_conclusion_is_ruled_out_by_name(seen: str, wrong: str) -> None:
    assert wrong in excluded_by(CODES[seen])


@pytest.mark.parametrize(
    ("seen", "open_"),
    [
        ("tcp.timeout", {"tcp.filtered", "ip.host_silent"}),
        ("tls.issuer_unknown", {"tls.missing_intermediate", "tls.untrusted_root"}),
        ("tls.no_answer", {"mtu.black_hole"}),
        ("tls.stalled", {"mtu.black_hole"}),
        ("http.timeout", {"mtu.black_hole", "http.slow"}),
        ("tcp.refused", {"tcp.rejected"}),
        ("tls.expired", {"local.clock_skew"}),
    ],
)
def test_what_a_client_cannot_tell_apart_stays_open(seen: str, open_: set[str]) -> None:
    assert open_ <= set(CODES[seen].could_also_be)


def test_a_code_is_found_by_its_name() -> None:
    assert code("tcp.refused").layer == "tcp"


@pytest.mark.parametrize("typed", ["tcp.refussed", "refused", "TCP.Refused"])
def test_a_mistyped_code_is_answered_with_its_neighbours(typed: str) -> None:
    assert "tcp.refused" in near_names(typed)
    with pytest.raises(KeyError, match=r"did you mean .*tcp\.refused"):
        code(typed)


def test_a_hopeless_name_gets_no_suggestion() -> None:
    with pytest.raises(KeyError) as caught:
        code("\x1b[2J" * 1000)
    assert "did you mean" not in str(caught.value)


def test_an_unknown_layer_has_no_codes() -> None:
    assert codes_of("weather") == ()
