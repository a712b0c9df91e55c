"""A scan of the lab as a table: what was expected of each target, and what was found."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fleetprobe.cli.ladder_view import mark_of
from fleetprobe.cli.terminal import Marks, said
from fleetprobe.lab.grade import Grade, GradeRow


def grade_view(
    rows: Sequence[GradeRow], marks: Marks, width: int, *, wrong_only: bool = False, records: str = ""
) -> RenderableType:
    """One line for each target in at most `width` columns, a second one where found and expected differ."""
    grid = Table.grid(padding=(0, 1))
    room = max(24, (width - 4) // 2)
    grid.add_column(width=1)
    grid.add_column(width=room, no_wrap=True, overflow="ellipsis")
    grid.add_column(width=max(24, width - room - 3), overflow="fold")
    for row in rows:
        right = row.grade is Grade.RIGHT
        if right and wrong_only:
            continue
        case = said(row.case, "bold")
        if case.cell_len > room:
            case.truncate(room - 1)
            case.append(marks.ellipsis)
        grid.add_row(mark_of("pass" if right else "fail", marks), case, said(str(row.expected)))
        if not right:
            grid.add_row(
                "",
                said(row.target, "dim"),
                said(f"found: {row.found or 'no record'} ({row.why})", "bold red"),
            )
    good = sum(row.grade is Grade.RIGHT for row in rows)
    last = Text.assemble(
        (
            f"{good} of {len(rows)} targets got the expected verdict",
            "bold green" if good == len(rows) else "bold red",
        ),
        f" {marks.dot} records in ",
        said(records),
    )
    return Group(grid, last)
