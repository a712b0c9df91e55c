"""Fake monotonic time, shared by everything that waits on a scripted network."""

from __future__ import annotations

from bisect import insort
from collections.abc import Awaitable, Coroutine, Generator, Sequence
from itertools import count
from typing import Any, TypeVar

T = TypeVar("T")


class Turn:
    """One bare yield: lets the other tasks of the loop run, whatever loop that is."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Clock:
    """Fake monotonic seconds. Whoever waits for the earliest moment goes first."""

    _GRACE_TURNS = 4
    """Turns that others get to start a wait of their own before the clock jumps."""

    def __init__(self, start_s: float = 1000.0) -> None:
        self.now_s = start_s
        self._waits: list[tuple[float, int]] = []
        self._tickets = count()

    async def reach(self, moment_s: float) -> None:
        """Wait, in fake time, until `moment_s`."""
        wait = (moment_s, next(self._tickets))
        insort(self._waits, wait)
        grace = self._GRACE_TURNS
        try:
            while grace:
                await Turn()
                grace = grace - 1 if self._waits[0] == wait else self._GRACE_TURNS
        finally:
            self._waits.remove(wait)
        self.now_s = max(self.now_s, moment_s)


async def in_turns(questions: Sequence[Awaitable[T]]) -> list[T]:
    """Several coroutines that wait on the clock alone, side by side without tasks; their results in order."""
    running: dict[int, Generator[Any, None, T]] = {at: one.__await__() for at, one in enumerate(questions)}
    results: dict[int, T] = {}
    try:
        while running:
            for at, one in list(running.items()):
                try:
                    next(one)
                except StopIteration as done:
                    results[at] = done.value
                    del running[at]
            if running:
                await Turn()
    finally:
        for one in running.values():
            one.close()
    return [results[at] for at in range(len(questions))]


def drive(work: Coroutine[Any, Any, T], turns: int = 1_000_000) -> T:
    """Run a coroutine that waits on a fake network alone, without an event loop; its result."""
    for _ in range(turns):
        try:
            work.send(None)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]  # StopIteration cannot carry a type
    work.close()
    raise RuntimeError(f"not done after {turns} turns: it waits for something that is not the fake network")
