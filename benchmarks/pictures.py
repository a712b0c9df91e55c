"""Pictures of `check` and `scan` as SVG, drawn from real records: pictures.py OUTDIR RECORDS.jsonl.

With `--sizes CHECK.jsonl`, the output of `check --format jsonl` against a target behind a path MTU hole, also
`sizes.svg`: `check` alone takes the boundary to the byte.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from fleetprobe.cli.ladder_view import ladder_view
from fleetprobe.cli.scan_view import ScanView
from fleetprobe.cli.terminal import UNICODE, Trimmed

# No font is fetched from anywhere: the reader's own monospaced one is used.
_FRAME: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px;
}}
.{unique_id}-title {{ font: bold 16px sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""

_THEME: Final = TerminalTheme(
    (24, 26, 31),
    (215, 218, 224),
    [
        (24, 26, 31),
        (240, 98, 98),
        (120, 200, 120),
        (229, 192, 100),
        (97, 160, 239),
        (198, 120, 221),
        (86, 190, 200),
        (215, 218, 224),
    ],
)


def main() -> None:
    """Write `check.svg` and `scan.svg`, and `sizes.svg` if asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, metavar="OUTDIR")
    parser.add_argument("records", type=Path, metavar="RECORDS.jsonl")
    parser.add_argument(
        "--check", default="tls.expired", metavar="CODE|TARGET", help="which result check.svg shows"
    )
    parser.add_argument("--sizes", type=Path, metavar="CHECK.jsonl", help="the one result that sizes.svg shows")
    parser.add_argument("--rows", type=int, default=24, help="rows of scan.svg; the rest is counted")
    parser.add_argument("--width", type=int, default=92, help="columns")
    given = parser.parse_args()
    records = _first_run(given.records)
    given.folder.mkdir(parents=True, exist_ok=True)
    results = (one for one in records if one["kind"] == "result")
    _write_check(
        given.folder / "check.svg",
        next(one for one in results if given.check in (one["code"], one["target"])),
        given.width,
    )
    if given.sizes:
        row = next(one for one in _first_run(given.sizes) if one["kind"] == "result")
        _write_check(given.folder / "sizes.svg", row, given.width)
    view = ScanView(most_rows=given.rows)
    for one in records:
        view.add(one)
    command, output = _scan_command(records[0]["argv"])
    _write(
        given.folder / "scan.svg",
        command,
        view.render(records[-1], output, UNICODE, given.width),
        given.width,
    )


def _scan_command(argv: list[str]) -> tuple[list[str], list[str]]:
    """The command that was run, without the folders of this machine, and where its records went."""
    named = dict(pairwise(argv))
    read, written = (Path(named[flag]).name for flag in ("-i", "-o"))
    return ["fleetprobe", "scan", "-i", read, "-o", written], [written]


def _first_run(path: Path) -> list[dict[str, Any]]:
    """The records of a file's first segment, its `run_end` last."""
    records: list[dict[str, Any]] = []
    with path.open(encoding="ascii") as file:
        for line in file:
            records.append(json.loads(line))
            if records[-1]["kind"] == "run_end":
                return records
    raise SystemExit(f"{path}: no run in it came to its end")


def _write_check(path: Path, row: dict[str, Any], width: int) -> None:
    _write(path, ["fleetprobe", "check", row["target"]], ladder_view(row, UNICODE, width), width)


def _write(path: Path, command: Iterable[str], what: RenderableType, width: int) -> None:
    console = Console(
        record=True,
        width=width,
        file=io.StringIO(),
        force_terminal=True,
        color_system="standard",
        markup=False,
        highlight=False,
        emoji=False,
    )
    prompt = Text.assemble(("$ ", "green"), (" ".join(command), "bold"))
    console.print(Trimmed(Group(prompt, Text(""), what)))
    svg = console.export_svg(title="", theme=_THEME, code_format=_FRAME, unique_id=path.stem)
    path.write_text(svg, encoding="utf-8")
    print(f"{path}: {len(svg):,} bytes")


if __name__ == "__main__":
    main()
