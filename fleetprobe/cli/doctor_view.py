"""The doctor's checks as a table: a sign, a name, one sentence, and beneath it what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fleetprobe.cli.ladder_view import mark_of
from fleetprobe.cli.terminal import Marks, said
from fleetprobe.model.verdict import Outcome
from fleetprobe.vantage.check import Check

_WIDEST: Final = 110
_NARROWEST: Final = 40
_NAME_COLUMNS: Final = 12
_COUNTED: Final = (
    (Outcome.FAIL, "would spoil a scan"),
    (Outcome.WARN, "worth a look"),
    (Outcome.UNKNOWN, "not to be seen"),
    (Outcome.SKIPPED, "not asked"),
    (Outcome.PASS, "fine"),
)


def doctor_view(checks: Sequence[Check], marks: Marks, width: int) -> RenderableType:
    """The table in lines of at most `width` columns (40 to 110), and a last line that counts."""
    width = max(_NARROWEST, min(width, _WIDEST))
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(width=_NAME_COLUMNS, no_wrap=True, style="bold")
    grid.add_column(width=width - _NAME_COLUMNS - 3, overflow="fold")
    name = None
    for check in checks:
        shown = Text("") if check.name == name else said(check.name, limit=_NAME_COLUMNS)
        name = check.name
        grid.add_row(mark_of(check.outcome, marks), shown, said(check.summary))
        if check.fix is not None:
            fix = Text.assemble((f"{marks.arrow} ", "dim"), said(check.fix, "cyan"))
            grid.add_row(Text(""), Text(""), fix)
    counts = Counter(check.outcome for check in checks)
    told = (f"{counts[outcome]} {words}" for outcome, words in _COUNTED if counts[outcome])
    return Group(grid, Text(""), Text(f" {marks.dot} ".join(told)))
