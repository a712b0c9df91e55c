"""What leaves for a terminal or a JSON line is made harmless here, and nowhere else."""

from __future__ import annotations

import re

_JSON_UNSAFE = re.compile(rb"[\x7f-\xff]+")


def printable(text: str, limit: int = 500) -> str:
    """The text with everything that could steer a terminal written out as an escape.

    Control characters (C0, C1, DEL), bidirectional and zero-width marks, private and unassigned code
    points, lone surrogates and line separators become `\\x1b` or `\\u{202e}`. At most `limit` characters
    of input are kept; a cut is marked with `…`.
    """
    cut = text[:limit]
    if not (cut.isprintable() and cut.isascii()):
        cut = "".join(map(_shown, cut))
    return cut + "…" if len(text) > limit else cut


def _shown(char: str) -> str:
    # str.isprintable is false for Cc, Cf, Cs, Co, Cn, Zl, Zp and every space but the plain one.
    if char.isprintable():
        return char
    point = ord(char)
    return f"\\x{point:02x}" if point < 0x100 else f"\\u{{{point:x}}}"


def ascii_json(line: bytes) -> bytes:
    """A JSON text in ASCII: DEL and everything beyond it becomes a `\\u` escape (RFC 8259 §7)."""
    if line.isascii() and b"\x7f" not in line:
        return line
    return _JSON_UNSAFE.sub(_escaped, line)


def _escaped(found: re.Match[bytes]) -> bytes:
    units = found.group().decode("utf-8").encode("utf-16-be")
    pairs = (units[at : at + 2] for at in range(0, len(units), 2))
    return b"".join(b"\\u%04x" % int.from_bytes(pair, "big") for pair in pairs)


def without_surrogates(text: str) -> str:
    """The text with lone surrogates, which no UTF-8 can carry, written as `\\udcff`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
