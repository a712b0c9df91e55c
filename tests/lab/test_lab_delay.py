"""The relay of a link that takes time: what passes, what is lost, and what is not held back."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from fleetprobe.lab.delay import Way, asks_neighbour, relay

HEADER = bytes(12)
IPV4 = HEADER + b"\x08\x00" + bytes(40)


@pytest.fixture
def ends() -> Iterator[list[socket.socket]]:
    """Two wires: what is put into 0 is read by the relay from 1, and what it sends into 2 comes out of 3."""
    sockets = [sock for _ in range(2) for sock in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)]
    sockets[1].setblocking(False)
    yield sockets
    for sock in sockets:
        sock.close()


def way(ends: list[socket.socket], delay_s: float = 0.0, waiting: int = 0) -> Way:
    return Way(ends[1], ends[2], delay_s, mtu_bytes=1500, waiting=waiting)


def test_a_frame_larger_than_the_mtu_does_not_pass(ends: list[socket.socket]) -> None:
    full = bytes(1514)
    for frame in (full, full + b"x", bytes(9014)):
        ends[0].send(frame)
    one = way(ends)
    assert [one.take(), one.take(), one.take(), one.take()] == [full, b"", b"", None]


def test_a_full_queue_loses_what_comes_next(ends: list[socket.socket]) -> None:
    ends[0].send(IPV4)
    ends[0].send(IPV4)
    assert way(ends, waiting=4095).take() == IPV4
    assert way(ends, waiting=4096).take() == b""


@pytest.mark.parametrize(
    ("frame", "prompt"),
    [
        (HEADER + b"\x08\x06" + bytes(28), True),
        (HEADER + b"\x86\xdd" + bytes(6) + b"\x3a" + bytes(33) + b"\x87" + bytes(23), True),
        (HEADER + b"\x86\xdd" + bytes(6) + b"\x3a" + bytes(33) + b"\x88" + bytes(23), True),
        # An echo request, and TCP whose first byte looks like a solicitation.
        (HEADER + b"\x86\xdd" + bytes(6) + b"\x3a" + bytes(33) + b"\x80" + bytes(23), False),
        (HEADER + b"\x86\xdd" + bytes(6) + b"\x06" + bytes(33) + b"\x87" + bytes(23), False),
        (IPV4, False),
        (b"", False),
    ],
)
def test_only_questions_about_neighbours_are_not_held_back(frame: bytes, prompt: bool) -> None:
    assert asks_neighbour(frame) is prompt


def test_frames_come_after_the_delay_and_in_order(ends: list[socket.socket]) -> None:
    # It never returns; as a daemon it ends with the tests, and it has nothing to do once its wire is closed.
    threading.Thread(target=relay, args=([way(ends, delay_s=0.2)],), daemon=True).start()
    arp = HEADER + b"\x08\x06" + bytes(28)
    sent = [IPV4 + bytes([number]) for number in range(20)]
    start = time.monotonic()
    for frame in (*sent, arp):
        ends[0].send(frame)
    ends[3].settimeout(5.0)
    assert ends[3].recv(2000) == arp
    assert time.monotonic() - start < 0.2
    assert [ends[3].recv(2000) for _ in sent] == sent
    assert 0.2 <= time.monotonic() - start < 1.0
