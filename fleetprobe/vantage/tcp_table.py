"""A census of this machine's TCP sockets: proc(5) /proc/net/tcp and tcp6, line by line."""

from __future__ import annotations

import socket
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from fleetprobe.vantage.facts import Ports, TcpCensus
from fleetprobe.vantage.sysctl import PROC

_STATES: Final = {
    0x01: "ESTAB", 0x02: "SYN-SENT", 0x03: "SYN-RECV", 0x04: "FIN-WAIT-1", 0x05: "FIN-WAIT-2",
    0x06: "TIME-WAIT", 0x07: "CLOSED", 0x08: "CLOSE-WAIT", 0x09: "LAST-ACK", 0x0A: "LISTEN",
    0x0B: "CLOSING", 0x0C: "SYN-RECV",
}
"""include/net/tcp_states.h, under the names of ss(8)."""
_MOST_LINES: Final = 500_000
_MOST_FAR_ENDS: Final = 65_536
_MOST_HELD: Final = 1024
"""Sockets in CLOSE-WAIT whose owner is looked for."""
_MOST_PROCESSES, _MOST_DESCRIPTORS = 4096, 65_536
_MOST_OWNERS: Final = 8
_LAST_COLUMN: Final = 9


@dataclass(frozen=True, slots=True)
class _Line:
    """The columns that matter here."""

    local_port: int
    far_end: str
    """As the kernel writes it, in hexadecimal."""
    state: int
    uid: str
    inode: str


def census(ports: Ports | None, proc: Path = PROC) -> TcpCensus:
    """Count; `ports` says which of our ports the kernel chose. Bounded: half a million sockets a family."""
    states: Counter[str] = Counter()
    waiting: Counter[str] = Counter()
    held: dict[str, str] = {}
    complete = True
    for name in ("tcp", "tcp6"):
        lines = 0
        for line in _lines(proc / "net" / name):
            lines += 1
            state = _STATES.get(line.state, f"{line.state:#04x}")
            states[state] += 1
            chosen = ports is not None and ports.low <= line.local_port <= ports.high
            if state == "TIME-WAIT" and chosen and (line.far_end in waiting or len(waiting) < _MOST_FAR_ENDS):
                waiting[line.far_end] += 1
            elif state == "CLOSE-WAIT" and len(held) < _MOST_HELD:
                held[line.inode] = line.uid
        complete = complete and lines < _MOST_LINES
    far_end, most = next(iter(waiting.most_common(1)), (None, 0))
    return TcpCensus(
        states=dict(states),
        busiest_far_end=_end(far_end) if far_end else None,
        busiest_time_wait=most,
        close_wait_owners=_owners(held, proc) if held else {},
        complete=complete,
    )


def _lines(path: Path) -> Iterator[_Line]:
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            for text in islice(file, 1, _MOST_LINES + 1):
                words = text.split(None, _LAST_COLUMN + 1)
                if len(words) > _LAST_COLUMN:
                    yield _Line(int(words[1].rpartition(":")[2], 16), words[2], int(words[3], 16), words[7], words[9])
    except (OSError, ValueError):
        # Without the file there is nothing to count; a line that is none would be the kernel's own bug.
        return


def _end(text: str) -> str | None:
    """`0100007F:1F90` as `127.0.0.1:8080`: words of four bytes in this machine's order, the port in hexadecimal."""
    address, _, port = text.partition(":")
    try:
        words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
        packed = struct.pack(f"{'<' if sys.byteorder == 'little' else '>'}{len(words)}I", *words)
        family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
        name = socket.inet_ntop(family, packed)
        return f"[{name}]:{int(port, 16)}" if ":" in name else f"{name}:{int(port, 16)}"
    except (ValueError, struct.error):
        return None


def _owners(held: dict[str, str], proc: Path) -> dict[str, int]:
    """Who holds these sockets: processes that we may look into, for the rest the user."""
    left = dict(held)
    found: Counter[str] = Counter()
    budget = _MOST_DESCRIPTORS
    for process in islice((path for path in _children(proc) if path.name.isdigit()), _MOST_PROCESSES):
        for descriptor in islice(_children(process / "fd"), budget):
            budget -= 1
            inode = _inode(descriptor)
            if inode in left:
                del left[inode]
                found[f"{_name(process)} ({process.name})"] += 1
        if budget <= 0 or not left:
            break
    for uid in left.values():
        found[f"uid {uid}"] += 1
    return dict(found.most_common(_MOST_OWNERS))


def _children(path: Path) -> Iterator[Path]:
    try:
        yield from path.iterdir()
    except OSError:
        # Somebody else's process, or one that has just ended.
        return


def _inode(descriptor: Path) -> str | None:
    try:
        target = str(descriptor.readlink())
    except OSError:
        return None
    return target[8:-1] if target.startswith("socket:[") else None


def _name(process: Path) -> str:
    try:
        with (process / "comm").open(encoding="utf-8", errors="replace") as file:
            return file.read(64).strip()
    except OSError:
        return "?"
