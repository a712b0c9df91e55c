"""Whatever a row holds, its line is one line: ASCII, valid JSON, at most 64 KiB."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetprobe.record.columns import EMPTY_RESULT
from fleetprobe.record.line import MOST_BYTES, encode

hostile_text = st.one_of(
    st.text(max_size=30),
    st.text('\0\x1b\x7f\x9b\u2028\u202e\ud800\udfff\uffff"\\\n\r', max_size=8),
    st.text(st.characters(categories=["Cs"]), max_size=4),
)
scalars = st.one_of(
    hostile_text,
    st.none(),
    st.booleans(),
    st.integers(-(2**80), 2**80),
    st.floats(),
    st.binary(max_size=12),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.one_of(hostile_text, st.integers()), inner, max_size=4),
        st.frozensets(scalars.filter(lambda value: value == value), max_size=3),
    ),
    max_leaves=12,
)
rows = st.dictionaries(st.sampled_from(sorted(EMPTY_RESULT)), values, max_size=8)


def read(line: bytes) -> Any:
    """The row as a strict reader gets it."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(line, parse_constant=refuse)


def check(line: bytes) -> Any:
    assert line.isascii()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert not set(line[:-1]) & {*range(32), 127}
    assert len(line) <= MOST_BYTES
    told = read(line)
    assert not any("\0" in text for text in texts(told))
    return told


def texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, names included."""
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from texts(item)
        case dict():
            for name, item in value.items():
                yield name
                yield from texts(item)


@given(rows)
def test_any_row_becomes_one_clean_line_with_every_column_it_had(row: dict[str, Any]) -> None:
    told = check(encode({**EMPTY_RESULT, **row}))
    assert list(told) == list(EMPTY_RESULT)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60))
def test_text_that_json_can_carry_is_carried_unchanged(text: str) -> None:
    assert check(encode({"summary": text, "labels": {text: text}})) == {"summary": text, "labels": {text: text}}


def test_two_names_that_clean_up_alike_do_not_break_the_line() -> None:
    check(encode({"labels": {"a\0": "1", "a\\x00": "2"}}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a list of very many", [f"203.0.113.{n % 256}" for n in range(50_000)]),
        ("one very long text", "x" * 1_000_000),
        ("long texts in a long list", ["\x1b" * 9000] * 900),
        ("a wide object", {f"key-{n}": "v" * 200 for n in range(5000)}),
        ("long names", {"k" * 9000 + str(n): "v" for n in range(50)}),
        ("wide objects in lists", [{f"key-{n}": "v" * 60 for n in range(300)} for _ in range(300)]),
        ("lists in lists in lists", [[["y" * 500] * 70] * 70] * 70),
        ("characters that take six bytes each", "\u2028" * 60_000),
    ],
)
def test_what_is_too_long_is_cut_and_marked(name: str, value: Any) -> None:
    row = {**EMPTY_RESULT, "labels": {"l": name}, "layers": value, "truncated": False}
    told = check(encode(row))
    assert told["truncated"] is True
    assert list(told) == list(EMPTY_RESULT)


def test_many_columns_long_at_once_still_fit() -> None:
    row: dict[str, Any] = {name: ["z" * 2000] * 100 for name in EMPTY_RESULT}
    row["truncated"] = False
    assert check(encode(row))["truncated"] is True


def test_a_row_that_fits_is_not_marked() -> None:
    assert check(encode({**EMPTY_RESULT, "truncated": False, "dns_answers": ["a"] * 100}))["truncated"] is False


def test_deeply_nested_values_do_not_break_the_writer() -> None:
    deep: Any = "bottom\ud800"
    for _ in range(400):
        deep = [deep]
    check(encode({"facts": deep}))
