"""Issuers fetched by the real program in the laboratory: who was asked, how often, and who was left alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from fleetprobe.lab.grade import grade
from fleetprobe.lab.lab import Lab
from fleetprobe.record.amend import apply_amends
from tests.lab.conftest import require_lab

pytestmark = pytest.mark.lab

Row = Mapping[str, Any]
FETCHED, LURED = "issuer-at-its-url", "issuer-url-leads-inside"
OUTSIDE = {"203.0.113.111", "2001:db8:3::111"}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    require_lab()
    one = Lab("aia-test")
    one.up(only=(FETCHED, LURED), ephemeral=True)
    try:
        yield one
    finally:
        one.down()


def scan(lab: Lab, scenario: str, output: Path, *args: str) -> tuple[Sequence[Row], list[str]]:
    """The records of its group, and what differs from the expectation."""
    (group,) = (one for one in lab.groups() if one.targets[0].case.startswith(scenario))
    done = lab.scan(group, output, args=["--no-config", "--quiet", *args], capture=True, timeout_s=60)
    assert done.returncode == 1, done.stderr
    records = [json.loads(line) for line in output.read_text().splitlines()]
    return records, [f"{row.case} {row.why}" for row in grade(records, group.targets) if row.why]


def results(records: Sequence[Row]) -> list[Row]:
    return [record for record in records if record["kind"] == "result"]


def asked(rows: Sequence[Row]) -> list[tuple[str, int]]:
    """Every socket that went an errand."""
    attempts = [attempt for row in rows for attempt in row["attempts"]]
    return [(attempt["address"], attempt["port"]) for attempt in attempts if attempt["purpose"] == "aia"]


def urls(row: Row) -> list[tuple[str, str]]:
    told = (layer["facts"].get("aia", ()) for layer in row["layers"] if layer["layer"] == "tls")
    return [(one["url"], one["outcome"]) for some in told for one in some]


@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_one_fetch_serves_all_who_lack_the_same(lab: Lab, tmp_path: Path, seed: str) -> None:
    records, wrong = scan(lab, FETCHED, tmp_path / "out.jsonl", "--seed", seed)
    assert wrong == []
    rows = results(records)
    ((address, port),) = asked(rows)
    assert (address in OUTSIDE, port) == (True, 80)
    for row in rows:
        outcome = "other certificate" if ":9443" in row["target"] else "issuer"
        assert set(urls(row)) <= {("http://ca-outside.lab.test/hidden.cer", outcome)}
    settled = list(apply_amends(records))
    missing = [row for row in settled if row["code"] == "tls.missing_intermediate"]
    assert len(missing) == 3
    kept = {record["sha256"] for record in records if record["kind"] == "certificate"}
    steps = [step for row in missing for step in row["layers"]]
    named = {one["sha256"] for step in steps for one in step["facts"].get("missing", ())}
    assert len(named) == 1
    assert named <= kept


def test_nothing_is_sent_where_a_certificate_must_not_lead(lab: Lab, tmp_path: Path) -> None:
    records, wrong = scan(lab, LURED, tmp_path / "out.jsonl")
    assert wrong == []
    rows = results(records)
    assert asked(rows) == []
    touched = {attempt["address"] for row in rows for attempt in row["attempts"]}
    assert touched <= {"203.0.113.112", "2001:db8:3::112"}
    assert sorted({told for row in rows for told in urls(row)}) == [
        ("http://127.0.0.1/hidden.cer", "address denied"),
        ("http://ca-inside.lab.test/hidden.cer", "address denied"),
        ("http://ca-inside.lab.test:8080/hidden.cer", "url refused"),
    ]


def test_without_the_flag_it_is_only_told_that_there_is_a_place(lab: Lab, tmp_path: Path) -> None:
    target = "https://fetchable.lab.test/"
    output = tmp_path / "out.jsonl"
    words = ["scan", "--no-config", "--quiet", "--ca-file", str(lab.ca_file), "-o", str(output), target]
    assert lab.fleetprobe(words, timeout_s=60, capture=True).returncode == 1
    (row,) = results([json.loads(line) for line in output.read_text().splitlines()])
    assert row["code"] == "tls.issuer_unknown"
    (facts,) = (layer["facts"] for layer in row["layers"] if layer["layer"] == "tls")
    assert facts["aia_offered"] is True
    assert asked([row]) == []
