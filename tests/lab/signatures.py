"""By what marks on the wire each code of the lab is known, in terms of `wire.py`'s observations."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

Observation = dict[str, Any]

SLOW_HANDSHAKE_MS = 900.0
SLOW_FIRST_BYTE_MS = 2500.0
DRIPPING_MS = 5000.0
SYN_RETRANSMIT_MS = (900.0, 1900.0)
FULL_SEGMENT_BYTES = 1428
"""What fits into a packet of 1500 bytes over IPv6 with timestamps; it is 20 more over IPv4."""
NEIGHBOUR_FAILURE_MS = (2500.0, 3900.0)


def _each(seen: Observation) -> list[dict[str, Any]]:
    return list(seen["addresses"].values())


def _all(seen: Observation, holds: Callable[[dict[str, Any]], bool]) -> bool:
    """Something was dialled, and what is claimed holds for every address."""
    return bool(_each(seen)) and all(holds(address) for address in _each(seen))


def _rcode(code: str, *, aliases: int = 0) -> Callable[[Observation], bool]:
    def holds(seen: Observation) -> bool:
        dns = seen["dns"]
        return dns["rcode"] == code and not dns["addresses"] and len(dns["aliases"]) == aliases

    return holds


def _icmp(*kinds: tuple[int, int], sender: str) -> Callable[[Observation], bool]:
    def matches(address: dict[str, Any]) -> bool:
        icmp = address["icmp"]
        if icmp is None or (icmp["type"], icmp["code"]) not in kinds:
            return False
        came_from = icmp["from"] if icmp["from"] in ("self", "target") else "router"
        return came_from in sender.split("|")

    return lambda seen: _all(seen, matches)


def _cut_off(*errors: str) -> Callable[[Observation], bool]:
    """An open connection that the kernel gave up: of the ICMP message only the errno is told."""
    return lambda seen: _all(seen, lambda a: _answer(a)["ending"] in errors)


def _at_once(*errors: str) -> Callable[[Observation], bool]:
    return lambda seen: _all(seen, lambda a: a["at_once"] and a["connect"] in errors)


def _status(code: int) -> Callable[[Observation], bool]:
    return lambda seen: _all(seen, lambda a: _answer(a)["text"].startswith(f"HTTP/1.1 {code} "))


def _verify(*codes: int) -> Callable[[Observation], bool]:
    return lambda seen: _all(seen, lambda a: a.get("tls", {}).get("verify_code") in codes)


def _alert(number: int) -> Callable[[Observation], bool]:
    return lambda seen: _all(seen, lambda a: a.get("tls", {}).get("first", "").endswith(f"02{number:02x}"))


def _cut(tls: dict[str, Any]) -> bool:
    """A handshake that the server ended, whatever it said."""
    return bool(tls["ending"] in ("closed", "reset") or tls["alert"] == 40)


def _by_name(seen: Observation) -> bool:
    """Ended with the name that the target has, and not with another, or with none."""
    return _all(
        seen,
        lambda a: _cut(a["tls"])
        and any(how["ending"] in ("done", "verify") for what, how in a["changed"].items() if what.startswith("name ")),
    )


def _no_certificate(address: dict[str, Any]) -> bool:
    """Asked for, not given, refused in TLS: handshake_failure (40) before TLS 1.3, certificate_required (116) there.

    Or the connection ends right after the handshake, although nothing was asked of the server.
    """
    tls = address.get("tls", {})
    left = tls.get("after", {}).get("ending") in ("closed", "reset")
    return bool(tls.get("asked") and (tls["alert"] in (40, 116) or left))


def _answer(address: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = address.get("answer") or address.get("tls", {}).get("answer") or {}
    return {"text": "", "bytes": -1, "ending": None, "first_ms": None, "last_ms": None, **found}


def _ended(ending: str, *, some: bool | None = None) -> Callable[[Observation], bool]:
    """How the exchange after the request ended; `some`: whether any byte had come by then."""
    return lambda seen: _all(
        seen, lambda a: _answer(a)["ending"] == ending and some in (None, _answer(a)["bytes"] > 0)
    )


def _handshake_ended(*endings: str, some: bool | None = None) -> Callable[[Observation], bool]:
    return lambda seen: _all(
        seen,
        lambda a: a.get("tls", {}).get("ending") in endings
        and (some is None or some == (a["tls"]["bytes"] > 0)),
    )


def _dropped(seen: Observation) -> bool:
    """Closed, reset, or a close_notify alert (level 1, description 0) before the handshake was over."""
    return _handshake_ended("closed", "reset")(seen) or _all(
        seen, lambda a: a.get("tls", {}).get("first", "") == "15030300020100"
    )


def _not_tls(seen: Observation) -> bool:
    return _all(seen, lambda a: a["tls"]["ending"] == "refused" and a["tls"]["first"][:2] not in ("15", "16"))


def _took(low_ms: float, high_ms: float) -> Callable[[Observation], bool]:
    return lambda seen: _all(seen, lambda a: low_ms <= a["ms"] <= high_ms)


def _upgrade(ending: str, begins: str) -> Callable[[Observation], bool]:
    """How the dialogue before TLS ended, and how all that was heard of it begins."""

    def matches(address: dict[str, Any]) -> bool:
        plain = address.get("plain", {"ending": None, "text": ""})
        return plain["ending"] == ending and re.match(begins, plain["text"], re.DOTALL) is not None

    return lambda seen: _all(seen, matches)


def _both(*parts: Callable[[Observation], bool]) -> Callable[[Observation], bool]:
    return lambda seen: all(part(seen) for part in parts)


def _refused(address: dict[str, Any]) -> bool:
    return bool(address["connect"] == "Connection refused") and address["icmp"] is None


def _reset_at(*hops: int) -> Callable[[Observation], bool]:
    """A RST, and the smallest TTL that brings it. The lab's server is three hops away."""
    return lambda seen: _all(seen, lambda a: _refused(a) and a["rst_ttl"] in hops)


def _silent(**around: bool) -> Callable[[Observation], bool]:
    """No answer from the port; whether its host is `alive`, the `gateway` answers, it is `on_link`."""

    def holds(address: dict[str, Any]) -> bool:
        nothing = address["connect"] == "silent" and address["icmp"] is None
        return nothing and all(address[what] is wanted for what, wanted in around.items())

    return lambda seen: _all(seen, holds)


def _denied(seen: Observation) -> bool:
    """UDP fails with EPERM: the packet filter of this very machine (connect(2) of TCP keeps still)."""
    asked = seen["dns"]
    return _all(seen, lambda a: a.get("udp") == "operation not permitted") or bool(
        asked and asked["rcode"] == "denied"
    )


def _either(*parts: Callable[[Observation], bool]) -> Callable[[Observation], bool]:
    return lambda seen: any(part(seen) for part in parts)


def _unacknowledged(seen: Observation) -> bool:
    silent = _either(_ended("silent"), _handshake_ended("silent"))
    return silent(seen) and _all(seen, lambda a: a["unacked"] > 0)


def _family_broken(version: int) -> Callable[[Observation], bool]:
    def holds(seen: Observation) -> bool:
        open_ = {4: set[bool](), 6: set[bool]()}
        for address, what in seen["addresses"].items():
            open_[6 if ":" in address else 4].add(what["connect"] == "open")
        return open_[version] == {False} and True in open_[10 - version]

    return holds


def _sizes(seen: Observation, holds: Callable[[Observation], bool]) -> bool:
    """What claims something of `sizes.py`'s observations holds for every address, and there is one."""
    each = seen["sizes"].values()
    return bool(each) and all(holds(address) for address in each)


def _stuck(address: Observation, request: str) -> bool:
    """The same exchange never ends with large segments and comes whole with small ones."""
    return bool(address[f"{request}_large"]["ending"] == "silent" and address[f"{request}_small"]["ending"] == "whole")


def _lost_going(address: Observation, request: str) -> bool:
    """What we sent is not acknowledged, but for the short end of it."""
    last = address[f"{request}_large"]
    return _stuck(address, request) and last["unacked"] > 0 and last["sacked"] > 0


def _lost_coming(address: Observation, request: str) -> bool:
    """All that we sent is acknowledged, and of what was sent to us the short end came, out of order."""
    last = address[f"{request}_large"]
    return _stuck(address, request) and last["unacked"] == 0 and last["out_of_order"] > 0


def _datagram_lost(address: Observation) -> bool:
    return bool(address["datagrams"] == {"small": "ECONNREFUSED", "full": "silent"})


def _lost_whole(address: Observation) -> bool:
    """All that was sent is lost, without a short end that could show it; a datagram of that size is, too."""
    return _stuck(address, "own") and _datagram_lost(address)


HOLES: dict[str, Callable[[Observation], bool]] = {
    "forward": lambda seen: _lost_going(seen, "long") and not _lost_coming(seen, "own"),
    "reverse": lambda seen: _lost_coming(seen, "own") and _lost_coming(seen, "long") and not _datagram_lost(seen),
    # Where the server's handshake is lost, a long request is never sent; a datagram is.
    "both": lambda seen: _lost_coming(seen, "own") and (_lost_going(seen, "long") or _datagram_lost(seen)),
}
"""Direction to the marks of a hole in it, at one address as `sizes.py` sees it."""


def _all_whole(address: Observation) -> bool:
    endings = {address[f"{what}_{segments}"]["ending"] for what in ("own", "long") for segments in ("large", "small")}
    return endings == {"whole"}


def _reduced(address: Observation) -> bool:
    return _all_whole(address) and bool(address["datagrams"]["full"] == f"too big {address['narrow']}")


def _clamped(address: Observation) -> bool:
    """A small segment size from the SYN on, which no path MTU that was learnt explains; large datagrams are lost."""
    first = address["own_large"]["at_first"]
    small = first["snd_mss"] < FULL_SEGMENT_BYTES and first["pmtu"] == 1500
    return _all_whole(address) and small and address["datagrams"]["full"] in ("silent", f"too big {address['narrow']}")


def _masked(address: Observation) -> bool:
    late, soon = address["own_large"], address["own_small"]
    in_time = late["ms"] >= SLOW_FIRST_BYTE_MS > soon["ms"]
    return _all_whole(address) and in_time and late["out_of_order"] > 0


def healthy(seen: Observation) -> bool:
    """At least one address connects, and whatever is asked over it is answered."""
    return any(
        address["connect"] == "open"
        and address.get("tls", {}).get("ending", "done") == "done"
        and _answer(address)["ending"] in (None, "whole")
        for address in _each(seen)
    )


ISSUER_KEY_ID = "0603551d23"
MUST_STAPLE = "06082b06010505070118" + "0405" + "3003020105"
"""The TLS feature extension (RFC 7633) with status_request, as DER; no server of the lab staples."""


def _tls_mark(holds: Callable[[dict[str, Any]], bool]) -> Callable[[Observation], bool]:
    return lambda seen: healthy(seen) and _all(seen, lambda address: holds(address["tls"]))


def _linked(chain: list[dict[str, Any]]) -> bool:
    once = list({one["der"]: one for one in chain}.values())
    return all(below["issuer"] == above["subject"] for below, above in pairwise(once))


def _unused(tls: dict[str, Any]) -> list[dict[str, Any]]:
    used = {one["der"] for one in tls["path"]}
    return [one for one in tls["presented"] if one["der"] not in used]


def _second_path(tls: dict[str, Any]) -> bool:
    return any(
        one["subject"] == used["subject"] and one["issuer"] != used["issuer"]
        for one in _unused(tls) for used in tls["path"]
    )


SIGNATURES: dict[str, Callable[[Observation], bool]] = {
    "dns.nxdomain": _rcode("NXDOMAIN"),
    "dns.nodata": _rcode("NOERROR"),
    "dns.servfail": _rcode("SERVFAIL"),
    "dns.refused": _rcode("REFUSED"),
    "dns.timeout": _rcode("silent"),
    "dns.cname_loop": _rcode("NOERROR", aliases=2),
    "dns.cname_dangling": _rcode("NXDOMAIN", aliases=1),
    "dns.formerr": _rcode("FORMERR"),
    "dns.tcp_blocked": lambda seen: seen["dns"]["cut"] and not seen["dns"]["addresses"],
    "dns.slow": lambda seen: healthy(seen) and (
        seen["dns"]["silent"] == ["AAAA"] or (not seen["dns"]["silent"] and seen["dns"]["ms"] >= 2 * 1500)
    ),
    "vantage.resolver_unreachable": _rcode("silent"),
    "vantage.no_route": _at_once("Network is unreachable"),
    "vantage.gateway_unreachable": _either(
        _icmp((3, 1), (1, 3), sender="self"), _silent(alive=False, gateway=False, on_link=False)
    ),
    "vantage.link_down": lambda seen: seen["link"] in ("off", "no carrier"),
    "policy.denied": healthy,
    "local.ports_exhausted": _at_once("Cannot assign requested address"),
    "local.send_denied": _either(
        _denied, _reset_at(1), _icmp((3, 13), (3, 3), (1, 1), (1, 4), sender="self")
    ),
    "link.neighbour_unresolved": _icmp((3, 1), (1, 3), sender="self"),
    "ip.no_route": _at_once("Network is unreachable"),
    "ip.route_rejected": _at_once("Invalid argument", "Permission denied", "No route to host"),
    "ip.net_unreachable": _icmp((3, 0), (1, 0), sender="router"),
    "ip.host_unreachable": _either(_icmp((3, 1), (1, 3), sender="router"), _cut_off("No route to host")),
    "ip.admin_prohibited": _either(
        _icmp((3, 13), (3, 10), (3, 9), (1, 1), (1, 5), (1, 6), sender="router"), _cut_off("Permission denied")
    ),
    "ip.path_dies": _silent(alive=False, gateway=True, on_link=False),
    "ip.host_silent": _silent(alive=False, on_link=True),
    "ip.routing_loop": _icmp((11, 0), (3, 0), sender="router"),
    "tcp.refused": lambda seen: _all(seen, lambda a: _refused(a) and a["rst_ttl"] == (1 if a["on_link"] else 3)),
    "tcp.rejected": _either(_icmp((3, 2), (3, 3), (1, 4), sender="router|target"), _reset_at(2)),
    "tcp.new_flows_dropped": _silent(alive=False, gateway=True, kept=True),
    "tcp.filtered": _silent(alive=True),
    "tcp.timeout": lambda seen: _all(seen, lambda a: a["connect"] == "silent" and a["icmp"] is None),
    "tcp.reset": _ended("reset"),
    "tcp.closed": _ended("closed", some=False),
    "tcp.stalled": _either(_ended("silent", some=True), _unacknowledged),
    # The wire tries one connection; that a second one gets through, from another source port, shows in `alive`.
    "tcp.flow_dependent": _silent(alive=True),
    "tcp.syn_retransmit": _both(
        healthy, _took(*SYN_RETRANSMIT_MS), lambda seen: _all(seen, lambda a: a["retransmits"] == 1)
    ),
    "tls.not_tls": _not_tls,
    "tls.dropped": _dropped,
    "tls.no_answer": _handshake_ended("silent", some=False),
    "tls.stalled": _handshake_ended("silent", some=True),
    "tls.expired": _verify(10),
    "tls.not_yet_valid": _verify(9),
    "tls.self_signed": _verify(18),
    "tls.untrusted_root": _verify(19, 20),
    "tls.issuer_unknown": _verify(20),
    "tls.missing_intermediate": _verify(20),
    "tls.name_mismatch": _verify(62, 64),
    # A stale issuer is passed over, where its key identifier tells that it is another.
    "tls.bad_signature": _verify(7, 20),
    # Our own client said no, to what began as TLS.
    "tls.chain_oversize": lambda seen: _all(
        seen, lambda a: a["tls"]["ending"] == "refused" and a["tls"]["first"].startswith("16")
    ),
    "tls.issuer_not_ca": _verify(79),
    "tls.path_length": _verify(25),
    "tls.name_constraint": _verify(47),
    "tls.wrong_usage": _verify(26),
    "tls.client_certificate_required": lambda seen: _all(seen, _no_certificate),
    "tls.unrecognized_name": _either(_alert(112), _by_name),
    "tls.sni_required": _either(_alert(112), _by_name),
    "tls.no_shared_cipher": lambda seen: _all(
        seen, lambda a: a["tls"]["alert"] == 40 and a["changed"]["every suite"]["ending"] != "refused"
    ),
    "tls.version_unsupported": _either(_alert(70), lambda seen: _all(
        seen, lambda a: _cut(a["tls"]) and a["changed"]["below 1.3"]["ending"] in ("done", "verify")
    )),
    "tls.alert": _either(_alert(80), lambda seen: _all(
        seen, lambda a: a["tls"]["alert"] in (40, 71, 120) and a["changed"]["every suite"]["ending"] == "refused"
    )),
    # What certificate the small hello is answered with does not matter.
    "tls.large_hello_intolerant": lambda seen: _all(
        seen,
        lambda a: a["tls"]["ending"] in ("done", "verify")
        and a["long_hello"]["ending"] in ("closed", "reset", "refused", "silent"),
    ),
    "tls.slow": _both(healthy, lambda seen: _all(seen, lambda a: a["tls"]["ms"] >= SLOW_HANDSHAKE_MS)),
    "http.status": lambda seen: _status(404)(seen) or _status(400)(seen) or _status(500)(seen),
    "http.misdirected": _status(421),
    "http.bad_gateway": _status(502),
    "http.unavailable": _status(503),
    "http.gateway_timeout": _status(504),
    "http.unexpected_body": _both(
        _status(200), lambda seen: _all(seen, lambda a: "green" not in a["answer"]["text"])
    ),
    "http.client_certificate_required": _both(
        _status(400), lambda seen: _all(seen, lambda a: a["tls"]["asked"] and a["tls"]["alert"] is None)
    ),
    "http.truncated": _ended("closed", some=True),
    "http.timeout": _ended("silent", some=False),
    "http.malformed": _both(
        _ended("closed", some=True), lambda seen: _all(seen, lambda a: a["answer"]["text"].startswith("-ERR"))
    ),
    "http.slow": _either(
        _both(healthy, lambda seen: _all(seen, lambda a: a["answer"]["first_ms"] >= SLOW_FIRST_BYTE_MS)),
        _both(_ended("silent", some=True), lambda seen: _all(seen, lambda a: a["answer"]["last_ms"] >= DRIPPING_MS)),
    ),
    # What a handshake asks of the path is the client's choice: a long request stands for a long ClientHello.
    "mtu.black_hole": lambda seen: _sizes(
        seen, lambda a: _lost_coming(a, "own") or _lost_going(a, "long") or _lost_whole(a)
    ),
    "app.no_banner": _either(_ended("silent", some=False), _upgrade("silent", r"\Z")),
    "app.protocol_mismatch": _either(
        lambda seen: _all(seen, lambda a: _answer(a)["text"].startswith("220 ")), _upgrade("silent", r"SSH-")
    ),
    "app.unexpected": _upgrade("refused", r"554 |.{4}\xff|\* BYE"),
    # What is refused is TLS: everything before it was as it should be.
    "tls.starttls_refused": _either(
        _upgrade("refused", r"220 .*\s250|\* OK|\+OK|N|.{4}\n|0.*x|220 |<\?xml "), _upgrade("closed", r"220 .*\s250"),
    ),
    "tls.starttls_injected": lambda seen: _all(
        seen, lambda a: a["plain"]["ending"] == "agreed" and a["plain"]["extra"] > 0
    ),
}
"""Code to the marks by which it is known."""

UNEXPLAINED = _silent(alive=False, gateway=True, on_link=False)
"""A silence behind a router, which this one address cannot explain."""

WARNINGS: dict[str, Callable[[Observation], bool]] = {
    "http.auth_required": _status(401),
    "http.rate_limited": _status(429),
    "mtu.reduced": lambda seen: healthy(seen) and _sizes(seen, _reduced),
    "mtu.clamped": lambda seen: healthy(seen) and _sizes(seen, _clamped),
    "mtu.masked": lambda seen: healthy(seen) and _sizes(seen, _masked),
    "tls.issuer_unknown": lambda seen: healthy(seen) and _all(
        seen, lambda address: address.get("elsewhere", {}).get("verify_code") == 20
    ),
    "tls.untrusted_root": _verify(19, 20),
    "tls.interception_suspected": _verify(19, 20),
    "tls.wrong_order": _tls_mark(lambda tls: not _linked(tls["presented"]) and not _unused(tls)),
    "tls.extra_certs": _tls_mark(lambda tls: len(_unused(tls)) == 1 and not _second_path(tls)),
    "tls.duplicate_certs": _tls_mark(lambda tls: len({one["der"] for one in tls["presented"]}) < len(tls["presented"])),
    "tls.root_sent": _tls_mark(lambda tls: tls["path"][-1]["der"] == tls["presented"][-1]["der"]),
    "tls.cross_sign": _tls_mark(lambda tls: len(_unused(tls)) == 1 and _second_path(tls)),
    "tls.expiring": _tls_mark(lambda tls: sum(one["days_left"] < 30 for one in tls["path"]) == 1),
    "tls.legacy_version": _tls_mark(lambda tls: tls["version"] == "TLSv1.1"),
    "tls.pedantic": _tls_mark(lambda tls: ISSUER_KEY_ID not in tls["path"][0]["der"]),
    "tls.must_staple": _tls_mark(lambda tls: MUST_STAPLE in tls["path"][0]["der"]),
    "dns.hosts_override": lambda seen: healthy(seen) and bool(seen["hosts"]) and not seen["dns"]["addresses"],
    "ip.v4_only_broken": lambda seen: healthy(seen) and _family_broken(4)(seen),
    "ip.v6_only_broken": lambda seen: healthy(seen) and _family_broken(6)(seen),
    "ip.address_partial": lambda seen: healthy(seen) and any(_refused(address) for address in _each(seen)),
}
"""Codes of findings that leave a target ok."""
