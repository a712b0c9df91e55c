"""`fleetprobe doctor` as a user meets it: sends nothing here, as every run is --offline."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from fleetprobe.cli.doctor_view import doctor_view
from fleetprobe.cli.flags import Color
from fleetprobe.cli.terminal import ASCII, UNICODE, Marks, console, show
from fleetprobe.model.verdict import Outcome
from fleetprobe.record.line import encode
from fleetprobe.vantage.check import Check
from tests.cli.program import run, run_on_terminal

HOSTILE = "\x1b[2J\x9b31m\u202e\u2028\x7f\ud800nul\0 [link=x]y[/] \n" + "A" * 3000


def check(name: str, outcome: Outcome, **more: Any) -> Check:
    return Check(name=name, outcome=outcome, summary=more.pop("summary", f"{name} is {outcome}"), **more)


ALL = [
    check("route", Outcome.PASS),
    check("route", Outcome.FAIL, fix="Mend the route."),
    check("clock", Outcome.WARN, fix="Set the clock."),
    check("resolver", Outcome.SKIPPED),
    check("ports", Outcome.UNKNOWN),
]


def drawn(checks: list[Check], marks: Marks = UNICODE, width: int = 80) -> str:
    file = io.StringIO()
    on = console(Color.NEVER, file, {})
    on.width = width
    show(on, doctor_view(checks, marks, width))
    return file.getvalue()


def test_through_a_pipe_there_is_one_object_a_line_with_the_same_keys() -> None:
    done = run("doctor", "--offline")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.stderr == ""
    assert {tuple(row) for row in rows} == {("check", "outcome", "summary", "facts", "fix")}
    names = {row["check"] for row in rows}
    assert names >= {"interface", "route", "resolver", "descriptors", "ports", "ping", "conntrack", "tcp states"}
    assert names >= {"tcp settings", "clock", "trust store", "software"}
    assert done.returncode == (1 if any(row["outcome"] == "fail" for row in rows) else 0)
    assert done.stdout.isascii()


def test_something_that_spoils_a_scan_is_exit_1(tmp_path: Any) -> None:
    done = run("doctor", "--offline", env={"SSL_CERT_FILE": str(tmp_path)})
    assert done.returncode == 1
    row = next(row for row in map(json.loads, done.stdout.splitlines()) if row["check"] == "trust store")
    assert row["outcome"] == "fail"
    assert row["fix"]


def test_a_terminal_gets_the_table_and_a_count_beneath() -> None:
    shown = run_on_terminal("doctor", "--offline", columns=90)
    assert "clock" in shown.plain
    assert "fine" in shown.plain.splitlines()[-1]
    assert all(len(line) <= 90 for line in shown.plain.splitlines())


def test_every_outcome_has_its_sign_a_name_is_said_once_and_a_fix_stands_beneath() -> None:
    lines = drawn(ALL).splitlines()
    assert lines[0] == "✓ route        route is pass"
    assert lines[1] == "✗              route is fail"
    assert lines[2] == "               → Mend the route."
    assert [line[0] for line in lines[3:7] if line[0] != " "] == ["!", "–", "?"]  # noqa: RUF001  # an en dash is meant
    assert lines[-1] == "1 would spoil a scan · 1 worth a look · 1 not to be seen · 1 not asked · 1 fine"


@pytest.mark.parametrize("width", [40, 60, 110, 200])
@pytest.mark.parametrize("marks", [UNICODE, ASCII])
def test_no_line_is_too_wide_and_ascii_stays_ascii(marks: Marks, width: int) -> None:
    text = drawn([*ALL, check("long", Outcome.WARN, summary="word " * 60, fix="do " * 60)], marks, width)
    assert all(len(line) <= min(width, 110) for line in text.splitlines())
    assert marks is UNICODE or text.isascii()


def test_hostile_names_of_interfaces_and_processes_are_made_harmless() -> None:
    one = Check(name=HOSTILE, outcome=Outcome.FAIL, summary=HOSTILE, facts={HOSTILE: [HOSTILE]}, fix=HOSTILE)
    text = drawn([one])
    assert all(char.isprintable() or char == "\n" for char in text)
    line = encode(one.row())
    assert line.isascii()
    assert all(byte >= 0x20 and byte != 0x7F for byte in line[:-1])
    assert len(line) < 65536
