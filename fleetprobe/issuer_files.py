"""Files of CA certificates that the user names. They lend certificates to the pool, and carry no trust there.

A list of intermediates is given to be read, so what is wrong with it is told before anything is sent. A CA file of the
inventory is given to be trusted by its own targets; whatever else of the fleet it explains comes on top.
"""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from fleetprobe.layers.first_bytes import printable
from fleetprobe.layers.tls.certificate import Certificate, Malformed, read
from fleetprobe.layers.tls.graph import name_key
from fleetprobe.net.pool import MOST_BYTES, Pool

MOST_LISTED: Final = 20_000
"""Well below what the pool holds, so that a list pushes out nothing that hosts present."""
MOST_OF_A_BUNDLE: Final = 2_000
_MOST_FILE_BYTES: Final = 64 << 20
_NAME_CHARS: Final = 80
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"


class UnusableList(Exception):
    """The list of intermediates cannot be used: one sentence for the user."""


class Authority(NamedTuple):
    """One CA certificate of a file, ready for the pool."""

    name: str
    der: bytes
    found_at: str

    def lend(self, to: Pool) -> None:
        """Put it there as something that no host has presented."""
        to.add(self.name, self.der, self.found_at, presented=False)


def load_list(path: str, into: Pool) -> Mapping[str, object]:
    """Lend every CA certificate of a PEM file. Gives source, count, skipped, and a hash of what was taken.

    Skipped are certificates of no CA, such as are longer than the pool takes or cannot be read past their outermost
    shape, and those for which a name has no room left. Raises UnusableList, with the line where a block is broken.
    """
    taken: set[str] = set()
    skipped = 0
    for number, (line, der) in enumerate(_blocks(path), 1):
        found = read(der) if der else None
        if der is None or found is None or (isinstance(found, Malformed) and found.field == "certificate"):
            raise UnusableList(f"the list {_shown(path)} is broken: line {line} begins no certificate in PEM")
        if number > MOST_LISTED:
            raise UnusableList(f"the list {_shown(path)} holds more than {MOST_LISTED} certificates")
        if isinstance(found, Certificate) and found.is_ca and found.sha256 not in taken:
            Authority(name_key(found.subject), der, f"the list {_shown(path)}").lend(into)
            if into.der(found.sha256) is not None:
                taken.add(found.sha256)
                continue
        skipped += 1
    if not taken:
        raise UnusableList(f"the list {_shown(path)} holds no CA certificate in PEM")
    digest = hashlib.sha256("".join(sorted(taken)).encode()).hexdigest().upper()
    return {"source": path, "count": len(taken), "skipped": skipped, "sha256": digest}


def bundled(path: str) -> Iterator[Authority]:
    """The CA certificates of a CA file, at most 2,000; what is broken in it is for others to tell."""
    try:
        for _, (_, der) in zip(range(MOST_OF_A_BUNDLE), _blocks(path), strict=False):
            found = read(der) if der else None
            if der is not None and isinstance(found, Certificate) and found.is_ca:
                yield Authority(name_key(found.subject), der, f"the CA file {_shown(path)}")
    except UnusableList:
        return


def _blocks(path: str) -> Iterator[tuple[int, bytes | None]]:
    """Each PEM block with the line it begins in; None where it is broken off, too long, or not base64."""
    began, body = 0, b""
    for number, line in enumerate(_lines(path), 1):
        text = line.strip()
        if text == _BEGIN:
            if began:
                yield began, None
            began, body = number, b""
        elif text == _END:
            yield began or number, _decoded(body) if began else None
            began = 0
        elif began and len(body) <= 2 * MOST_BYTES:
            body += text
    if began:
        yield began, None


def _decoded(body: bytes) -> bytes | None:
    try:
        return base64.b64decode(body, validate=True) or None
    except ValueError:
        return None


def _lines(path: str) -> Iterator[bytes]:
    try:
        with open(path, "rb", opener=_at_once) as file:
            told = os.fstat(file.fileno())
            if not stat.S_ISREG(told.st_mode) or told.st_size > _MOST_FILE_BYTES:
                raise UnusableList(f"the list {_shown(path)} is not a regular file of at most 64 MiB")
            yield from file
    except (OSError, ValueError) as no:
        reason = no.strerror if isinstance(no, OSError) else "not a path"
        raise UnusableList(f"the list {_shown(path)} cannot be read: {reason}") from no


def _at_once(path: str, flags: int) -> int:
    """A named pipe without a writer would hold us for ever (open(2), O_NONBLOCK)."""
    return os.open(path, flags | os.O_NONBLOCK)


def _shown(path: str) -> str:
    """The end of a long path tells files apart."""
    return printable(path.encode("utf-8", "backslashreplace")[-_NAME_CHARS:], _NAME_CHARS)
