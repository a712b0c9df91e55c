"""The pictures of one target and of a run: what they say, how wide they are, and that they steer no terminal."""

from __future__ import annotations

import io
import subprocess
import sys
from functools import partial
from typing import Any

import pytest

from fleetprobe.cli.flags import Color
from fleetprobe.cli.ladder_view import ladder_view
from fleetprobe.cli.scan_view import LAYERS, ScanView
from fleetprobe.cli.shell_words import folded
from fleetprobe.cli.terminal import ASCII, UNICODE, Marks, console, marks_for, show
from fleetprobe.cli.waterfall import remark
from fleetprobe.cli.witness_view import witness_facts, witness_of
from tests.cli.program import SGR
from tests.cli.rows import failed, layers, run_end
from tests.cli.screen import HOSTILE, assert_harmless, drawn, on_terminal, poisoned


def test_the_ladder_stands_on_the_ground_with_the_last_layer_on_top() -> None:
    rungs = [line.split()[0] for line in drawn(ladder_view(failed())).splitlines()[2:] if line[8:9] == " "]
    names = [word for word in rungs if word in {"dns", "ip", "tcp", "tls", "http"}]
    assert names[:5] == ["http", "tls", "tcp", "ip", "dns"]


@pytest.mark.parametrize(
    ("outcome", "sign"),
    [("pass", "✓"), ("fail", "✗"), ("warn", "!"), ("unknown", "?"), ("skipped", "–")],  # noqa: RUF001  # an en dash is meant
)
def test_every_outcome_has_its_own_sign(outcome: str, sign: str) -> None:
    one = [{**layers()[2], "outcome": outcome}]
    line = next(line for line in drawn(ladder_view(failed(layers=one))).splitlines() if " tcp " in line)
    assert sign in line[9:15]


def test_the_view_of_one_target_says_everything_the_record_holds() -> None:
    text = " ".join(drawn(ladder_view(failed())).replace("│", " ").split())
    for told in (
        "https://shop.example:443",
        "not reached",
        "TLSv1.3",
        "CN=Example CA",
        "expired 2026-02-01 (28 days ago)",
        "RTT 1.25 ms",
        "MSS 1460",
        "SYN sent 2 times",
        "via 198.18.0.1",
        "TTL 60 s",
        "again tcp",
        "FAIL tls.expired observed",
        "the certificate of 192.0.2.7:443 expired on 2026-02-01",
        "not this • a server that is down",
        "could also be • local.clock_skew",
        "$ certbot renew",
        "tls.legacy_version TLS 1.0 works",
        "2001:db8::7 ok",
        "env=prod",
        "queue 1.00 ms",
        "tls 11.0 ms",
        "witness 4.00 ms",
        "total 20.0 ms",
    ):
        assert told in text, told


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("marks", [UNICODE, ASCII])
def test_no_line_is_wider_than_the_terminal_or_ends_in_blanks(marks: Marks, width: int) -> None:
    for line in drawn(ladder_view(failed(), marks, width), width).splitlines():
        assert len(line) <= width, line
        assert line == line.rstrip(" ")


def test_a_plain_ascii_terminal_gets_ascii_alone() -> None:
    view = ScanView()
    view.add(failed())
    assert drawn(ladder_view(failed(), ASCII)).isascii()
    assert drawn(view.render(run_end(), [], ASCII)).isascii()


def test_signs_follow_what_the_terminal_can_show() -> None:
    assert marks_for("utf-8", {"TERM": "xterm"}) is UNICODE
    assert marks_for("utf-8", {"TERM": "dumb"}) is ASCII
    assert marks_for("latin-1", {"TERM": "xterm"}) is ASCII
    assert marks_for(None, {}) is ASCII


def test_without_colour_no_escape_is_sent_and_with_it_only_colours() -> None:
    plain, coloured = drawn(ladder_view(failed())), drawn(ladder_view(failed()), color=Color.ALWAYS)
    assert "\x1b" not in plain
    assert "\x1b[" in coloured
    assert [line.rstrip() for line in SGR.sub("", coloured).splitlines()] == plain.splitlines()


def test_a_rung_shows_the_time_of_its_phase_and_not_our_own_lateness() -> None:
    text = drawn(ladder_view(failed(tls_handshake_duration_ms=0.75)))
    line = next(line for line in text.splitlines() if line.lstrip().startswith("tls ├"))
    assert "0.75 ms" in line


def test_a_healthy_target_and_an_empty_record_are_drawn_too() -> None:
    healthy = failed(
        state="ok",
        code=None,
        layer=None,
        confidence=None,
        summary="every layer passes",
        fix=None,
        fix_commands=[],
        repro=[],
        not_this=[],
        could_also_be=[],
        findings=[],
        addresses=[],
    )
    assert " OK " in drawn(ladder_view(healthy))
    assert drawn(ladder_view({}))


# --- where the time went ---------------------------------------------------------------------------------


def timed(**changes: Any) -> dict[str, Any]:
    """A request like the seed's: 4, 27, 37 and 72 ms on a way of 30 ms there and back."""
    passing = [{**step, "outcome": "pass"} for step in layers()]
    return failed(
        dns_duration_ms=4.0, tcp_connect_duration_ms=27.0, tls_handshake_duration_ms=37.0,
        http_time_to_first_byte_ms=72.0, tcp_rtt_ms=27.0, tls_protocol_version="TLSv1.3",
        http_response_status_code=200, layers=passing, **changes,
    )


def beneath(row: dict[str, Any]) -> list[str]:
    return [" ".join(line.plain.split()) for line in remark(row, UNICODE)]


def test_the_moments_of_the_phases_read_like_curls_own_line() -> None:
    assert beneath(timed())[0] == "as curl -w dns:0.004 connect:0.031 tls:0.068 ttfb:0.140"
    fast = {**timed(), "tls_handshake_duration_ms": None, "http_time_to_first_byte_ms": 0.25}
    fast |= {"dns_duration_ms": 0.5, "tcp_connect_duration_ms": 0.125}
    assert beneath(fast)[0] == "as curl -w dns:0.000500 connect:0.000625 ttfb:0.000875"


def test_a_phase_that_did_not_come_to_its_end_is_no_moment() -> None:
    silent = {**timed(), "tls_handshake_duration_ms": None, "http_time_to_first_byte_ms": None}
    silent["layers"] = [{**step, "outcome": "fail" if step["layer"] == "tcp" else "pass"} for step in layers()]
    assert beneath(silent)[0] == "as curl -w dns:0.004000"
    unanswered = {**timed(), "http_response_status_code": None}
    unanswered["layers"] = [{**step, "outcome": "fail" if step["layer"] == "http" else "pass"} for step in layers()]
    assert beneath(unanswered)[0] == "as curl -w dns:0.004 connect:0.031 tls:0.068"
    assert beneath({}) == []


def test_phases_are_told_in_round_trips_and_the_least_that_there_can_be() -> None:
    assert beneath(timed())[1] == "round trips tcp 1.0 · tls 1.4 · first byte 2.7, of 27.0 ms each"
    assert "tls 1.4 (least 2)" in beneath({**timed(), "tls_protocol_version": "TLSv1.2"})[1]
    assert "first byte over 100," in beneath({**timed(), "http_time_to_first_byte_ms": 9000.0})[1]
    assert len(beneath({**timed(), "tcp_rtt_ms": None})) == 1


def test_who_owns_time_that_distance_does_not_explain_is_named_only_when_it_is_most() -> None:
    assert len(beneath(timed())) == 2
    slow = {**timed(), "http_time_to_first_byte_ms": 427.0}
    assert beneath(slow)[2] == "most of it is no distance: the server took 400.0 ms beyond its round trips"
    assert "the handshake took 1.00 s" in beneath({**timed(), "tls_handshake_duration_ms": 1030.0})[2]


# --- witnesses -------------------------------------------------------------------------------------------


SURVEY = {
    "other_ports": {"22": "ECONNREFUSED", "1": "silent"},
    "udp": "port closed",
    "ping": "not permitted",
    "hops": ["198.18.1.1", "*", "198.18.12.2", *["*"] * 9],
    "last_hop": "198.18.12.2 at hop 3",
    "walked": "203.0.113.22",
    "gateway": "198.18.1.1",
    "gateway_state": "REACHABLE",
    "gateway_alive": True,
    "conntrack_share": 0.0,
}


def attempt(purpose: str, outcome: str, start_ms: float = 0.0, transport: str = "tcp") -> dict[str, Any]:
    return {
        "purpose": purpose, "transport": transport, "address": "203.0.113.22", "port": 443, "local_port": 40000,
        "start_ms": start_ms, "duration_ms": 600.0, "outcome": outcome,
    }


def silent(**changes: Any) -> dict[str, Any]:
    """A port that stayed silent, its twin and a survey."""
    survey = {"layer": "tcp", "outcome": "fail", "code": "tcp.filtered", "start_ms": 3300.0, "duration_ms": 650.0}
    attempts = [
        attempt("climb", "silent"), attempt("again", "silent"), *[attempt("survey", "silent")] * 9,
        attempt("survey", "ECONNREFUSED", 50.0), attempt("survey", "port closed", transport="udp"),
    ]
    return failed(layers=[*layers()[:3], {**survey, "facts": SURVEY}], attempts=attempts, **changes)


def test_what_a_survey_saw_is_drawn_hop_by_hop() -> None:
    text = " ".join(drawn(ladder_view(silent())).split())
    for told in (
        "✗ survey tcp tcp.filtered 650.0 ms",
        "path 1 198.18.1.1 → 2 * → 3 198.18.12.2 → then silence to hop 12 (walked to 203.0.113.22)",
        "other ports 22 ECONNREFUSED, 1 silent",
        "udp port closed",
        "ping not permitted",
        "next hop 198.18.1.1, REACHABLE, alive",
        "sockets climb 1 tcp 600.0 ms silent",
        "again 1 tcp 600.0 ms silent",
        "survey 10 tcp 650.0 ms 9 silent, 1 ECONNREFUSED",
        "survey 1 udp 600.0 ms port closed",
    ):
        assert told in text, told
    assert "connection table" not in text


def test_a_path_without_any_answer_and_a_full_table_are_said() -> None:
    assert dict(witness_facts({**SURVEY, "hops": ["*"] * 12}, UNICODE))["path"].startswith("silence to hop 12")
    assert "path" not in dict(witness_facts({**SURVEY, "hops": None}, UNICODE))
    lent = {"icmp_lent_by": "198.18.13.2", "icmp_lent_type": 3, "icmp_lent_code": 13, "icmp_lent_for": "203.0.113.5"}
    told = dict(witness_facts({**SURVEY, **lent}, UNICODE))
    assert told["neighbours"] == "203.0.113.5 got ICMP 3/13 from 198.18.13.2"
    assert "neighbours" not in dict(witness_facts({**SURVEY, "icmp_lent_by": "198.18.13.2"}, UNICODE))
    assert dict(witness_facts({**SURVEY, "conntrack_share": 0.97}, UNICODE))["our table"] == "connection table 97% full"


def test_where_a_rst_came_from_is_drawn() -> None:
    facts = {"rst_ttl": 2, "host_ttl": 3, "expires_at": "198.18.12.2", "by": "198.18.1.1"}
    assert dict(witness_facts(facts, UNICODE)) == {
        "RST from": "hop 2", "host at": "hop 3", "passes": "198.18.12.2", "hop before": "198.18.1.1",
    }


def test_hellos_of_two_lengths_are_drawn_in_turn() -> None:
    facts = {
        "failed_bytes": 1572, "failed": "dropped", "segment_bytes": 536,
        "hellos": [{"size_bytes": 524, "met": "answered"}, {"size_bytes": 1572, "met": "dropped"}],
    }
    assert witness_of(facts) == "hello"
    assert dict(witness_facts(facts, UNICODE)) == {
        "hellos": "1572 bytes dropped, 524 bytes answered, 1572 bytes dropped",
    }


@pytest.mark.parametrize(("key", "witness", "label"), [
    ("names_tried", "name", "names"), ("offers_tried", "offer", "offers"),
])
def test_changed_hellos_are_drawn_in_turn(key: str, witness: str, label: str) -> None:
    tried = [{"changed": "a.test", "met": "answered", "version": "TLSv1.2", "cipher": "NULL-SHA"},
             {"changed": "nothing", "met": "dropped"}]
    facts = {"failed": "dropped", key: tried}
    assert witness_of(facts) == witness
    assert dict(witness_facts(facts, UNICODE)) == {
        label: "as climbed dropped, a.test answered TLSv1.2 NULL-SHA, nothing dropped",
    }
    for wrong in (None, 7, "x", [None, 7], [{"met": ["\x1b[2J"]}]):
        assert dict(witness_facts({key: wrong}, UNICODE))[label].isprintable()


def test_what_was_fetched_is_drawn_in_turn() -> None:
    told = [{"url": "http://ca.test/\x1b[2J", "outcome": "redirect"}, {"url": "http://ca.test/b", "outcome": "issuer"}]
    assert witness_of({"aia": told}) == "aia"
    drawn_words = dict(witness_facts({"aia": told}, UNICODE))["fetched"]
    assert drawn_words.endswith("redirect, http://ca.test/b issuer")
    assert drawn_words.isprintable()
    for wrong in (None, 7, "x", [None, 7], [{"url": {"a": 1}}]):
        assert all(words.isprintable() for _, words in witness_facts({"aia": wrong}, UNICODE))


@pytest.mark.parametrize("wrong", [None, 7, "x", {}, [None, 3, {"size_bytes": [1]}], [{"met": {"a": 1}}]])
def test_odd_hellos_do_no_harm(wrong: object) -> None:
    for facts in ({"hellos": wrong}, {"hellos": wrong, "failed": wrong, "failed_bytes": wrong}):
        assert isinstance(dict(witness_facts(facts, UNICODE))["hellos"], str)


def test_sockets_are_listed_only_when_a_witness_opened_some() -> None:
    assert "sockets" not in drawn(ladder_view(failed(attempts=[attempt("climb", "connected")])))


@pytest.mark.parametrize("width", [40, 60, 80])
@pytest.mark.parametrize("marks", [UNICODE, ASCII])
def test_the_view_of_a_silent_target_keeps_to_the_width_and_to_the_signs(marks: Marks, width: int) -> None:
    text = drawn(ladder_view({**silent(), "repro": []}, marks, width), width)
    assert all(len(line) <= width for line in text.splitlines())
    assert marks is UNICODE or text.isascii()


def test_hostile_or_odd_witness_facts_and_attempts_do_no_harm() -> None:
    for poison in HOSTILE:
        row = silent()
        row["layers"][-1]["facts"] = poisoned(SURVEY, poison) | {"other_ports": {poison: poison}}
        row["attempts"] = poisoned(row["attempts"], poison)
        assert_harmless(on_terminal(partial(show_both, row=row)))
    for wrong in (None, 7, True, "x", [], {}, [None, 3, {"a": None}], {"a": [1]}):
        for name in SURVEY:
            row = silent()
            row["attempts"] = [wrong, dict.fromkeys(row["attempts"][0], wrong)]
            row["layers"][-1]["facts"] = {**SURVEY, name: wrong}
            assert drawn(ladder_view(row))


# --- commands to copy ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "printf '[%s]' one two three four five six seven eight nine ten eleven twelve",
        "printf '[%s]' 'a b  c' \"d e\" f\\ g --option value -x 'quoted \\' and more words behind it all the way",
        "printf '[%s]' a </dev/null | cat -v",
        "printf '[%s]' " + "x" * 200,
    ],
)
@pytest.mark.parametrize("width", [20, 40, 60])
def test_a_folded_command_does_what_the_command_does(command: str, width: int) -> None:
    once = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    again = subprocess.run(
        ["sh", "-c", "\n".join(folded(command, width))], capture_output=True, text=True, check=True
    )
    assert again.stdout == once


def test_folded_lines_fit_and_all_but_the_last_end_in_a_backslash() -> None:
    lines = folded("nc " + "word " * 40 + "end", 40)
    assert len(lines) > 3
    assert all(len(line) <= 40 for line in lines)
    assert all(line.endswith(" \\") for line in lines[:-1])
    assert not lines[-1].endswith("\\")


def test_a_short_command_stays_on_one_line() -> None:
    assert folded("nc -vz -w 5 192.0.2.7 443", 60) == ["nc -vz -w 5 192.0.2.7 443"]


# --- the view of a run -----------------------------------------------------------------------------------


def rendered(view: ScanView, **changes: Any) -> str:
    return drawn(view.render(run_end(**changes), ["out.jsonl"]))


def test_failures_come_in_ladder_order_before_slow_unknown_and_blocked() -> None:
    view = ScanView()
    for state, code in [
        ("blocked", "policy.denied"),
        ("fail", "http.status"),
        ("unknown", "local.fd_limit"),
        ("fail", "dns.nxdomain"),
        ("slow", "tcp.slow"),
        ("fail", "tcp.refused"),
        ("fail", "tls.expired"),
        ("fail", "ip.host_unreachable"),
    ]:
        view.add(failed(state=state, code=code))
    text = rendered(view)
    places = [
        text.index(code)
        for code in (
            "dns.nxdomain",
            "ip.host_unreachable",
            "tcp.refused",
            "tls.expired",
            "http.status",
            "tcp.slow",
            "local.fd_limit",
            "policy.denied",
        )
    ]
    assert places == sorted(places)


def test_each_row_has_target_code_confidence_and_a_summary_without_the_address_again() -> None:
    view = ScanView()
    view.add(failed(summary="192.0.2.7:443 answered the SYN with RST", code="tcp.refused"))
    text = rendered(view)
    assert "tcp.refused  1  observed" in text
    assert "✗ https://shop.example:443 answered the SYN with RST" in text


def test_a_healthy_run_is_one_line_and_warnings() -> None:
    view = ScanView()
    view.add(failed(state="ok", code=None))
    text = rendered(view, counts_by_state={"ok": 3})
    assert "tls.legacy_version 1" in text
    assert text.splitlines()[-1] == "3 targets · 3 ok · 1.2 s · records in out.jsonl"


def test_the_last_line_tells_what_was_not_run_and_why() -> None:
    text = rendered(ScanView(), outcome="interrupted", not_run=7, duplicates=2)
    assert " ".join(text.split()) == (
        "3 targets · 2 ok · 1 failed · 7 not run · 2 duplicates · interrupted · 1.2 s · records in out.jsonl"
    )
    assert "an unknown number not run" in rendered(ScanView(), outcome="deadline", not_run=None)


def test_memory_is_bounded_and_a_rare_fault_is_not_crowded_out() -> None:
    view = ScanView(most_rows=50)
    for number in range(500):
        view.add(failed(code="tcp.refused", target=f"tcp://192.0.2.7:{number}"))
    view.add(failed(code="tls.expired", target="https://rare.example:443"))
    text = drawn(view.render(run_end(), []), width=120)
    assert sum("tcp://192.0.2.7:" in line for line in text.splitlines()) == 49
    assert "and 451 more" in text
    assert "https://rare.example:443" in text


def test_other_kinds_of_record_are_passed_over() -> None:
    view = ScanView()
    for kind in ("run_start", "certificate", "run_end"):
        view.add({"kind": kind})
    assert len(rendered(view).splitlines()) == 1


def test_every_layer_of_the_codes_has_a_place() -> None:
    from fleetprobe.codes.table import CODE_LAYERS

    assert set(CODE_LAYERS) <= set(LAYERS)


# --- hostile records -------------------------------------------------------------------------------------


def show_both(file: Any, row: dict[str, Any]) -> None:
    on = console(Color.ALWAYS, file, {"TERM": "xterm"})
    on.width = 80
    show(on, ladder_view(row, UNICODE, 80))
    view = ScanView()
    view.add(row)
    show(on, view.render(run_end(), [row["target"]], UNICODE, 80))


@pytest.mark.parametrize("poison", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_in_every_field_sends_nothing_but_our_own_colours(poison: str) -> None:
    row = poisoned(failed(), poison)
    row["kind"] = "result"
    row["labels"] = {poison: poison}
    for step, real in zip(row["layers"], layers(), strict=True):
        step["layer"], step["outcome"] = real["layer"], real["outcome"]
    assert_harmless(on_terminal(lambda file: show_both(file, row)))


@pytest.mark.parametrize("poison", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize(
    "field", sorted(name for name, value in failed().items() if isinstance(value, str | list))
)
def test_hostile_text_in_one_field_at_a_time_is_harmless_too(field: str, poison: str) -> None:
    row = failed(**{field: poisoned(failed()[field], poison)})
    row["kind"] = "result"
    file = io.StringIO()
    on = console(Color.ALWAYS, file, {"TERM": "xterm"})
    on.width = 80
    show(on, ladder_view(row, UNICODE, 80))
    assert_harmless(file.getvalue().replace("\n", "\r\n"))


def test_values_of_the_wrong_kind_do_not_break_the_view() -> None:
    for wrong in (None, 7, True, "x", [], {}, [None, 3, {"a": None}], {"a": [1]}):
        for field in failed():
            assert drawn(ladder_view(failed(**{field: wrong})))


def test_the_views_load_no_network() -> None:
    code = (
        "import sys, fleetprobe.cli.ladder_view, fleetprobe.cli.scan_view\n"
        "print(sorted({'OpenSSL', 'aiodns', 'uvloop', 'fleetprobe.scan'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
