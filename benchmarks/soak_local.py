"""Whether faults of our own machine are ever blamed on a target: `python -m benchmarks.soak_local -o FILE`.

Healthy targets are scanned while something on our side is made to fail: descriptors run out, source ports run
out, the event loop stalls, the process is stopped, our own firewall drops. Every `fail` is wrong; each is kept
with its record. A run that was cut short goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.netns import World, enter, scan, where
from fleetprobe.engine.budget import Limit, Manners
from fleetprobe.lab.scenario import Firewall, Place
from fleetprobe.scan import Options, run

ADDRESSES = tuple(f"203.0.113.{last}" for last in range(100, 150))
DENIED = "203.0.113.150-203.0.113.249"
PORTS = range(8000, 8010)
FREE = ("--rate", "0", "--per-host", "0", "--per-prefix", "0")
REMOTE = frozenset({"dns", "link", "ip", "tcp", "mtu", "tls", "http", "app"})
"""What a verdict about the other side starts with; every target is healthy, so even `slow` is wrong."""
SLOW_PORT = 9000
"""Answers after a while, so that many connections are open at once."""
_DESCRIPTORS = 128
_MOST_KEPT = 20
_PATIENCE_S = 150.0
_STALL_S, _STALL_EACH = 4.0, 120
"""Longer than a whole connect budget, once in so many records."""
_STOP_S, _GO_S = 1.5, 0.7


def main(argv: Sequence[str]) -> int:
    """Outside: one set of namespaces for each kind of fault. Exit 1 when a target was ever blamed."""
    options = _options(argv)
    if options.stall is not None:
        return _scan_and_stall(options.stall, options.output)
    if options.inside:
        return _inside(Path(options.inside), options)
    report: dict[str, Any] = {"soak": "local", **where(), "targets": options.targets, "kinds": {}}
    if Path(options.output).exists():
        report = json.loads(Path(options.output).read_text(encoding="utf-8"))
    for kind in options.kind or KINDS:
        if kind not in report["kinds"]:
            with tempfile.TemporaryDirectory() as state:
                told = Path(state) / "told.json"
                words = ["--kind", kind, "--targets", str(options.targets), "-o", str(told)]
                code = enter("benchmarks.soak_local", state, words, 600)
                if code:
                    return code
                report["kinds"][kind] = json.loads(told.read_text(encoding="utf-8"))
            Path(options.output).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return _conclude(report)


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", action="append", choices=KINDS, help="which faults; default all")
    parser.add_argument("--targets", type=int, default=2500, help="targets for each kind of fault")
    parser.add_argument("-o", "--output", required=True, help="JSON file of the results")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("--stall", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _inside(state: Path, options: argparse.Namespace) -> int:
    (kind,) = options.kind
    rules: dict[Place, Firewall] = {}
    if kind == "own drop":
        rules[Place.CLIENT] = Firewall(output=(f"ip daddr {DENIED} counter drop",))
    if kind == "own reject":
        rules[Place.CLIENT] = Firewall(output=(f"ip daddr {DENIED} reject with icmpx admin-prohibited",))
    if kind == "own reset":
        rules[Place.CLIENT] = Firewall(output=(f"ip daddr {DENIED} meta l4proto tcp reject with tcp reset",))
    span = [(Place.CLIENT, "ipv4/ip_local_port_range", "40000 40019")]
    world = World(
        state, served=(*ADDRESSES, *(f"203.0.113.{last}" for last in range(150, 250))), firewalls=rules,
        settings=span if kind == "ports" else (),
    )
    world.build()
    try:
        world.serve([*PORTS, SLOW_PORT])
        rows, end, took_s = KINDS[kind](world, options.targets)
    finally:
        world.close()
    blamed = [row for row in rows if row["layer"] in REMOTE and row["state"] != "ok"]
    ours = [row for row in rows if (row["layer"] or "") in ("local", "vantage")]
    told = {
        "results": len(rows),
        "seconds": round(took_s, 2),
        "states": dict(Counter(row["state"] for row in rows)),
        "codes": dict(Counter(row["code"] or "none" for row in rows)),
        "ours": len(ours),
        "remote_verdicts": len(blamed),
        "run_end": {name: end.get(name) for name in ("outcome", "exit_code", "not_run", "counts_by_code")},
        "wrong": blamed[:_MOST_KEPT],
    }
    Path(options.output).write_text(json.dumps(told), encoding="utf-8")
    return 0


Told = tuple[list[dict[str, Any]], dict[str, Any], float]


def _healthy(count: int) -> list[str]:
    """Distinct targets over all addresses and ports."""
    places = [f"{address}:{port}" for address in ADDRESSES for port in PORTS]
    return [f"http://{places[n % len(places)]}/{n}" for n in range(count)]


def _descriptors(world: World, count: int) -> Told:
    """Nearly all descriptors that the process may have are taken when it starts."""
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, _DESCRIPTORS))

    taken = [os.open("/dev/null", os.O_RDONLY) for _ in range(_DESCRIPTORS - 40)]
    try:
        targets = [f"http://{ADDRESSES[n % len(ADDRESSES)]}:{SLOW_PORT}/{n}" for n in range(count)]
        return scan(world, targets, "fd", *FREE, timeout_s=_PATIENCE_S, pass_fds=taken, preexec_fn=limit)
    finally:
        for fd in taken:
            os.close(fd)


def _ports(world: World, count: int) -> Told:
    """Twenty source ports, and every target behind the same address and port."""
    targets = [f"http://{ADDRESSES[0]}:{SLOW_PORT}/{n}" for n in range(count)]
    return scan(world, targets, "ports", *FREE, timeout_s=_PATIENCE_S)


def _stalled(world: World, count: int) -> Told:
    """The loop sleeps for longer than a connect may take, again and again, while connects are under way."""
    inventory, output = world.state / "stall.txt", world.state / "stall.jsonl"
    inventory.write_text("".join(f"{target}\n" for target in _healthy(count)))
    argv = ["-m", "benchmarks.soak_local", "--stall", str(inventory), "-o", str(output)]
    return _child(world, argv, output, lambda _: None)


def _stopped(world: World, count: int) -> Told:
    """The whole process is stopped (SIGSTOP) again and again, as a busy or suspended machine would do."""
    inventory, output = world.state / "stop.txt", world.state / "stop.jsonl"
    inventory.write_text("".join(f"{target}\n" for target in _healthy(count)))
    argv = ["-m", "fleetprobe", "scan", "-i", str(inventory), "-o", str(output)]
    argv += ["--no-config", "-q", "--rate", "150", "--pool", "none"]

    def stop_and_go(pid: int) -> None:
        while True:
            time.sleep(_GO_S)
            try:
                os.kill(pid, signal.SIGSTOP)
                time.sleep(_STOP_S)
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                return

    return _child(world, argv, output, stop_and_go)


def _denied(world: World, count: int) -> Told:
    """Our own firewall lets nothing out to any of the targets."""
    places = [f"203.0.113.{last}:{port}" for last in range(150, 250) for port in PORTS]
    shut = [f"http://{places[n % len(places)]}/{n}" for n in range(count)]
    return scan(world, shut, "denied", *FREE, "--concurrency", "3000", timeout_s=_PATIENCE_S)


KINDS: Mapping[str, Callable[[World, int], Told]] = {
    "descriptors": _descriptors, "ports": _ports, "stalled loop": _stalled, "stopped process": _stopped,
    "own drop": _denied, "own reject": _denied, "own reset": _denied,
}


def _child(world: World, argv: Sequence[str], output: Path, meanwhile: Callable[[int], None]) -> Told:
    started = time.monotonic()
    child = subprocess.Popen(world.command(Place.CLIENT, *argv), stdout=subprocess.DEVNULL)
    threading.Thread(target=meanwhile, args=(child.pid,), daemon=True).start()
    child.wait(400)
    rows = [json.loads(line) for line in output.read_bytes().splitlines()]
    return [row for row in rows if row["kind"] == "result"], rows[-1], time.monotonic() - started


def _scan_and_stall(inventory: str, output: str) -> int:
    """A scan in this process whose watcher sleeps in the loop's own thread."""
    seen = 0

    def watch(row: Mapping[str, Any]) -> None:
        nonlocal seen
        seen += row["kind"] == "result"
        if row["kind"] == "result" and seen % _STALL_EACH == 0:
            time.sleep(_STALL_S)

    free = Manners(everything=Limit(), per_host=Limit(), per_prefix=Limit())
    run(Options(files=(inventory,), outputs=(output,), manners=free, concurrency=100), watch)
    return 0


def _conclude(report: dict[str, Any]) -> int:
    blamed = 0
    for kind, told in report["kinds"].items():
        blamed += told["remote_verdicts"]
        print(f"{kind:16} {told['results']:6} targets, {told['ours']:5} told as ours, "
              f"{told['remote_verdicts']} remote verdicts, {told['codes']}, {told['seconds']} s")
    return 1 if blamed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
