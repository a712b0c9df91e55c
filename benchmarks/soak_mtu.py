"""Path MTU holes that are there, and such as are not, by the hundred: `python -m benchmarks.soak_mtu -o FILE`.

lossy: 1,000 healthy targets behind random loss each way; a hole said of any of them is wrong. holes: 208 targets behind
holes with 5 % loss besides; 95 % must be told with the right direction. clean: every kind of hole for http and https in
both families, 40 times; each must be told, with direction and size. cost: what telling took in `clean`, in time and
in connections. Every target has a path to itself. Takes six minutes; a run that was cut short goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.narrow import (
    LONG_PATH,
    NARROW_BYTES,
    Fault,
    address,
    build,
    codes_of,
    facts_of,
    serve,
    sockets_of,
    target,
)
from benchmarks.netns import enter, scan, where

SAID = frozenset({"mtu.black_hole", "mtu.masked"})
LEAST_SHARE = 0.95
"""Of the holes under loss that must be told."""
BARS_MS = {"http": 3000.0, "https": 4500.0, "both": 5500.0}
"""Until a hole is proven, at a round trip below 5 ms: one way by scheme, and both ways."""
MOST_CONNECTIONS = 12
KINDS = tuple((scheme, v6) for scheme in ("http", "https") for v6 in (False, True))
_CONCURRENCY = "25"
"""Few enough that two cores are idle most of the time."""
_ROUND_S = 300.0
_MOST_KEPT = 20


@dataclass(frozen=True, slots=True)
class Round:
    """One scan in namespaces of its own."""

    name: str
    fault: Fault
    each: int
    """Targets of each of the four kinds."""
    words: tuple[str, ...] = ()


def _lossy() -> Iterator[Round]:
    for loss in (5, 20):
        for number in range(1, 6):
            words = ("--mtu", "always") if number == 5 else ()
            yield Round(" ".join((f"{loss} %, {number}", *words)), Fault(loss=loss), 25, words)


def _holes(loss: int, each: int, ways: Sequence[tuple[bool, bool]]) -> Iterator[Round]:
    for forward, reverse in ways:
        for silent in (False, True):
            fault = Fault(forward=forward, reverse=reverse, silent=silent, loss=loss)
            yield Round(f"{fault.direction} {'silent' if silent else 'filtered'}", fault, each)


_ONE_WAY = ((True, False), (False, True))
PARTS = {
    "lossy": tuple(_lossy()),
    "holes": tuple(_holes(5, 13, _ONE_WAY)),
    "clean": tuple(_holes(0, 40, (*_ONE_WAY, (True, True)))),
    "cost": (),
}
"""Part to its scans; the cost is looked up in those of `clean`."""


def main(argv: Sequence[str]) -> int:
    """Outside: enter namespaces for each round. Exit 1 when a goal is missed."""
    options = _options(argv)
    if options.inside:
        return _inside(Path(options.inside), options)
    report: dict[str, Any] = {"soak": "mtu", **where(), "parts": {}}
    if Path(options.output).exists():
        report = json.loads(Path(options.output).read_text(encoding="utf-8"))
    parts = options.part or list(PARTS)
    for part in parts:
        done = report["parts"].setdefault(part, {})
        for one in PARTS[part]:
            if one.name in done:
                continue
            with tempfile.TemporaryDirectory() as state:
                told = Path(state) / "told.json"
                words = ["--part", part, "--round", one.name, "-o", str(told)]
                words += ["--each", str(options.each)] if options.each else []
                code = enter("benchmarks.soak_mtu", state, words, _ROUND_S + 60)
                if code:
                    return code
                done[one.name] = json.loads(told.read_text(encoding="utf-8"))
            print(f"{part:6} {one.name:24} {done[one.name]['seconds']:6.1f} s  {done[one.name]['codes']}", flush=True)
            Path(options.output).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    missed = [part for part in parts if not _CONCLUDE[part](report)]
    Path(options.output).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 1 if missed else 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="which parts; default all")
    parser.add_argument("--each", type=int, help="targets of each kind in a scan, for a trial")
    parser.add_argument("-o", "--output", required=True, help="JSON file of the results")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("--round", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _inside(state: Path, options: argparse.Namespace) -> int:
    (part,) = options.part
    one = next(one for one in PARTS[part] if one.name == options.round)
    each = options.each or one.each
    # A /24 serves one IPv4 target and a /48 one IPv6 target, so no path is shared.
    of_kind = {kind: range(each * (kind[0] == "https"), each * (1 + (kind[0] == "https"))) for kind in KINDS}
    lines = [
        target(scheme, address(number, v6), _path(scheme, one.fault))
        for (scheme, v6), numbers in of_kind.items()
        for number in numbers
    ]
    world = build(state, one.fault, [address(number, v6) for v6 in (False, True) for number in range(2 * each)])
    try:
        authority = serve(world)
        words = ("--ca-file", str(authority), "--concurrency", _CONCURRENCY, "--per-prefix", "0", *one.words)
        rows, end, took_s = scan(world, lines, "mtu", *words, timeout_s=_ROUND_S)
    finally:
        world.close()
    runs = [_run(row) for row in rows]
    wrong = [row for row, run in zip(rows, runs, strict=True) if not _right(part, one.fault, row)]
    told = {
        "results": len(rows),
        "seconds": round(took_s, 2),
        "load": where()["load"],
        "states": dict(Counter(row["state"] for row in rows)),
        "codes": dict(Counter(row["code"] or "none" for row in rows)),
        "directions": dict(Counter(str(row["path_mtu_direction"]) for row in rows)),
        "not_run": end["not_run"],
        "right": len(rows) - len(wrong),
        "runs": [run for run in runs if part == "clean"],
        "wrong": wrong if part == "lossy" else wrong[:_MOST_KEPT],
        # Nobody said a hole, and yet a column of the record holds what only a hole could have told.
        "claims": [row for row in rows if row["path_mtu_bytes"] is not None and not SAID & codes_of(row)],
    }
    Path(options.output).write_text(json.dumps(told), encoding="utf-8")
    return 0 if len(rows) == len(lines) else 1


def _path(scheme: str, fault: Fault) -> str:
    """Over http a small request meets no forward hole in its climb."""
    return LONG_PATH if scheme == "http" and fault.direction == "forward" else ""


def _right(part: str, fault: Fault, row: dict[str, Any]) -> bool:
    if part == "lossy":
        return not SAID & codes_of(row)
    told = row["code"] == "mtu.black_hole" and row["path_mtu_direction"] == fault.direction
    return told and (part == "holes" or row["path_mtu_bytes"] == NARROW_BYTES)


def _run(row: dict[str, Any]) -> dict[str, Any]:
    """What one target cost. Until the ladder had proven the hole where the facts say it, else until the verdict."""
    proven = [facts["proof_ms"] for facts in facts_of(row) if facts.get("proof_ms") is not None]
    return {
        "scheme": row["service"],
        "family": 6 if ":" in (row["server_address"] or "") else 4,
        "code": row["code"],
        "direction": row["path_mtu_direction"],
        "proof_ms": proven[0] if proven else None,
        "duration_ms": row["duration_ms"],
        "rtt_ms": row["tcp_rtt_ms"],
        "tcp": sockets_of(row, "tcp"),
        "udp": sockets_of(row, "udp"),
    }


def _conclude_lossy(report: dict[str, Any]) -> bool:
    rounds = report["parts"]["lossy"].values()
    results, right = (sum(one[name] for one in rounds) for name in ("results", "right"))
    claims = sum(len(one["claims"]) for one in rounds)
    print(f"lossy: a hole was said of {results - right} of {results} healthy targets, by a column alone of {claims}")
    return bool(right == results)


def _conclude_holes(report: dict[str, Any]) -> bool:
    rounds = report["parts"]["holes"]
    results, right = (sum(one[name] for one in rounds.values()) for name in ("results", "right"))
    missed = Counter(row["code"] or "none" for one in rounds.values() for row in one["wrong"])
    print(f"holes: {right} of {results} told under loss ({right / results:.1%}); the others {dict(missed)}")
    return bool(right >= LEAST_SHARE * results)


def _conclude_clean(report: dict[str, Any]) -> bool:
    rounds = report["parts"]["clean"]
    for name, one in rounds.items():
        print(f"clean: {name:18} {one['right']} of {one['results']} right, {one['codes']}, {one['directions']}")
    return all(one["right"] == one["results"] for one in rounds.values())


def _conclude_cost(report: dict[str, Any]) -> bool:
    """Every single run must keep within the bars, not only the middle of them."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, one in report["parts"].get("clean", {}).items():
        for run in one["runs"]:
            groups.setdefault("both" if name.startswith("both") else run["scheme"], []).append(run)
    if not groups:
        print("cost: nothing to look at before part clean was run")
        return False
    met, costs = [], report["parts"]["cost"]
    for name, runs in sorted(groups.items()):
        measured = "proof_ms" if any(run["proof_ms"] is not None for run in runs) else "duration_ms"
        spread = _spread([run[measured] for run in runs if run[measured] is not None])
        tcp, udp = (_spread([run[transport] for run in runs]) for transport in ("tcp", "udp"))
        costs[name] = {
            "runs": len(runs),
            measured: spread,
            "bar_ms": BARS_MS[name],
            "tcp": tcp,
            "bar_tcp": MOST_CONNECTIONS,
            "udp": udp,
            "rtt_ms": _spread([run["rtt_ms"] for run in runs if run["rtt_ms"] is not None]),
        }
        met.append(spread["most"] <= BARS_MS[name] and tcp["most"] <= MOST_CONNECTIONS)
        print(f"cost: {name:6} {measured} {spread}, at most {BARS_MS[name]:.0f}; tcp {tcp}; udp {udp}")
    return all(met)


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Least, middle, 95th of a hundred, most."""
    ordered = sorted(values) or [0.0]
    return {
        "least": ordered[0],
        "median": statistics.median(ordered),
        "p95": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
        "most": ordered[-1],
    }


_CONCLUDE = {
    "lossy": _conclude_lossy, "holes": _conclude_holes, "clean": _conclude_clean, "cost": _conclude_cost,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
