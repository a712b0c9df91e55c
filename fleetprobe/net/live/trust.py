"""Trust anchors: which files they come from, and how they get into an OpenSSL store one by one."""

from __future__ import annotations

import base64
import binascii
import hashlib
import importlib
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from OpenSSL import SSL, crypto

from fleetprobe.model.trust import CA_FILE, MACHINE
from fleetprobe.net.live import system_trust
from fleetprobe.net.live.system_trust import Source

_BUNDLE_BYTES = 16 * 1024 * 1024
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_TRUSTED_FIRST: Final = 0x8000
"""X509_V_FLAG_TRUSTED_FIRST of X509_VERIFY_PARAM_set_flags(3), which pyOpenSSL does not name."""


class UnusableTrust(Exception):
    """A CA file from the command line or the inventory that cannot be used: the user's to mend."""


def load(context: SSL.Context, ca_file: str | None) -> Mapping[str, object]:
    """Add the anchors one by one, so that a single odd one does not cost the rest; None or MACHINE: the system's.

    The answer: `source`, `by` (who chose it), `count`, `skipped`, and `sha256` over the sorted fingerprints.
    """
    store = context.get_cert_store()
    assert store is not None
    # Said outright, as it decides verdicts. Neither X509_STRICT nor PARTIAL_CHAIN: a store of the library has neither,
    # whatever the ssl module of this Python asks for.
    store.set_flags(_TRUSTED_FIRST)
    own = ca_file is not None and ca_file != MACHINE
    source = Source(ca_file, CA_FILE, Path(ca_file)) if ca_file and own else system_trust.find()
    fingerprints: set[str] = set()
    skipped = 0
    for der in _all_ders(source):
        try:
            store.add_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, der))
            fingerprints.add(hashlib.sha256(der).hexdigest())
        except crypto.Error:
            skipped += 1
    if own and not fingerprints:
        raise UnusableTrust(f"CA file {ca_file} holds no usable PEM certificate")
    digest = hashlib.sha256("".join(sorted(fingerprints)).encode()).hexdigest().upper()
    return {
        "source": source.name, "by": source.by, "count": len(fingerprints), "skipped": skipped, "sha256": digest,
    }


def certifi_file() -> str | None:
    """The bundle of the package certifi, where that is installed; it is none of our requirements."""
    try:
        return str(importlib.import_module("certifi").where())
    except (ImportError, AttributeError):
        return None


def texts(source: Source) -> Iterator[bytes | None]:
    """What each file holds; None for one of a directory that cannot be read. Raises UnusableTrust for a bundle."""
    if source.bundle is not None:
        yield _read(source.bundle)
    left = _BUNDLE_BYTES
    for path in source.hashed:
        try:
            text = _read(path, left)
            left -= len(text)
            yield text
        except UnusableTrust:
            yield None


def _all_ders(source: Source) -> Iterator[bytes]:
    for text in texts(source):
        if text is None:
            yield b""
        else:
            yield from _ders(text)


def _ders(text: bytes) -> Iterator[bytes]:
    for match in _PEM.finditer(text):
        try:
            yield base64.b64decode(b"".join(match[1].split()), validate=True)
        except binascii.Error:
            yield b""


def _read(path: Path, most: int = _BUNDLE_BYTES) -> bytes:
    """A regular file up to 16 MiB; pipes and devices would block or never end."""
    try:
        size = path.stat()
        if not stat.S_ISREG(size.st_mode) or size.st_size > most:
            raise UnusableTrust(f"CA file {path} is not a regular file of at most 16 MiB")
        return path.read_bytes()
    except (OSError, ValueError) as no:
        reason = no.strerror if isinstance(no, OSError) else "not a path"
        raise UnusableTrust(f"CA file {path!s:.200} cannot be read: {reason}") from no
