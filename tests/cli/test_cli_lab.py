"""`fleetprobe lab` from the command line."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from fleetprobe.cli.flags import Color
from fleetprobe.cli.grade_view import grade_view
from fleetprobe.cli.terminal import UNICODE, console, show
from fleetprobe.lab.fleet import load_fleet
from fleetprobe.lab.grade import Answer, Grade, GradeRow
from fleetprobe.lab.scenario import Expectation
from tests.cli.program import FLEETPROBE, environment, read_terminal, run, run_on_terminal
from tests.lab.conftest import require_lab, require_program

NAME = ["--name", "cli-test"]


def graded(grade: Grade, why: str = "") -> GradeRow:
    found = None if grade is Grade.MISSING else Answer(state="ok", code=None, confidence=None, findings=())
    return GradeRow(
        case="port-closed#1", target="tcp://192.0.2.1:1", expected=Expectation(state=("fail",), code=("tcp.refused",)),
        found=found, grade=grade, why=why, duration_ms=1.0,
    )


def shown(rows: list[GradeRow], *, wrong_only: bool = False) -> str:
    file = io.StringIO()
    on = console(Color.NEVER, file, {})
    on.width = 80
    show(on, grade_view(rows, UNICODE, 80, wrong_only=wrong_only, records="r.jsonl"))
    return " ".join(file.getvalue().split())


def test_expected_and_found_stand_side_by_side() -> None:
    rows = [graded(Grade.RIGHT), graded(Grade.WRONG, "state ok, not fail"), graded(Grade.MISSING, "no record")]
    assert shown(rows) == (
        "✓ port-closed#1 fail tcp.refused ✗ port-closed#1 fail tcp.refused "
        "tcp://192.0.2.1:1 found: ok (state ok, not fail) ✗ port-closed#1 fail tcp.refused "
        "tcp://192.0.2.1:1 found: no record (no record) "
        "1 of 3 targets got the expected verdict · records in r.jsonl"
    )
    assert shown(rows, wrong_only=True).count("port-closed#1") == 2


def test_list_names_every_scenario() -> None:
    done = run("lab", "list")
    fleet = load_fleet()
    assert done.returncode == 0
    for scenario in fleet:
        assert scenario.name in done.stdout
        assert scenario.title in done.stdout
    assert done.stdout.splitlines()[-1].startswith(f"{len(fleet)} scenarios, ")


@pytest.mark.parametrize(
    "args", [["lab", "down", "--name", "NO NAME"], ["lab", "list", "--scenarios", "/no/such"],
             ["lab", "shell", "--place", "nowhere"]],
)
def test_what_a_lab_cannot_do_is_a_message_and_exit_2(args: list[str]) -> None:
    done = run(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert done.stderr


def test_down_is_no_error_when_nothing_is_up() -> None:
    done = run("lab", "down", *NAME)
    assert (done.returncode, done.stdout) == (0, "lab cli-test was not up\n")


@pytest.mark.lab
def test_scan_and_check_bring_a_lab_up_for_as_long_as_they_need_it(tmp_path: Path) -> None:
    require_lab()
    path = tmp_path / "lab.jsonl"
    scanned = run("lab", "scan", "port-closed-on-host", "-o", str(path), *NAME)
    assert (scanned.returncode, scanned.stderr) == (0, "")
    assert "✓ port-closed-on-host#1" in scanned.stdout
    kinds = [json.loads(line)["kind"] for line in path.read_text().splitlines()]
    assert (kinds[0], kinds[-1]) == ("run_start", "run_end")
    checked = run_on_terminal("lab", "check", "port-closed-on-host#1", *NAME)
    assert checked.code == 0
    assert "tcp.refused" in checked.plain
    assert "expected here  fail tcp.refused" in checked.plain
    assert run("lab", "down", *NAME).stdout == "lab cli-test was not up\n"


@pytest.mark.lab
def test_up_stays_up_until_down_and_any_target_can_be_checked_in_it() -> None:
    require_lab()
    try:
        assert run("lab", "up", "--lifetime", "120", *NAME).returncode == 0
        done = run("lab", "check", "tcp://203.0.113.19:443", *NAME)
        assert done.returncode in (0, 1)
        assert "203.0.113.19:443" in done.stdout
    finally:
        down = run("lab", "down", *NAME)
    assert down.stdout == "lab cli-test is down\n"


BY_HAND = """
ip -brief addr show dev eth0
ping -c1 -W2 203.0.113.53 | grep received
curl -sS -m5 -o /dev/null -w 'curl %{http_code} %{ssl_verify_result}\\n' https://www.lab.test/
openssl s_client -connect www.lab.test:443 -servername www.lab.test </dev/null 2>&1 | grep -m1 'Verify return code'
fleetprobe check tcp://203.0.113.53:53 --format jsonl | grep -c '"state":"ok"'
exit 7
"""


@pytest.mark.lab
def test_a_shell_fed_from_a_pipe_runs_the_tools_inside_without_a_word_of_its_own() -> None:
    require_lab()
    for name in ("ping", "curl", "openssl"):
        require_program(name)
    done = run("lab", "shell", *NAME, stdin=BY_HAND)
    assert (done.returncode, done.stderr) == (7, "")
    own, ping, curl, verified, well = done.stdout.splitlines()
    assert "198.18.1.10/24" in own
    assert "1 received" in ping
    assert (curl, verified.strip(), well) == ("curl 200 0", "Verify return code: 0 (ok)", "1")
    assert run("lab", "down", *NAME).stdout == "lab cli-test was not up\n"


@pytest.mark.lab
def test_a_shell_at_a_terminal_is_interactive_and_its_exit_code_is_ours() -> None:
    require_lab()
    master, slave = pty.openpty()
    with subprocess.Popen(
        ["setsid", "--ctty", "--wait", *FLEETPROBE, "lab", "shell", *NAME],
        stdin=slave, stdout=slave, stderr=slave, env=environment(),
    ) as process:  # fmt: skip
        os.close(slave)
        os.write(master, b"case $- in *i*m*) echo job $((40 + 2));; esac; exit 5\n")
        told = read_terminal(master)
        code = process.wait(timeout=60)
    os.close(master)
    assert code == 5
    assert "[lab cli-test]" in told
    assert "job 42" in told
    assert "no job control" not in told
