"""`fleetprobe explain`: one code in full, from the table alone."""

from __future__ import annotations

import re
import sys
from typing import Annotated

import typer

from fleetprobe.cli.flags import Color, ColorFlag


def explain(
    code: Annotated[str, typer.Argument(metavar="CODE", show_default=False, help="A code, as tls.expired.")],
    color: ColorFlag = Color.AUTO,
) -> None:
    """Say what a code means, who can cause it, what it is not, how to confirm it and how to mend it.

    An unknown code is exit 2, with those that look alike.
    """
    from fleetprobe.cli.code_view import code_view
    from fleetprobe.cli.terminal import console, marks_for, show, warn
    from fleetprobe.codes.table import CODES

    known = CODES.get(code)
    if known is None:
        warn(_unknown(code))
        raise typer.Exit(2)
    on = console(color)
    show(on, code_view(known, marks_for(sys.stdout.encoding), on.width))


def _unknown(asked: str) -> str:
    from fleetprobe.codes.table import CODES, near_names

    wanted = asked.strip().lower()[:80]
    begin = [name for name in CODES if wanted and name.startswith(wanted)]
    within = [name for name in CODES if wanted in re.split("[._]", name)]
    near = list(dict.fromkeys([*begin, *within, *near_names(wanted)]))
    hint = f"; did you mean {', '.join(near[:60])}?" if near else "; `fleetprobe codes` lists them all"
    return f"no code {asked[:80]!a}{hint}"
