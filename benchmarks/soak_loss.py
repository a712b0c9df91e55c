"""How often random loss makes a healthy target fail: `python -m benchmarks.soak_loss -o FILE`.

500 healthy targets (TCP and HTTP, IPv4 and IPv6) stand behind two routers, one of which loses packets at random
towards the server and the other towards us. Every `fail` is wrong, whatever its confidence; each is kept with its
record. A run that was cut short goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.netns import World, enter, scan, where
from fleetprobe.lab.scenario import Firewall, Place
from fleetprobe.layers.sockets import where as where_to

ADDRESSES = tuple(f"{prefix}{last}" for last in range(100, 125) for prefix in ("203.0.113.", "2001:db8:3::"))
PORTS = range(8000, 8010)
GOALS = {5: 0.01, 20: 0.03}
"""Loss in percent each way, and the share of wrong fails that is allowed."""


def main(argv: Sequence[str]) -> int:
    """Outside: enter namespaces for each rate of loss. Exit 1 when a goal is missed."""
    options = _options(argv)
    if options.inside:
        return _inside(Path(options.inside), options)
    report: dict[str, Any] = {"soak": "loss", **where(), "targets": len(ADDRESSES) * len(PORTS), "rates": {}}
    if Path(options.output).exists():
        report = json.loads(Path(options.output).read_text(encoding="utf-8"))
    for loss in options.loss or GOALS:
        done = report["rates"].setdefault(str(loss), [])
        while len(done) < options.rounds:
            with tempfile.TemporaryDirectory() as state:
                told = Path(state) / "told.json"
                code = enter("benchmarks.soak_loss", state, ["--loss", str(loss), "-o", str(told)], 300)
                if code:
                    return code
                done.append(json.loads(told.read_text(encoding="utf-8")))
            Path(options.output).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return _conclude(report)


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loss", type=int, action="append", help="percent each way; default 5 and 20")
    parser.add_argument("--rounds", type=int, default=3, help="scans of all targets for each rate of loss")
    parser.add_argument("-o", "--output", required=True, help="JSON file of the results")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _inside(state: Path, options: argparse.Namespace) -> int:
    (loss,) = options.loss
    rule = f"numgen random mod 100 < {loss} counter drop"
    world = World(
        state, served=ADDRESSES,
        firewalls={
            Place.ROUTER_NEAR: Firewall(forward=(f'iifname "c0" {rule}',)),
            Place.ROUTER_FAR: Firewall(forward=(f'iifname "s0" {rule}',)),
        },
    )
    world.build()
    try:
        world.serve(PORTS)
        targets = [
            f"{('tcp', 'http')[(at // 2 + port) % 2]}://{where_to(address, port)}"
            for at, address in enumerate(ADDRESSES)
            for port in PORTS
        ]
        rows, end, took_s = scan(world, targets, "loss")
    finally:
        world.close()
    fails = [row for row in rows if row["state"] == "fail"]
    told = {
        "results": len(rows),
        "seconds": round(took_s, 2),
        "states": dict(Counter(row["state"] for row in rows)),
        "codes": dict(Counter(row["code"] or "none" for row in rows)),
        "not_run": end["not_run"],
        "wrong": fails,
    }
    Path(options.output).write_text(json.dumps(told), encoding="utf-8")
    return 0 if len(rows) == len(targets) else 1


def _conclude(report: dict[str, Any]) -> int:
    missed = 0
    for loss, rounds in report["rates"].items():
        results = sum(one["results"] for one in rounds)
        wrong = sum(len(one["wrong"]) for one in rounds)
        undecided = sum(one["states"].get("unknown", 0) for one in rounds)
        codes = dict(Counter(row["code"] for one in rounds for row in one["wrong"]))
        share = wrong / results
        missed += share > GOALS.get(int(loss), 1.0)
        print(f"{loss:>3} % each way: {wrong} of {results} wrongly failed ({share:.2%}) {codes}, {undecided} unknown")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
