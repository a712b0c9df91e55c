"""What we write on: colour or not, how wide, and which signs it can show."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NoReturn, TextIO, assert_never

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.text import Text

from fleetprobe.cli.flags import Color
from fleetprobe.model.safe import printable

EXIT_PIPE: Final = 141


@dataclass(frozen=True, slots=True)
class Marks:
    """The signs of one character set. Every one is a single column wide."""

    passed: str
    failed: str
    warned: str
    unknown: str
    skipped: str
    rail: str
    rung_left: str
    rung_right: str
    rung: str
    rule: str
    edge: str
    bullet: str
    dot: str
    ellipsis: str
    arrow: str
    bars: str
    """Fillings of one column, from a sliver to full."""


UNICODE: Final = Marks(
    passed="✓",
    failed="✗",
    warned="!",
    unknown="?",
    skipped="–",  # noqa: RUF001  # an en dash is meant
    rail="│",
    rung_left="├",
    rung_right="┤",
    rung="─",
    rule="─",
    edge="━",
    bullet="•",
    dot="·",
    ellipsis="…",
    arrow="→",
    bars="▏▎▍▌▋▊▉█",
)
ASCII: Final = Marks(
    passed="+",
    failed="x",
    warned="!",
    unknown="?",
    skipped="-",
    rail="|",
    rung_left="|",
    rung_right="|",
    rung="-",
    rule="-",
    edge="=",
    bullet="*",
    dot="|",
    ellipsis="~",
    arrow=">",
    bars="#",
)


def marks_for(encoding: str | None, environment: Mapping[str, str] = os.environ) -> Marks:
    """The signs that a terminal of this encoding shows; ASCII for one that says it is dumb."""
    if environment.get("TERM") == "dumb":
        return ASCII
    try:
        "".join(getattr(UNICODE, name) for name in Marks.__slots__).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def console(
    color: Color = Color.AUTO, file: TextIO | None = None, environment: Mapping[str, str] = os.environ
) -> Console:
    """A console that adds no codes but SGR, reads no markup, and never fails on a character."""
    file = file or sys.stdout
    reconfigure = getattr(file, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    coloured = _coloured(color, file, environment)
    return _Console(
        file=file,
        force_terminal=file.isatty() or coloured,
        color_system="standard" if coloured else None,
        no_color=not coloured,
        markup=False,
        highlight=False,
        emoji=False,
        legacy_windows=False,
        force_jupyter=False,
    )


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        """Nobody reads us any more: stop, as a program that knows SIGPIPE would, without a word."""
        raise SystemExit(EXIT_PIPE)


def _coloured(color: Color, file: TextIO, environment: Mapping[str, str]) -> bool:
    match color:
        case Color.ALWAYS:
            return True
        case Color.NEVER:
            return False
        case Color.AUTO:
            return file.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
        case _:
            assert_never(color)


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What it holds, without blanks at the ends of lines: a backslash there must be the last character."""

    what: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Called by rich."""
        # Not by render_lines, which cuts off what is wider than the terminal.
        for line in Segment.split_lines(console.render(self.what, options)):
            while line and not line[-1].text.strip(" "):
                line.pop()
            if line:
                last = line.pop()
                line.append(Segment(last.text.rstrip(" "), last.style))
            yield from line
            yield Segment.line()


def show(on: Console, what: RenderableType) -> None:
    """Print. Commands to copy may be wider than the terminal, which then wraps them: nothing is cut off."""
    on.print(Trimmed(what), crop=False, end="")


def put(text: str) -> None:
    """Write to standard output. A reader that is gone ends the program, quietly."""
    try:
        sys.stdout.write(text)
    except BrokenPipeError:
        raise SystemExit(EXIT_PIPE) from None


def said(text: object, style: str = "", limit: int = 500) -> Text:
    """Somebody else's words, made safe, as text that rich takes literally."""
    return Text(printable(str(text), limit), style=style)


def warn(message: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"fleetprobe: {printable(message, 2000)}\n")
