"""`fleetprobe scan`: many targets, records streamed, failures shown by layer."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetprobe.cli.flags import Configured, Format, Probing, Reading, Showing, Writing, with_flags

if TYPE_CHECKING:
    from fleetprobe.scan import Options

Take = Callable[[dict[str, Any]], None]


@with_flags
def scan(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET",
            show_default=False,
            help="host, host:port, [v6]:port, scheme://host[:port][/path], a network or a range.",
        ),
    ] = None,
    *,
    reading: Reading,
    probing: Probing,
    writing: Writing,
    showing: Showing,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what would be scanned; sends nothing and resolves nothing.",
        ),
    ] = False,
    configured: Configured,
) -> None:
    """Scan targets and name the failing layer of each, with cause and proof.

    Exit code: 0 all targets are well, 1 at least one failed, 2 usage or nothing to scan, 3 the run is
    incomplete (deadline, a bad inventory line, a fault of this machine), 74 the output cannot be written,
    75 another run writes to it, 130 or 143 ended by a signal.
    """
    if not targets and not reading.inventory:
        raise typer.BadParameter("nothing to scan: name targets, or an inventory with -i FILE")
    from fleetprobe.sinks.jsonl import is_stdout

    if writing.output is not None and is_stdout(writing.output):
        writing = replace(writing, output="-")
    if writing.output == "-" and showing.format is Format.HUMAN:
        raise typer.BadParameter("standard output cannot hold both records (-o -) and the human view")
    from fleetprobe.cli.run import options_of

    human = _is_human(writing, showing)
    outputs = _outputs(writing, human)
    options = options_of(targets or (), reading, probing, outputs, writing.append)
    if dry_run:
        raise typer.Exit(_dry_run(options))
    raise typer.Exit(_scan(options, writing, showing, human))


def _is_human(writing: Writing, showing: Showing) -> bool:
    if writing.output == "-" or showing.format is Format.JSONL:
        return False
    return showing.format is Format.HUMAN or sys.stdout.isatty()


def _outputs(writing: Writing, human: bool) -> list[str]:
    files = [writing.output] if writing.output else []
    silent = human or "-" in files or (writing.quiet and bool(files))
    return files if silent else [*files, "-"]


def _scan(options: Options, writing: Writing, showing: Showing, human: bool) -> int:
    from fleetprobe.cli.progress import Progress
    from fleetprobe.cli.run import count, execute
    from fleetprobe.cli.scan_view import ScanView
    from fleetprobe.cli.terminal import console, marks_for, show, warn

    view = ScanView()
    takers: list[Take] = [view.add] if human else []
    refused: list[str] = []
    takers.append(lambda row: _note_refused(row, refused))
    with ExitStack() as stack:
        if sys.stderr.isatty() and not writing.quiet:
            takers.append(stack.enter_context(Progress(count(options))).add)

        def watch(row: dict[str, Any]) -> None:
            for take in takers:
                take(row)

        ended = execute(options, watch)
    if isinstance(ended, int):
        return ended
    if ended.exit_code == 2:
        warn(f"nothing to scan: no line names a target{refused[0] if refused else ''}")
    elif human and not writing.quiet:
        on = console(showing.color)
        marks = marks_for(sys.stdout.encoding)
        show(on, view.render(ended.run_end, options.outputs, marks, on.width))
    return ended.exit_code


def _note_refused(row: dict[str, Any], refused: list[str]) -> None:
    if not refused and row["kind"] == "result" and row["code"] == "input.invalid":
        refused.append(f"; {row['source']}: {row['summary']}")


def _dry_run(options: Options) -> int:
    from fleetprobe.cli.terminal import put, warn
    from fleetprobe.engine.budget import Guard
    from fleetprobe.inventory.read import InventoryError, entries
    from fleetprobe.model.target import BadLine
    from fleetprobe.net.interface import Address

    guard = Guard(options.allow, options.deny)
    services: Counter[str] = Counter()
    seen: set[str] = set()
    duplicates = bad = denied = literal = 0
    try:
        found = entries(
            options.files, options.arguments, mapping=options.mapping, max_targets=options.max_targets
        )
        for entry in found:
            if entry.target_id in seen:
                duplicates += 1
                continue
            seen.add(entry.target_id)
            if isinstance(entry, BadLine):
                bad += 1
                continue
            services[entry.service] += 1
            if entry.is_literal:
                text = entry.connect_to or entry.host
                literal += 1
                denied += guard.denied(Address(text, 6 if ":" in text else 4)) is not None
    except InventoryError as error:
        warn(str(error))
        return 2
    total = services.total()
    put(f"targets     {total}\n")
    for service, number in sorted(services.items()):
        put(f"  {service:<8}  {number}\n")
    put(f"by name     {total - literal}\nby address  {literal}\n")
    put(f"denied      {denied}\nduplicates  {duplicates}\nbad lines   {bad}\n")
    return 2 if total == 0 else 3 if bad else 0
