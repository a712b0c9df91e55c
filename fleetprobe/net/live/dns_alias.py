"""An alias whose end the answer leaves out: the same nameserver is asked for that end by itself.

A resolver follows aliases, an authoritative server only within its own zones. What the end is, nobody has said
before it was asked for.
"""

from __future__ import annotations

from dataclasses import replace

import dns.name
import dns.rdatatype

from fleetprobe.net.interface import DnsReply, RecordType
from fleetprobe.net.live.dns_question import HOP_LIMIT, Question
from fleetprobe.net.live.reactor import Reactor
from fleetprobe.net.live.resolv_conf import ServerAddress

_QUESTIONS = 8
"""Further questions at most for one name and type; each answer may hold several links of the chain."""
_SHARE = 0.5
"""Of the time that is left: how long each may take, so that a silent end does not cost what was learnt before."""
_SAYS = frozenset({"NOERROR", "NXDOMAIN"})
"""Answers that speak of the end itself. A server that refuses to look says nothing about it."""


async def ask_to_the_end(
    server: ServerAddress, reactor: Reactor, name: dns.name.Name, record_type: RecordType, until_s: float
) -> DnsReply:
    """The reply to one question, its alias chain followed to the end; its duration is left at zero."""
    kind = dns.rdatatype.from_text(record_type)
    reply = await Question(server, reactor, name, kind, until_s).settle(record_type)
    for _ in range(_QUESTIONS):
        end = _open_end(name, reply)
        if end is None:
            break
        now_s = reactor.now()
        further = Question(server, reactor, end, kind, now_s + (until_s - now_s) * _SHARE)
        said = await further.settle(record_type)
        if said.fault is not None or said.rcode not in _SAYS:
            return replace(reply, end_said=said.rcode or (str(said.fault.event) if said.fault else None))
        reply = _joined(name, reply, said)
    return reply


def _open_end(name: dns.name.Name, reply: DnsReply) -> dns.name.Name | None:
    """The last name of a chain that goes no further; None where nothing is left to ask."""
    done = reply.fault is not None or reply.rcode != "NOERROR" or reply.addresses or reply.end_said
    if done or not reply.cnames or len(reply.cnames) >= HOP_LIMIT:
        return None
    asked = (name.to_text(omit_final_dot=True).lower(), *reply.cnames[:-1])
    end = reply.cnames[-1]
    # The root, which is a dot already, is a name like any other; nothing keeps it from being an alias's end.
    return None if end in asked else dns.name.from_text("." if end == "." else f"{end}.")


def _joined(name: dns.name.Name, reply: DnsReply, said: DnsReply) -> DnsReply:
    """The chain with its further links, cut where it comes back to a name that it has passed."""
    passed = [name.to_text(omit_final_dot=True).lower(), *reply.cnames]
    cnames = list(reply.cnames)
    for link in said.cnames[: HOP_LIMIT - len(cnames)]:
        cnames.append(link)
        if link in passed:
            break
        passed.append(link)
    ttls = [ttl for ttl in (reply.min_ttl_s, said.min_ttl_s) if ttl is not None]
    return replace(
        said,
        cnames=tuple(cnames),
        min_ttl_s=min(ttls, default=None),
        over_tcp=reply.over_tcp or said.over_tcp,
        # A chain that went on has a new end, of which nothing is known yet.
        end_said=None if said.cnames and not said.addresses and said.rcode == "NOERROR" else said.rcode,
    )
