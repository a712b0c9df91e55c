"""`fleetprobe codes` and `fleetprobe schema`: what the records hold, for people and for programs."""

from __future__ import annotations

import json
import sys

from fleetprobe.cli.flags import Color, ColorFlag, Format, FormatFlag


def codes(
    form: FormatFlag = Format.AUTO,
    color: ColorFlag = Color.AUTO,
) -> None:
    """List every code; those that this version does not emit yet are marked planned."""
    from fleetprobe.cli.code_view import code_row, codes_view
    from fleetprobe.cli.terminal import console, marks_for, put, show
    from fleetprobe.codes.table import ROWS

    if form is Format.JSONL or (form is Format.AUTO and not sys.stdout.isatty()):
        for row in ROWS:
            put(json.dumps(code_row(row)) + "\n")
        return
    on = console(color)
    show(on, codes_view(ROWS, marks_for(sys.stdout.encoding), on.width))


def schema() -> None:
    """Print the JSON Schema (draft 2020-12) that every line of output follows."""
    from fleetprobe.cli.terminal import put
    from fleetprobe.record.columns import schema as record_schema

    put(json.dumps(record_schema(), indent=2) + "\n")
