"""CSV with a header line: known columns are fields, all others become labels."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from fleetprobe.inventory.fields import FIELDS, LABEL_KEY_CHARS, LABEL_VALUE_CHARS, LABELS_MAX
from fleetprobe.inventory.lines import LABEL_PREFIX
from fleetprobe.inventory.physical import LINE_BYTES, Line
from fleetprobe.inventory.refused import Refused, bad_line, shown
from fleetprobe.inventory.row import Read, Row
from fleetprobe.model.safe import printable

HOST_COLUMNS = ("host", "hostname", "name", "fqdn", "ip", "address", "target", "url")
MAPPABLE = ("host", *(name for name in FIELDS if name != "labels"))
"""What the left side of `--map FIELD=COLUMN` may be."""

_ROW_LINES_MAX = 1000
_COLUMNS_MAX = 1024


def rows(lines: Iterable[Line], name: str, mapping: Mapping[str, str]) -> Iterator[Read]:
    """
    One `Row` or `BadLine` for each row that is not blank.

    The header line decides the delimiter (comma, semicolon or tab) and the columns; `mapping` names the
    column of a field where the header does not. A header that cannot be used is one `BadLine` and ends the
    file. So does a quote that never closes: behind it nobody knows where a row begins, and half a row must
    not be taken for a target. Labels from unknown columns are cut to size, white space in them collapsed.
    """
    feed = _Feed(lines)
    header = feed.header()
    if header is None:
        return
    try:
        if header.problem:
            raise Refused(header.problem)
        delimiter = _delimiter(header.text)
        columns = _Columns.of(next(csv.reader([header.text], delimiter=delimiter, strict=True)), mapping)
    except (Refused, csv.Error) as problem:
        reason = f"{printable(str(problem))}; nothing behind the header was read"
        yield bad_line(f"{name}:{header.number}", header.text, reason)
        return
    yield from _body(feed, name, delimiter, columns)


class _Feed:
    """Lines for `csv.reader`, which pulls several for one row when a quoted cell holds line breaks."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = iter(lines)
        self._row: list[Line] = []
        self._chars = 0

    def header(self) -> Line | None:
        """The first line that is not blank."""
        return next((line for line in self._lines if line.text.strip() or line.problem), None)

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self._row.append(_checked(line))
            self._chars += len(line.text)
            if len(self._row) > _ROW_LINES_MAX or self._chars > LINE_BYTES:
                raise Refused(f"a quote stays open for {_ROW_LINES_MAX} lines or {LINE_BYTES} characters")
            # A bad line goes through all the same: dropping it would lose count of the quotes.
            yield line.text.replace("\r", " ") + "\n"
        if self._row:
            raise Refused("a quote is not closed")

    def take_row(self) -> list[Line]:
        """The physical lines since the last call."""
        row, self._row, self._chars = self._row, [], 0
        return row


def _checked(line: Line) -> Line:
    if line.problem is None and ("\0" in line.text or "\r" in line.text):
        return Line(line.number, line.text, "the line holds a NUL or a lone carriage return; take it out")
    return line


def _body(feed: _Feed, name: str, delimiter: str, columns: _Columns) -> Iterator[Read]:
    try:
        for cells in csv.reader(feed, delimiter=delimiter):
            row = feed.take_row()
            if any(cell.strip() for cell in cells):
                yield _row(row, cells, f"{name}:{row[0].number}", columns)
    except (Refused, csv.Error) as problem:
        row = feed.take_row()
        yield bad_line(f"{name}:{row[0].number}", row[0].text, f"{printable(str(problem))}; nothing behind it was read")


def _row(lines: list[Line], cells: list[str], source: str, columns: _Columns) -> Read:
    raw = "\n".join(line.text for line in lines)
    problem = next((line.problem for line in lines if line.problem), None)
    if problem:
        return bad_line(source, raw, problem)
    cells = [cell.strip(" ") for cell in cells]
    if any(cells[columns.count :]):
        reason = f"the row has {len(cells)} cells, the header {columns.count}; quote the delimiter"
        return bad_line(source, raw, reason)
    fields: dict[str, object] = {
        field: cells[at] for field, at in columns.fields.items() if _filled(cells, at)
    }
    labels = {label: _label(cells[at]) for label, at in columns.labels.items() if _filled(cells, at)}
    if labels:
        fields["labels"] = dict(list(labels.items())[:LABELS_MAX])
    spec = cells[columns.host] if columns.host < len(cells) else ""
    return Row(spec=spec, fields=fields, source=source, raw=raw)


def _filled(cells: list[str], at: int) -> bool:
    return at < len(cells) and cells[at] != ""


def _label(cell: str) -> str:
    return " ".join(cell.split())[:LABEL_VALUE_CHARS]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """Where in a row each field and label stands."""

    count: int
    host: int
    fields: Mapping[str, int]
    labels: Mapping[str, int]

    @classmethod
    def of(cls, header: list[str], mapping: Mapping[str, str]) -> _Columns:
        """The columns of a header line. Raises `Refused` when the host cannot be told without guessing."""
        names = [cell.strip().lower() for cell in header]
        _refuse_header(names)
        mapped = {field: _mapped_at(names, field, column) for field, column in mapping.items()}
        free = [at for at, name in enumerate(names) if name and at not in mapped.values()]
        host = mapped.pop("host") if "host" in mapped else _host_at(names, free)
        fields = {names[at]: at for at in free if names[at] in MAPPABLE} | mapped
        fields.pop("host", None)
        taken = {host, *fields.values()}
        labels = {_label_name(header[at]): at for at in free if at not in taken}
        return cls(count=len(names), host=host, fields=fields, labels=labels)


def _refuse_header(names: list[str]) -> None:
    if len(names) > _COLUMNS_MAX:
        raise Refused(f"the header has {len(names)} columns; at most {_COLUMNS_MAX} are read")
    seen: set[str] = set()
    for name in names:
        if name and name in seen:
            raise Refused(f"column {shown(name)} occurs twice; name each column once")
        seen.add(name)


def _mapped_at(names: list[str], field: str, column: str) -> int:
    try:
        return names.index(column.strip().lower())
    except ValueError:
        found = ", ".join(shown(name) for name in names[:12])
        raise Refused(f"column {shown(column)}, mapped to {field}, is not in the header ({found})") from None


def _host_at(names: list[str], free: list[int]) -> int:
    found = [at for at in free if names[at] in HOST_COLUMNS]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(names[at] for at in found)
        raise Refused(f"several columns may be the host ({several}); say which with --map host=COLUMN")
    columns = ", ".join(shown(name) for name in names[:12])
    raise Refused(f"no column is the host ({columns}); say which with --map host=COLUMN")


def _label_name(header: str) -> str:
    name = "_".join(header.strip().removeprefix(LABEL_PREFIX).replace("=", "_").split())
    return name[:LABEL_KEY_CHARS] or "_"


def _delimiter(header: str) -> str:
    """Comma, semicolon or tab, whichever the header has most of; quoted header names may mislead it."""
    return max(",;\t", key=header.count)
