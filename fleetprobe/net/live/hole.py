"""Watching an open connection for a hole: later segments arrive, and the ones before them never do."""

from __future__ import annotations

import socket
import struct
from math import inf
from socket import SocketType

from fleetprobe.net.interface import TcpInfo
from fleetprobe.net.path import Direction, Hole

_FIRST_LOOK_S = 0.25
_NEXT_LOOK_S = 0.2
_SO_MEMINFO = 55
"""asm-generic/socket.h, since Linux 4.12; the first of its figures is SK_MEMINFO_RMEM_ALLOC (linux/sock_diag.h)."""
_MEMINFO_SIZE = 64
_RMEM_ALLOC = struct.Struct("=I")


class HoleWatch:
    """Remembers between looks since when the signs of a hole have stood unchanged."""

    def __init__(self, started_s: float, hole_s: float | None) -> None:
        """`hole_s`: for how long the signs must have stood; None: only the last look counts."""
        self.hole: Hole | None = None
        self.lasting = False
        """Whether it has stood for `hole_s`."""
        self.next_look_s = inf if hole_s is None else started_s + _FIRST_LOOK_S
        self._hole_s = inf if hole_s is None else hole_s
        self._mark: tuple[Direction, int, int] | None = None
        self._since_s = 0.0

    def look(self, info: TcpInfo | None, later_bytes: bool | None, now_s: float) -> None:
        """Take note of the kernel's account at a moment in which a read finds nothing; sets all that is public.

        `later_bytes` as `holds_later_bytes` tells it.
        """
        self.next_look_s = now_s + _NEXT_LOOK_S
        direction = direction_of(info, later_bytes) if info is not None else None
        if info is None or direction is None:
            self.hole = self._mark = None
            self.lasting = False
            return
        mark = (direction, info.bytes_acked, info.bytes_received)
        if mark != self._mark:
            self._mark = mark
            # Only what arrives can change these signs, so they are as old as the last thing that arrived.
            self._since_s = now_s - info.last_ack_received_ms / 1000.0
        lasted_s = now_s - self._since_s
        self.hole = _hole(direction, info, lasted_s)
        self.lasting = lasted_s >= self._hole_s
        if not self.lasting:
            self.next_look_s = min(self.next_look_s, self._since_s + self._hole_s)


def direction_of(info: TcpInfo, later_bytes: bool | None) -> Direction | None:
    """Which way segments are missing now; None: none are, or nothing shows it.

    The count of out-of-order segments alone would not do, as it stays when a gap has long been filled, and
    a server that thinks for a while after that looks the same.
    """
    if info.sacked_segments and info.unacked_segments > info.sacked_segments:
        return Direction.FORWARD
    if info.unacked_segments:
        return None
    if later_bytes is None:
        later_bytes = info.bytes_received == 0 and info.data_segments_in > 0
    return Direction.REVERSE if later_bytes and info.out_of_order_segments != 0 else None


def holds_later_bytes(sock: SocketType) -> bool | None:
    """Whether bytes wait in the kernel that are out of order, provided that a read has just found none in order.

    What the socket has been charged for reading is the sum of both. None where the kernel does not tell.
    """
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO_SIZE)
    except OSError:
        return None
    return bool(_RMEM_ALLOC.unpack_from(raw)[0]) if len(raw) >= _RMEM_ALLOC.size else None


def _hole(direction: Direction, info: TcpInfo, lasted_s: float) -> Hole:
    return Hole(
        direction=direction,
        since_ms=lasted_s * 1000.0,
        sacked_segments=info.sacked_segments,
        unacked_segments=info.unacked_segments,
        bytes_acked=info.bytes_acked,
        bytes_received=info.bytes_received,
        data_segments_in=info.data_segments_in,
        out_of_order_segments=info.out_of_order_segments,
        retransmits=info.total_retransmits,
        receive_mss_bytes=info.receive_mss_bytes if info.bytes_received else 0,
    )
