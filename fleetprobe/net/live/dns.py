"""The resolver of a run: each name once; the hosts file, then aiodns in bulk, then each nameserver by itself.

c-ares is fast, but its time-outs, its error codes and its silence prove nothing: after many quick answers it
calls a slow one a time-out, one junk datagram ends its query, and the limit on descriptors looks to it like a
dead resolver. So whatever is not a clean answer is asked again per nameserver, and that is the evidence.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain, zip_longest

from fleetprobe.net.interface import Address, DnsReply, Event, Fault, RecordType, Resolution
from fleetprobe.net.live.dns_bulk import BulkAnswer, Pending, ask_bulk, open_bulk, read_answer
from fleetprobe.net.live.dns_opinion import LAST_TICK_S, SecondOpinion
from fleetprobe.net.live.dns_question import ADDRESS_LIMIT
from fleetprobe.net.live.hosts import read_hosts
from fleetprobe.net.live.nameserver import Nameserver, is_own
from fleetprobe.net.live.reactor import Reactor
from fleetprobe.net.live.resolv_conf import parse_server, read_servers

_KEPT = 20_000
"""Finished names remembered, least recently used out first: about a kilobyte each."""
_SERVER_LIMIT = 8
_BULK_SHARE = 0.4
"""Of the budget of a name: how long bulk may be silent before the nameservers are asked directly."""
_TYPES = {6: RecordType.AAAA, 4: RecordType.A}
_FAMILIES = {kind: family for family, kind in _TYPES.items()}
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NAME_LIMIT = 253

_Asked = dict[RecordType, Pending]
_Answers = dict[RecordType, BulkAnswer]


class Resolver:
    """Resolves names within one run, on the running event loop. Close it when the run ends."""

    def __init__(
        self,
        servers: Sequence[str] | None,
        families: frozenset[int],
        hosts_path: str = "/etc/hosts",
        resolv_conf: str = "/etc/resolv.conf",
        reactor: Reactor | None = None,
    ) -> None:
        """Servers are `ADDR[:PORT]` or `[V6]:PORT`, None those of resolv.conf; ValueError for a bad one."""
        self._owns_reactor = reactor is None
        self._reactor = Reactor(asyncio.get_running_loop()) if reactor is None else reactor
        self._clock = self._reactor.now
        addresses = read_servers(resolv_conf) if servers is None else [parse_server(text) for text in servers]
        self._servers = tuple(Nameserver(address, self._reactor) for address in addresses[:_SERVER_LIMIT])
        self._opinion = SecondOpinion(self._servers, self._reactor)
        self._names = tuple(str(server.address) for server in self._servers)
        self._families = families
        self._types = tuple(kind for family, kind in _TYPES.items() if family in families)
        self._hosts = read_hosts(hosts_path)
        self._bulk = open_bulk(self._names)
        self._asking: dict[str, asyncio.Task[Resolution]] = {}
        self._finished: OrderedDict[str, Resolution] = OrderedDict()

    @property
    def servers(self) -> tuple[str, ...]:
        """The nameservers asked, as `address:port`."""
        return self._names

    async def resolve(self, name: str, until_s: float) -> Resolution:
        """All addresses of a name, by `until_s` (monotonic seconds); no fault of the network is raised.

        A name is asked once and shared. Cancelling one asker does not disturb the others.
        """
        key = name.lower().removesuffix(".")
        known = self._finished.get(key)
        if known is not None:
            self._finished.move_to_end(key)
            return known
        task = self._asking.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._resolve(key, until_s))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        started = self._clock()
        await asyncio.wait({task}, timeout=max(0.0, until_s - started) + 2 * LAST_TICK_S)
        if task.done():
            return task.result()
        return self._not_asked(key, started, "EAGAIN", "still being asked for another target")

    async def close(self) -> None:
        """Cancel what is being asked and give all descriptors back."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for server in self._servers:
            await server.close()
        if self._bulk is not None:
            await self._bulk.close()
        if self._owns_reactor:
            self._reactor.close()

    async def _resolve(self, name: str, until_s: float) -> Resolution:
        started = self._clock()
        entry = self._hosts.lookup(name, self._families)
        if entry is not None:
            found = self._empty(name, started)
            return self._remember(
                replace(found, addresses=_in_turn(entry.addresses), source="hosts", hosts_line=entry.line)
            )
        if not is_name(name):
            return self._not_asked(name, started, "EILSEQ", "not a host name")
        lag_ms = self._reactor.lag_ms()
        resolution = await self._from_dns(name, started, until_s)
        resolution = replace(
            resolution,
            duration_ms=(self._clock() - started) * 1000.0,
            lag_ms=self._reactor.lag_ms() - lag_ms,
        )
        return resolution if _spoilt(resolution) else self._remember(resolution)

    def _remember(self, resolution: Resolution) -> Resolution:
        self._finished[resolution.name] = resolution
        if len(self._finished) > _KEPT:
            self._finished.popitem(last=False)
        return resolution

    def _not_asked(self, name: str, started: float, errno_name: str, why: str) -> Resolution:
        """Nothing was sent: said in the name of every nameserver, as a fault of our own."""
        fault = Fault(Event.ERROR, errno_name, detail=f"not asked: {why}")
        replies = tuple(
            DnsReply(server=server, record_type=kind, duration_ms=0.0, fault=fault)
            for server in self._names
            for kind in self._types
        )
        return replace(self._empty(name, started), replies=replies)

    def _empty(self, name: str, started: float) -> Resolution:
        return Resolution(
            name=name,
            addresses=(),
            source="none",
            started_s=started,
            duration_ms=(self._clock() - started) * 1000.0,
            servers=self._names,
        )

    async def _from_dns(self, name: str, started: float, until_s: float) -> Resolution:
        asked = self._ask_bulk(name)
        try:
            await self._settle_bulk(asked, started, until_s)
            answers = self._bulk_answers(name, asked)
            unclean = _unclean(answers)
            if not unclean:
                self._note_life()
                return self._resolution(name, started, answers)
            direct_until_s = until_s
            if _usable(answers):
                direct_until_s = min(until_s, self._clock() + self._opinion.other_type_s(started))
            bulk = list(asked.values())
            replies = await self._opinion.ask(name, unclean, bulk, started, direct_until_s)
            # A late answer in bulk is an answer: somebody on this path is slow, not silent.
            answers = self._bulk_answers(name, asked)
            heard = _usable(answers) or any(reply.rcode for reply in replies)
            controls = await self._opinion.controls(replies, self._clock() if heard else until_s)
            return self._resolution(name, started, answers, replies, controls)
        finally:
            for future in asked.values():
                # An exception that nobody looks at would be logged as forgotten.
                if not future.cancel() and not future.cancelled():
                    future.exception()

    def _ask_bulk(self, name: str) -> _Asked:
        if self._bulk is None or all(server.given_up() for server in self._servers):
            return {}
        return ask_bulk(self._bulk, name, self._types)

    async def _settle_bulk(self, asked: _Asked, started: float, until_s: float) -> None:
        """Wait until all is answered, or so long that the nameservers are better asked directly."""
        limit_s = started + (until_s - started) * _BULK_SHARE
        pending = set(asked.values())
        while pending and (left_s := limit_s - self._clock()) > 0:
            done, pending = await asyncio.wait(pending, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if any(future.exception() is None for future in done):
                limit_s = min(limit_s, self._clock() + self._opinion.other_type_s(started))

    def _bulk_answers(self, name: str, asked: _Asked) -> _Answers:
        return {
            kind: read_answer(name, kind, asked[kind]) if kind in asked else BulkAnswer(error="not asked")
            for kind in self._types
        }

    def _note_life(self) -> None:
        # c-ares does not say who answered; with one nameserver there is no doubt.
        if len(self._servers) == 1:
            self._servers[0].note(heard=True)

    def _resolution(
        self,
        name: str,
        started: float,
        answers: _Answers,
        replies: tuple[DnsReply, ...] = (),
        controls: tuple[DnsReply, ...] = (),
    ) -> Resolution:
        told = [_best(kind, answers[kind], replies) for kind in self._types]
        texts = [
            (text, _FAMILIES[kind])
            for kind, best in zip(self._types, told, strict=True)
            for text in best.addresses
        ]
        addresses = _in_turn(Address(text, family) for text, family in texts)
        with_cnames = next((best for best in told if best.addresses), told[0] if told else BulkAnswer())
        ttls = [best.min_ttl_s for best in told if best.addresses and best.min_ttl_s is not None]
        errors = [f"{kind} {answer.error}" for kind, answer in answers.items() if answer.error is not None]
        return Resolution(
            name=name,
            addresses=addresses,
            source="dns" if addresses else "none",
            started_s=started,
            duration_ms=(self._clock() - started) * 1000.0,
            cnames=with_cnames.cnames,
            min_ttl_s=min(ttls, default=None),
            bulk_error=", ".join(errors) or None,
            replies=replies,
            controls=controls,
            unanswered=_unanswered(answers, replies) if addresses else (),
            servers=self._names,
            truncated=any(best.cut for best in told) or len(addresses) < len(texts),
        )


def is_name(text: str) -> bool:
    """Whether it may be asked: labels of ASCII letters, digits, `-` and `_`, 253 characters at most."""
    return len(text) <= _NAME_LIMIT and all(_LABEL.fullmatch(label) for label in text.split("."))


def _usable(answers: _Answers) -> bool:
    return any(answer.addresses for answer in answers.values())


def _unclean(answers: _Answers) -> tuple[RecordType, ...]:
    """The types to be asked again: those that failed; all of them when no type brought an address."""
    if not _usable(answers):
        return tuple(answers)
    return tuple(kind for kind, answer in answers.items() if not answer.addresses and not answer.no_data)


def _unanswered(answers: _Answers, replies: Sequence[DnsReply]) -> tuple[RecordType, ...]:
    """The types to which nobody said anything, neither in bulk nor asked directly and by name."""
    silent = (kind for kind, answer in answers.items() if answer.silent)
    return tuple(kind for kind in silent if _all_silent([r for r in replies if r.record_type is kind]))


def _all_silent(replies: Sequence[DnsReply]) -> bool:
    return bool(replies) and all(
        reply.fault is not None and reply.fault.event is Event.SILENT and reply.rcode is None
        for reply in replies
    )


def _best(kind: RecordType, answer: BulkAnswer, replies: Sequence[DnsReply]) -> BulkAnswer:
    """The bulk answer if it brought addresses, else the first reply that did, else the first alias."""
    if answer.addresses:
        return answer
    told = [reply for reply in replies if reply.record_type is kind]
    with_data = next((r for r in told if r.addresses), None) or next((r for r in told if r.cnames), None)
    if with_data is None:
        return answer
    return BulkAnswer(
        with_data.addresses,
        with_data.cnames,
        with_data.min_ttl_s,
        cut=len(with_data.addresses) == ADDRESS_LIMIT,
    )


def _spoilt(resolution: Resolution) -> bool:
    """Whether our own want of something decided it, so that it must not be remembered."""
    if resolution.addresses or any(reply.rcode for reply in resolution.replies):
        return False
    return any(is_own(reply) for reply in resolution.replies)


def _in_turn(addresses: Iterable[Address]) -> tuple[Address, ...]:
    """Each address once, IPv6 and IPv4 in turn, each as answered, at most 64 (after RFC 8305 §4)."""
    unique = dict.fromkeys(addresses)
    sixes = [address for address in unique if address.family == 6]
    fours = [address for address in unique if address.family == 4]
    paired = chain.from_iterable(zip_longest(sixes, fours))
    return tuple(address for address in paired if address is not None)[:ADDRESS_LIMIT]
