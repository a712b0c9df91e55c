"""Port numbers as written: plain ASCII decimals, lists and ranges, nothing that `int` would forgive."""

from __future__ import annotations

import re

from fleetprobe.inventory.refused import Refused, shown

PORT_MAX = 65535

_PORT = re.compile(r"[1-9][0-9]{0,4}")
_RANGE = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")


def one_port(text: str) -> int:
    """The port number in `text`; `Refused` says which rule it breaks."""
    if _PORT.fullmatch(text) and int(text) <= PORT_MAX:
        return int(text)
    raise Refused(f"port {shown(text)} {_wrong_with(text)}; ports are 1 to {PORT_MAX}")


def port_list(text: str) -> tuple[int, ...]:
    """The ports of `22`, `22,443` or `22,8000-8010`, in the order written, each once."""
    if "," not in text and "-" not in text:
        return (one_port(text),)
    spans = [_span(piece) for piece in text.split(",")]
    if sum(last - first + 1 for first, last in spans) > PORT_MAX:
        raise Refused(f"the port list names more than {PORT_MAX} ports; name each port once")
    return tuple(dict.fromkeys(port for first, last in spans for port in range(first, last + 1)))


def _span(piece: str) -> tuple[int, int]:
    ends = _RANGE.fullmatch(piece)
    if not ends:
        port = one_port(piece)
        return port, port
    first, last = one_port(ends[1]), one_port(ends[2])
    if last < first:
        raise Refused(f"port range {shown(piece)} runs backwards; write the lower port first")
    return first, last


def _wrong_with(text: str) -> str:
    if not text:
        return "is empty"
    if any(char.isspace() for char in text):
        return "holds white space"
    if not text.isascii():
        return "is not in ASCII digits"
    if not text.isdigit():
        return "is not a plain decimal number"
    if text.strip("0") == "":
        return "is zero"
    return "has a leading zero" if text.startswith("0") else "is too large"
