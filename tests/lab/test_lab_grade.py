"""Grading sees every kind of difference, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from fleetprobe.lab.grade import Grade, grade
from fleetprobe.lab.scenario import Expectation, LabTarget

TARGET = LabTarget(
    case="reset#1", target="http://203.0.113.9/", fields={}, lookalike="closed",
    expect=Expectation(
        state=("fail",), code=("tcp.reset",), confidence=("observed",), findings=("ip.address_partial",),
        says=("203.0.113.9",), without=("mtu.black_hole",),
        columns={"path_mtu_direction": "reverse", "path_mtu_bytes": 1400},
    ),
)


def record(**changes: Any) -> dict[str, Any]:
    good = {
        "kind": "result", "result_id": "r1", "labels": {"case": "reset#1"}, "state": "fail",
        "code": "tcp.reset", "confidence": "observed", "findings": [{"code": "ip.address_partial"}],
        "duration_ms": 3.5, "summary": "203.0.113.9:80 sent RST",
        "path_mtu_direction": "reverse", "path_mtu_bytes": 1400,
    }
    return {**good, **changes}


def test_the_expected_record_is_right() -> None:
    (row,) = grade([{"kind": "run_start"}, record(), {"kind": "run_end"}], [TARGET])
    assert (row.grade, row.why, row.scenario, row.duration_ms) == (Grade.RIGHT, "", "reset", 3.5)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"state": "ok"}, "state ok, not fail"),
        ({"code": None}, "code none, not tcp.reset"),
        ({"confidence": "inferred"}, "confidence inferred, not observed"),
        ({"findings": []}, "finding ip.address_partial is missing"),
        ({"path_mtu_bytes": 1399}, "path_mtu_bytes 1399, not 1400"),
        ({"path_mtu_direction": None}, "path_mtu_direction None, not reverse"),
        (
            {"findings": [{"code": "ip.address_partial"}, {"code": "mtu.black_hole"}]},
            "finding mtu.black_hole is wrong",
        ),
        ({"summary": "sent RST"}, "the summary does not name 203.0.113.9"),
    ],
)
def test_each_difference_is_named(changes: dict[str, Any], why: str) -> None:
    (row,) = grade([record(**changes)], [TARGET])
    assert (row.grade, row.why) == (Grade.WRONG, why)


def test_a_target_without_a_record_is_missing() -> None:
    (row,) = grade([record(labels={"case": "other#1"})], [TARGET])
    assert (row.grade, row.found) == (Grade.MISSING, None)


def test_an_amendment_replaces_columns_before_grading() -> None:
    amend = {"kind": "amend", "result_id": "r1", "fields": {"confidence": "observed"}}
    (row,) = grade([record(confidence="inferred"), amend], [TARGET])
    assert row.grade is Grade.RIGHT


def test_a_confidence_that_is_not_expected_is_not_looked_at() -> None:
    relaxed = LabTarget(
        case="reset#1", target="t", fields={}, lookalike="closed",
        expect=Expectation(state=("fail",), code=("tcp.reset",)),
    )
    (row,) = grade([record(confidence="proven")], [relaxed])
    assert row.grade is Grade.RIGHT


@pytest.mark.parametrize(
    ("found", "why"),
    [("observed", ""), ("inferred", ""), ("proven", "confidence proven, not observed or inferred")],
)
def test_of_several_confidences_any_is_right(found: str, why: str) -> None:
    either = LabTarget(
        case="reset#1", target="t", fields={}, lookalike="closed",
        expect=Expectation(state=("fail",), code=("tcp.reset",), confidence=("observed", "inferred")),
    )
    (row,) = grade([record(confidence=found)], [either])
    assert row.why == why
    assert str(either.expect) == "fail tcp.reset observed or inferred"


CHANCE = LabTarget(
    case="reset#1", target="t", fields={}, lookalike="hole",
    expect=Expectation(state=("ok", "slow"), without=("mtu.black_hole",)),
)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"state": "ok", "code": None, "findings": []}, ""),
        ({"state": "slow", "code": "tcp.syn_retransmit"}, ""),
        ({"state": "fail"}, "state fail, not ok or slow"),
        ({"state": "slow", "code": "mtu.black_hole"}, "finding mtu.black_hole is wrong"),
        ({"state": "ok", "code": None, "findings": [{"code": "mtu.black_hole"}]}, "finding mtu.black_hole is wrong"),
    ],
)
def test_where_the_state_is_chance_the_code_is_open_but_for_what_would_be_wrong(
    changes: dict[str, Any], why: str
) -> None:
    (row,) = grade([record(**changes)], [CHANCE])
    assert row.why == why


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ("mtu.black_hole", ""), ("http.timeout", ""),
        ("tcp.reset", "code tcp.reset, not mtu.black_hole or http.timeout"),
        (None, "code none, not mtu.black_hole or http.timeout"),
    ],
)
def test_of_several_codes_any_is_right(found: str | None, why: str) -> None:
    either = LabTarget(
        case="reset#1", target="t", fields={}, lookalike="closed",
        expect=Expectation(state=("fail",), code=("mtu.black_hole", "http.timeout")),
    )
    (row,) = grade([record(code=found)], [either])
    assert row.why == why


def test_a_code_beside_a_state_that_has_none_is_wrong() -> None:
    healthy = LabTarget(case="reset#1", target="t", fields={}, lookalike="closed", expect=Expectation(state=("ok",)))
    (row,) = grade([record(state="ok")], [healthy])
    assert row.why == "code tcp.reset, not none"
