"""Every scenario of the laboratory once, in both families, scanned by the real program: verdicts, costs and records."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jsonschema
import pytest

from fleetprobe.lab.fleet import load_fleet
from fleetprobe.lab.grade import grade
from fleetprobe.lab.lab import Lab
from fleetprobe.lab.scenario import LabTarget
from fleetprobe.record.columns import schema
from tests.cli.program import environment
from tests.lab.conftest import require_lab

pytestmark = pytest.mark.lab

Row = Mapping[str, Any]

_MOST_HANDSHAKES = 8
_MOST_SOCKETS = 40
_MOST_OF_ANY = 12
"""Connections to one address, the ladder of sizes included."""
_MOST_MS = 4_000.0
_MOST_MS_TO_PROVE, _STALLS, _STALL_RTTS = 5_500.0, 4, 8
"""A path MTU fault: in both directions, and for each stall of a ladder eight round trips more."""
_THINKS_MS = {"198.18.200.136": 1000.0, "2001:db8:b::136": 1000.0}
"""Servers that take so long for an answer; each step of a ladder takes that longer."""
_GRAIN_MS = 250.0
"""What a loop with a few hundred others in flight may add."""
_BY_CHANCE = frozenset({"loss-at-random", "mtu-hole-with-loss"})
"""Where packets are lost at random, no time and no number of attempts can be promised."""
_PHASES = (
    "queue_ms", "dns_duration_ms", "tcp_connect_duration_ms", "tls_handshake_duration_ms",
    "http_time_to_first_byte_ms", "witness_ms", "unattributed_ms",
)


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sequence[Row], Sequence[LabTarget]]:
    """All records of one scan of the whole fleet, and what was expected of its targets."""
    require_lab()
    path = tmp_path_factory.mktemp("scan") / "lab.jsonl"
    one = Lab("scenarios-test")
    one.up(ephemeral=True)
    try:
        targets = [target for group in one.groups() for target in group.targets]
        command = [sys.executable, "-m", "fleetprobe", "lab", "scan", "--name", "scenarios-test", "-o", str(path)]
        done = subprocess.run(
            command, env=environment(), capture_output=True, text=True, timeout=240, check=False
        )
    finally:
        one.down()
    assert done.returncode in (0, 1), done.stderr
    with path.open(encoding="ascii") as lines:
        return [json.loads(line) for line in lines], targets


@pytest.fixture(scope="module")
def rows(scanned: tuple[Sequence[Row], Sequence[LabTarget]]) -> Sequence[Row]:
    return [record for record in scanned[0] if record["kind"] == "result"]


@pytest.mark.parametrize("scenario", [scenario.name for scenario in load_fleet()])
def test_every_target_gets_its_verdict(
    scanned: tuple[Sequence[Row], Sequence[LabTarget]], scenario: str
) -> None:
    records, targets = scanned
    own = [target for target in targets if target.case.partition("#")[0] == scenario]
    assert own
    wrong = {row.case: f"{row.found}: {row.why}" for row in grade(records, own) if row.why}
    assert wrong == {}


def test_every_line_is_as_the_schema_says(scanned: tuple[Sequence[Row], Sequence[LabTarget]]) -> None:
    validator = jsonschema.Draft202012Validator(schema())
    assert [error.message for record in scanned[0] for error in validator.iter_errors(record)] == []


def test_the_phases_of_every_target_add_up(rows: Sequence[Row]) -> None:
    off = {
        row["target"]: (row["duration_ms"], told)
        for row in rows
        if abs(row["duration_ms"] - (told := sum(row[phase] or 0.0 for phase in _PHASES))) > 0.01
    }
    assert off == {}


def test_a_target_that_is_well_costs_one_connection_an_address(rows: Sequence[Row]) -> None:
    well = [row for row in rows if row["state"] == "ok" and not row["findings"]]
    assert len(well) > 20
    for row in well:
        # The first on a path may pay for all that come after it; its connections say so.
        dialled = Counter(attempt["address"] for attempt in row["attempts"] if attempt["purpose"] == "climb")
        assert {attempt["purpose"] for attempt in row["attempts"] if attempt["transport"] == "tcp"} <= {"climb", "mtu"}
        assert set(dialled.values()) <= {1}, (row["target"], row["attempts"])


def test_a_target_that_fails_costs_no_more_than_is_promised(rows: Sequence[Row]) -> None:
    dear = {}
    for row in (row for row in rows if row["labels"]["case"].partition("#")[0] not in _BY_CHANCE):
        sockets = Counter(attempt["address"] for attempt in row["attempts"])
        handshakes = Counter(
            attempt["address"]
            for attempt in row["attempts"]
            if attempt["transport"] == "tcp" and attempt["purpose"] not in ("walk", "origin", "mtu")
        )
        every = Counter(
            attempt["address"]
            for attempt in row["attempts"]
            if attempt["transport"] == "tcp" and attempt["purpose"] not in ("walk", "origin")
        )
        assert max(every.values(), default=0) <= _MOST_OF_ANY, row["target"]
        spent_ms = row["duration_ms"] - row["queue_ms"] - (row["dns_duration_ms"] or 0.0)
        if (
            max(handshakes.values(), default=0) > _MOST_HANDSHAKES
            or max(sockets.values(), default=0) > _MOST_SOCKETS
            or spent_ms > _most_ms(row) + _GRAIN_MS
        ):
            dear[row["labels"]["case"], row["code"]] = (dict(handshakes), dict(sockets), spent_ms)
    assert dear == {}


def _most_ms(row: Row) -> float:
    if not any(layer["layer"] == "mtu" for layer in row["layers"]):
        return _MOST_MS
    stalls_ms = _STALL_RTTS * (row["tcp_rtt_ms"] or 0.0) + _THINKS_MS.get(row["server_address"], 0.0)
    return _MOST_MS_TO_PROVE + _STALLS * stalls_ms
