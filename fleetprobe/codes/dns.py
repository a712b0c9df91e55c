"""Codes of name resolution: what the nameservers said, failed to say, or said wrongly."""

from __future__ import annotations

from typing import Final

from fleetprobe.codes.boxes import Box
from fleetprobe.codes.code import Code, Severity
from fleetprobe.model.verdict import State

_ASK: Final = "dig {name} A"
_ASK_V6: Final = "dig {name} AAAA"
_ASK_ELSEWHERE: Final = "dig @8.8.8.8 {name} A"
_DELEGATION: Final = "dig +trace {name} A"
_SYSTEM: Final = "getent ahosts {name}"
_HOSTS: Final = "grep -nFw {name} /etc/hosts"
_RESOLVERS: Final = "cat /etc/resolv.conf"

DNS_CODES: Final = (
    Code(
        name="dns.nxdomain", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=True,
        meaning="The nameserver says that this name does not exist, for any record type.",
        boxes=(Box.NAMESERVER, Box.RESOLVER, Box.SCAN),
        evidence="RCODE 3 from a named resolver, asked again and answered alike.",
        not_this=(
            "a network that is down (vantage.no_egress): a nameserver answered the question",
            "a resolver that is down (dns.timeout): it answered",
            "a host that is down (ip.host_silent): no address was learnt, so no host was asked",
        ),
        could_also_be=("dns.split_horizon", "dns.stale"),
        fix="Correct the name, or create its record in the zone; "
        "a name served only inside needs the inside resolver.",
        confirm=(_ASK, _DELEGATION, _SYSTEM),
    ),
    Code(
        name="dns.nodata", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=True,
        meaning="The name exists but has no address of the kind we asked for.",
        boxes=(Box.NAMESERVER, Box.RESOLVER),
        evidence="RCODE 0 with no A and no AAAA record in the families scanned, "
        "from a named resolver, asked twice.",
        not_this=(
            "a name that does not exist (dns.nxdomain): the server says that it exists",
            "a network that is down (vantage.no_egress): a nameserver answered the question",
        ),
        could_also_be=("dns.split_horizon", "dns.stale"),
        fix="Add the missing A or AAAA record, or scan with the family that the name has.",
        confirm=(_ASK, _ASK_V6, "dig {name} ANY"),
    ),
    Code(
        name="dns.servfail", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=True,
        meaning="The resolver tried and failed: broken delegation, "
        "DNSSEC that does not validate, or its own upstream.",
        boxes=(Box.RESOLVER, Box.NAMESERVER),
        evidence="RCODE 2 from a named resolver, asked again and answered alike; any extended error is kept.",
        not_this=(
            "a name that does not exist (dns.nxdomain): nobody denied it",
            "a resolver that is down (dns.timeout): it answered",
            "a network that is down (vantage.no_egress): our question and its answer got through",
        ),
        could_also_be=("dns.delegation_broken", "dns.resolver_fault"),
        fix="Follow the delegation to the server that fails; "
        "if only checking disabled works, mend the zone's DNSSEC.",
        confirm=(_ASK, "dig +cd {name} A", _DELEGATION),
    ),
    Code(
        name="dns.refused", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=True,
        meaning="The nameserver answers, and declines to answer us: "
        "it does not serve this client or this zone.",
        boxes=(Box.RESOLVER, Box.NAMESERVER),
        evidence="RCODE 5 from a named resolver, asked again and answered alike.",
        not_this=(
            "a refused connection (tcp.refused): the DNS server answered in DNS; the target was not dialled",
            "a name that does not exist (dns.nxdomain): the server did not look",
            "a network that is down (vantage.no_egress): a DNS server was reached, and answered",
        ),
        could_also_be=("dns.resolver_fault",),
        fix="Allow this client to recurse on that resolver, or use a resolver that serves it.",
        confirm=(_ASK, _RESOLVERS),
    ),
    Code(
        name="dns.formerr", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=True,
        meaning="The nameserver calls our question malformed, or its answer cannot be parsed.",
        boxes=(Box.RESOLVER, Box.NAMESERVER, Box.INSPECTOR),
        evidence="RCODE 1, or an answer that no parser accepts, from a named resolver, asked twice.",
        not_this=(
            "a name that does not exist (dns.nxdomain): the question was not understood",
            "a resolver that is down (dns.timeout): it answered",
        ),
        could_also_be=("dns.resolver_fault",),
        fix="Update the nameserver or the box before it, "
        "which mishandles EDNS; until then use another resolver.",
        confirm=(_ASK, "dig +noedns {name} A"),
    ),
    Code(
        name="dns.timeout", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=True,
        meaning="No nameserver answered the question for this name in time.",
        boxes=(Box.RESOLVER, Box.NAMESERVER, Box.FIREWALL),
        evidence="Every configured resolver asked at least twice "
        "for this name without an answer; servers listed.",
        not_this=(
            "a name that does not exist (dns.nxdomain): nobody denied it",
            "a host that is down (ip.host_silent): no address was learnt, so no host was asked",
        ),
        could_also_be=("vantage.resolver_unreachable", "dns.delegation_broken", "dns.large_answer_lost"),
        fix="Check that the resolver answers other names; if it does, "
        "follow this zone's delegation to the silent server.",
        confirm=(_ASK, _DELEGATION, _RESOLVERS),
    ),
    Code(
        name="dns.cname_loop", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=True,
        meaning="The aliases of this name lead back to themselves, or on without end.",
        boxes=(Box.NAMESERVER,),
        evidence="An alias chain in which a name repeats, or which passes the limit on its length.",
        not_this=(
            "a resolver fault (dns.resolver_fault): the records themselves form the loop",
            "a name that does not exist (dns.nxdomain): every name in the chain has a record",
        ),
        could_also_be=(),
        fix="Correct the CNAME record that points back, so that the chain ends at an address.",
        confirm=("dig {name} CNAME", _ASK),
    ),
    Code(
        name="dns.cname_dangling", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=True,
        meaning="The name is an alias of a name that does not exist or has no address. "
        "If others can register that name, they can take this one over.",
        boxes=(Box.NAMESERVER,),
        evidence="A CNAME answer for the name, and NXDOMAIN or no address for what it points to, asked by "
        "itself where the answer left it open. Inferred where the nameserver will not say.",
        not_this=(
            "a mistyped target: the name itself exists",
            "a resolver that is down (dns.timeout): it answered the whole chain",
        ),
        could_also_be=("dns.split_horizon", "dns.stale"),
        fix="Point the CNAME at a name that exists, or remove it.",
        confirm=("dig {name} CNAME", _ASK, _DELEGATION),
    ),
    Code(
        name="dns.delegation_broken", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=False,
        meaning="The walk from the root stops at a zone whose nameservers are dead, "
        "lame or without addresses.",
        boxes=(Box.NAMESERVER,),
        evidence="A walk from the root that names the zone, its nameservers and what each one answered.",
        not_this=(
            "a resolver fault (dns.resolver_fault): the walk does without the resolver and fails too",
            "a name that does not exist (dns.nxdomain): no server of the zone could be asked",
        ),
        could_also_be=(),
        fix="Repair the named zone's nameservers, or its delegation and glue at the registrar.",
        confirm=(_DELEGATION, "dig +nssearch {name}"),
    ),
    Code(
        name="dns.resolver_fault", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=False,
        meaning="The resolver this machine uses fails for this name, and another resolver answers it.",
        boxes=(Box.RESOLVER, Box.OWN),
        evidence="The failing answer of the default resolver and "
        "the good answer of another, minutes apart at most.",
        not_this=(
            "a missing record (dns.nxdomain): another resolver finds it",
            "a broken zone (dns.delegation_broken): another resolver walks it",
        ),
        could_also_be=("dns.split_horizon", "dns.stale"),
        fix="Repair the default resolver or flush its cache, or correct the nameservers this machine uses.",
        confirm=(_ASK, _ASK_ELSEWHERE, "resolvectl status", _RESOLVERS),
        fix_commands=("sudo resolvectl flush-caches",),
    ),
    Code(
        name="dns.tcp_blocked", severity=Severity.FAIL, state=State.FAIL, osi="L4", emitted=True,
        meaning="The answer is too large for UDP, "
        "and port 53 over TCP does not work, so it cannot be fetched.",
        boxes=(Box.FIREWALL, Box.RESOLVER),
        evidence="A truncated UDP answer, then a failed TCP connection to port 53 of the same server.",
        not_this=(
            "a resolver that is down (dns.timeout): it answers over UDP",
            "a missing record (dns.nodata): the answer exists and is large",
        ),
        could_also_be=(),
        fix="Allow TCP port 53 between this machine and the nameserver.",
        confirm=("dig +tcp {name} A", "dig +notcp +ignore {name} A"),
    ),
    Code(
        name="dns.large_answer_lost", severity=Severity.FAIL, state=State.FAIL, osi="L3", emitted=False,
        meaning="Small DNS answers arrive and large ones vanish: their fragments are dropped on the way.",
        boxes=(Box.FIREWALL, Box.NAT, Box.ROUTER, Box.TUNNEL),
        evidence="The same question answered with a small EDNS "
        "buffer and silent with a large one, twice each.",
        not_this=(
            "a resolver that is down (dns.timeout): it answers when the answer is small",
            "a missing record (dns.nodata): the record comes with a small buffer",
        ),
        could_also_be=(),
        fix="Set the EDNS buffer size to 1232 bytes on the resolver, and let fragments and TCP port 53 pass.",
        confirm=("dig +bufsize=4096 +dnssec {name} A", "dig +bufsize=1232 +dnssec {name} A",
                 "dig +tcp {name} A"),
    ),
    Code(
        name="dns.bogon", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=False,
        meaning="A public name resolves to a private, reserved or otherwise impossible address.",
        boxes=(Box.RESOLVER, Box.NAMESERVER, Box.INSPECTOR),
        evidence="The address, the range that makes it impossible, and the resolver that gave it.",
        not_this=(
            "a host that is down (ip.host_silent): the address cannot be the right one",
            "a name that does not exist (dns.nxdomain): an answer was given",
        ),
        could_also_be=("dns.split_horizon",),
        fix="Compare with the zone's own nameservers; then mend the record, "
        "the resolver or the filter that rewrites it.",
        confirm=(_ASK, _DELEGATION),
    ),
    Code(
        name="dns.slow", severity=Severity.SLOW, state=State.SLOW, osi="L7", emitted=True,
        meaning="The name resolves, but it took longer than a lookup should. "
        "Each new connection pays this first.",
        boxes=(Box.RESOLVER, Box.NAMESERVER),
        evidence="The whole lookup above its threshold, measured while our own loop kept time; "
        "where one of A and AAAA was not answered at all, the summary names it.",
        not_this=(
            "a slow server (http.slow): the time passed before the server was dialled",
            "a slow network to the target (tcp.slow): the target was not yet involved",
        ),
        could_also_be=("dns.dead_nameserver", "dns.delegation_broken"),
        fix="Put a resolver that answers first in resolv.conf, or a cache on this machine; "
        "mend a nameserver or filter that ignores AAAA.",
        confirm=(_ASK, _ASK_V6, _RESOLVERS, _DELEGATION),
        proves=("dns",),
    ),
    Code(
        name="dns.dead_nameserver", severity=Severity.WARN, state=State.OK, osi="L7", emitted=False,
        meaning="One of the configured nameservers does not answer. "
        "Lookups that try it first wait for its timeout.",
        boxes=(Box.RESOLVER, Box.OWN, Box.FIREWALL),
        evidence="One resolver silent to two questions that another one answered in the same seconds.",
        not_this=("a name that does not exist (dns.nxdomain): another nameserver answers it",),
        could_also_be=(),
        fix="Repair the nameserver the facts name, or take it out of resolv.conf.",
        confirm=(_RESOLVERS, "resolvectl status", _ASK),
        proves=("dns",),
    ),
    Code(
        name="dns.hosts_override", severity=Severity.WARN, state=State.OK, osi="L7", emitted=True,
        meaning="A line in /etc/hosts of this machine gives the address. What DNS says is not used here.",
        boxes=(Box.OWN,),
        evidence="The file, the line number and the addresses it gives for this name.",
        not_this=("an answer from DNS (dns.stale): no nameserver decided this address",),
        could_also_be=(),
        fix="Confirm that the line in /etc/hosts is meant; remove it if it was left over from a test.",
        confirm=(_HOSTS, _SYSTEM, "dig +short {name} A"),
    ),
    Code(
        name="dns.split_horizon", severity=Severity.WARN, state=State.OK, osi="L7", emitted=False,
        meaning="Inside and outside resolvers give different worlds: "
        "one answers private addresses, the other public.",
        boxes=(Box.RESOLVER, Box.NAMESERVER),
        evidence="Two named resolvers whose answers share no address, one of them private.",
        not_this=("a round robin or a geographic answer: those are public on both sides",),
        could_also_be=("dns.stale", "dns.bogon"),
        fix="Use the resolver of the view this client belongs to, and say so in the inventory.",
        confirm=(_ASK, _ASK_ELSEWHERE),
        proves=("dns",),
    ),
    Code(
        name="dns.stale", severity=Severity.WARN, state=State.OK, osi="L7", emitted=False,
        meaning="A resolver still serves an answer that the zone has replaced.",
        boxes=(Box.RESOLVER,),
        evidence="The cached answer with its remaining TTL beside "
        "the different answer of the zone's nameserver.",
        not_this=(
            "a wrong record in the zone (dns.cname_dangling): the zone's own answer is already the new one",
        ),
        could_also_be=("dns.split_horizon",),
        fix="Wait out the TTL, or flush this name from the resolver's cache.",
        confirm=(_ASK, _DELEGATION),
        fix_commands=("sudo resolvectl flush-caches",),
        proves=("dns",),
    ),
    Code(
        name="dns.source_mismatch", severity=Severity.INFO, state=State.OK, osi="L7", emitted=False,
        meaning="Applications on this machine get another address for the name than DNS gives.",
        boxes=(Box.OWN, Box.RESOLVER),
        evidence="The answer of the system's name service beside that of DNS, both in full.",
        not_this=(
            "a fault of the zone (dns.delegation_broken): DNS answers; this machine asks elsewhere first",
        ),
        could_also_be=("dns.hosts_override", "dns.split_horizon"),
        fix="Check the hosts line of nsswitch.conf, /etc/hosts and mDNS on this machine.",
        confirm=(_SYSTEM, _ASK, "grep -n hosts: /etc/nsswitch.conf"),
        proves=("dns",),
    ),
)
