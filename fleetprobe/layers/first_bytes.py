"""What first bytes look like: protocols named by their fixed openings, and bytes made fit to show."""

from __future__ import annotations

import re

_TEXT_OPENINGS = (
    (re.compile(rb"HTTP/[0-9]"), "HTTP"),
    (re.compile(rb"SSH-[0-9]"), "SSH"),
    (re.compile(rb"RFB [0-9]{3}\."), "VNC"),
    (re.compile(rb"\+OK\b"), "POP3"),
    (re.compile(rb"\* (OK|PREAUTH|BYE)\b"), "IMAP"),
    (re.compile(rb"-(ERR|NOAUTH|DENIED|MISCONF|LOADING)\b"), "Redis"),
    (re.compile(rb"220[ -][^\r\n]*E?SMTP", re.IGNORECASE), "SMTP"),
    (re.compile(rb"220[ -][^\r\n]*FTP", re.IGNORECASE), "FTP"),
    (re.compile(rb"220[ -]"), "SMTP or FTP"),
    (re.compile(rb"(421|554)[ -]"), "SMTP or FTP"),
    (re.compile(rb"20[01] "), "NNTP"),
    (re.compile(rb"(:[^ \r\n]+ )?NOTICE (AUTH|\*) "), "IRC"),
    (re.compile(rb"AMQP[\x00-\x03]"), "AMQP"),
    (re.compile(rb"\s*<(!doctype|html|head|body|title|h1)\b", re.IGNORECASE), "HTML without HTTP"),
    (re.compile(rb"\xff[\xfb-\xfe]"), "Telnet"),
    (re.compile(rb"\x00\x00.\x04\x00\x00\x00\x00\x00", re.DOTALL), "HTTP/2"),
    (re.compile(rb"\x15\x03[\x00-\x04]"), "TLS alert"),
    (re.compile(rb"[\x14\x16\x17]\x03[\x00-\x04]"), "TLS"),
)
"""Openings as in RFC 9112, 4253, 6143, 1939, 9051, 5321, 959, 3977, 2812, 854, 9113, 8446; Redis RESP; AMQP 1.0."""

LOOK_AT_BYTES = 256
"""Openings longer than this say nothing more."""


def name_protocol(data: bytes) -> str | None:
    """The protocol whose fixed opening these bytes carry: `SSH`, `TLS alert`, …; None when none is known."""
    head = bytes(data[:LOOK_AT_BYTES])
    for opening, name in _TEXT_OPENINGS:
        if opening.match(head):
            return name
    if _is_mysql(head):
        return "MySQL"
    return None


def _is_mysql(head: bytes) -> bool:
    """Packet 0 with protocol version 10 or an error (MySQL client/server protocol, HandshakeV10 and ERR).

    Proxies send their error as packet 1.
    """
    if len(head) < 6 or (head[3], head[4]) not in ((0, 10), (0, 0xFF), (1, 0xFF)):
        return False
    payload_bytes = int.from_bytes(head[:3], "little")
    return 8 < payload_bytes < 1024


def as_text(data: bytes, limit_bytes: int) -> str:
    """Bytes of a peer as text: UTF-8, each wrong byte as `\\xNN`, cut; control characters may be left in."""
    return bytes(data[:limit_bytes]).decode("utf-8", errors="backslashreplace")


def printable(data: bytes, limit_chars: int) -> str:
    """Bytes of a peer as one line that is safe to print: everything a terminal might obey is escaped."""
    text = as_text(data, limit_chars)
    shown = "".join(c if c.isprintable() else _escaped(c) for c in text)
    return shown if len(shown) <= limit_chars else shown[: limit_chars - 1] + "…"


def _escaped(char: str) -> str:
    """One character as Python would write it in a literal."""
    return char.encode("unicode_escape").decode("ascii")
