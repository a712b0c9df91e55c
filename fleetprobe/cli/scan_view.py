"""What a scan found, for people: failures by layer and code, then slow, unknown, blocked, then one line."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fleetprobe.cli.ladder_view import STATE_STYLES, mark_of
from fleetprobe.cli.terminal import UNICODE, Marks, said

Row = Mapping[str, Any]

MOST_ROWS: Final = 1000
LAYERS: Final = (
    "link",
    "dns",
    "ip",
    "tcp",
    "mtu",
    "tls",
    "http",
    "app",
    "vantage",
    "policy",
    "local",
    "input",
    "run",
)
"""Ladder order, ground first; what is not about the target comes after it."""

_SECTIONS: Final = (("fail", "failed"), ("slow", "slow"), ("unknown", "unknown"), ("blocked", "blocked"))
_WIDEST_TARGET: Final = 40
_KEPT_CHARACTERS: Final = 300


Kind = tuple[str, str, str]
"""State, code and confidence: the rows of one group differ in target and summary alone."""


@dataclass(frozen=True, slots=True)
class Line:
    """What is kept of one result."""

    target: str
    summary: str


class ScanView:
    """Takes rows as they come, keeps at most `MOST_ROWS` of them, and draws the whole at the end.

    When there are more, the largest groups lose theirs first, so that a rare fault is never
    crowded out by a common one.
    """

    def __init__(self, most_rows: int = MOST_ROWS) -> None:
        self._most = most_rows
        self._kept = 0
        self._lines: defaultdict[Kind, list[Line]] = defaultdict(list)
        self._counts: Counter[Kind] = Counter()
        self._findings: Counter[str] = Counter()

    def add(self, row: Row) -> None:
        """Take one row of any kind; only results, and what amends them, matter."""
        if row.get("kind") == "amend":
            self._amend(row)
        if row.get("kind") != "result":
            return
        for finding in row.get("findings") or ():
            self._findings[str(finding["code"])] += 1
        if row["state"] != "ok":
            self._add(_group(row), _line(row))

    def _add(self, group: Kind, line: Line) -> None:
        self._counts[group] += 1
        if self._kept >= self._most and not self._make_room(group):
            return
        self._kept += 1
        self._lines[group].append(line)

    def _amend(self, row: Row) -> None:
        """Move a result to the group where it belongs by now."""
        old, now = _group(row["was"]), _group({**row["was"], **row["fields"]})
        if old == now or not self._counts[old]:
            return
        self._counts[old] -= 1
        if not self._counts[old]:
            del self._counts[old]
        there = next((line for line in self._lines[old] if line.target == row["target"]), None)
        if there is not None:
            self._lines[old].remove(there)
            self._kept -= 1
        self._add(now, _line({**row, **row["fields"]}))

    def _make_room(self, group: Kind) -> bool:
        largest = max(self._lines, key=lambda key: len(self._lines[key]))
        if len(self._lines[largest]) <= len(self._lines[group]) + 1:
            return False
        self._lines[largest].pop()
        self._kept -= 1
        return True

    def render(
        self, run_end: Row, outputs: Sequence[str], marks: Marks = UNICODE, width: int = 80
    ) -> RenderableType:
        """The picture of the whole run, `width` columns wide."""
        parts: list[RenderableType] = []
        for state, word in _SECTIONS:
            parts += self._section(state, word, marks, width)
        if self._findings:
            told = ", ".join(f"{code} {count}" for code, count in self._findings.most_common(12))
            parts += [Text.assemble(("also seen  ", "bold"), said(told, limit=600)), Text("")]
        return Group(*parts, _totals(run_end, outputs, marks))

    def _section(self, state: str, word: str, marks: Marks, width: int) -> Iterator[RenderableType]:
        by_layer: defaultdict[str, list[Kind]] = defaultdict(list)
        for group in self._counts:
            if group[0] == state:
                by_layer[group[1].partition(".")[0]].append(group)
        for layer in sorted(by_layer, key=_place):
            groups = sorted(by_layer[layer], key=lambda group: (-self._counts[group], group))
            count = sum(self._counts[group] for group in groups)
            style = f"{STATE_STYLES[state]} underline"
            yield Text.assemble((layer or "no code", style), f"  {count:,} {word}")
            for group in groups:
                yield self._group(group, marks, width)
            yield Text("")

    def _group(self, group: Kind, marks: Marks, width: int) -> RenderableType:
        state, code, confidence = group
        lines = sorted(self._lines[group], key=lambda line: line.target)
        longest = max((len(line.target) for line in lines), default=0)
        target_width = min(longest, _WIDEST_TARGET, max(12, width // 2 - 4))
        summary_width = max(8, width - target_width - 6)
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=3, justify="right", no_wrap=True)
        grid.add_column(width=target_width, no_wrap=True)
        grid.add_column(width=summary_width, no_wrap=True)
        for line in lines:
            target = _cut(said(line.target), target_width, marks)
            grid.add_row(mark_of(state, marks), target, _cut(said(line.summary, "dim"), summary_width, marks))
        hidden = self._counts[group] - len(lines)
        count = f"  {self._counts[group]:,}  {confidence}"
        head = Text.assemble("  ", said(code, STATE_STYLES[state], 80), said(count, limit=80))
        tail = [Text(f"    and {hidden:,} more", style="dim")] if hidden else []
        return Group(head, grid, *tail)


def _cut(text: Text, width: int, marks: Marks) -> Text:
    """The text in at most `width` columns; rich would mark a cut with a sign that is not ASCII."""
    if text.cell_len > width:
        text.truncate(width - 1)
        text.append(marks.ellipsis)
    return text


def _group(row: Row) -> Kind:
    return str(row["state"]), str(row["code"] or ""), str(row["confidence"] or "")


def _line(row: Row) -> Line:
    return Line(str(row["target"])[:_KEPT_CHARACTERS], _short(row)[:_KEPT_CHARACTERS])


def _short(row: Row) -> str:
    """The summary without the address that the row begins with anyway."""
    summary, address = str(row["summary"] or ""), row.get("network_peer_address")
    if not address:
        return summary
    port = row.get("network_peer_port")
    endpoint = f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"
    summary = summary.removeprefix(f"{endpoint} ").replace(f" of {endpoint}", "")
    return summary.replace(f" to {endpoint}", " to it")


def _place(layer: str) -> tuple[int, str]:
    return (LAYERS.index(layer) if layer in LAYERS else len(LAYERS), layer)


def _totals(run_end: Row, outputs: Sequence[str], marks: Marks) -> Text:
    counts: Mapping[str, int] = run_end["counts_by_state"]
    words = [Text(f"{run_end['results']:,} targets", style="bold")]
    for state, word in (("ok", "ok"), *_SECTIONS):
        if counts.get(state):
            words.append(Text(f"{counts[state]:,} {word}", style=STATE_STYLES[state]))
    if run_end["not_run"] is None:
        words.append(Text("an unknown number not run", style="bold yellow"))
    elif run_end["not_run"]:
        words.append(Text(f"{run_end['not_run']:,} not run", style="bold yellow"))
    if run_end["duplicates"]:
        words.append(Text(f"{run_end['duplicates']:,} duplicates"))
    if run_end["outcome"] != "completed":
        words.append(said(run_end["outcome"], "bold yellow"))
    words.append(Text(f"{run_end['elapsed_ms'] / 1000.0:.1f} s"))
    words += [Text.assemble("records in ", said(path)) for path in outputs if path != "-"]
    return Text(f" {marks.dot} ").join(words)
