"""The second opinion: every nameserver asked directly and at once, and how long each is worth waiting for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import dns.name

from fleetprobe.net.interface import DnsReply, Event, Fault, RecordType
from fleetprobe.net.live.dns_bulk import Pending
from fleetprobe.net.live.nameserver import Nameserver, is_own
from fleetprobe.net.live.reactor import Reactor

_OTHER_TYPE_S = 1.0
"""How long a name that has addresses of one type waits for the other."""
_CONTROL_AFTER_S = 0.25
"""A nameserver that is silent for so long is asked about the root as well."""
_AFTER_DATA_S, _AFTER_DENIAL_S, _AFTER_FAILURE_S = 0.1, 0.5, 1.5
"""How long the other nameservers are waited for when one gave addresses, denied them, or failed."""
LAST_TICK_S = 0.06
"""How late the reactor's deadlines come at most: whoever waits for its word waits that much longer."""

_Opinion = asyncio.Task[tuple[DnsReply, ...]]


class SecondOpinion:
    """Asks all nameservers of a run about names that the bulk resolver had no clean answer for."""

    def __init__(self, servers: Sequence[Nameserver], reactor: Reactor) -> None:
        self._servers = servers
        self._clock = reactor.now

    async def ask(
        self, name: str, kinds: Sequence[RecordType], bulk: Sequence[Pending], started: float, until_s: float
    ) -> tuple[DnsReply, ...]:
        """Ask every nameserver at once; wait for the rest while they could still change the conclusion.

        `bulk` are the answers that may still come in from c-ares, `started` is when the name was first asked.
        """
        began = self._clock()
        absolute = dns.name.from_text(f"{name}.")
        loop = asyncio.get_running_loop()
        opinions = [
            loop.create_task(self._inquire(server, absolute, kinds, until_s)) for server in self._servers
        ]
        try:
            await self._settle(opinions, bulk, started, until_s)
        finally:
            await _end(opinions)
        replies: list[DnsReply] = []
        for server, opinion in zip(self._servers, opinions, strict=True):
            if opinion.done() and not opinion.cancelled():
                replies += opinion.result()
            else:
                server.note(heard=False)
                replies += (_cut(server, kind, self._clock() - began) for kind in kinds)
        return tuple(replies)

    async def _settle(
        self, opinions: Sequence[_Opinion], bulk: Sequence[Pending], started: float, until_s: float
    ) -> None:
        limit_s = until_s + 2 * LAST_TICK_S
        late = [future for future in bulk if not future.done()]
        waiting: set[asyncio.Future[Any]] = {*opinions, *late}
        while not all(opinion.done() for opinion in opinions) and (left_s := limit_s - self._clock()) > 0:
            done, waiting = await asyncio.wait(waiting, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            for opinion in opinions:
                if opinion in done:
                    limit_s = min(limit_s, self._clock() + _patience_s(opinion.result()))
            if any(future in done and future.exception() is None for future in late):
                complete = all(future.done() and future.exception() is None for future in bulk)
                rest_s = _AFTER_DATA_S if complete else self.other_type_s(started)
                limit_s = min(limit_s, self._clock() + rest_s)

    async def _inquire(
        self, server: Nameserver, name: dns.name.Name, kinds: Sequence[RecordType], until_s: float
    ) -> tuple[DnsReply, ...]:
        """Everything asked of one nameserver; when it stays silent it is asked about the root as well."""
        loop = asyncio.get_running_loop()
        started = self._clock()
        questions = [loop.create_task(server.ask(name, kind, until_s)) for kind in kinds]
        try:
            patience_s = min(_CONTROL_AFTER_S, (until_s - started) / 4)
            done, pending = await asyncio.wait(questions, timeout=max(0.0, patience_s))
            if not any(_heard(question.result()) for question in done):
                server.begin_control(until_s)
            limit_s = until_s + LAST_TICK_S
            while pending and (left_s := limit_s - self._clock()) > 0:
                if any(_settles(question.result()) for question in done):
                    left_s = min(left_s, self.other_type_s(started))
                    limit_s = self._clock() + left_s
                more, pending = await asyncio.wait(
                    pending, timeout=left_s, return_when=asyncio.FIRST_COMPLETED
                )
                done |= more
        finally:
            await _end(questions)
        waited_s = self._clock() - started
        return tuple(
            question.result() if question in done else _cut(server, kind, waited_s)
            for kind, question in zip(kinds, questions, strict=True)
        )

    def other_type_s(self, started: float) -> float:
        """How much longer to wait for the other type: a server that was slow once will be slow twice."""
        return max(_OTHER_TYPE_S, (self._clock() - started) * 1.2)

    async def controls(self, replies: Sequence[DnsReply], until_s: float) -> tuple[DnsReply, ...]:
        """What the silent nameservers said about the root, as far as it is known by then."""
        alive = {reply.server for reply in replies if reply.rcode}
        silent = [server for server in self._servers if str(server.address) not in alive]
        controls = [await server.control(until_s) for server in silent] if replies else []
        return tuple(control for control in controls if control is not None)


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel what still runs and see it end, so that no socket outlives its question."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


def _heard(reply: DnsReply) -> bool:
    """Whether a control question is pointless: an answer came, or we could not have heard one."""
    return reply.rcode is not None or is_own(reply)


def _settles(reply: DnsReply) -> bool:
    """Whether one type's reply says all that matters: an address, or that the name has no type at all."""
    return bool(reply.addresses) or reply.rcode == "NXDOMAIN"


def _patience_s(replies: Sequence[DnsReply]) -> float:
    """How long the others may still take when one nameserver has said all this."""
    if any(reply.addresses for reply in replies):
        return _AFTER_DATA_S
    rcodes = {reply.rcode for reply in replies}
    if rcodes & {"NXDOMAIN"} or rcodes == {"NOERROR"}:
        return _AFTER_DENIAL_S
    return float("inf") if rcodes == {None} else _AFTER_FAILURE_S


def _cut(server: Nameserver, kind: RecordType, after_s: float) -> DnsReply:
    fault = Fault(Event.SILENT, detail="not waited for any longer: another answer had come")
    return DnsReply(server=str(server.address), record_type=kind, duration_ms=after_s * 1000.0, fault=fault)
