"""All inventories of a run as one stream of entries: opens, picks the reader, keeps the limit."""

from __future__ import annotations

import itertools
import os.path
import sys
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import BinaryIO, assert_never

from fleetprobe.inventory.csv import MAPPABLE
from fleetprobe.inventory.csv import rows as csv_rows
from fleetprobe.inventory.jsonl import rows as jsonl_rows
from fleetprobe.inventory.lines import read_line
from fleetprobe.inventory.lines import rows as line_rows
from fleetprobe.inventory.physical import Line, numbered
from fleetprobe.inventory.refused import bad_line, shown, utf8
from fleetprobe.inventory.row import Read, Row
from fleetprobe.inventory.spec import expand
from fleetprobe.inventory.yaml import rows as yaml_rows
from fleetprobe.model.target import Entry

MAX_TARGETS = 1_000_000
STDIN = "-"


class InventoryError(Exception):
    """An inventory that cannot be read at all: a usage error. The message is one line for the user."""


class Format(StrEnum):
    """How an inventory is written."""

    LINES = "lines"
    CSV = "csv"
    JSONL = "jsonl"
    YAML = "yaml"


_BY_EXTENSION = {
    ".csv": Format.CSV, ".tsv": Format.CSV, ".jsonl": Format.JSONL, ".ndjson": Format.JSONL,
    ".yaml": Format.YAML, ".yml": Format.YAML,
}


def entries(
    paths: Sequence[str],
    arguments: Sequence[str] = (),
    *,
    mapping: Mapping[str, str] | None = None,
    max_targets: int = MAX_TARGETS,
    form: Format | None = None,
    stdin: BinaryIO | None = None,
) -> Iterator[Entry]:
    """
    The entries of `arguments` (written like plain lines), then of each file in `paths`; `-` is stdin.

    `form` overrules the file extension; where neither tells, a first character `{` means JSON lines and
    anything else plain lines. `mapping` gives CSV columns to fields. Every entry counts towards
    `max_targets`: a network too large for what is left is one `BadLine`; a list that goes on beyond the
    limit ends with one.

    Raises `InventoryError` at once for a file that cannot be opened, and while iterating for one that
    cannot be read further.
    """
    if wrong := [field for field in mapping or {} if field not in MAPPABLE]:
        raise InventoryError(f"--map knows no field {shown(wrong[0])}; known are {', '.join(MAPPABLE)}")
    if list(paths).count(STDIN) > 1:
        raise InventoryError("standard input (-) can be read only once")
    files = [(path, _opened(path, stdin)) for path in paths]
    return _limited(_read_all(arguments, files, mapping or {}, form), max_targets)


def _opened(path: str, stdin: BinaryIO | None) -> BinaryIO:
    if path == STDIN:
        return stdin if stdin is not None else sys.stdin.buffer
    try:
        return open(path, "rb")
    except OSError as error:
        raise InventoryError(f"cannot read {shown(path)}: {error.strerror}") from error
    except ValueError as error:
        raise InventoryError(f"cannot read {shown(path)}: not a file name") from error


def _read_all(
    arguments: Sequence[str],
    files: Sequence[tuple[str, BinaryIO]],
    mapping: Mapping[str, str],
    form: Format | None,
) -> Iterator[tuple[Read, str]]:
    """Rows with the directory their relative paths start from."""
    for place, argument in enumerate(arguments, start=1):
        source = f"argv:{place}"
        row = read_line(argument, source)
        yield row if row is not None else bad_line(source, argument, "the argument names no target"), ""
    for path, stream in files:
        name = "stdin" if path == STDIN else utf8(path)
        base = "" if path == STDIN else os.path.dirname(path)
        try:
            for row in _rows(stream, name, form or _BY_EXTENSION.get(_extension(path)), mapping):
                yield row, base
        except OSError as error:
            raise InventoryError(f"cannot read {shown(path)} further: {error.strerror}") from error
        finally:
            if path != STDIN:
                stream.close()


def _extension(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _rows(stream: BinaryIO, name: str, form: Format | None, mapping: Mapping[str, str]) -> Iterator[Read]:
    lines = numbered(stream)
    if form is None:
        form, lines = _sniffed(lines)
    match form:
        case Format.LINES:
            return line_rows(lines, name)
        case Format.CSV:
            return csv_rows(lines, name, mapping)
        case Format.JSONL:
            return jsonl_rows(lines, name)
        case Format.YAML:
            return yaml_rows(stream, name)
        case _:
            assert_never(form)


def _sniffed(lines: Iterator[Line]) -> tuple[Format, Iterator[Line]]:
    first = next((line for line in lines if line.text.strip(" \t")), None)
    if first is None:
        return Format.LINES, iter(())
    form = Format.JSONL if first.text.lstrip(" \t").startswith("{") else Format.LINES
    return form, itertools.chain([first], lines)


def _limited(reads: Iterator[tuple[Read, str]], max_targets: int) -> Iterator[Entry]:
    room = max_targets
    for read, base in reads:
        if room <= 0:
            reason = f"the limit of {max_targets} targets is reached; the rest was not read"
            yield bad_line(read.source, read.raw, reason)
            return
        for entry in expand(read, base, room) if isinstance(read, Row) else (read,):
            room -= 1
            yield entry
