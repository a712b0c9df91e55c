"""What a path MTU hole costs a fleet behind it, and what a healthy fleet pays: `python -m benchmarks.mtu_fleet`.

1,000 targets of 50 hosts in one /24, http with an answer of 6 kB, once with nothing in the way and once behind one
reverse hole. A healthy fleet must be asked about sizes as often as one target of it. Behind the hole one target may
take a whole proof, 12 connections at most, and every other one two of the purpose `mtu`; each must be told the hole.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.narrow import Fault, build, facts_of, serve, sockets_of, target
from benchmarks.netns import World, enter, scan, where
from fleetprobe.lab.scenario import Place
from fleetprobe.lab.topology import namespace_file

ADDRESSES = tuple(f"198.19.0.{last}" for last in range(10, 60))
PORTS = range(8000, 8020)
FLEETS = {"healthy": Fault(), "hole": Fault(reverse=True)}
MOST_FOR_PROOF, MOST_FOR_OTHERS = 12, 2
_PATIENCE_S = 400.0


def main(argv: Sequence[str]) -> int:
    """Outside: enter namespaces for each fleet. Exit 1 when a goal is missed."""
    options = _options(argv)
    if options.inside:
        return _inside(Path(options.inside), options)
    report: dict[str, Any] = {"benchmark": "mtu_fleet", **where(), "targets": options.targets, "fleets": {}}
    for fleet in options.fleet or FLEETS:
        with tempfile.TemporaryDirectory() as state:
            told = Path(state) / "told.json"
            words = ["--fleet", fleet, "--targets", str(options.targets), "-o", str(told)]
            if enter("benchmarks.mtu_fleet", state, words, _PATIENCE_S + 100):
                return 1
            report["fleets"][fleet] = json.loads(told.read_text(encoding="utf-8"))
    if options.output:
        Path(options.output).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    met = True
    for fleet, told in report["fleets"].items():
        good = _met(fleet, told)
        met = met and good
        print(f"{fleet}: {'met' if good else 'missed'}", json.dumps({**told, "wrong": len(told["wrong"])}))
    return 0 if met else 1


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fleet", action="append", choices=FLEETS, help="which fleets; default both")
    parser.add_argument("--targets", type=int, default=len(ADDRESSES) * len(PORTS))
    parser.add_argument("-o", "--output", help="write the figures to this JSON file")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _met(fleet: str, told: dict[str, Any]) -> bool:
    if told["wrong"]:
        return False
    if fleet == "healthy":
        return bool(told["mtu_datagrams"] == told["one"]["mtu_datagrams"] and told["mtu_connections"] == 0)
    dearer = {int(count): times for count, times in told["mtu_connections_of_targets"].items()}
    dearer = {count: times for count, times in dearer.items() if count > MOST_FOR_OTHERS}
    return sum(dearer.values()) <= 1 and all(count <= MOST_FOR_PROOF for count in dearer)


def _inside(state: Path, options: argparse.Namespace) -> int:
    (fleet,) = options.fleet
    world = build(state, FLEETS[fleet], ADDRESSES)
    try:
        serve(world, PORTS, tls=False)
        targets = [target("http", at, port=port) for port in PORTS for at in ADDRESSES][: options.targets]
        one = _told(fleet, world, targets[:1])
        del one["wrong"]
        told = {**_told(fleet, world, targets), "one": one}
    finally:
        world.close()
    Path(options.output).write_text(json.dumps(told), encoding="utf-8")
    return 0 if told["results"] == len(targets) else 1


def _told(fleet: str, world: World, targets: Sequence[str]) -> dict[str, Any]:
    """The figures of one scan with everyday manners."""
    before = _packets(world)
    rows, end, took_s = scan(world, targets, "fleet", timeout_s=_PATIENCE_S)
    received, sent = (now - then for now, then in zip(_packets(world), before, strict=True))
    connections = [sockets_of(row, "tcp", "mtu") for row in rows]
    expected = None if fleet == "healthy" else "mtu.black_hole"
    return {
        "results": len(rows),
        "not_run": end["not_run"],
        "seconds": round(took_s, 2),
        "scan_seconds": round(end["elapsed_ms"] / 1000, 2),
        "codes": dict(Counter(row["code"] or "none" for row in rows)),
        "directions": dict(Counter(str(row["path_mtu_direction"]) for row in rows)),
        "confidences": dict(Counter(str(row["confidence"]) for row in rows)),
        "ladders": sum(any(facts.get("ladder") for facts in facts_of(row)) for row in rows),
        "connections": sum(sockets_of(row, "tcp") for row in rows),
        "mtu_connections": sum(connections),
        "mtu_connections_of_targets": dict(Counter(connections)),
        "mtu_datagrams": sum(sockets_of(row, "udp", "mtu") for row in rows),
        "packets_sent": sent,
        "packets_received": received,
        "wrong": [row for row in rows if row["code"] != expected][:20],
    }


def _packets(world: World) -> tuple[int, int]:
    """Received and sent so far on the client's interface (proc_net_dev: the second and the tenth number)."""
    command = ["nsenter", f"--net={namespace_file(world.state, Place.CLIENT)}", "cat", "/proc/net/dev"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
    numbers = next(line for line in text.splitlines() if line.strip().startswith("eth0:")).partition(":")[2].split()
    return int(numbers[1]), int(numbers[9])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
