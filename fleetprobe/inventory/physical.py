"""Bytes of an inventory to numbered lines: bounded, decoded, line ending and byte-order mark removed."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

LINE_BYTES = 64 * 1024
_LOST_LINE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Line:
    """One line; `problem` says why `text` must not be trusted, and is None for a good one."""

    number: int
    text: str
    """Without its line ending; undecodable bytes as `\\xNN`; only the head of a line that is too long."""
    problem: str | None = None


def numbered(stream: BinaryIO) -> Iterator[Line]:
    """The lines of `stream`, counted from 1. Stops for good after a line longer than 64 MiB."""
    number = 0
    while data := stream.readline(LINE_BYTES + 1):
        number += 1
        if number == 1:
            data = data.removeprefix(codecs.BOM_UTF8)
        if len(data) > LINE_BYTES and not data.endswith(b"\n"):
            ended = _skip_rest(stream)
            yield Line(number, _readable(data[:1024]), _too_long(ended))
            if not ended:
                return
        else:
            yield _decoded(number, data.removesuffix(b"\n").removesuffix(b"\r"))


def _decoded(number: int, data: bytes) -> Line:
    try:
        return Line(number, data.decode("utf-8"))
    except UnicodeDecodeError as problem:
        reason = f"byte {problem.start + 1} of the line is not UTF-8; save the file as UTF-8"
        return Line(number, _readable(data), reason)


def _readable(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _skip_rest(stream: BinaryIO) -> bool:
    """Read to the end of the line; False when it has none within reach (an endless device, say)."""
    for _ in range(_LOST_LINE_BYTES // LINE_BYTES):
        piece = stream.readline(LINE_BYTES)
        if not piece or piece.endswith(b"\n"):
            return True
    return False


def _too_long(ended: bool) -> str:
    reason = f"the line is longer than {LINE_BYTES} bytes"
    return f"{reason}; split it" if ended else f"{reason} and has no end in sight; nothing behind it was read"
