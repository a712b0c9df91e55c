"""One nameserver: asked for a second opinion, so many questions at a time, and whether it lives at all."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import dns.name
import dns.rdatatype

from fleetprobe.net.interface import DnsReply, Event, Fault, RecordType
from fleetprobe.net.live.dns_alias import ask_to_the_end
from fleetprobe.net.live.dns_question import Question
from fleetprobe.net.live.reactor import Reactor
from fleetprobe.net.live.resolv_conf import ServerAddress

_OWN_ERRORS = frozenset({"EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EAGAIN", "EPERM"})
"""Errors of this machine: they say nothing about the nameserver."""
_AT_A_TIME = 64
"""Questions on the wire to one nameserver: polite, and a bound on descriptors."""
_GIVEN_UP_AFTER = 20
"""Unanswered questions in a row before a nameserver whose control failed too is left alone for a while."""
_CONTROL_S = 1.5
_CONTROL_SHARE = 0.8
_FRESH_S = 5.0
"""How long the answer to a control question, or its want, speaks for its nameserver."""


def is_own(reply: DnsReply) -> bool:
    """Whether a want of our own, not the nameserver, left this question without an answer."""
    return reply.rcode is None and reply.fault is not None and reply.fault.errno_name in _OWN_ERRORS


class Nameserver:
    """Asks one nameserver, so many questions at a time, and knows whether it is worth asking."""

    def __init__(self, address: ServerAddress, reactor: Reactor) -> None:
        self.address = address
        self._reactor = reactor
        self._slots = asyncio.Semaphore(_AT_A_TIME)
        self._unanswered = 0
        self._control: asyncio.Task[DnsReply] | None = None
        self._control_ended_s = 0.0

    async def ask(self, name: dns.name.Name, record_type: RecordType, until_s: float) -> DnsReply:
        """Ask for the addresses of an absolute name; whatever happens is a reply."""
        if (known := self._known_silent()) is not None:
            return self._not_asked(record_type, replace(known, detail="not asked: silent for a while now"))
        started = self._reactor.now()
        if not await self._slot(until_s):
            return self._not_asked(record_type, self._no_turn())
        try:
            reply = await ask_to_the_end(self.address, self._reactor, name, record_type, until_s)
        finally:
            self._slots.release()
        self._note_reply(reply)
        return replace(reply, duration_ms=(self._reactor.now() - started) * 1000.0)

    def note(self, *, heard: bool) -> None:
        """Count a question that was answered, or that was asked in vain."""
        self._unanswered = 0 if heard else self._unanswered + 1

    def begin_control(self, until_s: float) -> None:
        """Ask about the root, unless that is or just was being asked. Any answer proves life."""
        control = self._control
        if control is not None and (not control.done() or self._age_s() < _FRESH_S):
            return
        # It ends before the questions that it is to explain.
        limit_s = self._reactor.now() + min(_CONTROL_S, (until_s - self._reactor.now()) * _CONTROL_SHARE)
        self._control = asyncio.get_running_loop().create_task(self._ask_root(limit_s))

    async def control(self, until_s: float) -> DnsReply | None:
        """The answer to the control question; None when none was asked or it is open at the deadline."""
        if self._control is None:
            return None
        await asyncio.wait({self._control}, timeout=max(0.0, until_s - self._reactor.now()))
        return self.control_now()

    def control_now(self) -> DnsReply | None:
        """The answer to the control question if it is there already and fresh."""
        control = self._control
        if control is None or not control.done() or control.cancelled() or self._age_s() >= _FRESH_S:
            return None
        return control.result()

    def given_up(self) -> bool:
        """Whether questions are at present not even sent."""
        return self._known_silent() is not None

    async def close(self) -> None:
        """End what is still being asked."""
        if self._control is not None:
            self._control.cancel()
            await asyncio.wait({self._control})

    def _known_silent(self) -> Fault | None:
        return self._silent_control() if self._unanswered >= _GIVEN_UP_AFTER else None

    def _silent_control(self) -> Fault | None:
        control = self.control_now()
        return None if control is None or control.rcode is not None or is_own(control) else control.fault

    def _no_turn(self) -> Fault:
        """A question that never got its turn: because a dead server let others wait, or by our own doing."""
        detail = "not asked: too many questions wait for this nameserver"
        silent = self._silent_control()
        return (
            Fault(Event.ERROR, "EAGAIN", detail=detail) if silent is None else replace(silent, detail=detail)
        )

    def _age_s(self) -> float:
        return self._reactor.now() - self._control_ended_s

    async def _slot(self, until_s: float) -> bool:
        try:
            async with asyncio.timeout(until_s - self._reactor.now()):
                await self._slots.acquire()
        except TimeoutError:
            return False
        return True

    async def _ask_root(self, until_s: float) -> DnsReply:
        started = self._reactor.now()
        question = Question(self.address, self._reactor, dns.name.root, dns.rdatatype.NS, until_s)
        # The type of the reply is a form: the question is `. NS`, and only whether an answer came matters.
        reply = await question.settle(RecordType.A)
        self._control_ended_s = self._reactor.now()
        self._note_reply(reply)
        return replace(reply, duration_ms=(self._control_ended_s - started) * 1000.0)

    def _note_reply(self, reply: DnsReply) -> None:
        if not is_own(reply):
            self.note(heard=reply.rcode is not None)

    def _not_asked(self, record_type: RecordType, fault: Fault) -> DnsReply:
        return DnsReply(server=str(self.address), record_type=record_type, duration_ms=0.0, fault=fault)
