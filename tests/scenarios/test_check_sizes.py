"""`fleetprobe check` on paths that swallow large packets: the size to the byte, and what it may cost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fleetprobe.lab.fleet import ScanGroup
from fleetprobe.lab.lab import Lab
from fleetprobe.lab.scenario import LabTarget
from tests.lab.conftest import private, require_lab

pytestmark = pytest.mark.lab

Row = Mapping[str, Any]

TRUE_BYTES = {
    "mtu-hole-reverse-icmp-filtered": 1400,
    "mtu-hole-forward-silent": 1400,
    "mtu-hole-both-icmp-filtered": 1400,
    "mtu-hole-odd-size": 1437,
    "mtu-hole-jumbo": 1500,
}
MASKED = "mtu-hole-masked"
_MOST_MS, _MOST_CONNECTIONS = 10_000.0, 30
_AT_ONCE = 6


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Row]]:
    """Scenario and case to the record of a check of it, one after the other as a user asks."""
    require_lab()
    one = Lab("check-sizes", private(tmp_path_factory))
    one.up(ephemeral=True, only=(*TRUE_BYTES, MASKED))
    asked = [(group, target) for group in one.groups() for target in _of_each_kind(group)]
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            rows = list(pool.map(lambda pair: _check(one, *pair), asked))
        yield {target.case: row for (_, target), row in zip(asked, rows, strict=True)}
    finally:
        one.down()


def _of_each_kind(group: ScanGroup) -> Iterator[LabTarget]:
    """Of each scenario one target a family and scheme, as each address of it has a path of its own."""
    seen = set()
    for target in group.targets:
        kind = (target.case.partition("#")[0], target.target.partition(":")[0], "[" in target.target)
        if kind not in seen:
            seen.add(kind)
            yield target


def _check(lab: Lab, group: ScanGroup, target: LabTarget) -> Row:
    words = ["check", "--no-config", "--ca-file", str(lab.ca_file), "--format", "jsonl", "--", target.target]
    done = lab.fleetprobe(words, place=group.settings.vantage, timeout_s=60, capture=True)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    (row,) = (record for record in records if record["kind"] == "result")
    told: Row = row
    return told


def test_the_size_is_right_to_the_byte(checked: Mapping[str, Row]) -> None:
    holes = {case: row for case, row in checked.items() if case.partition("#")[0] != MASKED}
    assert len(holes) > 10
    told = {case: (row["code"], row["confidence"], row["path_mtu_bytes"]) for case, row in holes.items()}
    true = {case: ("mtu.black_hole", "proven", TRUE_BYTES[case.partition("#")[0]]) for case in holes}
    assert told == true
    assert {_facts(row)["to_the_byte"] for row in holes.values()} == {True}
    assert {_facts(row)["stalls_at_bytes"] - row["path_mtu_bytes"] for row in holes.values()} == {1}


def test_it_costs_no_more_than_is_promised(checked: Mapping[str, Row]) -> None:
    for case, row in checked.items():
        connections = [attempt for attempt in row["attempts"] if attempt["transport"] == "tcp"]
        assert row["duration_ms"] <= _MOST_MS, case
        assert len(connections) <= _MOST_CONNECTIONS, case


def test_a_hole_that_the_server_finds_a_way_around_is_told_although_the_answer_comes(
    checked: Mapping[str, Row]
) -> None:
    masked = [row for case, row in checked.items() if case.partition("#")[0] == MASKED]
    assert len(masked) == 4
    for row in masked:
        assert row["state"] == "slow"
        assert "mtu.masked" in {finding["code"] for finding in row["findings"]}
        assert _facts(row)["path_mtu_bytes"] == 1400


def _facts(row: Row) -> Mapping[str, Any]:
    """Those of the last look at sizes."""
    facts: Mapping[str, Any] = [layer["facts"] for layer in row["layers"] if layer["layer"] == "mtu"][-1]
    return facts
