"""The reactor keeps deadlines, never loses what was ready in time, and shares the processor fairly."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

from fleetprobe.net.live.reactor import READ, WRITE, Reactor

Case = Callable[[Reactor], Awaitable[None]]


def test_silence_ends_at_the_deadline_and_not_before(within: Callable[[Case], None]) -> None:
    async def case(reactor: Reactor) -> None:
        left, right = socket.socketpair()
        started = reactor.now()
        mask, at = await reactor.ready(left.fileno(), READ, started + 0.2)
        assert mask == 0
        assert 0.2 <= at - started < 0.35
        left.close()
        right.close()

    within(case)


def test_a_deadline_already_past_still_answers(within: Callable[[Case], None]) -> None:
    async def case(reactor: Reactor) -> None:
        left, right = socket.socketpair()
        mask, _ = await reactor.ready(left.fileno(), READ, reactor.now() - 5)
        assert mask == 0
        left.close()
        right.close()

    within(case)


def test_what_was_ready_during_a_stall_counts_as_in_time(within: Callable[[Case], None]) -> None:
    async def case(reactor: Reactor) -> None:
        left, right = socket.socketpair()
        wait = reactor.ready(left.fileno(), READ, reactor.now() + 0.1)
        before = reactor.lag_ms()
        right.send(b"x")
        time.sleep(0.4)  # the whole loop stands still, far past the deadline
        mask, _ = await wait
        assert mask & READ
        await asyncio.sleep(0.05)
        assert reactor.lag_ms() - before > 300
        left.close()
        right.close()

    within(case)


def test_a_descriptor_closed_behind_our_back_does_not_poison_its_number(within: Callable[[Case], None]) -> None:
    async def case(reactor: Reactor) -> None:
        left, right = socket.socketpair()
        number = left.fileno()
        await reactor.ready(number, WRITE, reactor.now() + 1)
        left.close()
        again, other = socket.socketpair()
        assert number in (again.fileno(), other.fileno())
        mask, _ = await reactor.ready(number, WRITE, reactor.now() + 1)
        assert mask & WRITE
        for sock in (right, again, other):
            sock.close()

    within(case)


def test_many_waits_end_by_one_sweep_close_to_their_deadline(within: Callable[[Case], None]) -> None:
    async def case(reactor: Reactor) -> None:
        pairs = [socket.socketpair() for _ in range(400)]
        until = reactor.now() + 0.3
        ended = await asyncio.gather(*(reactor.ready(left.fileno(), READ, until) for left, _ in pairs))
        assert all(mask == 0 for mask, _ in ended)
        assert max(at for _, at in ended) - until < 0.25
        for left, right in pairs:
            left.close()
            right.close()

    within(case)


def test_events_are_read_between_two_turns_of_processor_work(within: Callable[[Case], None]) -> None:
    async def case(reactor: Reactor) -> None:
        left, right = socket.socketpair()
        stamps: list[float] = []

        async def burn() -> None:
            await reactor.turn()
            time.sleep(0.02)

        async def watch() -> None:
            _, at = await reactor.ready(left.fileno(), READ, reactor.now() + 5)
            stamps.append(at)

        started = reactor.now()
        watcher = asyncio.ensure_future(watch())
        burners = [asyncio.ensure_future(burn()) for _ in range(20)]
        await asyncio.sleep(0)
        right.send(b"x")
        await asyncio.gather(watcher, *burners)
        assert reactor.now() - started > 0.4
        assert stamps[0] - started < 0.15
        left.close()
        right.close()

    within(case)
