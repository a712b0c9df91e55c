"""The published schema is itself valid, and closed: every column there, no other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from fleetprobe.model.target import BadLine
from fleetprobe.record.columns import EMPTY_RESULT, KINDS, RESULT, schema
from fleetprobe.record.line import encode
from fleetprobe.record.result import bad_line_row

VALIDATOR = Draft202012Validator(schema())

GOOD_END: dict[str, Any] = {
    "kind": "run_end",
    "schema_version": "1.0",
    "run_id": "r",
    "seq": 3,
    "vantage": "here",
    "ended_at": "2026-01-01T00:00:00.000000Z",
    "elapsed_ms": 1.5,
    "outcome": "completed",
    "exit_code": 0,
    "results": 1,
    "not_run": 0,
    "duplicates": 0,
    "counts_by_state": {"ok": 1},
    "counts_by_code": {},
    "lines": 2,
    "lines_sha256": "A" * 64,
}


def test_the_schema_is_valid_json_schema_2020_12() -> None:
    Draft202012Validator.check_schema(schema())


def test_every_kind_says_which_it_is_and_is_closed() -> None:
    definitions = schema()["$defs"]
    assert set(definitions) == set(KINDS)
    for kind, definition in definitions.items():
        assert definition["properties"]["kind"] == {"const": kind}
        assert definition["additionalProperties"] is False
        assert set(definition["required"]) == set(definition["properties"])


def test_a_row_that_misses_a_column_or_has_one_too_many_is_refused() -> None:
    assert VALIDATOR.is_valid(GOOD_END)
    for name in GOOD_END:
        assert not VALIDATOR.is_valid({key: value for key, value in GOOD_END.items() if key != name})
    assert not VALIDATOR.is_valid({**GOOD_END, "surprise": 1})


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("seq", -1),
        ("elapsed_ms", "1"),
        ("outcome", "fine"),
        ("lines_sha256", "a" * 64),
        ("counts_by_state", {"ok": -1}),
    ],
)
def test_a_column_of_the_wrong_shape_is_refused(column: str, value: object) -> None:
    assert not VALIDATOR.is_valid({**GOOD_END, column: value})


@given(source=st.text(max_size=30), raw=st.text(max_size=60), reason=st.text(max_size=300))
def test_whatever_line_names_no_target_its_record_is_valid(source: str, raw: str, reason: str) -> None:
    row = bad_line_row(BadLine(source=source, raw=raw, reason=reason), "run", "here", 7, 0.0)
    told = json.loads(encode(row))
    VALIDATOR.validate(told)
    assert (told["state"], told["code"], told["layer"]) == ("unknown", "input.invalid", "input")


def test_the_empty_result_has_every_column_in_the_order_of_the_table() -> None:
    assert list(EMPTY_RESULT) == list(RESULT)
    assert set(EMPTY_RESULT.values()) == {None}
