"""Codes of the table as text: one in full, or all of them as a list."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fleetprobe.cli.shell_words import folded
from fleetprobe.cli.terminal import Marks
from fleetprobe.codes.code import Code

_PLACEHOLDER: Final = re.compile(r"\{([a-z]+)\}")
_WIDEST: Final = 100
_STYLES: Final = {"fail": "bold red", "slow": "bold yellow", "warn": "bold yellow", "info": "bold green"}


def code_view(code: Code, marks: Marks, width: int) -> RenderableType:
    """Everything known about one code, in lines of at most `width` columns but for long words of commands."""
    width = max(40, min(width, _WIDEST))
    head = Text.assemble(
        (code.name, _STYLES[code.severity]),
        f"  {code.severity} {marks.dot} {code.osi}",
        "" if code.emitted else f" {marks.dot} planned: this version does not emit it",
    )
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=14, style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("state", str(code.state))
    grid.add_row("caused by", ", ".join(code.boxes) or "-")
    grid.add_row("evidence", code.evidence)
    _list(grid, "not this", code.not_this, marks)
    _list(grid, "could also be", code.could_also_be, marks)
    if code.proves:
        grid.add_row("shows working", ", ".join(code.proves))
    _commands(grid, "confirm", code.confirm, width - 22)
    grid.add_row("fix", code.fix)
    _commands(grid, "", code.fix_commands, width - 22)
    return Group(head, Padding(Text(code.meaning), (0, 0, 1, 2)), Padding(grid, (0, 0, 0, 2)))


def codes_view(codes: Iterable[Code], marks: Marks, width: int) -> RenderableType:
    """One line a code: name, severity, OSI label, meaning cut to fit."""
    grid = Table.grid(padding=(0, 2))
    room = max(20, width - 31 - 4 - 5 - 6)
    for columns in (31, 4, 5, room):
        grid.add_column(width=columns, no_wrap=True, overflow="ellipsis")
    for code in codes:
        meaning = Text(code.meaning if code.emitted else f"(planned) {code.meaning}")
        if meaning.cell_len > room:
            meaning.truncate(room - 1)
            meaning.append(marks.ellipsis)
        style = "bold" if code.emitted else "dim"
        severity = Text(str(code.severity), style=_STYLES[code.severity] if code.emitted else "dim")
        grid.add_row(Text(code.name, style=style), severity, Text(code.osi), meaning)
    return grid


def code_row(code: Code) -> dict[str, Any]:
    """One code as a JSON object; commands are templates with placeholders in braces."""
    return {
        "kind": "code",
        "code": code.name,
        "layer": code.layer,
        "severity": str(code.severity),
        "state": str(code.state),
        "osi": code.osi,
        "emitted": code.emitted,
        "meaning": code.meaning,
        "boxes": [str(box) for box in code.boxes],
        "evidence": code.evidence,
        "not_this": list(code.not_this),
        "could_also_be": list(code.could_also_be),
        "fix": code.fix,
        "confirm": list(code.confirm),
        "fix_commands": list(code.fix_commands),
        "proves": list(code.proves),
    }


def _list(grid: Table, label: str, told: Iterable[str], marks: Marks) -> None:
    for at, text in enumerate(told):
        grid.add_row(label if at == 0 else "", f"{marks.bullet} {text}")


def _commands(grid: Table, label: str, templates: Iterable[str], width: int) -> None:
    for at, template in enumerate(templates):
        lines = folded(_PLACEHOLDER.sub(lambda match: match[1].upper(), template), width)
        text = Text("\n".join(["$ " + lines[0], *("  " + line for line in lines[1:])]), style="cyan")
        text.no_wrap, text.overflow = True, "ignore"
        grid.add_row(label if at == 0 else "", text)
