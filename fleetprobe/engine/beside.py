"""What is asked while a rung of the first climb hangs, so that more questions cost no more time.

A second climb, once the rung has hung for long; and the witness of a hole, as soon as the kernel sees one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from fleetprobe.engine.ascent import ask_rung
from fleetprobe.examination import Climb, Step
from fleetprobe.layer import Ground, Layer, Stall
from fleetprobe.net.interface import Net, Stream
from fleetprobe.net.path import Direction, Hole

_LEAST_SHARE = 0.5
"""Of its time: how long the second climb must have waited at the rung for its silence to count. Where the rungs
below took the rest, an answer was hardly awaited."""

Begin = Callable[[Climb, float], Coroutine[Any, Any, None]]
"""Climbs anew into the given climb, to be over at that monotonic second."""
Look = Callable[[Climb, Stall], Coroutine[Any, Any, None]]
"""Puts the question about a hole, and writes what it told into the climb."""


class Beside:
    """Holds at most one of each. The second climb is given up when the rung that hung ends in anything but silence."""

    def __init__(self, begin: Begin, look: Look | None, now: Callable[[], float]) -> None:
        """`look` is None where no witness asks about holes."""
        self._begin = begin
        self._look = look
        self._now = now
        self._task: asyncio.Task[None] | None = None
        self._climb: Climb | None = None
        self._until_s = 0.0
        self._rung: str | None = None
        self._seen: _Seen | None = None
        self._dropped: list[_Seen] = []
        self.given_up: list[Climb] = []
        """Climbs that nobody needs; what they opened is still told."""

    async def ask(self, layer: Layer, ground: Ground, net: Net) -> Step:
        """The rung's step, asked as always; beside it what is worth asking while it hangs."""
        until_s = self._now() + ground.exchange_s
        timer = asyncio.get_running_loop().call_later(ground.policy.beside_s, self._start, until_s)
        self._rung, stream = layer.name, ground.stream
        try:
            step = await ask_rung(layer, ground, net)
        finally:
            self._rung = None
            timer.cancel()
        if not _silent(step):
            await self._give_up_climb()
        if self._seen is not None:
            await self._seen.over(went_on=not _silent(step) and self._seen.closed_in(stream))
        return step

    def hole(self, hole: Hole) -> None:
        """The kernel has seen one in the connection of the rung that is being asked."""
        if self._rung is None:
            return
        if self._seen is not None and (self._seen.healed or self._seen.blind):
            # What was lost once and came after all, or a silence without a sign, says nothing of what is lost now.
            self._seen.drop()
            self._dropped.append(self._seen)
            self._seen = None
        self._see(self._rung, hole)

    async def looked(self) -> Climb | None:
        """What was asked about a hole, to its end; None when the kernel saw none, or it closed by itself."""
        return None if self._seen is None else await self._seen.end()

    async def take(self, broken: Climb) -> Climb | None:
        """The second climb to its end; None when there is none, or its silence is not that of `broken`."""
        if self._task is None or self._climb is None:
            return None
        await asyncio.wait({self._task})
        if self._task.cancelled() or self._task.exception() is not None or not self._tells(self._climb, broken):
            await self._give_up_climb()
            return None
        climb, self._task, self._climb = self._climb, None, None
        _in_the_words_of(broken, climb)
        return climb

    async def give_up(self) -> None:
        """End what is under way. Cheap when nothing is."""
        await self._give_up_climb()
        for seen in self._dropped:
            await seen.give_up()
            self.given_up.append(seen.climb)
        self._dropped.clear()
        if self._seen is not None:
            await self._seen.give_up()

    async def _give_up_climb(self) -> None:
        if self._task is None or self._climb is None:
            return
        self._task.cancel()
        await asyncio.wait({self._task})
        self._climb.aside, self._climb.steps = True, []
        self.given_up.append(self._climb)
        self._task = self._climb = None

    def _tells(self, climb: Climb, broken: Climb) -> bool:
        """Whether it came as far as `broken`, and there heard something, or the same silence for long enough."""
        if not climb.broke:
            return True
        step, first = climb.steps[-1], broken.steps[-1]
        if step.layer != first.layer:
            return False
        if not _silent(step):
            return True
        long_enough = step.ended_s - step.started_s >= _LEAST_SHARE * (self._until_s - climb.started_s)
        return long_enough and _silences(step) == _silences(first)

    def _see(self, rung: str, hole: Hole | None) -> None:
        if self._seen is None and self._look is not None:
            self._seen = _Seen(rung, hole, self._look, self._now())

    def _start(self, until_s: float) -> None:
        if self._seen is not None and not self._seen.healed:
            return  # a hole explains itself
        if self._rung is not None:
            self._see(self._rung, None)
        if self._task is None:
            self._until_s = until_s
            self._climb = Climb(purpose="again", started_s=self._now())
            self._task = asyncio.ensure_future(self._begin(self._climb, until_s))


class _Seen:
    """One hole that the kernel saw, and the question about it."""

    def __init__(self, rung: str, hole: Hole | None, look: Look, now: float) -> None:
        self.climb = Climb(purpose="mtu", aside=True, started_s=now)
        self.healed = False
        """Whether what was missing has come."""
        self._hole = hole
        self._over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waits = False
        self._task = asyncio.ensure_future(look(self.climb, Stall(rung, hole, self._went_on, self._keep)))

    @property
    def blind(self) -> bool:
        """Whether it is asked without a sign, and has not proven anything so far."""
        return self._hole is None and not self._waits

    def drop(self) -> None:
        """Ask no further, and tell nothing; `give_up` waits for the end of it."""
        self._task.cancel()

    def closed_in(self, stream: Stream | None) -> bool:
        """Whether the bytes that were missing came in the end; a server that gives up on us ends it otherwise."""
        info = stream.info() if stream is not None else None
        if self._hole is None:
            return True
        if info is None:
            return False
        if self._hole.direction is Direction.FORWARD:
            return info.bytes_acked > self._hole.bytes_acked
        return info.bytes_received > self._hole.bytes_received

    async def over(self, *, went_on: bool) -> None:
        """The rung has ended. An answer before the question was answered makes it needless: the hole was loss."""
        if not self._over.done():
            self._over.set_result(went_on)
            if went_on and not self._waits:
                self.healed = True
                await self.give_up()

    async def end(self) -> Climb:
        """The question to its end."""
        await asyncio.wait({self._task})
        return self.climb

    async def give_up(self) -> None:
        """End it; what it opened is still told."""
        self._task.cancel()
        await asyncio.wait({self._task})
        if self._task.cancelled():
            self.climb.aside, self.climb.steps = True, []

    def _keep(self) -> None:
        self._waits = True

    async def _went_on(self) -> bool:
        self._keep()
        return await asyncio.shield(self._over)


def _silent(step: Step) -> bool:
    return bool(_silences(step))


def _silences(step: Step) -> set[str | None]:
    """The codes of the silences on which it broke."""
    return {finding.code for finding in step.findings if finding.breaks and finding.silences}


def _in_the_words_of(first: Climb, second: Climb) -> None:
    """The second climb waited less; a silence that both met is told as the first one met it."""
    told = {finding.code: finding.summary for step in first.steps for finding in step.findings if finding.silences}
    for step in second.steps:
        step.findings = [
            replace(finding, summary=told[finding.code]) if finding.silences and finding.code in told else finding
            for finding in step.findings
        ]
