"""Where this machine keeps its trust anchors: what OpenSSL's variables name, or the usual places of distributions."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FILE, _DIRECTORY = "SSL_CERT_FILE", "SSL_CERT_DIR"
_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_HASHED: Final = re.compile(r"[0-9a-f]{8}\.[0-9]{1,9}")
"""The only names that OpenSSL looks for in a directory of certificates (openssl-rehash(1))."""
_FILES_MAX: Final = 4096
_LISTED_MAX: Final = 65_536


@dataclass(frozen=True, slots=True)
class Source:
    """Files of PEM certificates, and who chose them."""

    name: str
    """The file or directories, as named; `none` where nothing was found."""
    by: str
    """`SSL_CERT_FILE`, `SSL_CERT_DIR`, both with a blank between, or `distribution`."""
    bundle: Path | None = None
    """Must be readable."""
    hashed: tuple[Path, ...] = ()
    """Files of a directory; OpenSSL passes over those that it cannot read."""


def find() -> Source:
    """The variables of SSL_CTX_set_default_verify_paths(3); each takes the place of everything that is not named."""
    file, directories = os.environ.get(_FILE), os.environ.get(_DIRECTORY)
    if not file and not directories:
        usual = next((name for name in _BUNDLES if os.access(name, os.R_OK)), None)
        return Source(usual or "none", "distribution", Path(usual) if usual else None)
    named = {_FILE: file, _DIRECTORY: directories}
    given = {variable: value for variable, value in named.items() if value}
    return Source(
        name=os.pathsep.join(given.values()),
        by=" ".join(given),
        bundle=Path(file) if file else None,
        hashed=tuple(_hashed(directories))[:_FILES_MAX] if directories else (),
    )


def _hashed(directories: str) -> Iterator[Path]:
    """What stands in each directory of the list under a hash; one that is not there holds nothing, as for OpenSSL."""
    for directory in directories.split(os.pathsep):
        try:
            with os.scandir(directory or ".") as entries:
                names = [entry.name for entry, _ in zip(entries, range(_LISTED_MAX), strict=False)]
        except (OSError, ValueError):
            continue
        yield from (Path(directory, name) for name in sorted(names) if _HASHED.fullmatch(name))
