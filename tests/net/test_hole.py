"""The kernel's account read for a hole: which way, since when, and everything that only looks like one."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from fleetprobe.net.interface import Address, Event, TcpInfo
from fleetprobe.net.live import tcp
from fleetprobe.net.live.hole import HoleWatch, direction_of, holds_later_bytes
from fleetprobe.net.live.reactor import Reactor
from fleetprobe.net.path import Direction, Hole

Case = Callable[[Reactor], Awaitable[None]]
HERE = Address("127.0.0.1", 4)
WELL = TcpInfo(
    rtt_ms=1.0, rtt_var_ms=0.5, total_retransmits=0, unacked_segments=0, sacked_segments=0, send_mss_bytes=1448,
    receive_mss_bytes=536, advertised_mss_bytes=1448, path_mtu_bytes=1500, bytes_acked=1, bytes_received=0,
    data_segments_in=0, out_of_order_segments=0, last_ack_received_ms=0.0,
)
FORWARD = replace(WELL, unacked_segments=3, sacked_segments=1, total_retransmits=2)
REVERSE = replace(WELL, bytes_acked=65, data_segments_in=1, out_of_order_segments=1)


@pytest.mark.parametrize(
    ("info", "later_bytes", "direction"),
    [
        (WELL, False, None),
        (FORWARD, False, Direction.FORWARD),
        (FORWARD, None, Direction.FORWARD),
        (REVERSE, True, Direction.REVERSE),
        (replace(REVERSE, out_of_order_segments=None), True, Direction.REVERSE),
        (replace(REVERSE, bytes_received=1448), True, Direction.REVERSE),
        # An application that is silent, or a path that swallows everything.
        (replace(WELL, unacked_segments=1, total_retransmits=4), False, None),
        # Everything sent is selectively acknowledged: the first acknowledgement in order is on its way.
        (replace(FORWARD, unacked_segments=1), False, None),
        # The gap was filled long ago, and the server thinks.
        (replace(REVERSE, bytes_received=1448, data_segments_in=3), False, None),
        # Bytes in the kernel, and none of them ever out of order: an answer that has just come.
        (replace(WELL, data_segments_in=1), True, None),
        # Kernels that tell nothing about memory: only a stream of which nothing at all has come in order.
        (REVERSE, None, Direction.REVERSE),
        (replace(REVERSE, bytes_received=200), None, None),
        # Our own bytes are missing too: what the peer sends is no answer to them.
        (replace(REVERSE, unacked_segments=2), True, None),
    ],
)
def test_the_signs_of_a_hole_and_what_only_resembles_them(
    info: TcpInfo, later_bytes: bool | None, direction: Direction | None
) -> None:
    assert direction_of(info, later_bytes) is direction


def looked(watch: HoleWatch, info: TcpInfo | None, now_s: float, later_bytes: bool = False) -> Hole | None:
    watch.look(info, later_bytes, now_s)
    return watch.hole


def lasts(watch: HoleWatch) -> bool:
    return watch.lasting


def test_the_first_look_is_after_a_quarter_of_a_second_and_then_five_in_a_second() -> None:
    watch = HoleWatch(10.0, 0.8)
    assert watch.next_look_s == 10.25
    looked(watch, WELL, 10.27)
    assert watch.next_look_s == pytest.approx(10.47)
    assert HoleWatch(10.0, None).next_look_s == float("inf")


def test_a_hole_that_stands_unchanged_lasts_from_the_last_thing_that_arrived() -> None:
    watch = HoleWatch(10.0, 0.5)
    hole = looked(watch, replace(FORWARD, last_ack_received_ms=240.0), 10.25)
    assert hole is not None
    assert hole.since_ms == pytest.approx(240.0)
    assert (hole.direction, lasts(watch)) == (Direction.FORWARD, False)
    assert watch.next_look_s == pytest.approx(10.45)
    looked(watch, replace(FORWARD, total_retransmits=3, last_ack_received_ms=440.0), 10.45)
    assert not lasts(watch)
    assert watch.next_look_s == pytest.approx(10.51), "no later than it can have lasted long enough"
    hole = looked(watch, replace(FORWARD, total_retransmits=3, last_ack_received_ms=500.0), 10.51)
    assert lasts(watch)
    assert hole is not None and hole.retransmits == 3
    assert hole.since_ms == pytest.approx(500.0)


def test_loss_that_the_peer_recovers_from_makes_no_hole_that_lasts() -> None:
    watch = HoleWatch(10.0, 0.5)
    acked, missing = 1, True
    for step in range(20):  # every other look finds a new gap, and the one before filled
        now_s = 10.25 + step * 0.2
        if missing:
            looked(watch, replace(FORWARD, bytes_acked=acked, last_ack_received_ms=150.0), now_s)
        else:
            assert looked(watch, replace(WELL, bytes_acked=acked), now_s) is None
        assert not lasts(watch)
        acked, missing = acked + 1448, not missing


def test_every_byte_that_comes_through_in_order_begins_the_count_anew() -> None:
    watch = HoleWatch(10.0, 0.5)
    for step in range(10):
        info = replace(REVERSE, bytes_received=step * 1448, last_ack_received_ms=100.0)
        hole = looked(watch, info, 10.25 + step * 0.2, later_bytes=True)
        assert hole is not None and hole.since_ms == pytest.approx(100.0)
        assert not lasts(watch)


def test_a_hole_that_changes_its_direction_is_another_one() -> None:
    watch = HoleWatch(10.0, 0.4)
    looked(watch, replace(FORWARD, last_ack_received_ms=300.0), 10.25)
    hole = looked(watch, REVERSE, 10.45, later_bytes=True)
    assert hole is not None and (hole.direction, hole.since_ms) == (Direction.REVERSE, 0.0)
    assert not lasts(watch)


def test_a_hole_that_is_filled_and_a_connection_that_is_gone_leave_none() -> None:
    watch = HoleWatch(10.0, 0.1)
    for info in (WELL, None):
        assert looked(watch, replace(FORWARD, last_ack_received_ms=200.0), 10.25) is not None
        assert lasts(watch)
        assert looked(watch, info, 10.45) is None
        assert not lasts(watch)


def test_a_socket_holds_later_bytes_only_as_long_as_something_is_unread() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as ours:
        peer, _ = server.accept()
        with peer:
            assert holds_later_bytes(ours) is False
            peer.send(b"x" * 3000)
            ours.recv(1000, socket.MSG_WAITALL)
            assert holds_later_bytes(ours) is True
            ours.recv(2000, socket.MSG_WAITALL)
            assert holds_later_bytes(ours) is False
    assert holds_later_bytes(ours) is None, "closed"


def test_a_watched_wait_ends_with_data_with_silence_or_with_the_peer(within: Callable[[Case], None]) -> None:
    server = socket.create_server((HERE.text, 0))

    async def case(reactor: Reactor) -> None:
        _, stream = await tcp.dial(reactor, HERE, server.getsockname()[1], reactor.now() + 2)
        assert stream is not None
        peer, _ = server.accept()
        started = reactor.now()
        silent = await stream.receive(10, started + 0.6, 0.1)
        assert (silent.event, silent.hole) == (Event.SILENT, None)
        assert 0.6 <= silent.at_s - started < 0.9
        asyncio.get_running_loop().call_later(0.35, peer.send, b"late")
        asked = reactor.now()
        said = await stream.receive(10, asked + 2, 0.1)
        assert (said.event, said.data) == (Event.DONE, b"late")
        assert said.at_s - asked < 0.6
        asyncio.get_running_loop().call_later(0.3, peer.close)
        assert (await stream.receive(10, reactor.now() + 2, 0.1)).event is Event.CLOSED
        stream.abort()

    within(case)
    server.close()


def test_a_stream_aborted_or_cancelled_under_a_watched_wait_leaves_nothing(within: Callable[[Case], None]) -> None:
    server = socket.create_server((HERE.text, 0))

    async def case(reactor: Reactor) -> None:
        before = len(os.listdir("/proc/self/fd"))
        for abort_first in (True, False):
            _, stream = await tcp.dial(reactor, HERE, server.getsockname()[1], reactor.now() + 2)
            assert stream is not None
            peer, _ = server.accept()
            waiting = asyncio.ensure_future(stream.receive(10, reactor.now() + 5, 0.1))
            await asyncio.sleep(0.3)
            if abort_first:
                stream.abort()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            stream.abort()
            peer.close()
        assert len(os.listdir("/proc/self/fd")) <= before, "threads of earlier tests may still give some back"

    within(case)
    server.close()
