"""What a terminal gets: the human view, colours when they are wanted, progress on standard error alone."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from fleetprobe.cli.progress import Progress
from tests.cli.program import SGR, closed_port, run, run_on_terminal


def test_a_terminal_gets_the_human_view_and_colours() -> None:
    with closed_port() as port:
        shown = run_on_terminal("scan", f"127.0.0.1:{port}")
    assert shown.code == 1
    assert "\x1b[1;31m" in shown.text
    assert "tcp.refused  1  observed" in shown.plain
    assert shown.plain.splitlines()[-1].startswith("1 targets · 1 failed · ")
    assert shown.stderr == ""


@pytest.mark.parametrize(
    ("args", "env"), [((), {"NO_COLOR": "1"}), ((), {"TERM": "dumb"}), (("--color", "never"), {})]
)
def test_colour_is_left_out_where_it_is_not_wanted(args: tuple[str, ...], env: dict[str, str]) -> None:
    with closed_port() as port:
        shown = run_on_terminal("check", f"127.0.0.1:{port}", *args, env=env)
    assert "\x1b" not in shown.text
    assert " FAIL   tcp.refused" in shown.plain


def test_a_dumb_terminal_gets_plain_ascii() -> None:
    with closed_port() as port:
        shown = run_on_terminal("check", f"127.0.0.1:{port}", env={"TERM": "dumb"})
    assert shown.text.isascii()


def test_colour_can_be_had_through_a_pipe() -> None:
    with closed_port() as port:
        done = run("check", f"127.0.0.1:{port}", "--format", "human", "--color", "always", env={"NO_COLOR": "1"})
    assert SGR.search(done.stdout)


def test_the_view_is_as_wide_as_the_terminal() -> None:
    with closed_port() as port:
        shown = run_on_terminal("check", f"127.0.0.1:{port}", columns=60)
    assert max(map(len, shown.plain.splitlines())) <= 60


def test_json_lines_go_to_a_terminal_when_asked_for() -> None:
    with closed_port() as port:
        shown = run_on_terminal("scan", f"127.0.0.1:{port}", "-o", "-")
    assert [line[:8] for line in shown.plain.splitlines()] == ['{"kind":'] * 3


def test_quiet_says_nothing_beside_the_file(tmp_path: Path) -> None:
    with closed_port() as port:
        shown = run_on_terminal("scan", f"127.0.0.1:{port}", "-q", "-o", str(tmp_path / "out"), both=True)
    assert (shown.code, shown.text) == (1, "")


def test_progress_is_shown_on_a_terminal_and_wiped_at_the_end(tmp_path: Path) -> None:
    with closed_port() as port:
        inventory = tmp_path / "targets"
        inventory.write_text("".join(f"http://127.0.0.1:{port}/{place}\n" for place in range(60)))
        shown = run_on_terminal("scan", "-i", str(inventory), "--rate", "50", both=True)
    lines = re.findall(r"\r\x1b\[K([^\r\x1b]*)", shown.text)
    assert any(re.match(r"[0-9]+ of 60 \([0-9]+ %\), [0-9]+/s, 0:0[0-9] left, [0-9]+ failed", line) for line in lines)
    assert lines[-1] == "" or not lines[-1].startswith("60 of")
    assert len(lines) < 40


def test_progress_without_a_known_total_has_no_time_left() -> None:
    progress = Progress(None, io.StringIO())
    for state in ("ok", "fail", "fail"):
        progress.add({"kind": "result", "state": state})
    progress.add({"kind": "certificate"})
    line = progress.line(progress._started_s + 2.0)
    assert line == "3 done, 2/s, 2 failed, 0:02 gone"


def test_one_target_that_takes_long_is_named_harmlessly() -> None:
    progress = Progress(1, io.StringIO(), asking="\x1b[2Jhost:443")
    assert progress.line(progress._started_s + 3.0) == "asking \\x1b[2Jhost:443, 0:03"


def test_the_rate_is_that_of_the_last_seconds_not_of_the_whole_run() -> None:
    progress = Progress(1000, io.StringIO())
    start = progress._started_s
    for tick in range(100):
        if tick < 50:
            progress.add({"kind": "result", "state": "ok"})
        line = progress.line(start + tick * 0.2)
    assert line == "50 of 1,000 (5 %), 0/s, 0 failed, 0:20 gone"


def test_hostile_lines_of_an_inventory_are_shown_harmless(tmp_path: Path) -> None:
    inventory = tmp_path / "hostile"
    inventory.write_bytes(b"\x1b]0;owned\x07:443\nok.example:443\n\xc2\x9b31m:22\n[link=x]:1\n\xe2\x80\xae:443\n")
    shown = run_on_terminal("inventory", str(inventory))
    assert shown.code == 3
    assert "ok.example" in shown.plain
    assert all(char.isprintable() or char == "\n" for char in shown.plain)
