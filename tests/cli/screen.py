"""What views draw, read back as a terminal would get it, and words that mean it harm."""

from __future__ import annotations

import io
import os
import pty
import threading
from collections.abc import Callable
from typing import Any

from rich.console import RenderableType

from fleetprobe.cli.flags import Color
from fleetprobe.cli.terminal import console, show
from tests.cli.program import SGR, read_terminal

HOSTILE = [
    "\x1b[2J\x1b]0;owned\x07",
    "\x9b31m\x90q\x9d8;;http://x\x9c",
    "left\u202eright\u2066\u200b\ufeff",
    "nul\0del\x7fbackspace\x08\rreturn\nnewline\ttab",
    "[link=https://evil.example]x[/link] [/nope] [bold",
    "\ud800\U000e0001\u2028\u2029\ue000",
    "A" * 10_000,
    "\u4e2d" * 5_000,
]


def drawn(what: RenderableType, width: int = 80, color: Color = Color.NEVER) -> str:
    """As text of so many columns."""
    file = io.StringIO()
    on = console(color, file, {"TERM": "xterm"})
    on.width = width
    show(on, what)
    return file.getvalue()


def poisoned(value: Any, poison: str) -> Any:
    """The same shape with every text replaced, keys of labels and facts included where they are free."""
    match value:
        case str():
            return poison
        case list():
            return [poisoned(item, poison) for item in value]
        case dict():
            return {name: poisoned(item, poison) for name, item in value.items()}
        case _:
            return value


def on_terminal(draw: Callable[[Any], None]) -> str:
    """What a pseudo-terminal is sent."""
    master, slave = pty.openpty()
    told: list[str] = []
    reader = threading.Thread(target=lambda: told.append(read_terminal(master, 30.0)))
    reader.start()
    with os.fdopen(slave, "w", encoding="utf-8") as file:
        draw(file)
    reader.join()
    os.close(master)
    return told[0]


def assert_harmless(text: str) -> None:
    left = SGR.sub("", text).replace("\r\n", "")
    odd = {char for char in left if not char.isprintable()}
    assert not odd, sorted(map(ascii, odd))
