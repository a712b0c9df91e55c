"""The ladder of packet sizes: which passed and which vanished, the largest on top, and the line between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fleetprobe.cli.evidence import milliseconds
from fleetprobe.cli.sizes_seen import FAILS, PASSES, Sizes, sizes_of
from fleetprobe.cli.terminal import Marks

Row = Mapping[str, Any]

_MOST_LINES: Final = 13
_MOST_MARKS: Final = 4
_MILESTONES: Final = frozenset({576, 1280, 1400, 1420, 1450, 1492, 1500, 9000})
"""Sizes at which something usual ends; kept when lines must go."""
_COLUMNS: Final = (6, 5, 9, 12)
_WIDE_COLUMNS: Final = (9, 7, 11, 14)
_HEADS: Final = ("packet", "MSS", "there", "exchange")
_WIDE_HEADS: Final = ("IP packet", "TCP MSS", "there (UDP)", "exchange (TCP)")
_WIDE: Final = 56
"""Columns from which the heads are spelt out."""
_NOTES: Final = 72
"""Columns from which there is room for a note beside a size."""


def sizes_view(row: Row, marks: Marks, width: int) -> RenderableType | None:
    """The table and a sentence beneath it, `width` columns wide; None where there is nothing to draw."""
    sizes = sizes_of(row)
    if sizes is None:
        return None
    return Group(*_tables(sizes, marks, width), Text(_sentence(sizes)))


def _tables(sizes: Sizes, marks: Marks, width: int) -> list[RenderableType]:
    """The sizes above the boundary, a line right across, and those below."""
    kept = _kept(sizes)
    boundary = sizes.boundary
    if boundary is None:
        return [_table(sizes, kept, marks, width, head=True)]
    above = _table(sizes, [run for run in kept if run[-1] > boundary[0]], marks, width, head=True)
    below = _table(sizes, [run for run in kept if run[-1] <= boundary[0]], marks, width)
    return [above, _line(sizes, boundary, marks, width), below]


def _kept(sizes: Sizes) -> list[list[int]]:
    """A line for each size, and one for each run of sizes for which there is no room."""
    asked = sizes.asked()
    boundary = sizes.boundary or (asked[0], asked[0])
    ends = {asked[0], asked[-1], *boundary}

    def rank(size: int) -> tuple[bool, bool, int]:
        return size not in ends, size not in _MILESTONES, min(abs(size - edge) for edge in boundary)

    alone = set(sorted(asked, key=rank)[:_MOST_LINES])
    # Sizes on the two sides of the boundary never share a line.
    runs = groupby(asked, key=lambda size: (size if size in alone else 0, size <= boundary[0]))
    return [list(run) for _, run in runs]


def _table(sizes: Sizes, runs: Sequence[Sequence[int]], marks: Marks, width: int, *, head: bool = False) -> Table:
    wide, notes = width >= _WIDE, width >= _NOTES
    grid = Table.grid(padding=(0, 2))
    for at, columns in enumerate(_WIDE_COLUMNS if wide else _COLUMNS):
        grid.add_column(width=columns, justify="right" if at < 2 else "left", no_wrap=True, overflow="crop")
    if notes:
        grid.add_column(width=width - sum(_WIDE_COLUMNS) - 2 * len(_WIDE_COLUMNS), no_wrap=True, overflow="crop")
    if head:
        grid.add_row(*(Text(name, style="dim") for name in (_WIDE_HEADS if wide else _HEADS)))
    for run in runs:
        cells = [*_names(sizes, run, marks, wide=wide), _datagrams(sizes, run, marks), _exchanges(sizes, run, marks)]
        grid.add_row(*cells, *([Text(_note(sizes, run), style="dim")] if notes else []))
    return grid


def _names(sizes: Sizes, run: Sequence[int], marks: Marks, *, wide: bool) -> list[Text]:
    """The packet and the segment in it; of several sizes their number."""
    if len(run) > 1:
        return [Text(f"{marks.ellipsis} {len(run)}{' more' if wide else ''}", style="dim"), Text("")]
    [size] = run
    style = "bold" if sizes.boundary is not None and size in sizes.boundary else ""
    return [Text(str(size), style=style), Text(str(sizes.mss_of(size)), style=style)]


def _datagrams(sizes: Sizes, run: Sequence[int], marks: Marks) -> Text:
    """A host answers few datagrams at once: silence below one that passed is no sign."""
    ends = [end for size in run for end in sizes.datagrams.get(size, ())]
    word = next((end for end in ends if end not in PASSES), "")
    heard = max(sizes.largest_datagram or 0, sizes.echoed_bytes or 0)
    no_sign = word == "silent" and run[0] <= heard
    return _cell(["unclear" if no_sign and end == word else end for end in ends], word, marks)


def _exchanges(sizes: Sizes, run: Sequence[int], marks: Marks) -> Text:
    ends = [end for size in run for end in sizes.exchanges.get(size, ())]
    word = next((end for end in ends if end not in PASSES), "")
    holes = [sizes.holes[size] for size in run if size in sizes.holes]
    return _cell(ends, holes[0] if word in FAILS and holes else word, marks)


def _cell(ends: Sequence[str], word: str, marks: Marks) -> Text:
    """A mark for each time that it was asked, or their number, and a word for what did not pass."""
    told = [(marks.passed, "green") if end in PASSES else _mark(end, marks) for end in ends]
    if len(told) > _MOST_MARKS:
        told = [(f"{count}{sign}", style) for (sign, style), count in Counter(told).items()]
    return Text.assemble(*told, f" {word}" if word else "")


def _mark(end: str, marks: Marks) -> tuple[str, str]:
    return (marks.failed, "bold red") if end in FAILS else (marks.unknown, "magenta")


def _note(sizes: Sizes, run: Sequence[int]) -> str:
    size, boundary = run[0], sizes.boundary
    if len(run) > 1:
        return ""
    if boundary is not None and size == boundary[0]:
        return "the largest that passes"
    words = ["our own link" if size == sizes.top_bytes else "", "echo answered" if size == sizes.echoed_bytes else ""]
    return ", ".join(filter(None, words))


def _line(sizes: Sizes, boundary: tuple[int, int], marks: Marks, width: int) -> Text:
    """Right across, so that it is seen at once, in colour and without; the most words for which there is room."""
    passes, stalls = boundary
    if sizes.exchanges and sizes.proven is None:
        told = f"{passes} to {stalls}: not proven"
    elif sizes.reported_bytes is not None and sizes.proven is None:
        told = f"above {sizes.reported_bytes} too big, says a router"
    elif sizes.proven is None:
        told = f"above {passes} no datagram is answered"
    elif stalls == passes + 1:
        told = f"from {stalls} bytes on they vanish"
    else:
        told = f"between {passes} and {stalls} they vanish"
    way = f", {sizes.way}" if sizes.proven and sizes.way else ""
    long = f"{marks.edge * 4} {told}{way} "
    line = long if len(long) < width else f"{marks.edge} {told} "
    text = Text(line + marks.edge * (width - len(line)), style="bold red" if sizes.proven else "bold yellow")
    text.truncate(width)
    return text


def _sentence(sizes: Sizes) -> str:
    if sizes.proven is not None:
        return _proven(sizes, *sizes.proven)
    return f"Nothing is proven: {_open(sizes)}." if sizes.exchanges else _told_by_datagrams(sizes)


def _proven(sizes: Sizes, passes: int, stalls: int) -> str:
    """Which way, behind which hop, what drops them; how long that took to show, and how exactly."""
    spent = f" in {milliseconds(sizes.proof_ms)}" if sizes.proof_ms is not None else ""
    exact = " and taken to the byte" if sizes.to_the_byte else f", between {passes} and {stalls} bytes"
    vanish = ", ".join(filter(None, (f"vanish {sizes.way}".rstrip(), sizes.where)))
    lent = f"; {sizes.proven_by} has shown the same of this path" if sizes.proven_by else ""
    return f"Shown{spent}{exact}: packets above {passes} bytes (MSS {sizes.mss_of(passes)}) {vanish}{lent}."


def _open(sizes: Sizes) -> str:
    """Why exchanges of several sizes prove nothing."""
    ended = {end for ends in sizes.exchanges.values() for end in ends}
    if not ended <= PASSES | FAILS:
        return "an exchange ended in another way, which says nothing about sizes"
    if ended <= PASSES:
        return "every size passes"
    if ended <= FAILS:
        return "no size passes, so that it is not a matter of size"
    if not sizes.ordered:
        return "what passes and what stalls is not in order of size, as with loss"
    return "what lies beside that line was not met often enough"


def _told_by_datagrams(sizes: Sizes) -> str:
    largest = sizes.largest_datagram or 0
    if sizes.reported_bytes is not None:
        told = f"A router says that packets above {sizes.reported_bytes} bytes are too big from us to the host"
    else:
        told = f"Datagrams above {largest} bytes from us to the host are not answered"
    full = sizes.segment_bytes
    keeps = full is not None and sizes.top_bytes is not None and full <= (sizes.reported_bytes or largest)
    return f"{told}{f'; TCP keeps to packets of {full}' if keeps else ''}. The way back was not asked."
