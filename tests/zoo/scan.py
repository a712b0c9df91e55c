"""One scan of the zoo by the command line, and what is wrong with its verdicts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fleetprobe.lab.grade import grade
from fleetprobe.lab.programs import child_environment
from fleetprobe.lab.scenario import LabTarget
from fleetprobe.record.amend import apply_amends
from tests.zoo.book import Server
from tests.zoo.stand import Zoo

Row = Mapping[str, Any]

SCAN_S = 120.0
_EXIT_CODES = (0, 1)
_AT_ONCE = 12


def scan(zoo: Zoo, output: Path, *, seed: int = 0, python: str = sys.executable) -> list[Row]:
    """All records of one run, in the order of the seed. Raises RuntimeError where the run itself went wrong."""
    stores = (f"{name}={zoo.directory / name}.pem" for name in sorted({*_labels(zoo)}))
    command = [
        python, "-m", "fleetprobe", "scan", "-i", str(zoo.inventory), "-o", str(output), "--no-config", "-q",
        "--seed", str(seed), "--allow", "127.0.0.0/8", "--allow", "::1/128", "--vantage", "zoo",
        # Some verdicts rest on trials of less than a second: they are not to wait for each other on a busy machine.
        "--concurrency", str(_AT_ONCE),
        # Nothing is learnt from an earlier run, and none learns from this one.
        "--pool", "none",
        *(word for store in stores for word in ("--trust-store", store)),
    ]
    ran = subprocess.run(
        command, env=child_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=SCAN_S,
    )
    if ran.returncode not in _EXIT_CODES:
        raise RuntimeError(f"the scan ended with {ran.returncode}: {ran.stderr[-2000:]}")
    with open(output, encoding="ascii") as lines:
        return [json.loads(line) for line in lines]


def _labels(zoo: Zoo) -> Iterator[str]:
    """Bundles that targets call by a label."""
    for server in zoo.servers:
        if len(server.stores) > 1:
            yield from server.stores


def wrong(zoo: Zoo, records: Sequence[Row]) -> dict[str, str]:
    """What differs from the book, by the name of the server; amendments count."""
    rows = results(records)
    lacking = {server.name: why for server in zoo.servers if (why := _lacking(server, rows.get(server.name)))}
    return {**lacking, **_misjudged(zoo, records)}


def _lacking(server: Server, row: Row | None) -> str:
    """Which facts are not as the book says, in a few words."""
    told = [one["facts"] for one in (*row["layers"], *row["findings"])] if row else []
    return "; ".join(
        f"{name} is never {wanted}" for name, wanted in server.facts.items()
        if not any(facts.get(name) == wanted for facts in told)
    )


def _misjudged(zoo: Zoo, records: Sequence[Row]) -> dict[str, str]:
    targets = [
        LabTarget(case=server.name, target=server.target, fields=server.fields, expect=server.expect, lookalike="")
        for server in zoo.servers
    ]
    return {row.case: f"{row.found}: {row.why}" for row in grade(records, targets) if row.why}


def verdicts(records: Sequence[Row]) -> dict[str, tuple[str, ...]]:
    """By the name of the server: state, code and confidence, then all findings in alphabetical order."""
    return {
        name: (
            row["state"], row["code"] or "", row["confidence"] or "",
            *sorted({finding["code"] for finding in row["findings"] if finding["code"]}),
        )
        for name, row in results(records).items()
    }


def results(records: Sequence[Row]) -> dict[str, Row]:
    """The last word on each target, by the name of its server: results with what a run amends at its end."""
    return {row["labels"]["case"]: row for row in apply_amends(records)}
