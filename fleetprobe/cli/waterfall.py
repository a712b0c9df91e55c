"""Where the time of one target went: a bar for each phase, one behind the other, on one scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from fleetprobe.cli.evidence import milliseconds
from fleetprobe.cli.terminal import Marks

PHASES: Final = (
    ("queue", "queue_ms", "dim"),
    ("dns", "dns_duration_ms", "cyan"),
    ("tcp", "tcp_connect_duration_ms", "green"),
    ("tls", "tls_handshake_duration_ms", "magenta"),
    ("first byte", "http_time_to_first_byte_ms", "blue"),
    ("witness", "witness_ms", "yellow"),
    ("unattributed", "unattributed_ms", "dim"),
)
"""Label, column of the record, style: in the order in which the phases follow each other."""


def waterfall(row: Mapping[str, Any], marks: Marks, width: int) -> Table | None:
    """The bars, `width` columns wide without labels; None when the record holds no times."""
    spent = [(label, _number(row.get(column)), style) for label, column, style in PHASES]
    shown = [(label, ms, style) for label, ms, style in spent if ms is not None and ms > 0.0]
    total = sum(ms for _, ms, _ in shown)
    if not shown:
        return None
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=12, no_wrap=True)
    grid.add_column(justify="right", width=9, no_wrap=True)
    grid.add_column(width=width, no_wrap=True)
    start = 0.0
    for label, ms, style in shown:
        grid.add_row(
            Text(label),
            Text(milliseconds(ms)),
            Text(_bar(start / total, ms / total, marks, width), style=style),
        )
        start += ms
    grid.add_row(Text("total", style="bold"), Text(milliseconds(total), style="bold"), Text(""))
    return grid


def _bar(start: float, share: float, marks: Marks, width: int) -> str:
    """A bar at its place: never less than a sliver, never beyond the edge."""
    steps = len(marks.bars)
    before = min(round(start * width), width - 1)
    length = max(1, min(round(share * width * steps), (width - before) * steps))
    whole, part = divmod(length, steps)
    return " " * before + marks.bars[-1] * whole + (marks.bars[part - 1] if part else "")


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
