"""What silence costs a whole scan: `python -m benchmarks.silent`. 2,000 dropped targets against one, refused ones too.

Two ratios, whole processes, alternated, medians. 2,000 dropped targets must end within 1.25 times what one takes,
witnesses and all: waits overlap. 2,000 refused ones must come at 80 % of the rate at which they came before there
were witnesses; `--baseline DIR` names a checkout to compare with, else the same code without witnesses is taken.
The dropped ones stand in namespaces behind two routers, the refused ones on the loopback interface.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.netns import ROOT, World, enter, scan, where
from fleetprobe.lab.scenario import Firewall, Place

ADDRESSES = tuple(f"203.0.113.{last}" for last in range(100, 200))
FREE = ("--rate", "0", "--per-host", "0", "--per-prefix", "0", "--concurrency", "2500")
_MOST_TIMES, _LEAST_SHARE = 1.25, 0.8


def main(argv: Sequence[str]) -> int:
    """Measure, print, write JSON. Exit 1 when a goal is missed."""
    options = _options(argv)
    if options.inside:
        return _inside(Path(options.inside), options)
    report: dict[str, Any] = {"benchmark": "silent", **where(), "targets": options.targets}
    with tempfile.TemporaryDirectory() as state:
        told = Path(state) / "told.json"
        words = ["--targets", str(options.targets), "--rounds", str(options.rounds), "-o", str(told)]
        if enter("benchmarks.silent", state, words, 600):
            return 1
        report["dropped"] = json.loads(told.read_text(encoding="utf-8"))
    report["refused"] = _refused(options.targets, options.rounds, options.baseline)
    if options.output:
        Path(options.output).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({name: report[name] for name in ("dropped", "refused")}, indent=1))
    met = report["dropped"]["times_one"] <= _MOST_TIMES, report["refused"]["share"] >= _LEAST_SHARE
    return 0 if all(met) else 1


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--baseline", help="a checkout from before the witnesses")
    parser.add_argument("-o", "--output", help="write the figures to this JSON file")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _inside(state: Path, options: argparse.Namespace) -> int:
    shut = f"ip daddr {ADDRESSES[0]}-{ADDRESSES[-1]} drop"
    world = World(state, served=ADDRESSES, firewalls={Place.ROUTER_FAR: Firewall(forward=(shut,))})
    world.build()
    per_address = -(-options.targets // len(ADDRESSES))
    many = [f"{address}:{8000 + n}" for address in ADDRESSES for n in range(per_address)][: options.targets]
    ones, alls, codes = [], [], Counter[str]()
    for _ in range(options.rounds):
        _, end, took_s = scan(world, many[:1], "one", *FREE)
        ones.append((took_s, end["elapsed_ms"] / 1000))
        rows, end, took_s = scan(world, many, "many", *FREE)
        alls.append((took_s, end["elapsed_ms"] / 1000))
        codes.update(str(row["code"]) for row in rows)
    one, every = (statistics.median(wall for wall, _ in runs) for runs in (ones, alls))
    told = {
        "one_s": round(one, 3), "all_s": round(every, 3), "times_one": round(every / one, 3),
        "one_scan_s": round(statistics.median(inner for _, inner in ones), 3),
        "all_scan_s": round(statistics.median(inner for _, inner in alls), 3),
        "rounds": options.rounds, "codes": dict(codes),
    }
    Path(options.output).write_text(json.dumps(told), encoding="utf-8")
    return 0


def _refused(targets: int, rounds: int, baseline: str | None) -> dict[str, Any]:
    """Targets a second with witnesses, and without or before them; start-up taken out by a scan of one."""
    before = ((baseline, ()) if baseline else (str(ROOT), ("--witnesses", "never")))
    rates: dict[str, list[float]] = {"now": [], "before": []}
    with tempfile.TemporaryDirectory() as folder, socket.socket() as reserved:
        reserved.bind(("0.0.0.0", 0))
        port = reserved.getsockname()[1]
        one, many = Path(folder) / "one.txt", Path(folder) / "many.txt"
        one.write_text(f"127.1.0.1:{port}\n")
        many.write_text("".join(f"127.1.{n >> 8}.{n & 255}:{port}\n" for n in range(1, targets + 1)))
        for _ in range(rounds):
            for name, (code, words) in (("now", (str(ROOT), ())), ("before", before)):
                start_s = _timed(one, code, 1, *words)
                rates[name].append(targets / (_timed(many, code, targets, *words) - start_s))
    now, then = statistics.median(rates["now"]), statistics.median(rates["before"])
    return {
        "per_second": round(now, 1), "per_second_before": round(then, 1), "share": round(now / then, 3),
        "compared_with": "baseline" if baseline else "--witnesses never", "rounds": rounds,
    }


def _timed(inventory: Path, code: str, expected: int, *words: str) -> float:
    """Seconds of one whole process on one core; raises when it did not find what is there."""
    output = inventory.with_suffix(".jsonl")
    output.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "fleetprobe", "scan", "-i", str(inventory), "-o", str(output), *FREE[:6], *words]
    core = min(os.sched_getaffinity(0))
    started = time.monotonic()
    subprocess.run(
        [*argv, "--no-config", "-q"], cwd=code, env={**os.environ, "PYTHONPATH": code}, check=False, timeout=120,
        stdout=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    took_s = time.monotonic() - started
    end = json.loads(output.read_bytes().splitlines()[-1])
    if end["counts_by_code"] != {"tcp.refused": expected}:
        raise SystemExit(f"counts are wrong, so the time means nothing: {end}")
    return took_s


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
