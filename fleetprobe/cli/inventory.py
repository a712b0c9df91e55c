"""`fleetprobe inventory`: what was understood of an inventory, line by line; sends nothing."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetprobe.cli.flags import Color, ColorFlag, Format, FormatFlag, MapFlag, MaxTargetsFlag

if TYPE_CHECKING:
    from rich.text import Text

    from fleetprobe.cli.terminal import Marks
    from fleetprobe.model.target import Entry, Target


def inventory(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", show_default=False, help="Inventories; - is standard input."),
    ],
    columns: MapFlag = None,
    max_targets: MaxTargetsFlag = 1_000_000,
    form: FormatFlag = Format.AUTO,
    color: ColorFlag = Color.AUTO,
) -> None:
    """Show how each line of an inventory is understood, bad lines included; sends nothing.

    Exit code: 0, 2 when no line names a target, 3 when some line is bad.
    """
    from fleetprobe.cli.terminal import console, marks_for, put, warn
    from fleetprobe.cli.values import mapping
    from fleetprobe.inventory.read import InventoryError, entries
    from fleetprobe.model.target import BadLine

    human = form is Format.HUMAN or (form is Format.AUTO and sys.stdout.isatty())
    on, marks = console(color), marks_for(sys.stdout.encoding)
    good = bad = 0
    try:
        for entry in entries(files, mapping=mapping(columns or ()), max_targets=max_targets):
            if isinstance(entry, BadLine):
                bad += 1
            else:
                good += 1
            if human:
                on.print(_line(entry, marks), soft_wrap=True)
            else:
                put(json.dumps(entry_row(entry)) + "\n")
    except InventoryError as error:
        warn(str(error))
        raise typer.Exit(2) from None
    if human:
        put(f"{good} targets, {bad} bad lines\n")
    raise typer.Exit(2 if good == 0 else 3 if bad else 0)


def entry_row(entry: Entry) -> dict[str, Any]:
    """One entry as a JSON object: `target` with every field, or `bad_line` with the reason."""
    from fleetprobe.model.target import BadLine

    if isinstance(entry, BadLine):
        return {
            "kind": "bad_line",
            "source": entry.source,
            "target_id": entry.target_id,
            "raw": entry.raw,
            "reason": entry.reason,
        }
    return {
        "kind": "target",
        "source": entry.source,
        "target_id": entry.target_id,
        "target": entry.canonical,
        "service": entry.service,
        "host": entry.host,
        "port": entry.port,
        "path": entry.path,
        "sni": entry.sni,
        "host_header": entry.host_header,
        "connect_to": entry.connect_to,
        "expect_status": None
        if entry.expect.status is None
        else [list(span) for span in entry.expect.status],
        "expect_body": entry.expect.body,
        "expect_addresses": entry.expect.addresses,
        "ca_file": entry.ca_file,
        "trust": list(entry.trust),
        "timeout_s": entry.timeout_s,
        "labels": dict(entry.labels),
    }


def _line(entry: Entry, marks: Marks) -> Text:
    from rich.text import Text

    from fleetprobe.cli.ladder_view import mark_of
    from fleetprobe.cli.terminal import said
    from fleetprobe.model.target import BadLine

    bad = isinstance(entry, BadLine)
    line = mark_of("fail" if bad else "pass", marks)
    line.append_text(said(f" {entry.source}  ", "dim"))
    if isinstance(entry, BadLine):
        line.append_text(said(entry.reason, "bold red"))
        line.append_text(said(f"  {entry.raw}", "dim", 120))
        return line
    line.append_text(said(entry.canonical, "bold"))
    told = _fields(entry)
    return Text.assemble(line, "  ", said(told, "dim", 1000)) if told else line


def _fields(target: Target) -> str:
    """What goes beyond the canonical form, as `name=value`."""
    given: dict[str, object] = {
        "sni": target.sni,
        "host_header": target.host_header,
        "connect_to": target.connect_to,
        "expect_status": target.expect.status,
        "expect_body": target.expect.body,
        "ca_file": target.ca_file,
        "trust": ",".join(target.trust) or None,
        "timeout": target.timeout_s,
        **{f"label.{name}": value for name, value in target.labels},
    }
    if target.expect.addresses != "any":
        given["expect_addresses"] = target.expect.addresses
    return " ".join(f"{name}={value}" for name, value in given.items() if value is not None)
