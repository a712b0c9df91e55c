"""Fake monotonic time, shared by everything that waits on a scripted network."""

from __future__ import annotations

from bisect import insort
from collections.abc import Generator
from itertools import count


class _Turn:
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
                await _Turn()
                grace = grace - 1 if self._waits[0] == wait else self._GRACE_TURNS
        finally:
            self._waits.remove(wait)
        self.now_s = max(self.now_s, moment_s)
