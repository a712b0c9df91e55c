"""The zoo again and again, in other orders and by other Pythons: `python -m benchmarks.soak_zoo -o FILE`.

Twenty shuffled orders: every verdict must be right in each, and the verdicts of all orders the same, once what a run
amends at its end has been put in. Where FIN or RST is a race, the book has both codes, and they count as one. Then one
scan by each further interpreter, in a fresh environment made from the lock: python3.11, python3.12 and python3.13 of
PATH, as far as they are there and not our own, and each `--python`.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.netns import ROOT, where
from tests.zoo.book import Server
from tests.zoo.scan import scan, verdicts, wrong
from tests.zoo.stand import Zoo, standing

_USUAL = ("python3.11", "python3.12", "python3.13")
_INSTALL_S = 600.0
_LOCK = ROOT / "requirements" / "run.txt"


def main(argv: Sequence[str]) -> int:
    """Exit 1 when a verdict was ever wrong, or not what it was in another order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--python", action="append", default=[], help="a further interpreter; repeatable")
    parser.add_argument("-o", "--output", required=True)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="fleetprobe-zoo-") as folder:
        directory = Path(folder)
        (directory / "zoo").mkdir()
        with standing(directory / "zoo") as zoo:
            orders = [_order(zoo, directory, seed) for seed in range(options.seed, options.seed + options.orders)]
            pythons = [_by(python, zoo, directory) for python in _interpreters(options.python)]
    report = {"soak": "zoo", **where(), "python": platform.python_version(), **_summary(zoo, orders, pythons)}
    Path(options.output).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({name: report[name] for name in ("servers", "orders_right", "orders_alike", "pythons_right")}))
    return int(not (report["orders_right"] == report["orders_alike"] == options.orders and report["pythons_right"]))


def _order(zoo: Zoo, directory: Path, seed: int) -> dict[str, Any]:
    """One scan in the order of the seed."""
    records, seconds = _timed(zoo, directory / f"order-{seed}.jsonl", seed, sys.executable)
    amended = sum(record["kind"] == "amend" for record in records)
    told = verdicts(records)
    found = {"seed": seed, "seconds": seconds, "amended": amended, "wrong": wrong(zoo, records)}
    print(json.dumps(found), flush=True)
    classes = {server.name: _class(server, told.get(server.name, ("none", ""))) for server in zoo.servers}
    return {**found, "verdicts": classes}


def _class(server: Server, told: Sequence[str]) -> tuple[str, ...]:
    """The verdict; where the book has several codes, as a race decides between them, they are one."""
    state, code, *rest = told
    alike = server.expect.code
    return (state, " or ".join(alike) if code in alike else code, *rest)


def _timed(zoo: Zoo, output: Path, seed: int, python: str) -> tuple[list[Any], float]:
    started = time.monotonic()
    records = scan(zoo, output, seed=seed, python=python)
    return records, round(time.monotonic() - started, 1)


def _by(python: str, zoo: Zoo, directory: Path) -> dict[str, Any]:
    """One scan by another interpreter, in an environment of its own."""
    version = _version(python)
    place = directory / f"python-{version}"
    for command in (
        [python, "-m", "venv", str(place)],
        [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--require-hashes", "-r", str(_LOCK)],
    ):
        subprocess.run(command, check=True, timeout=_INSTALL_S, stdin=subprocess.DEVNULL)
    records, seconds = _timed(zoo, directory / f"python-{version}.jsonl", 0, str(place / "bin" / "python"))
    said = next(record for record in records if record["kind"] == "run_start")
    found = {
        "python": said["python_version"], "openssl": said["openssl_versions"], "seconds": seconds,
        "wrong": wrong(zoo, records),
    }
    print(json.dumps(found), flush=True)
    return found


def _interpreters(given: Sequence[str]) -> Iterator[str]:
    """Those that run, each version once, our own not again."""
    seen = {platform.python_version()}
    for python in (*given, *filter(None, map(shutil.which, _USUAL))):
        version = _version(python)
        if version and version not in seen:
            seen.add(version)
            yield python


def _version(python: str) -> str | None:
    """What it calls itself; None when it does not start, as a shim without a version behind it."""
    asked = subprocess.run(
        [python, "-c", "import platform; print(platform.python_version())"], capture_output=True, text=True,
        stdin=subprocess.DEVNULL, check=False, timeout=60,
    )
    return asked.stdout.strip() if asked.returncode == 0 else None


def _summary(zoo: Zoo, orders: Sequence[dict[str, Any]], pythons: Sequence[dict[str, Any]]) -> dict[str, Any]:
    first = orders[0]["verdicts"]
    differing = {
        order["seed"]: {name: (first[name], told) for name, told in order["verdicts"].items() if told != first[name]}
        for order in orders if order["verdicts"] != first
    }
    return {
        "servers": len(zoo.servers),
        "players": dict(Counter(type(server.player).__name__ for server in zoo.servers)),
        "verdicts": dict(Counter(told[1] or told[0] for told in first.values()).most_common()),
        "orders": len(orders),
        "orders_right": sum(not order["wrong"] for order in orders),
        "orders_alike": len(orders) - len(differing),
        "amended": [order["amended"] for order in orders],
        "seconds": [order["seconds"] for order in orders],
        "differing": differing,
        "wrong": {order["seed"]: order["wrong"] for order in orders if order["wrong"]},
        "pythons_right": all(not one["wrong"] for one in pythons),
        "pythons": list(pythons),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
