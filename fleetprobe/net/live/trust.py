"""Trust anchors: which file they come from, and how they get into an OpenSSL store one by one."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from OpenSSL import SSL, crypto

_BUNDLE_BYTES = 16 * 1024 * 1024
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class UnusableTrust(Exception):
    """A CA file from the command line or the inventory that cannot be used: the user's to mend."""


def load(context: SSL.Context, ca_file: str | None) -> Mapping[str, object]:
    """Add the anchors one by one, so that a single odd one does not cost the rest."""
    # A new store has neither X509_STRICT nor PARTIAL_CHAIN, and trusted-first on: what most clients do.
    store = context.get_cert_store()
    assert store is not None
    source = ca_file if ca_file is not None else _source()
    text = _read(Path(source)) if source is not None else b""
    fingerprints: set[str] = set()
    skipped = 0
    for der in _ders(text):
        try:
            store.add_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, der))
            fingerprints.add(hashlib.sha256(der).hexdigest())
        except crypto.Error:
            skipped += 1
    if ca_file is not None and not fingerprints:
        raise UnusableTrust(f"CA file {ca_file} holds no usable PEM certificate")
    digest = hashlib.sha256("".join(sorted(fingerprints)).encode()).hexdigest().upper()
    return {"source": source or "none", "count": len(fingerprints), "skipped": skipped, "sha256": digest}


def _ders(text: bytes) -> Iterator[bytes]:
    for match in _PEM.finditer(text):
        try:
            yield base64.b64decode(b"".join(match[1].split()), validate=True)
        except binascii.Error:
            yield b""


def _source() -> str | None:
    """The machine's bundle: SSL_CERT_FILE as OpenSSL reads it, or the usual places of distributions."""
    named = os.environ.get("SSL_CERT_FILE")
    return named or next((name for name in _SYSTEM_BUNDLES if os.access(name, os.R_OK)), None)


def _read(path: Path) -> bytes:
    """A regular file up to 16 MiB; pipes and devices would block or never end."""
    try:
        size = path.stat()
        if not stat.S_ISREG(size.st_mode) or size.st_size > _BUNDLE_BYTES:
            raise UnusableTrust(f"CA file {path} is not a regular file of at most 16 MiB")
        return path.read_bytes()
    except (OSError, ValueError) as no:
        reason = no.strerror if isinstance(no, OSError) else "not a path"
        raise UnusableTrust(f"CA file {path!s:.200} cannot be read: {reason}") from no
