"""Many targets within bounds: a pool of workers over one feed, re-queueing what our own limits spoiled."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import anyio

from fleetprobe.engine.feed import Feed
from fleetprobe.engine.one import Examiner
from fleetprobe.examination import Examination
from fleetprobe.layer import Ladder
from fleetprobe.model.target import BadLine, Entry, Target
from fleetprobe.model.verdict import State

Emit = Callable[[Examination | BadLine], Awaitable[None]]

_TRIES = 3
_RETRY_AFTER_S = 0.25
_FEWEST = 4
_PASSING = frozenset({"fd_limit", "ports_exhausted", "overload"})
"""Limits of ours that ease when less is done at once; a rule of our own firewall does not."""


class Fleet:
    """Runs the workers. A worker takes an entry, examines it, and hands the result over."""

    def __init__(self, examiner: Examiner, ladders: Callable[[Target], Ladder], emit: Emit, workers: int) -> None:
        self._examiner = examiner
        self._ladders = ladders
        self._emit = emit
        self._asked = self._most = workers
        self._running = 0
        self._seen: set[str] = set()
        self.duplicates = 0
        self.unfinished = 0
        """Targets taken from the feed whose result was never handed over."""

    async def run(self, feed: Feed[Entry]) -> None:
        """Until the feed is empty, or this call is cancelled."""
        async with anyio.create_task_group() as group:

            def hire() -> None:
                # Workers are hired one by one as the feed runs ahead, so that a small scan starts few.
                if self._running < self._most:
                    self._running += 1
                    group.start_soon(work)

            async def work() -> None:
                while (entry := await feed.take()) is not None:
                    if feed.waiting:
                        hire()
                    await self._handle(entry)
                    if self._running > self._most:
                        self._running -= 1
                        return
                self._running -= 1

            hire()

    async def _handle(self, entry: Entry) -> None:
        if entry.target_id in self._seen:
            self.duplicates += 1
            return
        self._seen.add(entry.target_id)
        self.unfinished += 1
        result = entry if isinstance(entry, BadLine) else await self._examined(entry)
        await self._emit(result)
        self.unfinished -= 1

    async def _examined(self, target: Target) -> Examination:
        """Examine, and again after a pause when our own limits stood in the way."""
        for attempt in range(1, _TRIES + 1):
            result = await self._examiner.examine(target, self._ladders(target))
            if not _our_fault(result) or attempt == _TRIES:
                self._most = min(self._asked, self._most + 1)
                break
            self._most = max(_FEWEST, math.floor(self._most * 0.75))
            await anyio.sleep(_RETRY_AFTER_S * 2**attempt)
        return result


def _our_fault(result: Examination) -> bool:
    """Whether a limit of our own stood in the way that may have eased by the next try."""
    finding = result.verdict.finding
    if finding is None or finding.code is None or result.verdict.state is not State.UNKNOWN:
        return False
    return finding.silences == 0 and finding.code.partition(".")[2] in _PASSING
