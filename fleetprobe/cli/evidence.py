"""What one layer saw, in a line or two: facts of a record become words, whatever version wrote them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from fleetprobe.cli.sizes_seen import sizes_line
from fleetprobe.model.safe import printable

Facts = Mapping[str, Any]

_DAY = timedelta(days=1)
_LISTED = 3
_TEXT = 120
_LABEL, _TRUSTS = 32, 8


def evidence(layer: str, facts: object, now: datetime) -> list[str]:
    """At most two lines, and one for each of several trust stores, safe to print; none when the facts say nothing.

    `now` dates the certificate.
    """
    if not isinstance(facts, Mapping):
        return []
    if layer == "tls":
        return _tls(facts, now)
    tell = _TELLERS.get(layer)
    return [] if tell is None else _lines(tell(facts))


def milliseconds(value: object) -> str:
    """`0.12 ms`, `31.0 ms`, `3.30 s`; empty for what is no number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return ""
    if value >= 1000.0:
        return f"{value / 1000.0:.2f} s"
    return f"{value:.2f} ms" if value < 10.0 else f"{value:.1f} ms"


def _link(facts: Facts) -> list[str]:
    operstate = _word(facts, "operstate").lower()
    device = f"{_pair('dev', facts, 'interface')} {'' if operstate == 'unknown' else operstate}".strip()
    neighbour = f"{_pair('next hop', facts, 'next_hop')} {_word(facts, 'neighbour_state')}".strip()
    down = _list(facts, "down")
    return [
        device,
        "no carrier" if facts.get("carrier") is False else "",
        _pair("mtu", facts, "mtu_bytes"),
        neighbour,
        f"all down: {down}" if down else "",
    ]


def _dns(facts: Facts) -> list[str]:
    if facts.get("source") == "hosts":
        return [f"{_word(facts, 'hosts_line') or 'the hosts file'}: {_list(facts, 'answers')}"]
    if facts.get("answers"):
        ttl = f"TTL {_word(facts, 'min_ttl_s')} s" if "min_ttl_s" in facts else ""
        alias = f"alias of {_items(facts, 'cnames')[-1]}" if _items(facts, "cnames") else ""
        return [_list(facts, "answers"), alias, ttl]
    replies = facts.get("replies")
    told = [_reply(reply) for reply in _rows(replies)[:_LISTED]]
    return told or [_word(facts, "rcode"), _pair("asked", facts, "servers")]


def _reply(reply: Facts) -> str:
    said = _word(reply, "rcode") or _word(reply, "errno_name") or _word(reply, "event")
    return f"{_word(reply, 'server')} {_word(reply, 'record_type')} {said}".strip()


def _ip(facts: Facts) -> list[str]:
    if "errno_name" in facts:
        return [_word(facts, "errno_name"), _word(facts, "address")]
    way = _pair("via", facts, "gateway") or "on-link or our own"
    return [way, _pair("dev", facts, "interface"), _pair("from", facts, "source")]


def _tcp(facts: Facts) -> list[str]:
    icmp = ""
    if "icmp_type" in facts:
        number = f"{_word(facts, 'icmp_type')}/{_word(facts, 'icmp_code')}"
        icmp = f"ICMP {number} from {_word(facts, 'icmp_from')}"
    resent = facts.get("syn_retransmits")
    event = _word(facts, "event")
    return [
        _socket(facts),
        _word(facts, "errno_name") or ("" if event == "connected" else event),
        icmp,
        f"RTT {milliseconds(facts.get('rtt_ms'))}" if "rtt_ms" in facts else "",
        f"MSS {_word(facts, 'mss_bytes')}" if "mss_bytes" in facts else "",
        f"SYN sent {resent + 1} times" if isinstance(resent, int) and resent else "",
    ]


def _socket(facts: Facts) -> str:
    here = _end(facts, "local_address", "local_port")
    there = _end(facts, "address", "port")
    return f"{here} to {there}" if here and there else there


def _end(facts: Facts, address: str, port: str) -> str:
    text, number = _word(facts, address), _word(facts, port)
    if not text or not number:
        return text
    return f"[{text}]:{number}" if ":" in text else f"{text}:{number}"


def _tls(facts: Facts, now: datetime) -> list[str]:
    event = _word(facts, "event")
    alerts = [_word(alert, "name") for alert in _rows(facts.get("alerts_received"))]
    before = facts.get("upgrade")
    talk = before if isinstance(before, Mapping) else facts
    first = [
        _pair("after", talk, "starttls"),
        _word(facts, "protocol_version"),
        _word(facts, "cipher"),
        _word(facts, "alpn"),
        "" if event in ("completed", "done") else f"{event} {_word(facts, 'phase')}".strip(),
        f"alert {alerts[0]}" if alerts else "",
        _word(facts, "errno_name"),
        _pair("began with", facts, "first_bytes"),
        _pair("said", facts, "said"),
        _pair("behind it", facts, "surplus"),
    ]
    leaf = next(iter(_rows(facts.get("certificates"))), {})
    second = [
        _pair("issuer", leaf, "issuer"),
        _expiry(_word(leaf, "not_after"), now),
        f"chain of {_word(facts, 'chain_length')}" if "chain_length" in facts else "",
    ]
    return _lines(first) + _lines(second) + _trusts(facts)


def _trusts(facts: Facts) -> list[str]:
    """One line for each of several trust stores, the deciding one first."""
    trusts = facts.get("trusts")
    if not isinstance(trusts, Mapping):
        return []
    told = [(printable(str(label), _LABEL), held) for label, held in list(trusts.items())[:_TRUSTS]]
    return [f"trust {label}: {_held(held)}" for label, held in told if isinstance(held, Mapping)]


def _held(held: Facts) -> str:
    errors = held.get("verify_errors")
    if not isinstance(errors, list):
        return "not verified"
    told = next(iter(_rows(errors)), None)
    if told is not None:
        return f"fails, verify code {_word(told, 'code')} at depth {_word(told, 'depth')}"
    anchor = held.get("trust_anchor")
    return " up to ".join(filter(None, ("passes", _word(anchor, "subject") if isinstance(anchor, Mapping) else "")))


def _expiry(not_after: str, now: datetime) -> str:
    try:
        ends = datetime.fromisoformat(not_after)
    except ValueError:
        return ""
    left = ends.replace(tzinfo=ends.tzinfo or UTC) - now
    if left < timedelta():
        return f"expired {ends:%Y-%m-%d} ({-left // _DAY} days ago)"
    return f"expires {ends:%Y-%m-%d} (in {left // _DAY} days)"


def _mtu(facts: Facts) -> list[str]:
    return [sizes_line(facts)]


def _http(facts: Facts) -> list[str]:
    status = " ".join(filter(None, [_word(facts, "response_status_code"), _word(facts, "response_reason")]))
    expected = facts.get("body_as_expected")
    body = "" if expected is None else "body as expected" if expected else "body not as expected"
    answered = bool(status)
    return [
        _word(facts, "request"),
        status,
        _pair("server", facts, "response_server"),
        _pair("to", facts, "location"),
        f"{_word(facts, 'body_bytes')} bytes" if "body_bytes" in facts else "",
        body,
        _word(facts, "framing_error"),
        "" if answered else f"{_word(facts, 'event')} {_word(facts, 'phase')}".strip(),
        "" if answered else _word(facts, "errno_name"),
    ]


def _app(facts: Facts) -> list[str]:
    greeting = _word(facts, "identification") or _word(facts, "banner")
    over = _word(facts, "phase") == "over"
    return [
        greeting,
        _pair("looks like", facts, "looks_like"),
        "" if over else f"{_word(facts, 'event')} {_word(facts, 'phase')}".strip(),
        _word(facts, "errno_name"),
    ]


_TELLERS: Mapping[str, Callable[[Facts], list[str]]] = {
    "link": _link,
    "dns": _dns,
    "ip": _ip,
    "tcp": _tcp,
    "mtu": _mtu,
    "http": _http,
    "app": _app,
}


def _lines(words: Sequence[str]) -> list[str]:
    told = ", ".join(word for word in words if word)
    return [told] if told else []


def _word(facts: Facts, name: str) -> str:
    value = facts.get(name)
    if value is None or isinstance(value, list | tuple | Mapping):
        return ", ".join(_items(facts, name))
    return printable(str(value), _TEXT)


def _pair(label: str, facts: Facts, name: str) -> str:
    word = _word(facts, name)
    return f"{label} {word}" if word else ""


def _items(facts: Facts, name: str) -> list[str]:
    value = facts.get(name)
    return [printable(str(item), _TEXT) for item in value[:64]] if isinstance(value, list | tuple) else []


def _list(facts: Facts, name: str) -> str:
    items = _items(facts, name)
    more = f" and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return ", ".join(items[:_LISTED]) + more


def _rows(value: object) -> list[Facts]:
    if not isinstance(value, list | tuple):
        return []
    return [row for row in value[:64] if isinstance(row, Mapping)]
