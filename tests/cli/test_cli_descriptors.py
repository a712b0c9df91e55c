"""A limit on descriptors under which nothing can be scanned is said in one line, never told as a bug."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from fleetprobe.engine.descriptors import _LEAST_FREE
from tests.cli.program import FLEETPROBE, closed_port, environment, listener, port_of, records

STANDARD = 3
"""Descriptors that every process begins with."""


def run_with(limit: int, *args: str, hard: int | None = None) -> subprocess.CompletedProcess[str]:
    """The program under a limit on descriptors."""

    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit if hard is None else hard))

    return subprocess.run(
        [*FLEETPROBE, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        env=environment(), preexec_fn=lower, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("args", [["scan", "127.0.0.1:1"], ["check", "127.0.0.1:1"], ["doctor", "--offline"]])
@pytest.mark.parametrize("limit", [6, 12, STANDARD + _LEAST_FREE - 1])
def test_too_few_descriptors_are_one_sentence_that_names_the_limit(limit: int, args: Sequence[str]) -> None:
    done = run_with(limit, *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"fleetprobe: {_LEAST_FREE} free descriptors are needed and this process has {limit - STANDARD}: "
        f"its limit is {limit} in all (ulimit -n); raise it\n"
    )


def test_at_the_lowest_limit_a_scan_runs_and_is_right() -> None:
    with closed_port() as closed, listener() as server:
        well, refused = f"tcp://127.0.0.1:{port_of(server)}", f"127.0.0.1:{closed}"
        done = run_with(STANDARD + _LEAST_FREE, "scan", well, refused)
    assert (done.returncode, done.stderr) == (1, "")
    verdicts = {row["target"]: row["code"] for row in records(done.stdout) if row["kind"] == "result"}
    assert verdicts == {well: None, f"tcp://{refused}": "tcp.refused"}


def test_every_file_that_is_held_open_needs_one_more(tmp_path: Path) -> None:
    inventory, output = tmp_path / "fleet.txt", tmp_path / "out.jsonl"
    with listener() as server:
        inventory.write_text(f"tcp://127.0.0.1:{port_of(server)}\n")
        args = ["scan", "-i", str(inventory), "-o", str(output), "-q"]
        refused = run_with(STANDARD + _LEAST_FREE + 1, *args)
        done = run_with(STANDARD + _LEAST_FREE + 2, *args)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"fleetprobe: {_LEAST_FREE + 2} free descriptors are needed")
    assert (done.returncode, len(records(output.read_text()))) == (0, 3)


def test_a_low_soft_limit_is_raised_to_the_hard_one() -> None:
    with listener() as server:
        done = run_with(12, "scan", f"tcp://127.0.0.1:{port_of(server)}", hard=256)
    assert (done.returncode, done.stderr) == (0, "")
    assert records(done.stdout)[0]["vantage_facts"]["descriptor_limit"] == 256
