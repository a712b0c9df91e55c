"""How many loopback targets one core scans in a second, with records written: `python -m benchmarks.connects`.

Whole processes of `fleetprobe scan` are timed from start to exit, pinned to one core; the acceptor has another.
What starting costs is taken out by the difference method: the time of a scan of one target, measured right
before, is subtracted. Counts are checked before any time is believed. Addresses are distinct ones of
127.1.0.0/16, so no per-host state is shared and nothing leaves the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.netns import ROOT, where

UNBOUNDED = (
    "--rate", "0", "--per-host", "0", "--per-prefix", "0", "--witnesses", "never", "--no-config", "-q",
    "--pool", "none",
)


@dataclass(frozen=True, slots=True)
class Timed:
    """One process of the scanner."""

    wall_s: float
    cpu_s: float
    rss_mb: float
    scan_s: float
    """From run_start to run_end, as the run itself tells."""


@dataclass(frozen=True, slots=True)
class Row:
    """The medians of one kind of target."""

    kind: str
    targets: int
    rounds: int
    per_second: float
    """Targets per second of wall time, start-up taken out."""
    per_second_cpu: float
    """Targets per second of processor time, start-up taken out."""
    cpu_us_per_target: float
    rss_mb: float
    wall_s: float
    start_s: float


def main(argv: Sequence[str]) -> int:
    """Measure, print a table, write JSON. Exit 1 when a goal is missed."""
    options = _options(argv)
    cores = sorted(os.sched_getaffinity(0))
    rows = []
    with tempfile.TemporaryDirectory() as folder, _acceptor(cores[-1]) as (opened, closed):
        for kind, port, state in (("refused", closed, "fail"), ("open", opened, "ok")):
            rows.append(_row(Path(folder), kind, port, state, cores[0], options.targets, options.rounds))
    print(
        f"{'kind':8} {'targets/s':>10} {'per cpu-s':>10} {'us/target':>10} {'RSS MB':>8} {'wall s':>8} {'start s':>8}"
    )
    for row in rows:
        print(
            f"{row.kind:8} {row.per_second:10.0f} {row.per_second_cpu:10.0f} {row.cpu_us_per_target:10.0f}"
            f" {row.rss_mb:8.1f} {row.wall_s:8.2f} {row.start_s:8.2f}"
        )
    report = {"benchmark": "connects", **where(), **_how(), "rows": [asdict(row) for row in rows]}
    if options.output:
        Path(options.output).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    missed = [row.kind for row in rows if row.per_second < options.goal or row.rss_mb >= options.most_rss]
    for kind in missed:
        print(f"goal missed: {kind} (at least {options.goal:.0f} targets/s, less than {options.most_rss:.0f} MB)")
    return 1 if missed else 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--goal", type=float, default=5000.0, help="targets per second")
    parser.add_argument("--most-rss", type=float, default=120.0, help="megabytes")
    parser.add_argument("-o", "--output", help="write the figures to this JSON file")
    return parser.parse_args(argv)


def _row(folder: Path, kind: str, port: int, state: str, core: int, targets: int, rounds: int) -> Row:
    few, many = folder / f"{kind}-1.txt", folder / f"{kind}-{targets}.txt"
    few.write_text(f"127.1.0.1:{port}\n")
    many.write_text("".join(f"127.1.{n >> 8}.{n & 255}:{port}\n" for n in range(1, targets + 1)))
    starts, scans = [], []
    for _ in range(rounds):
        starts.append(_scan(few, core, state, 1))
        scans.append(_scan(many, core, state, targets))
    wall = _median(scans, lambda one: one.wall_s) - _median(starts, lambda one: one.wall_s)
    cpu = _median(scans, lambda one: one.cpu_s) - _median(starts, lambda one: one.cpu_s)
    return Row(
        kind=kind,
        targets=targets,
        rounds=rounds,
        per_second=round(targets / wall, 1),
        per_second_cpu=round(targets / cpu, 1),
        cpu_us_per_target=round(cpu / targets * 1e6, 1),
        rss_mb=round(_median(scans, lambda one: one.rss_mb), 1),
        wall_s=round(_median(scans, lambda one: one.wall_s), 3),
        start_s=round(_median(starts, lambda one: one.wall_s), 3),
    )


def _scan(inventory: Path, core: int, state: str, expected: int) -> Timed:
    """One whole process; raises when it did not find what is there."""
    output = inventory.with_suffix(".jsonl")
    output.unlink(missing_ok=True)
    command = [sys.executable, "-m", "fleetprobe", "scan", "-i", str(inventory), "-o", str(output), *UNBOUNDED]
    started = time.monotonic()
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 - no threads here
    )
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    end = _last(output)
    if end["counts_by_state"] != {state: expected} or end["lines"] != expected + 1:
        raise SystemExit(f"{inventory.name}: counts are wrong, so the time means nothing: {end}")
    return Timed(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, end["elapsed_ms"] / 1000)


def _last(output: Path) -> Any:
    with output.open("rb") as file:
        file.seek(max(0, output.stat().st_size - 65536))
        return json.loads(file.read().splitlines()[-1])


def _median(runs: Sequence[Timed], of: Callable[[Timed], float]) -> float:
    return statistics.median(map(of, runs))


@contextmanager
def _acceptor(core: int) -> Iterator[tuple[int, int]]:
    """A process that accepts and closes; yields an open port, and a port that nobody listens on."""
    listener = socket.socket()
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
    listener.bind(("0.0.0.0", 0))
    listener.listen(8192)
    reserved = socket.socket()
    reserved.bind(("0.0.0.0", 0))
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.sched_setaffinity(0, {core})
        _accept_until_alone(listener, parent)
    try:
        yield listener.getsockname()[1], reserved.getsockname()[1]
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        listener.close()
        reserved.close()


def _accept_until_alone(listener: socket.socket, parent: int) -> None:
    listener.setblocking(False)
    while os.getppid() == parent:
        select.select([listener], [], [], 1.0)
        with suppress(OSError):
            while True:
                listener.accept()[0].close()
    os._exit(0)


def _how() -> dict[str, object]:
    return {
        "descriptor_limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "method": "whole process pinned to one core, less a scan of one target; medians",
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
