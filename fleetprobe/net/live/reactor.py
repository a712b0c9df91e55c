"""Readiness and deadlines: one private epoll nested in the event loop, one sweep for every time limit.

Sockets with IP_RECVERR make the loops' own transports spin, go deaf or crash, so no such socket is ever
given to them. They are registered one-shot in an epoll of ours, whose own descriptor the loop watches;
this is also the fastest structure measured (docs/design/002-engine.md).
"""

from __future__ import annotations

import asyncio
import select
import time
from collections import deque
from contextlib import suppress

READ = select.EPOLLIN | select.EPOLLRDHUP
WRITE = select.EPOLLOUT
ERROR = select.EPOLLERR
HANGUP = select.EPOLLHUP

_TICK_S = 0.02
_GRAIN_S = 0.01
_BATCH = 2048

Ready = tuple[int, float]
"""Event mask (0: the deadline passed) and the monotonic second at which the kernel reported it."""


class Reactor:
    """Waits for many descriptors with one system call per wake-up. Belongs to one running loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._waits: dict[int, asyncio.Future[Ready]] = {}
        self._known: set[int] = set()
        self._buckets: dict[int, list[tuple[int, asyncio.Future[Ready]]]] = {}
        self._origin = time.monotonic()
        self._swept = 0
        self._lag_s = 0.0
        self._turns: deque[asyncio.Future[None]] = deque()
        self._turning = False
        self._loop.add_reader(self._epoll.fileno(), self._drain)
        self._due = self._origin + _TICK_S
        self._timer = loop.call_later(_TICK_S, self._sweep)

    now = staticmethod(time.monotonic)

    def ready(self, fd: int, mask: int, until_s: float) -> asyncio.Future[Ready]:
        """Wait once for any of `mask`, or for the deadline. Errors and hang-ups always count."""
        future: asyncio.Future[Ready] = self._loop.create_future()
        self._waits[fd] = future
        bucket = max(int((until_s - self._origin) / _TICK_S) + 1, self._swept + 1)
        self._buckets.setdefault(bucket, []).append((fd, future))
        self._arm(fd, mask | select.EPOLLONESHOT)
        return future

    def forget(self, fd: int) -> None:
        """Stop watching; to be called before the descriptor is closed, which takes it out of the epoll."""
        self._known.discard(fd)
        wait = self._waits.pop(fd, None)
        if wait is not None and not wait.done():
            wait.cancel()

    def lag_ms(self) -> float:
        """Milliseconds by which this loop has been late in all; the difference of two readings counts.

        Single delays below 10 ms are the scheduler's ordinary grain and count as none.
        """
        return (self._lag_s + _lateness(time.monotonic() - self._due)) * 1000.0

    async def turn(self) -> None:
        """Wait for a turn to burn processor time: one holder per pass of the loop, first come first served.

        Between two turns the loop reads its events, so that their time stamps stay true.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        self._turns.append(future)
        if not self._turning:
            self._turning = True
            self._loop.call_soon(self._next_turn)
        await future

    def close(self) -> None:
        """Stop sweeping and drop every wait."""
        self._timer.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        for wait in list(self._waits.values()):
            wait.cancel()
        self._waits.clear()
        self._epoll.close()

    def _arm(self, fd: int, mask: int) -> None:
        if fd in self._known:
            # A descriptor closed behind our back has left the epoll; its number may serve a new socket.
            with suppress(FileNotFoundError):
                self._epoll.modify(fd, mask)
                return
        self._epoll.register(fd, mask)
        self._known.add(fd)

    def _next_turn(self) -> None:
        while self._turns:
            future = self._turns.popleft()
            if not future.done():
                future.set_result(None)
                self._loop.call_soon(self._next_turn)
                return
        self._turning = False

    def _drain(self) -> None:
        events = self._epoll.poll(0, _BATCH)
        at = time.monotonic()
        for fd, mask in events:
            wait = self._waits.pop(fd, None)
            if wait is not None and not wait.done():
                wait.set_result((mask, at))

    def _sweep(self) -> None:
        # What is ready was in time, however late we are ourselves: it is taken before anything expires.
        self._drain()
        now = time.monotonic()
        self._lag_s += _lateness(now - self._due)
        current = int((now - self._origin) / _TICK_S)
        for bucket in range(self._swept + 1, current + 1):
            for fd, future in self._buckets.pop(bucket, ()):
                if not future.done():
                    if self._waits.get(fd) is future:
                        del self._waits[fd]
                    future.set_result((0, now))
        self._swept = current
        self._due = now + _TICK_S
        self._timer = self._loop.call_later(_TICK_S, self._sweep)


def _lateness(behind_s: float) -> float:
    return behind_s if behind_s > _GRAIN_S else 0.0
