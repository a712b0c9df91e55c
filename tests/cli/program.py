"""The program as a user runs it: a process with pipes, or with a terminal of its own."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FLEETPROBE = [sys.executable, "-m", "fleetprobe"]
SGR = re.compile(r"\x1b\[[0-9;]*m")


def environment(**more: str) -> dict[str, str]:
    """Ours, without anything that would set a flag or change colours; no pool is kept."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLEETPROBE_")}
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        kept.pop(name, None)
    return {**kept, "FLEETPROBE_POOL": "none", "TERM": "xterm", "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", **more}


def run(
    *args: str, stdin: str = "", cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it with pipes and wait."""
    return subprocess.run(
        [*FLEETPROBE, *args],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env=environment(**(env or {})),
        check=False,
    )


def start(*args: str, stdout: Any = subprocess.DEVNULL, cwd: Path | None = None) -> subprocess.Popen[bytes]:
    """Start it without waiting."""
    return subprocess.Popen(
        [*FLEETPROBE, *args],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=environment(),
    )


@dataclass(frozen=True, slots=True)
class Shown:
    """What a terminal was sent."""

    code: int
    text: str
    stderr: str

    @property
    def plain(self) -> str:
        """Without colours, with plain line ends."""
        return SGR.sub("", self.text).replace("\r\n", "\n")


def run_on_terminal(
    *args: str,
    columns: int = 80,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    both: bool = False,
) -> Shown:
    """Run it with a pseudo-terminal as standard output; with `both`, as standard error too."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    with subprocess.Popen(
        [*FLEETPROBE, *args],
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave if both else subprocess.PIPE,
        cwd=cwd,
        env=environment(**(env or {})),
    ) as process:
        os.close(slave)
        text = read_terminal(master)
        os.close(master)
        stderr = process.stderr.read().decode() if process.stderr else ""
        code = process.wait(timeout=60)
    return Shown(code, text, stderr)


def read_terminal(master: int, seconds: float = 60.0) -> str:
    """Everything until the other end is closed."""
    told = b""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        readable, _, _ = select.select([master], [], [], 1.0)
        if not readable:
            continue
        try:
            chunk = os.read(master, 65536)
        except OSError:  # EIO: Linux's way to say that nobody holds the other end
            break
        if not chunk:
            break
        told += chunk
    return told.decode("utf-8", "surrogateescape")


def records(text: str) -> list[dict[str, Any]]:
    """The JSON lines of an output; every line must be whole."""
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


@contextmanager
def listener() -> Iterator[socket.socket]:
    """A port of loopback that accepts connections into its queue and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        server.setblocking(False)
        yield server


def port_of(server: socket.socket) -> int:
    """The port it listens on."""
    port: int = server.getsockname()[1]
    return port


@contextmanager
def closed_port() -> Iterator[int]:
    """A port of loopback on which nobody listens, held so that nobody else takes it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield port_of(holder)
