"""`fleetprobe check`: one target in full, its ladder drawn."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Annotated, Any

import typer

from fleetprobe.cli.flags import Color, Configured, Format, Probing, Reading, Showing, with_flags


@with_flags
def check(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            show_default=False,
            help="host, host:port, [v6]:port or scheme://host[:port][/path].",
        ),
    ],
    *,
    probing: Probing,
    showing: Showing,
    configured: Configured,
) -> None:
    """Ask one target and tell everything: ladder, times, evidence, what it is not, how to verify and to mend.

    Exit codes are those of scan.
    """
    human = showing.format is Format.HUMAN or (showing.format is Format.AUTO and sys.stdout.isatty())
    raise typer.Exit(_check(target, probing, human, showing.color))


def _check(target: str, probing: Probing, human: bool, color: Color) -> int:
    from fleetprobe.cli.progress import Progress
    from fleetprobe.cli.run import execute, options_of
    from fleetprobe.cli.terminal import warn
    from fleetprobe.record.amend import apply_amends

    told: list[dict[str, Any]] = []

    def watch(row: dict[str, Any]) -> None:
        if row["kind"] in ("result", "amend"):
            told.append(row)

    options = options_of((target,), Reading(max_targets=1), probing, () if human else ("-",), in_full=True)
    with ExitStack() as stack:
        if human and sys.stderr.isatty():
            stack.enter_context(Progress(1, asking=target))
        ended = execute(options, watch)
    if isinstance(ended, int):
        return ended
    if ended.exit_code == 2:
        warn("; ".join(row["summary"] for row in apply_amends(told)) or "the argument names no target")
    elif human:
        _draw(apply_amends(told), color)
    return ended.exit_code


def _draw(results: Iterable[dict[str, Any]], color: Color) -> None:
    from fleetprobe.cli.ladder_view import ladder_view
    from fleetprobe.cli.terminal import console, marks_for, show

    on, marks = console(color), marks_for(sys.stdout.encoding)
    for row in results:
        show(on, ladder_view(row, marks, on.width))
