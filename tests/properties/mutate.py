"""Runs the properties of the decision against every wrong version of it: `python -m tests.properties.mutate`.

Each mutant stands in for the module in a child process of its own, forked after everything else was imported.
The ones that live through few examples meet many. Exit 0 only if every survivor is listed in `mutants.toml`, with the
argument why it is no different, and nothing is listed that dies.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
import types
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from tests.properties.mutations import Mutant, mutants

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
MODULE, SUBJECT = "fleetprobe.decide", ROOT / "fleetprobe" / "decide.py"
TESTS = ("test_decide_worlds.py", "test_decide.py", "test_decide_supersedes.py")
FEW, MANY = 100, 600
SIDE_BY_SIDE = 2
LONGEST_S = 300


def main(report: Sequence[str]) -> int:
    """Run all; write the count to the file named, if one is. Returns the exit code."""
    started = time.monotonic()
    everything = list(mutants(SUBJECT.read_text(encoding="utf-8")))
    itself = Mutant("none", SUBJECT.read_text(encoding="utf-8"))
    if not _survivors([itself], FEW) or not _survivors([itself], MANY):
        print("the decision as it stands fails its own properties; mend that first")
        return 1
    suspects = _survivors(everything, FEW)
    print(f"{len(everything)} mutants, {len(suspects)} live through {FEW} examples a property")
    alive = {mutant.name for mutant in _survivors(suspects, MANY)}
    argued: dict[str, str] = tomllib.loads((HERE / "mutants.toml").read_text(encoding="utf-8"))
    for name in sorted(alive - set(argued)):
        print(f"ALIVE, and nobody says why: {name}")
    for name in sorted(set(argued) - alive):
        print(f"LISTED, yet it dies or is gone: {name}")
    counts = {
        "subject": "fleetprobe/decide.py",
        "mutants": len(everything),
        "killed": len(everything) - len(alive),
        "argued_equivalent": len(alive & set(argued)),
        "unexplained": len(alive - set(argued)),
        "examples_per_property": [FEW, MANY],
        "elapsed_s": round(time.monotonic() - started, 1),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": _commit(),
    }
    print(json.dumps(counts, indent=2))
    for path in report:
        Path(path).write_text(json.dumps(counts, indent=2) + "\n", encoding="utf-8")
    return 0 if alive == set(argued) else 1


def _survivors(among: Sequence[Mutant], examples: int) -> list[Mutant]:
    alive: list[Mutant] = []
    running: dict[int, Mutant] = {}
    queue = iter(among)
    while True:
        while len(running) < SIDE_BY_SIDE and (mutant := next(queue, None)) is not None:
            running[_fork(mutant, examples)] = mutant
        if not running:
            return alive
        pid, status = os.wait()
        mutant = running.pop(pid)
        if status == 0:
            alive.append(mutant)


def _fork(mutant: Mutant, examples: int) -> int:
    """The process in which the mutant meets the tests; it exits 0 if they pass, and does not live for ever."""
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(LONGEST_S)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    os._exit(_holds(mutant, examples))


def _holds(mutant: Mutant, examples: int) -> int:
    """Stand the mutant in for the real module, then run the tests that import it."""
    module = types.ModuleType(MODULE)
    sys.modules[MODULE] = module
    try:
        exec(compile(mutant.source, str(SUBJECT), "exec"), module.__dict__)
    except Exception:  # noqa: BLE001 - whatever a broken module raises, it is dead
        return 1
    settings.register_profile(
        "mutants",
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
    )
    settings.load_profile("mutants")
    # Bare pytest: the project's own settings cost more time per mutant than the tests do.
    bare = ["-x", "-q", "-c", os.devnull, "--rootdir", str(ROOT), "--noconftest", "--assert=plain"]
    return int(pytest.main([*bare, "-p", "no:cacheprovider", *(str(HERE / name) for name in TESTS)]))


def _commit() -> str | None:
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return asked.stdout.strip() if asked.returncode == 0 else None


if __name__ == "__main__":
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.exit(main(sys.argv[1:]))
