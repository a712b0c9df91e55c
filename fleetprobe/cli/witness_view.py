"""What the witnesses of one target saw, and the sockets that it cost, drawn from the record alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from rich.text import Text

from fleetprobe.cli.evidence import milliseconds
from fleetprobe.cli.terminal import Marks
from fleetprobe.model.safe import printable

Row = Mapping[str, Any]

_LISTED: Final = 16
_HOPS: Final = 64
_TEXT: Final = 60
_FACTS_OF: Final = (
    ("survey", "other_ports"), ("origin", "rst_ttl"), ("hello", "hellos"), ("name", "names_tried"),
    ("offer", "offers_tried"), ("sizes", "top_bytes"), ("aia", "aia"),
)
"""A witness by a fact that it alone records; what has none of them is the climb done again."""


def witness_of(facts: object) -> str:
    """The name of the witness whose facts these are."""
    if isinstance(facts, Mapping):
        for name, mark in _FACTS_OF:
            if mark in facts:
                return name
    return "again"


def witness_facts(facts: object, marks: Marks) -> list[tuple[str, str]]:
    """What a survey, an origin or hellos of two lengths tell, as label and words, safe to print; else none."""
    if not isinstance(facts, Mapping):
        return []
    match witness_of(facts):
        case "survey":
            told = [
                ("path", _path(facts, marks)),
                ("other ports", _ports(facts)),
                ("udp", _word(facts.get("udp"))),
                ("ping", _word(facts.get("ping"))),
                ("next hop", _next_hop(facts)),
                ("neighbours", _lent(facts)),
                ("our table", _share(facts.get("conntrack_share"))),
            ]
        case "origin":
            told = [("RST from", _hop_word(facts.get("rst_ttl"))), ("host at", _hop_word(facts.get("host_ttl"))),
                    ("passes", _word(facts.get("expires_at"))), ("hop before", _word(facts.get("by")))]
        case "hello":
            told = [("hellos", _hellos(facts))]
        case "name":
            told = [("names", _trials(facts, "names_tried"))]
        case "offer":
            told = [("offers", _trials(facts, "offers_tried"))]
        case "aia":
            told = [("fetched", _fetched(facts["aia"]))]
        case _:
            told = []
    return [(label, words) for label, words in told if words]


def sockets(attempts: object) -> list[Text]:
    """One line for each purpose and transport: how many sockets, how long they took in all, how they ended.

    None at all when nothing but climbs opened any; safe to print.
    """
    rows = [one for one in attempts[:256] if isinstance(one, Mapping)] if isinstance(attempts, list | tuple) else []
    if all(one.get("purpose") == "climb" for one in rows):
        return []
    kinds: dict[tuple[str, str], list[Row]] = {}
    for one in rows:
        kinds.setdefault((_word(one.get("purpose")), _word(one.get("transport"))), []).append(one)
    lines = []
    for (purpose, transport), some in islice(kinds.items(), _LISTED):
        ends = Counter(_word(one.get("outcome")) for one in some)
        told = ", ".join(word if count == len(some) else f"{count} {word}" for word, count in ends.most_common(_LISTED))
        spent = _span(some)
        head = " ".join(word for word in (purpose, str(len(some)), transport, spent) if word)
        lines.append(Text.assemble(f"{head}  ", (told, "dim")))
    return lines


def _fetched(raw: object) -> str:
    """Each URL and what came of it."""
    rows = [one for one in raw[:_LISTED] if isinstance(one, Mapping)] if isinstance(raw, list | tuple) else []
    return ", ".join(f"{_word(one.get('url'))} {_word(one.get('outcome'))}" for one in rows)


def _path(facts: Row, marks: Marks) -> str:
    """Hops by their distance; the silence at the end is said once."""
    raw = facts.get("hops")
    hops = [str(hop) for hop in raw[:_HOPS]] if isinstance(raw, list | tuple) else []
    heard = [at for at, hop in enumerate(hops, 1) if hop != "*"]
    last = heard[-1] if heard else 0
    told = [f"{at} {_word(hop)}" for at, hop in enumerate(hops[:last], 1)]
    if last < len(hops):
        told.append(f"{'then ' if told else ''}silence to hop {len(hops)}")
    walked = f" (walked to {_word(facts['walked'])})" if told and facts.get("walked") else ""
    return f" {marks.arrow} ".join(told) + walked


def _ports(facts: Row) -> str:
    ports = facts.get("other_ports")
    told = []
    if isinstance(ports, Mapping):
        told = [f"{_word(port)} {_word(end)}" for port, end in islice(ports.items(), _LISTED)]
    if facts.get("heard_port") is not None:
        told.append(f"{_word(facts['heard_port'])} answered earlier in this run")
    return ", ".join(told)


def _lent(facts: Row) -> str:
    """What a router said of a neighbour, where that explains the silence."""
    names = ("icmp_lent_by", "icmp_lent_type", "icmp_lent_code", "icmp_lent_for")
    if any(facts.get(name) is None for name in names):
        return ""
    by, kind, code, whom = (_word(facts[name]) for name in names)
    return f"{whom} got ICMP {kind}/{code} from {by}"


def _next_hop(facts: Row) -> str:
    if not facts.get("gateway"):
        return ""
    alive = facts.get("gateway_alive")
    words = (_word(facts["gateway"]), _word(facts.get("gateway_state")))
    life = "" if alive is None else "alive" if alive else "nothing heard through it"
    return ", ".join(word for word in (*words, life) if word)


def _share(value: object) -> str:
    """How full our connection table is, when that is worth a line."""
    full = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0.8
    return f"connection table {value:.0%} full" if full else ""


def _hellos(facts: Row) -> str:
    """Every hello in turn with what it met, that of the climb first."""
    raw = facts.get("hellos")
    later = [one for one in raw[:_LISTED] if isinstance(one, Mapping)] if isinstance(raw, list | tuple) else []
    first = {"size_bytes": facts.get("failed_bytes"), "met": facts.get("failed")}
    return ", ".join(f"{_word(one.get('size_bytes'))} bytes {_word(one.get('met'))}" for one in (first, *later))


def _trials(facts: Row, key: str) -> str:
    """Every changed hello in turn with what it met, that of the climb first."""
    raw = facts.get(key)
    later = [one for one in raw[:_LISTED] if isinstance(one, Mapping)] if isinstance(raw, list | tuple) else []
    first = {"changed": "as climbed", "met": facts.get("failed")}
    return ", ".join(
        " ".join(filter(None, (_word(one.get(word)) for word in ("changed", "met", "version", "cipher"))))
        for one in (first, *later)
    )


def _hop_word(value: object) -> str:
    return f"hop {_word(value)}" if value is not None else ""


def _span(some: list[Row]) -> str:
    """From the first start to the last end."""
    real: list[tuple[float, float]] = []
    for one in some:
        start, spent = one.get("start_ms"), one.get("duration_ms")
        if isinstance(start, int | float) and isinstance(spent, int | float):
            real.append((start, start + spent))
    return milliseconds(max(end for _, end in real) - min(start for start, _ in real)) if real else ""


def _word(value: object) -> str:
    return "" if value is None else printable(str(value), _TEXT)
