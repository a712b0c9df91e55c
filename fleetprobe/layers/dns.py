"""Names: what the hosts file and the nameservers say about a name, and which of them says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleetprobe.layer import Ground, Layer, found, passed
from fleetprobe.model.policy import Policy
from fleetprobe.model.safe import printable
from fleetprobe.model.verdict import Confidence, Finding
from fleetprobe.net.interface import DnsReply, Event, Fault, Net, RecordType, Resolution

_NAME_CHARACTERS = 253
_SHORT_CHARACTERS = 60
_SUMMARY_CHARACTERS = 160
_FAMILIES = {RecordType.A: 4, RecordType.AAAA: 6}
_LISTED = 4
"""Of each reply's addresses and aliases in the facts; the answer used is there in full."""
_LONGEST_CHAIN = 16
"""Aliases that the resolver follows: one that is still not at its end goes on without end."""


@dataclass(frozen=True, slots=True)
class DnsFacts:
    """Everything learnt about one name.

    | field | type | meaning |
    |---|---|---|
    | name | text | the name asked about |
    | source | text | hosts, dns or none |
    | duration_ms | number | from the question to the conclusion |
    | rcode | text | of the answer used, or of the best failure; absent when no nameserver answered |
    | answers | list of text | addresses in the order in which they are tried |
    | cnames | list of text | the alias chain |
    | min_ttl_s | int | lowest TTL of the answer |
    | hosts_line | text | file:line that answered |
    | bulk_error | text | what the first, fast attempt ended with; no evidence by itself |
    | servers | list of text | nameservers configured |
    | replies | list | what each nameserver said when asked directly |
    | controls | list | whether each silent nameserver answers a question about the root |
    | unanswered | list of text | types that no nameserver answered although the other type brought addresses |
    | truncated | bool | more addresses than the 64 kept |
    """

    resolution: Resolution

    @property
    def rcode(self) -> str | None:
        """The response code that the conclusion rests on."""
        if self.resolution.addresses:
            return "NOERROR" if self.resolution.source == "dns" else None
        decisive = _decisive(self.resolution.replies)
        return decisive.rcode if decisive is not None else None

    def record(self) -> Mapping[str, Any]:
        """The facts as JSON-ready values."""
        seen = self.resolution
        facts = {
            "name": _bounded(seen.name),
            "source": seen.source,
            "duration_ms": round(seen.duration_ms, 3),
            "rcode": self.rcode,
            "answers": [address.text for address in seen.addresses] or None,
            "cnames": [_bounded(name) for name in seen.cnames] or None,
            "min_ttl_s": seen.min_ttl_s,
            "hosts_line": seen.hosts_line,
            "bulk_error": seen.bulk_error,
            "servers": list(seen.servers),
            "replies": [_reply(reply) for reply in seen.replies] or None,
            "controls": [_reply(reply) for reply in seen.controls] or None,
            "unanswered": [str(kind) for kind in seen.unanswered] or None,
            "truncated": seen.truncated or None,
        }
        return {name: value for name, value in facts.items() if value is not None}

    def columns(self) -> Mapping[str, Any]:
        """Columns of the result record."""
        answers = [address.text for address in self.resolution.addresses]
        columns: dict[str, Any] = {"dns_rcode": self.rcode, "dns_answers": answers or None}
        decisive = None if answers else _decisive(self.resolution.replies)
        if decisive is not None and decisive.fault is not None:
            columns["errno_name"] = decisive.fault.errno_name
        return columns


async def probe(ground: Ground, net: Net) -> DnsFacts:
    """Resolve what is to be dialled and leave its addresses on the ground."""
    name = ground.target.connect_to or ground.target.host
    resolution = await net.resolve(name, ground.until(ground.policy.dns_s, net.now()))
    ground.addresses = resolution.addresses
    return DnsFacts(resolution)


def judge(facts: DnsFacts, policy: Policy) -> Sequence[Finding]:
    """Addresses are a pass; otherwise the best answer of any nameserver is the cause, silence the last."""
    seen = facts.resolution
    if seen.addresses:
        return (passed("dns", facts.record()), *_remarks(facts, policy))
    decisive = _decisive(seen.replies)
    if decisive is None:
        summary = f"no nameserver is configured, so {_short(seen.name)} could not be asked for"
        return (found("vantage.resolver_unreachable", summary, facts.record()),)
    if decisive.fault is None:
        return (_answered(facts, decisive),)
    if _weight(decisive) == _CUT:
        return (_too_large(facts, decisive, decisive.fault),)
    return (_unanswered(facts, decisive, decisive.fault),)


def _remarks(facts: DnsFacts, policy: Policy) -> Sequence[Finding]:
    seen = facts.resolution
    if seen.source == "hosts":
        first = seen.addresses[0].text
        summary = f"{seen.hosts_line} pins {_short(seen.name)} to {first}; no nameserver was asked"
        return (found("dns.hosts_override", summary, facts.record()),)
    on_time = seen.lag_ms <= policy.slow.lag_share * seen.duration_ms
    if seen.duration_ms > policy.slow.dns_ms and on_time:
        summary = _half_answered(seen) or f"{_short(seen.name)} took {seen.duration_ms:.0f} ms to resolve"
        return (found("dns.slow", summary, facts.record()),)
    return ()


def _half_answered(seen: Resolution) -> str | None:
    """The time went into a question that nobody answered; a nameserver that ignores one type is no slow one.

    It is alive, as it answered the other type, so that neither `dns.dead_nameserver` nor a fault says it: the
    target works, and what it costs is time.
    """
    if not seen.unanswered:
        return None
    (silent, *_), families = seen.unanswered, {address.family for address in seen.addresses}
    answered = " and ".join(str(kind) for kind, family in _FAMILIES.items() if family in families)
    asked = [reply for reply in seen.replies if reply.record_type is silent]
    waited_s = max(reply.duration_ms for reply in asked) / 1000.0
    more = f" and {len(asked) - 1} more" if len(asked) > 1 else ""
    rest = (
        f": {answered} answered, {silent} unanswered by {asked[0].server}{more} for {waited_s:.1f} s;"
        " clients that want both lose that time"
    )
    return _short(seen.name, _SUMMARY_CHARACTERS - len(rest)) + rest


def _answered(facts: DnsFacts, reply: DnsReply) -> Finding:
    """A nameserver spoke, and what it said is the cause."""
    name, rcode = _short(facts.resolution.name), reply.rcode or ""
    code = _RCODES.get(rcode, "dns.servfail")
    if code in ("dns.nxdomain", "dns.nodata") and reply.cnames:
        return _alias(facts, reply)
    said = "no address" if rcode == "NOERROR" else rcode
    detail = "" if reply.extended_error is None else f" (extended error {reply.extended_error})"
    summary = f"{reply.server} answered {said}{detail} for {name} in {reply.duration_ms:.0f} ms"
    return found(code, summary, facts.record())


def _alias(facts: DnsFacts, reply: DnsReply) -> Finding:
    """The name exists as an alias; what it leads to is the fault."""
    name, end = _short(facts.resolution.name), _short(reply.cnames[-1])
    passed_by = (facts.resolution.name, *reply.cnames[:-1])
    if reply.cnames[-1] in passed_by:
        summary = f"{reply.server}: the aliases of {name} lead back to {end} after {len(reply.cnames)} steps"
        return found("dns.cname_loop", summary, facts.record())
    if len(reply.cnames) >= _LONGEST_CHAIN:
        summary = f"{reply.server}: {name} leads through {len(reply.cnames)} aliases without an end"
        return found("dns.cname_loop", summary, facts.record())
    if reply.rcode == "NXDOMAIN":
        summary = f"{reply.server}: {name} is an alias of {end}, which does not exist"
        return found("dns.cname_dangling", summary, facts.record())
    if reply.end_said == "NOERROR":
        return _bare_end(facts, reply, f"{reply.server}: {name} is an alias of {end}, which has no")
    # A server that does not follow aliases answers just so, and would not say either what the end is.
    asked = f"; asked for that: {reply.end_said}" if reply.end_said else ""
    summary = f"{reply.server}: {name} is an alias of {end}, no address comes with it{asked}"
    return found("dns.cname_dangling", summary, facts.record(), confidence=Confidence.INFERRED)


def _bare_end(facts: DnsFacts, reply: DnsReply, summary: str) -> Finding:
    """The end was asked for and has nothing; of a type that was not asked for it may have an address."""
    if len({said.record_type for said in facts.resolution.replies}) > 1:
        return found("dns.cname_dangling", f"{summary} address", facts.record())
    summary = f"{summary} {reply.record_type} record"
    return found("dns.cname_dangling", summary, facts.record(), confidence=Confidence.INFERRED)


def _too_large(facts: DnsFacts, reply: DnsReply, fault: Fault) -> Finding:
    """The answer did not fit UDP, and TCP brought nothing."""
    how = fault.errno_name or str(fault.event)
    summary = f"{reply.server} cut its UDP answer for {_short(facts.resolution.name)}; over TCP: {how}"
    if fault.event is Event.SILENT:
        return found("dns.tcp_blocked", summary, facts.record(), confidence=Confidence.INFERRED, silences=2)
    return found("dns.tcp_blocked", summary, facts.record())


def _unanswered(facts: DnsFacts, reply: DnsReply, fault: Fault) -> Finding:
    """No nameserver answered: our own limits, dead nameservers, or silent for this name only."""
    seen = facts.resolution
    name = _short(seen.name)
    own = _own_code(reply)
    if own is not None:
        return found(own, f"this machine could not ask for {name}: {fault.errno_name}", facts.record())
    alive = sorted({heard.server for heard in (*seen.replies, *seen.controls) if heard.rcode})
    if alive:
        waited = f"{seen.duration_ms / 1000:.1f} s"
        summary = f"no answer for {name} in {waited}, though {alive[0]} answers other questions"
        return found("dns.timeout", summary, facts.record(), confidence=Confidence.INFERRED, silences=2)
    servers = ", ".join(seen.servers[:3])
    if all(said.fault is not None and said.fault.event is not Event.SILENT for said in seen.replies):
        summary = f"no nameserver can be reached ({servers}): {fault.errno_name or fault.event}"
        return found("vantage.resolver_unreachable", summary, facts.record())
    kept_from = next(filter(None, map(_own_code, seen.controls)), None)
    if kept_from is not None:
        # Whether the nameserver lives could not be asked, for a want of our own: that proves nothing about it.
        summary = f"no answer for {name} in {seen.duration_ms / 1000:.1f} s; this machine could not ask why"
        return found(kept_from, summary, facts.record())
    if not seen.controls:
        summary = f"no answer for {name} in {seen.duration_ms / 1000:.1f} s; time was too short to ask why"
        return found("dns.timeout", summary, facts.record(), confidence=Confidence.INFERRED, silences=1)
    summary = f"no nameserver answers anything ({servers}), not even a question about the root"
    return found(
        "vantage.resolver_unreachable", summary, facts.record(), confidence=Confidence.INFERRED, silences=2
    )


def _decisive(replies: Sequence[DnsReply]) -> DnsReply | None:
    """The reply that a failure rests on: per type the best of any nameserver, then the type that failed.

    A name that does not exist has no type at all, so one such answer is enough; "no address" must hold for
    every type, so a type that failed in another way speaks first.
    """
    best: dict[RecordType, DnsReply] = {}
    for reply in replies:
        known = best.get(reply.record_type)
        if known is None or _weight(reply) < _weight(known):
            best[reply.record_type] = reply
    ordered = sorted(best.values(), key=_weight)
    denied = [reply for reply in ordered if _weight(reply) == _NXDOMAIN]
    failed = [reply for reply in ordered if _weight(reply) > _NODATA]
    aliased = [reply for reply in ordered if reply.cnames]
    return next(iter(denied or failed or aliased or ordered), None)


_NXDOMAIN, _NODATA, _CUT, _OWN, _RCODE, _LOUD, _SILENT = 0, 1, 2, 3, 4, 8, 9
_WEIGHTS = {"NXDOMAIN": _NXDOMAIN, "NOERROR": _NODATA, "SERVFAIL": _RCODE, "REFUSED": 5, "FORMERR": 6}
"""Which of several failures is believed: the one that says most about the name. Other codes weigh 7."""


def _weight(reply: DnsReply) -> int:
    if reply.fault is None:
        return _WEIGHTS.get(reply.rcode or "", 7)
    if _own_code(reply) is not None:
        return _OWN
    if reply.rcode is not None:
        return _CUT
    return _SILENT if reply.fault.event is Event.SILENT else _LOUD


def _own_code(reply: DnsReply) -> str | None:
    """The code for a want of our own. Over UDP, EADDRNOTAVAIL means no source address, over TCP no port."""
    name = reply.fault.errno_name if reply.fault is not None else None
    if name == "EADDRNOTAVAIL":
        return "local.ports_exhausted" if reply.truncated else None
    return _OWN_ERRORS.get(name or "")


def _reply(reply: DnsReply) -> Mapping[str, Any]:
    """One reply, bounded: sixteen of them and more stand in one record."""
    fault = reply.fault
    facts = {
        "server": reply.server,
        "record_type": str(reply.record_type),
        "duration_ms": round(reply.duration_ms, 3),
        "rcode": reply.rcode,
        "addresses": list(reply.addresses[:_LISTED]) or None,
        "cnames": [_bounded(name) for name in reply.cnames[:_LISTED]] or None,
        "end_said": reply.end_said,
        "min_ttl_s": reply.min_ttl_s,
        "over_tcp": reply.over_tcp or None,
        "truncated": reply.truncated or None,
        "extended_error": reply.extended_error,
        "event": str(fault.event) if fault else None,
        "errno_name": fault.errno_name if fault else None,
        "icmp_from": fault.icmp.sender if fault and fault.icmp else None,
        "detail": fault.detail or None if fault else None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _bounded(name: str) -> str:
    """A name as an answer gives it, in ASCII without control characters, of bounded length."""
    return printable(name.encode("ascii", "backslashreplace").decode("ascii"))[:_NAME_CHARACTERS]


def _short(name: str, most: int = _SHORT_CHARACTERS) -> str:
    safe = _bounded(name)
    return safe if len(safe) <= most else f"{safe[: most - 3]}..."


_RCODES = {
    "NXDOMAIN": "dns.nxdomain",
    "NOERROR": "dns.nodata",
    "SERVFAIL": "dns.servfail",
    "REFUSED": "dns.refused",
    "NOTAUTH": "dns.refused",
    "FORMERR": "dns.formerr",
    "NOTIMP": "dns.formerr",
}
_OWN_ERRORS = {
    "EMFILE": "local.fd_limit",
    "ENFILE": "local.fd_limit",
    "EPERM": "local.send_denied",
    "EAGAIN": "local.overload",
    "ENOBUFS": "local.overload",
    "ENOMEM": "local.overload",
    "EILSEQ": "input.invalid",
}
"""Errors that say nothing about a nameserver. EILSEQ is the resolver's word for what is no host name."""

LAYER = Layer(
    name="dns",
    probe=probe,
    judge=judge,
    emits=frozenset(
        {
            *_RCODES.values(),
            *_OWN_ERRORS.values(),
            "local.ports_exhausted",
            "dns.cname_loop",
            "dns.cname_dangling",
            "dns.tcp_blocked",
            "dns.timeout",
            "dns.hosts_override",
            "dns.slow",
            "vantage.resolver_unreachable",
        }
    ),
    duration="dns_duration_ms",
    per_address=False,
)
