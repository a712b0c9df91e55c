"""A second climb, begun while a rung of the first one hangs, so that two silences cost the time of one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from fleetprobe.engine.ascent import ask_rung
from fleetprobe.examination import Climb, Step
from fleetprobe.layer import Ground, Layer
from fleetprobe.net.interface import Net

Begin = Callable[[Climb, float], Coroutine[Any, Any, None]]
"""Climbs anew into the given climb, to be over at that monotonic second."""


class Beside:
    """Holds at most one such climb. It is given up when the rung that hung ends in anything but silence."""

    def __init__(self, begin: Begin, now: Callable[[], float]) -> None:
        self._begin = begin
        self._now = now
        self._task: asyncio.Task[None] | None = None
        self._climb: Climb | None = None
        self.given_up: list[Climb] = []
        """Climbs that nobody needs; what they opened is still told."""

    async def ask(self, layer: Layer, ground: Ground, net: Net) -> Step:
        """The rung's step, asked as always; beside it the second climb, once the rung has hung for long."""
        until_s = self._now() + ground.exchange_s
        timer = asyncio.get_running_loop().call_later(ground.policy.beside_s, self._start, until_s)
        try:
            step = await ask_rung(layer, ground, net)
        finally:
            timer.cancel()
        if not _silent(step):
            await self.give_up()
        return step

    async def take(self, broken: Climb) -> Climb | None:
        """The second climb to its end; None when there is none, or it broke on another rung than `broken`."""
        if self._task is None or self._climb is None:
            return None
        await asyncio.wait({self._task})
        told = not self._climb.broke or _last(self._climb) == _last(broken)
        if self._task.cancelled() or self._task.exception() is not None or not told:
            await self.give_up()
            return None
        climb, self._task, self._climb = self._climb, None, None
        _in_the_words_of(broken, climb)
        return climb

    async def give_up(self) -> None:
        """End what is under way. Cheap when nothing is."""
        if self._task is None or self._climb is None:
            return
        self._task.cancel()
        await asyncio.wait({self._task})
        self._climb.aside, self._climb.steps = True, []
        self.given_up.append(self._climb)
        self._task = self._climb = None

    def _start(self, until_s: float) -> None:
        if self._task is None:
            self._climb = Climb(purpose="again", started_s=self._now())
            self._task = asyncio.ensure_future(self._begin(self._climb, until_s))


def _silent(step: Step) -> bool:
    return any(finding.breaks and finding.silences for finding in step.findings)


def _in_the_words_of(first: Climb, second: Climb) -> None:
    """The second climb waited less; a silence that both met is told as the first one met it."""
    told = {finding.code: finding.summary for step in first.steps for finding in step.findings if finding.silences}
    for step in second.steps:
        step.findings = [
            replace(finding, summary=told[finding.code]) if finding.silences and finding.code in told else finding
            for finding in step.findings
        ]


def _last(climb: Climb) -> str | None:
    return climb.steps[-1].layer if climb.steps else None
