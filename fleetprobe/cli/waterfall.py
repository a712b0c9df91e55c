"""Where the time of one target went: a bar for each phase, one behind the other, on one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from fleetprobe.cli.evidence import milliseconds
from fleetprobe.cli.terminal import Marks

PHASES: Final = (
    ("queue", "queue_ms", "dim"),
    ("dns", "dns_duration_ms", "cyan"),
    ("tcp", "tcp_connect_duration_ms", "green"),
    ("tls", "tls_handshake_duration_ms", "magenta"),
    ("first byte", "http_time_to_first_byte_ms", "blue"),
    ("witness", "witness_ms", "yellow"),
    ("unattributed", "unattributed_ms", "dim"),
)
"""Label, column of the record, style: in the order in which the phases follow each other."""
_COARSE_MS: Final = 10.0
"""Below it moments need microseconds to differ."""
_LITTLE_MS: Final = 20.0
_MANY: Final = 100
_OWNERS: Final = {"tcp": "connecting", "tls": "the handshake", "first byte": "the server"}


def waterfall(row: Mapping[str, Any], marks: Marks, width: int) -> Table | None:
    """The bars, `width` columns wide without labels; None when the record holds no times."""
    spent = [(label, _number(row.get(column)), style) for label, column, style in PHASES]
    shown = [(label, ms, style) for label, ms, style in spent if ms is not None and ms > 0.0]
    total = sum(ms for _, ms, _ in shown)
    if not shown:
        return None
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=12, no_wrap=True)
    grid.add_column(justify="right", width=9, no_wrap=True)
    grid.add_column(width=width, no_wrap=True)
    start = 0.0
    for label, ms, style in shown:
        grid.add_row(
            Text(label),
            Text(milliseconds(ms)),
            Text(_bar(start / total, ms / total, marks, width), style=style),
        )
        start += ms
    grid.add_row(Text("total", style="bold"), Text(milliseconds(total), style="bold"), Text(""))
    return grid


def remark(row: Mapping[str, Any], marks: Marks) -> list[Text]:
    """At most two lines beneath the bars: the moments at which phases ended, and what of them is distance.

    The first reads like `curl -w`: seconds since the start, without waiting in our own queue, up to the last
    phase that succeeded. The second needs a round trip time: no phase can be shorter than its round trips.
    """
    passed = _passed(row)
    lines = [Text.assemble(("as curl -w  ", "dim"), _moments(passed))] if passed else []
    rtt = _number(row.get("tcp_rtt_ms"))
    spent = [(label, ms, _round_trips(label, row)) for label, ms in passed]
    counted = [(label, ms, least) for label, ms, least in spent if least]
    if rtt and counted:
        told = f" {marks.dot} ".join(
            f"{label} {_times(ms / rtt)}{f' (least {least})' if least > 1 else ''}" for label, ms, least in counted
        )
        lines.append(Text.assemble(("round trips ", "dim"), f"{told}, of {milliseconds(rtt)} each"))
        lines += _beyond(counted, rtt)
    return lines


def _passed(row: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The phases of a request that came to their end, in milliseconds: all before the last one did."""
    found = [(label, ms) for label, column, _ in PHASES[1:5] if (ms := _number(row.get(column))) is not None]
    if found and not _ended(found[-1][0], row):
        found.pop()
    return found


def _ended(label: str, row: Mapping[str, Any]) -> bool:
    """Whether a phase brought what it waited for; an answer with a bad status is an answer."""
    if label == "first byte" and row.get("http_response_status_code") is not None:
        return True
    rungs = ("http", "app") if label == "first byte" else (label,)
    steps = row.get("layers")
    for step in steps if isinstance(steps, list | tuple) else ():
        if isinstance(step, Mapping) and step.get("layer") in rungs:
            return step.get("outcome") in ("pass", "warn")
    return True


def _moments(passed: Sequence[tuple[str, float]]) -> str:
    names = {"dns": "dns", "tcp": "connect", "tls": "tls", "first byte": "ttfb"}
    digits = 3 if sum(ms for _, ms in passed) >= _COARSE_MS else 6
    told, moment = [], 0.0
    for label, ms in passed:
        moment += ms
        told.append(f"{names[label]}:{moment / 1000.0:.{digits}f}")
    return " ".join(told)


def _round_trips(label: str, row: Mapping[str, Any]) -> int:
    """How often a phase must cross the way: RFC 9293 §3.5, RFC 8446 §2 against RFC 5246 §7.3, RFC 9112."""
    if label == "tls":
        return 1 if row.get("tls_protocol_version") == "TLSv1.3" else 2
    return 1 if label in ("tcp", "first byte") else 0


def _times(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio < _MANY else f"over {_MANY}"


def _beyond(counted: Sequence[tuple[str, float, int]], rtt: float) -> list[Text]:
    """Who owns most of the time that distance does not explain, when it is most of the whole."""
    label, over = max(((label, ms - least * rtt) for label, ms, least in counted), key=lambda pair: pair[1])
    whole = sum(ms for _, ms, _ in counted)
    if over < max(_LITTLE_MS, whole / 2):
        return []
    return [Text(f"most of it is no distance: {_OWNERS[label]} took {milliseconds(over)} beyond its round trips")]


def _bar(start: float, share: float, marks: Marks, width: int) -> str:
    """A bar at its place: never less than a sliver, never beyond the edge."""
    steps = len(marks.bars)
    before = min(round(start * width), width - 1)
    length = max(1, min(round(share * width * steps), (width - before) * steps))
    whole, part = divmod(length, steps)
    return " " * before + marks.bars[-1] * whole + (marks.bars[part - 1] if part else "")


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:  # a record may hold any number
        return None
