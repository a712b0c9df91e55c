"""The pool of CA certificates between runs: a PEM file that `openssl verify -untrusted` reads as well."""

from __future__ import annotations

import base64
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import orjson

from fleetprobe.layers.tls.certificate import Certificate, read
from fleetprobe.layers.tls.graph import name_key
from fleetprobe.model.safe import ascii_json
from fleetprobe.net.pool import MOST_BYTES, Pool

FOUND_AT: Final = "an earlier run"
_MOST_FILE_BYTES: Final = 128 << 20
_MOST_LINES: Final = 2 * MOST_BYTES // 64
_SUBJECT: Final = b"# subject "
_VOUCHED: Final = b"# has led to a trust anchor"
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
_HEAD: Final = b"# CA certificates that hosts have presented. They are not trusted by standing here.\n"


class UnusablePool(Exception):
    """The file of the pool cannot be read or written: one sentence for the user."""


def default_path() -> Path | None:
    """In the user's cache directory (XDG base directory specification); None for a user without a home."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(cache):
        return Path(cache, "fleetprobe", "intermediates.pem")
    with suppress(RuntimeError):
        return Path.home() / ".cache" / "fleetprobe" / "intermediates.pem"
    return None


def load(path: Path, into: Pool) -> int:
    """Add what the file holds and give its number; a file that is not there holds nothing. Raises UnusablePool."""
    added = 0
    for name, der, vouched in _kept(path):
        into.add(name, der, FOUND_AT, vouched=vouched)
        added += 1
    if not added and (words := next(_lines(path), b"")) and words != _HEAD:
        raise UnusablePool(f"the pool {path!s:.200} holds something, and no certificate: it would be overwritten")
    return added


def save(path: Path, pool: Pool) -> None:
    """Write what the pool holds, beside what another run may have written since. Raises UnusablePool.

    The file is replaced as a whole, so that a reader sees the old one or the new one. Of two runs that end at the
    same moment one may lose what it has learnt; it will learn it again. A link is followed, the mode kept.
    """
    path = Path(os.path.realpath(path))
    both = Pool()
    load(path, both)
    for one in (one for one in pool if one.presented):
        found = read(one.der)
        if isinstance(found, Certificate):
            both.add(name_key(found.subject), one.der, FOUND_AT, vouched=pool.vouched(one.sha256))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(fd, "wb") as file:
                if path.exists():
                    os.fchmod(fd, stat.S_IMODE(path.stat().st_mode))
                file.write(_HEAD)
                file.writelines(_entry(one.der, vouched=both.vouched(one.sha256)) for one in both)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as no:
        raise UnusablePool(f"the pool {path!s:.200} cannot be written: {no.strerror}") from no


def _entry(der: bytes, *, vouched: bool) -> bytes:
    found = read(der)
    subject = name_key(found.subject) if isinstance(found, Certificate) else ""
    quoted = ascii_json(orjson.dumps(subject))
    encoded = base64.encodebytes(der)
    led = _VOUCHED + b"\n" if vouched else b""
    return b"%s%s\n%s%s\n%s%s\n" % (_SUBJECT, quoted, led, _BEGIN, encoded, _END)


def _kept(path: Path) -> Iterator[tuple[str, bytes, bool]]:
    """Names, certificates, and whether they have led to an anchor in an earlier run, so that they are tried first.

    A name that stands before its certificate saves reading it; any PEM file will do."""
    subject: str | None = None
    vouched = False
    body: list[bytes] | None = None
    for line in _lines(path):
        text = line.strip()
        if text.startswith(_SUBJECT):
            with suppress(orjson.JSONDecodeError):
                told = orjson.loads(text[len(_SUBJECT) :])
                subject = told if isinstance(told, str) else None
        elif text == _VOUCHED:
            vouched = True
        elif text == _BEGIN:
            body = []
        elif text == _END and body is not None:
            with suppress(ValueError):
                der = base64.b64decode(b"".join(body), validate=True)
                if name := subject or _subject(der):
                    yield name, der, vouched
            subject, body, vouched = None, None, False
        elif body is not None and text and len(body) < _MOST_LINES:
            body.append(text)


def _subject(der: bytes) -> str | None:
    found = read(der)
    return name_key(found.subject) if isinstance(found, Certificate) and found.is_ca else None


def _lines(path: Path) -> Iterator[bytes]:
    try:
        size = path.stat()
        if not stat.S_ISREG(size.st_mode) or size.st_size > _MOST_FILE_BYTES:
            raise UnusablePool(f"the pool {path!s:.200} is not a regular file of at most 128 MiB")
        with path.open("rb") as file:
            yield from file
    except FileNotFoundError:
        return
    except (OSError, ValueError) as no:
        reason = no.strerror if isinstance(no, OSError) else "not a path"
        raise UnusablePool(f"the pool {path!s:.200} cannot be read: {reason}") from no
