"""Error queues by the thousand under uvloop and asyncio: `python -m benchmarks.soak_errqueue -o FILE`.

20,000 connects that fail in every way there is, in both families, with UDP questions between them. The loop must
not go deaf (every loud failure is heard, and a control connects after each batch), not spin (processor time while
it only waits), not crash, and give every descriptor back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.netns import ROOT, World, enter, where
from fleetprobe.lab.scenario import Firewall, Place
from fleetprobe.net.interface import Address, Dial, Event
from fleetprobe.net.live import tcp, udp
from fleetprobe.net.live.reactor import Reactor
from fleetprobe.net.witness import Poked

PORT, OPEN = 443, 8000
LOOPS = ("uvloop", "asyncio")
_MOST_IDLE_CPU = 0.1
"""Share of one core that mere waiting may cost."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to fail, in one family."""

    address: str
    expect: str
    """As `_word` tells it."""
    late: bool = False
    """Told only after three seconds of asking for a neighbour, or never."""


KINDS: Mapping[str, Kind] = {
    "closed port": Kind("203.0.113.160", "ECONNREFUSED"),
    "closed port v6": Kind("2001:db8:3::160", "ECONNREFUSED"),
    "host rejects": Kind("203.0.113.161", "ECONNREFUSED 3/3"),
    "host rejects v6": Kind("2001:db8:3::161", "ECONNREFUSED 1/4"),
    "router rejects": Kind("203.0.113.162", "ECONNREFUSED 3/3"),
    "router rejects v6": Kind("2001:db8:3::162", "ECONNREFUSED 1/4"),
    "router prohibits": Kind("203.0.113.163", "EHOSTUNREACH 3/13"),
    "router prohibits v6": Kind("2001:db8:3::163", "EACCES 1/1"),
    "router resets": Kind("203.0.113.164", "ECONNREFUSED"),
    "router resets v6": Kind("2001:db8:3::164", "ECONNREFUSED"),
    "a router without route": Kind("198.18.200.1", "ENETUNREACH 3/0"),
    "a router without route v6": Kind("2001:db8:200::1", "ENETUNREACH 1/0"),
    "routing loop": Kind("198.51.100.7", "EHOSTUNREACH 11/0"),
    "routing loop v6": Kind("2001:db8:51::7", "EHOSTUNREACH 3/0"),
    "own firewall rejects": Kind("203.0.113.165", "EHOSTUNREACH 3/13 self"),
    "own firewall rejects v6": Kind("2001:db8:3::165", "EACCES 1/1 self"),
    "silence": Kind("203.0.113.166", "silent", late=True),
    "silence v6": Kind("2001:db8:3::166", "silent", late=True),
    "absent behind a router": Kind("203.0.113.99", "EHOSTUNREACH 3/1", late=True),
    "absent on our link": Kind("198.18.1.99", "EHOSTUNREACH 3/1 self", late=True),
}


def main(argv: Sequence[str]) -> int:
    """Outside: one world, a process for each loop in it. Exit 1 when anything is wrong."""
    options = _options(argv)
    if options.loop:
        return _run_loop(options)
    if options.inside:
        return _inside(Path(options.inside), options)
    with tempfile.TemporaryDirectory() as state:
        told = Path(state) / "told.json"
        words = ["--batches", str(options.batches), "--size", str(options.size), "-o", str(told)]
        code = enter("benchmarks.soak_errqueue", state, words, 900)
        if not told.exists():
            return code or 1
        loops = json.loads(told.read_text(encoding="utf-8"))
    report = {"soak": "errqueue", **where(), "loops": loops}
    Path(options.output).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for name, one in loops.items():
        print(f"{name:8} {one}")
    return 0 if all(one.get("well") for one in loops.values()) else 1


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--size", type=int, default=1000, help="connects at once")
    parser.add_argument("-o", "--output", required=True, help="JSON file of the results")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("--loop", choices=LOOPS, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _inside(state: Path, options: argparse.Namespace) -> int:
    served = tuple(text for last in range(160, 167) for text in (f"203.0.113.{last}", f"2001:db8:3::{last}"))
    world = World(
        state, served=served,
        firewalls={
            Place.CLIENT: Firewall(output=_both("165", "reject with icmpx admin-prohibited")),
            Place.ROUTER_NEAR: Firewall(forward=(
                *_both("162", "reject with icmpx port-unreachable"),
                *_both("163", "reject with icmpx admin-prohibited"),
                *_both("164", "meta l4proto tcp reject with tcp reset"),
                # A rule says it in place of a missing IPv4 route, whose errors have a limiter of their own.
                "ip daddr 198.18.200.0/24 reject with icmp net-unreachable",
            )),
            Place.ROUTER_FAR: Firewall(forward=_both("166", "drop")),
            Place.SERVER: Firewall(input=_both("161", "meta l4proto tcp reject with icmpx port-unreachable")),
        },
        routes={
            Place.ROUTER_NEAR: (
                "198.51.100.0/24 via 198.18.12.2", "2001:db8:51::/64 via 2001:db8:12::2",
                "198.18.200.0/24 via 198.18.12.2",
            ),
            Place.ROUTER_FAR: ("198.51.100.0/24 via 198.18.12.1", "2001:db8:51::/64 via 2001:db8:12::1"),
        },
        # Without these the limit of 50 errors in one burst holds, whatever the rate.
        settings=[(place, "ipv6/icmp/ratemask", "") for place in Place],
    )
    world.build()
    loops: dict[str, Any] = {}
    try:
        world.serve([OPEN])
        for loop in LOOPS:
            words = ["-m", "benchmarks.soak_errqueue", "--loop", loop, "-o", "-"]
            words += ["--batches", str(options.batches), "--size", str(options.size)]
            ran = subprocess.run(
                world.command(Place.CLIENT, *words), cwd=ROOT, capture_output=True, text=True, timeout=400, check=False
            )
            crashed = {"well": False, "exit_code": ran.returncode, "said": ran.stderr[-3000:]}
            loops[loop] = crashed if ran.returncode else json.loads(ran.stdout)
    finally:
        world.close()
    Path(options.output).write_text(json.dumps(loops), encoding="utf-8")
    return 0


def _both(last: str, rule: str) -> tuple[str, ...]:
    return f"ip daddr 203.0.113.{last} {rule}", f"ip6 daddr 2001:db8:3::{last} {rule}"


def _run_loop(options: argparse.Namespace) -> int:
    run = uvloop.run if options.loop == "uvloop" else asyncio.run
    print(json.dumps(run(_soak(options.batches, options.size))))
    return 0


async def _soak(batches: int, size: int) -> dict[str, Any]:
    reactor = Reactor(asyncio.get_running_loop())
    outcomes: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    controls: list[float] = []
    pokes: Counter[str] = Counter()
    cpu, started = time.process_time(), time.monotonic()
    await _batch(reactor, len(KINDS), Counter(), Counter(), Counter())  # neighbours are learnt, modules loaded
    before = len(os.listdir("/proc/self/fd"))
    leaks = 0
    for _ in range(batches):
        await _batch(reactor, size, outcomes, wrong, pokes)
        controls.append(await _control(reactor))
        leaks += len(os.listdir("/proc/self/fd")) != before
    busy_s, wall_s = time.process_time() - cpu, time.monotonic() - started
    idle = await _idle_cpu(reactor)
    reactor.close()
    connects = sum(outcomes.values())
    return {
        "well": not wrong and not leaks and max(controls) < 0.5 and idle < _MOST_IDLE_CPU and pokes["deaf"] == 0,
        "connects": connects, "outcomes": dict(outcomes), "wrong": dict(wrong), "pokes": dict(pokes),
        "slowest_control_ms": round(max(controls) * 1000.0, 2), "batches_with_a_leak": leaks,
        "idle_cpu_share": round(idle, 4), "cpu_us_per_connect": round(busy_s / connects * 1e6, 1),
        "wall_s": round(wall_s, 1),
    }


async def _batch(
    reactor: Reactor, size: int, outcomes: Counter[str], wrong: Counter[str], pokes: Counter[str]
) -> None:
    names = [list(KINDS)[n % len(KINDS)] for n in range(size)]
    closed = (Address("203.0.113.160", 4), Address("2001:db8:3::160", 6))
    asked = [udp.poke(reactor, closed[n % 2], reactor.now() + 2.0) for n in range(20)]
    dials, told = await asyncio.gather(
        asyncio.gather(*(_dial(reactor, KINDS[name]) for name in names)), asyncio.gather(*asked)
    )
    for name, dial in zip(names, dials, strict=True):
        word = _word(dial)
        outcomes[word] += 1
        if word != KINDS[name].expect:
            wrong[f"{name}: {word}"] += 1
    pokes.update("heard" if one.outcome is Poked.PORT_CLOSED else "deaf" for one in told)


async def _dial(reactor: Reactor, kind: Kind) -> Dial:
    address = Address(kind.address, 6 if ":" in kind.address else 4)
    dial, stream = await tcp.dial(reactor, address, PORT, reactor.now() + (3.6 if kind.late else 2.0))
    if stream is not None:
        stream.abort()
    return dial


async def _control(reactor: Reactor) -> float:
    """Seconds that a healthy connect takes right after a batch."""
    dial, stream = await tcp.dial(reactor, Address("203.0.113.10", 4), OPEN, reactor.now() + 2.0)
    if stream is None:
        return 2.0
    stream.abort()
    return dial.ended_s - dial.started_s


async def _idle_cpu(reactor: Reactor) -> float:
    """Share of a core while 200 connects wait for nothing."""
    waits = [_dial(reactor, KINDS["silence"]) for _ in range(200)]
    gathered = asyncio.ensure_future(asyncio.gather(*waits))
    await asyncio.sleep(0.5)
    cpu, at = time.process_time(), time.monotonic()
    await asyncio.sleep(2.0)
    share = (time.process_time() - cpu) / (time.monotonic() - at)
    await gathered
    return share


def _word(dial: Dial) -> str:
    """How it ended: errno, ICMP type and code, and whether we said it ourselves."""
    if dial.fault is None:
        return "connected"
    if dial.fault.event is Event.SILENT:
        return "silent"
    icmp = dial.fault.icmp
    words = [dial.fault.errno_name or "", f"{icmp.type}/{icmp.code}" if icmp else ""]
    return " ".join(filter(None, [*words, "self" if icmp and icmp.from_self else ""]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
