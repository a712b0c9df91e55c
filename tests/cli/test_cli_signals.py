"""Signals at any moment: whole lines, a run_end that says interrupted, and the exit code of the signal."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.program import closed_port, records, start


def until_results(path: Path) -> None:
    """Wait for the first result of a run, for at most 20 s: a busy machine starts slowly."""
    for _ in range(1000):
        if path.exists() and b'"kind":"result"' in path.read_bytes():
            return
        time.sleep(0.02)


def interrupted(
    tmp_path: Path, after_s: float, number: int, name: str, *, running: bool = False
) -> tuple[int, bytes, str]:
    """Start a scan that would take a minute, signal it, and return code, standard error and records."""
    path = tmp_path / f"{name}.jsonl"
    with closed_port() as port:
        inventory = tmp_path / "targets"
        inventory.write_text("".join(f"http://127.0.0.1:{port}/{place}\n" for place in range(3000)))
        process = start("scan", "-i", str(inventory), "-o", str(path), "-q", "--rate", "50", "--grace", "0.2")
        if running:
            until_results(path)
        time.sleep(after_s)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=30)
    return process.returncode, stderr, path.read_text() if path.exists() else ""


# Up to the first moments of the run, where most can go wrong, and well into it. Before Python has started, nothing
# of ours can answer, so the earliest is behind that.
MOMENTS = [0.1, 0.6, 1.0, *(round(random.Random(7).uniform(0.15, 0.8), 3) for _ in range(5))]  # no secret


@pytest.mark.parametrize("after_s", MOMENTS)
def test_ctrl_c_at_any_moment_leaves_whole_lines_and_exit_130(tmp_path: Path, after_s: float) -> None:
    code, stderr, text = interrupted(tmp_path, after_s, signal.SIGINT, "int")
    assert (code, stderr) == (130, b"")
    found = records(text)
    if found:
        assert found[-1]["kind"] == "run_end"
        assert (found[-1]["outcome"], found[-1]["exit_code"]) == ("interrupted", 130)
        assert found[-1]["results"] == sum(record["kind"] == "result" for record in found)
        assert found[-1]["not_run"] is None or found[-1]["not_run"] > 0


def test_ctrl_c_in_the_middle_of_a_run_is_recorded(tmp_path: Path) -> None:
    _, _, text = interrupted(tmp_path, 0.5, signal.SIGINT, "late", running=True)
    assert records(text)[-1]["outcome"] == "interrupted"
    assert any(record["kind"] == "result" for record in records(text))


@pytest.mark.parametrize("after_s", [0.1, 0.5, 1.5])
def test_sigterm_is_the_same_with_exit_143(tmp_path: Path, after_s: float) -> None:
    code, stderr, text = interrupted(tmp_path, after_s, signal.SIGTERM, "term")
    assert (code, stderr) == (143, b"")
    found = records(text)
    if found:
        assert (found[-1]["outcome"], found[-1]["exit_code"]) == ("interrupted", 143)


def test_a_second_ctrl_c_does_not_tear_the_record(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with closed_port() as port:
        inventory = tmp_path / "targets"
        inventory.write_text("".join(f"http://127.0.0.1:{port}/{place}\n" for place in range(3000)))
        process = start("scan", "-i", str(inventory), "-o", str(path), "-q", "--rate", "50", "--grace", "30")
        until_results(path)
        for _ in range(20):
            process.send_signal(signal.SIGINT)
            time.sleep(0.01)
            if process.poll() is not None:
                break
        _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (130, b"")
    assert records(path.read_text())[-1]["outcome"] == "interrupted"


def test_a_reader_that_has_stopped_does_not_hold_us_once_a_signal_has_come(tmp_path: Path) -> None:
    with closed_port() as port:
        inventory = tmp_path / "targets"
        inventory.write_text("".join(f"http://127.0.0.1:{port}/{place}\n" for place in range(100)))
        # The pipe that nobody reads holds 64 KiB, and the records are longer.
        process = start(
            "scan", "-i", str(inventory), "-o", "-", "--format", "jsonl", "--grace", "0.5", stdout=subprocess.PIPE
        )
        with process:
            time.sleep(4.0)
            assert process.poll() is None, "waiting for its reader"
            process.send_signal(signal.SIGTERM)
            try:
                assert process.wait(timeout=10) == 143
            finally:
                process.kill()
