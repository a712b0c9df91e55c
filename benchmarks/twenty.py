"""The laboratory again and again: every target must get its verdict every time. `python -m benchmarks.twenty`."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main(argv: Sequence[str]) -> int:
    """Scan the laboratory so many times, write the count. Exit 1 if any verdict was ever wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("-o", "--output", help="write the counts to this JSON file")
    options = parser.parse_args(argv)
    right, elapsed, targets, words = 0, [], 0, []
    for number in range(1, options.times + 1):
        code, seconds, targets, said = _once(f"soak-{number}")
        right += code == 0
        elapsed.append(round(seconds, 1))
        print(f"{number:3}  {'right' if code == 0 else f'exit {code}'}  {seconds:5.1f} s")
        if code:
            words.append({"run": number, "exit_code": code, "said": said[-2000:]})
            print(said)
    counts = {
        "benchmark": "twenty",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": _commit(),
        "kernel": platform.release(),
        "runs": options.times,
        "right": right,
        "targets": targets,
        "elapsed_s": elapsed,
        "wrong": words,
    }
    if options.output:
        Path(options.output).write_text(json.dumps(counts, indent=2) + "\n", encoding="utf-8")
    return 0 if right == options.times else 1


def _once(name: str) -> tuple[int, float, int, str]:
    """Exit code, seconds, results, and what differed."""
    with tempfile.TemporaryDirectory() as folder:
        records = Path(folder) / "records.jsonl"
        command = [sys.executable, "-m", "fleetprobe", "lab", "scan", "--wrong", "--name", name, "-o", str(records)]
        started = time.monotonic()
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
        seconds = time.monotonic() - started
        lines = records.read_bytes().splitlines() if records.exists() else []
    results = sum(json.loads(line)["kind"] == "result" for line in lines)
    return ran.returncode, seconds, results, ran.stdout + ran.stderr


def _commit() -> str | None:
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return asked.stdout.strip() if asked.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
