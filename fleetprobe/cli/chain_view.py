"""The chain of certificates as a ladder: the root on top, the server's own at the foot, a broken rung at a gap."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fleetprobe.cli.chain_seen import Link, chain_of
from fleetprobe.cli.terminal import Marks
from fleetprobe.model.safe import printable

Row = Mapping[str, Any]

_LABEL_COLUMNS: Final = 8
_RUNG_COLUMNS: Final = 5
_NAME_CHARACTERS: Final = 160
_MOST_BESIDE: Final = 4


def chain_view(row: Row, marks: Marks, width: int) -> RenderableType | None:
    """The drawing, `width` columns wide; None where no certificate is at fault."""
    chain = chain_of(row)
    if chain is None:
        return None
    room = width - _LABEL_COLUMNS - _RUNG_COLUMNS - 2
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=_LABEL_COLUMNS, justify="right", no_wrap=True, style="bold")
    grid.add_column(width=_RUNG_COLUMNS, no_wrap=True)
    grid.add_column(width=room, overflow="fold")
    for link in reversed(chain.links):
        first, *more = _lines(link, room)
        grid.add_row(Text(link.role), _rung(link, marks), first)
        for line in more:
            grid.add_row(Text(""), Text(f"{marks.rail}   {marks.rail}", style="dim"), line)
    beside = [_beside(text, marks) for text in chain.beside[:_MOST_BESIDE]]
    if (left := len(chain.beside) - _MOST_BESIDE) > 0:
        beside.append(_beside(f"and {left} more", marks))
    return Group(grid, *(Padding(line, (0, 0, 0, _LABEL_COLUMNS + 3)) for line in beside))


def _rung(link: Link, marks: Marks) -> Text:
    # A rung that holds reaches from rail to rail; a broken one does not.
    span, sign, style = (" ", marks.failed, "bold red") if link.fault else (marks.rung, marks.passed, "green")
    return Text.assemble((marks.rung_left + span, "dim"), (sign, style), (span + marks.rung_right, "dim"))


def _lines(link: Link, room: int) -> list[Text]:
    """Its name, and below it what is wrong, where it comes from and how long it lives."""
    told = [link.fault, link.source, f"until {link.until}" if link.until else ""]
    about = printable(", ".join(text for text in told if text), 2 * _NAME_CHARACTERS)
    # Wrapped here and not by the table, so that the rails go on beside every line.
    names = wrap(printable(link.subject, _NAME_CHARACTERS), room) or [""]
    style = "red" if link.fault else "dim"
    return [*(Text(line) for line in names), *(Text(line, style=style) for line in wrap(about, room))]


def _beside(text: str, marks: Marks) -> Text:
    return Text.assemble((f"{marks.warned} ", "yellow"), printable(text, 2 * _NAME_CHARACTERS))
