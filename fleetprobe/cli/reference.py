"""The command line as Markdown, made from the commands; run with `-m`, it writes to standard output."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

import typer

from fleetprobe.cli.app import app
from fleetprobe.cli.config import DEFAULT_NAME, TABLE

_HEAD = f"""# Command line

Made by `python -m fleetprobe.cli.reference > docs/cli.md` from the commands; do not edit it by hand.

A flag that is not given on the command line comes from its environment variable, then from the table
`[{TABLE}]` of `{DEFAULT_NAME}` in the current directory (or of `--config FILE`), whose keys are the long flag
names without dashes, then from its default. Several values in a variable are separated by blanks; in the file
they are a list.

Beside the exit codes below, 70 is a bug of our own, and 141 says that the reader of our standard output was
gone before the end.
"""


def markdown() -> str:
    """The whole reference."""
    parts = [_HEAD]
    for path, command in _commands((), typer.main.get_command(app)):
        parts.append(_section(path, command))
    return "\n".join(parts)


def _commands(path: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that call it, groups before what is in them."""
    path = (*path, command.name)
    yield path, command
    for child in getattr(command, "commands", {}).values():
        if not child.hidden:
            yield from _commands(path, child)


def _section(path: tuple[str, ...], command: Any) -> str:
    lines = [f"{'#' * (len(path) + 1)} {' '.join(path)}", ""]
    lines += [_usage(path, command), ""]
    lines += [_paragraphs(command.help), ""] if command.help else []
    shown = [one for one in command.params if not getattr(one, "hidden", False)]
    if shown:
        lines += ["| | environment, default | |", "|---|---|---|"]
        lines += [f"| {_names(one)} | {_given(one)} | {_cell(getattr(one, 'help', None))} |" for one in shown]
        lines.append("")
    return "\n".join(lines)


def _usage(path: tuple[str, ...], command: Any) -> str:
    words = list(path)
    if hasattr(command, "commands"):
        words.append("COMMAND")
    for one in command.params:
        if one.param_type_name == "argument":
            name = one.metavar or one.name.upper()
            name = f"{name}..." if one.nargs == -1 else name
            words.append(name if one.required else f"[{name}]")
    return f"`{' '.join(words)} [FLAGS]`"


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", text.strip()))


def _names(one: Any) -> str:
    if one.param_type_name == "argument":
        return f"`{one.metavar or one.name.upper()}`"
    flags = ", ".join(f"`{name}`" for name in one.opts)
    value = "" if one.is_flag else one.metavar or ""
    return f"{flags} `{_cell(value)}`" if value else flags


def _given(one: Any) -> str:
    words = [f"`{one.envvar}`"] if one.envvar else []
    default = one.default
    if default is not None and default is not False and one.param_type_name == "option":
        words.append(f"`{default}`")
    if getattr(one, "multiple", False):
        words.append("repeatable")
    return ", ".join(words)


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(markdown())
