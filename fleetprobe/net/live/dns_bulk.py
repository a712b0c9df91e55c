"""The bulk resolver: aiodns for speed, and its answers read without trusting more than what they contain."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import aiodns
import aiodns.error
import pycares
import pycares.errno

from fleetprobe.net.interface import RecordType
from fleetprobe.net.live.dns_question import ADDRESS_LIMIT, HOP_LIMIT

Pending = asyncio.Future[pycares.DNSResult]

_TIMEOUT_S, _TRIES = 0.5, 4
"""A lost first packet must not make a name slow; giving up is not left to c-ares but to our own deadline."""


@dataclass(frozen=True, slots=True)
class BulkAnswer:
    """What the bulk resolver said to one question; `error` is None for any answer, even an empty one."""

    addresses: tuple[str, ...] = ()
    cnames: tuple[str, ...] = ()
    min_ttl_s: int | None = None
    error: str | None = None
    silent: bool = False
    """Nobody has answered so far, or c-ares has given up waiting."""
    no_data: bool = False
    cut: bool = False


def open_bulk(servers: Sequence[str]) -> aiodns.DNSResolver | None:
    """c-ares without hosts file or aliases; None when it cannot start, as at the limit on descriptors."""
    if not servers:
        return None
    try:
        return aiodns.DNSResolver(
            nameservers=servers,
            timeout=_TIMEOUT_S,
            tries=_TRIES,
            lookups="b",
            flags=pycares.ARES_FLAG_EDNS | pycares.ARES_FLAG_NOALIASES | pycares.ARES_FLAG_NOSEARCH,
        )
    except (pycares.AresError, aiodns.error.DNSError, OSError):
        return None


def ask_bulk(bulk: aiodns.DNSResolver, name: str, kinds: Sequence[RecordType]) -> dict[RecordType, Pending]:
    """Put one question per type; the dot makes the name absolute, so that no search list is ever applied."""
    return {kind: bulk.query_dns(f"{name}.", kind) for kind in kinds}


def read_answer(name: str, kind: RecordType, future: Pending) -> BulkAnswer:
    """What a bulk answer says about a name, aliases followed: c-ares takes any record for an answer."""
    if not future.done():
        return BulkAnswer(error="silent", silent=True)
    if future.cancelled():
        return BulkAnswer(error="cancelled")
    error = future.exception()
    if isinstance(error, aiodns.error.DNSError):
        number = error.args[0] if error.args else None
        return BulkAnswer(
            error=pycares.errno.errorcode.get(number, str(number)),
            silent=number == pycares.errno.ARES_ETIMEOUT,
            no_data=number == pycares.errno.ARES_ENODATA,
        )
    return _follow(name, kind, future.result().answer)


def _follow(name: str, kind: RecordType, records: Sequence[pycares.DNSRecord]) -> BulkAnswer:
    wanted = aiodns.query_type_map[kind]
    aliases = {_plain(r.name): r for r in reversed(records) if r.type == pycares.QUERY_TYPE_CNAME}
    cnames: list[str] = []
    ttls: list[int] = []
    current = name
    while (alias := aliases.pop(current, None)) is not None and len(cnames) < HOP_LIMIT:
        if not isinstance(alias.data, pycares.CNAMERecordData):
            break
        current = _plain(alias.data.cname)
        cnames.append(current)
        ttls.append(alias.ttl)
    found = [r for r in records if r.type == wanted and _plain(r.name) == current]
    data = [r.data for r in found]
    texts = tuple(
        dict.fromkeys(d.addr for d in data if isinstance(d, pycares.ARecordData | pycares.AAAARecordData))
    )
    ttls += (r.ttl for r in found)
    return BulkAnswer(
        addresses=texts[:ADDRESS_LIMIT],
        cnames=tuple(cnames),
        min_ttl_s=min(ttls, default=None),
        no_data=not texts,
        cut=len(texts) > ADDRESS_LIMIT,
    )


def _plain(name: str) -> str:
    return name.lower().removesuffix(".")
