"""Links that take time: frames go from one interface to another, each held back by the delay of its link.

Run in a namespace of its own as `python -m fleetprobe.lab.delay PLAN READY_FD`; ends with its parent. Frames travel
as they are, whoever they are for, so the two ends of the link are neighbours as before.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import select
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path

from fleetprobe.lab.plan import Plan
from fleetprobe.lab.topology import delayed

_ETHERNET_HEADER_BYTES = 14
_MAX_WAITING = 4096
"""Frames of one direction; what comes beyond is lost, as in any full queue."""
_AT_ONCE = 64
"""Frames taken from one interface before the others get their turn."""
# linux/if_ether.h, linux/if_packet.h (Linux 4.20): all protocols, and only what comes in.
_ETH_P_ALL = 3
_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23
_ARP, _IPV6 = b"\x08\x06", b"\x86\xdd"
_ICMPV6 = b"\x3a"
_NEIGHBOUR_TYPES = frozenset(bytes([kind]) for kind in range(133, 138))


@dataclass(slots=True)
class Way:
    """One direction of a delayed link."""

    source: socket.socket
    sink: socket.socket
    delay_s: float
    mtu_bytes: int
    waiting: int = 0

    def take(self) -> bytes | None:
        """The next frame that has come in, empty if it must not pass; None: there is none."""
        largest = self.mtu_bytes + _ETHERNET_HEADER_BYTES
        try:
            frame = self.source.recv(largest + 1)
        except OSError:  # Also when the interface has gone down: then nothing comes any more.
            return None
        # No wire carries a frame above its MTU; here one could come from an offload that somebody has switched on.
        return frame if len(frame) <= largest and self.waiting < _MAX_WAITING else b""


def interface(name: str) -> socket.socket:
    """A non-blocking packet socket that reads what comes in at an interface and sends what is to go out there.

    Raises OSError where there is no such interface, or the kernel has no packet sockets.
    """
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setblocking(False)
    sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    sock.bind((name, _ETH_P_ALL))
    return sock


def asks_neighbour(frame: bytes) -> bool:
    """Whether a frame is ARP, or ICMPv6 about neighbours (RFC 4861 §4: types 133 to 137).

    Those are not held back: what takes time is the path behind the link. The kernel counts the wait for a
    neighbour into the round trip of the SYN that had to wait.
    """
    kind = frame[12:14]
    return kind == _ARP or (kind == _IPV6 and frame[20:21] == _ICMPV6 and frame[54:55] in _NEIGHBOUR_TYPES)


def relay(ways: Sequence[Way]) -> None:
    """Carry frames for ever."""
    poll = select.epoll()
    by_descriptor = {way.source.fileno(): way for way in ways}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.EPOLLIN)
    # The number keeps frames of one moment in the order in which they came.
    numbers = count()
    held: list[tuple[float, int, Way, bytes]] = []
    while True:
        wait_s = max(0.0, held[0][0] - time.monotonic()) if held else None
        for descriptor, _ in poll.poll(wait_s):
            way = by_descriptor[descriptor]
            now_s = time.monotonic()
            for frame in takewhile(lambda frame: frame is not None, (way.take() for _ in range(_AT_ONCE))):
                if frame:
                    way.waiting += 1
                    due_s = now_s if asks_neighbour(frame) else now_s + way.delay_s
                    heapq.heappush(held, (due_s, next(numbers), way, frame))
        while held and held[0][0] <= time.monotonic():
            _, _, way, frame = heapq.heappop(held)
            way.waiting -= 1
            with contextlib.suppress(OSError):  # What an interface does not take is lost, as on any wire.
                way.sink.send(frame)


def main(argv: Sequence[str]) -> int:
    """Entry point: path of the plan and the descriptor to write `ready` to."""
    plan, ready_fd = Plan.read(Path(argv[0])), int(argv[1])
    ways = []
    for link in delayed(plan.fleet()):
        near, far = interface(link.near), interface(link.far)
        delay_s = link.delay_ms / 1000.0
        ways += [Way(near, far, delay_s, link.mtu_bytes), Way(far, near, delay_s, link.mtu_bytes)]
    os.write(ready_fd, b"ready\n")
    os.close(ready_fd)
    relay(ways)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
