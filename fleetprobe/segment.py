"""The lines that frame a run: what it began with, and what it came to."""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import resource
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from OpenSSL import SSL

from fleetprobe.model.version import RULES_VERSION, VERSION
from fleetprobe.record.columns import SCHEMA_VERSION

Row = dict[str, Any]

_LONGEST_DER = 48_000


def certificate_row(run_id: str, sha256: str, der: bytes) -> Row:
    """The line of one certificate. Half of one would be worth less than none: what is too long is left out."""
    whole = len(der) <= _LONGEST_DER
    return {
        "kind": "certificate",
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "seq": 0,
        "sha256": sha256,
        "der_base64": base64.b64encode(der).decode("ascii") if whole else None,
        "truncated": not whole,
    }


def run_start(
    run_id: str, *, vantage: str, argv: Sequence[str], inventory_sha256: str | None, seed: int,
    resolvers: Sequence[str], facts: Mapping[str, Any],
) -> Row:
    """The first line; `facts` join those of the vantage."""
    return {
        "kind": "run_start",
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "seq": 0,
        "vantage": vantage,
        "started_at": utc_now(),
        "fleetprobe_version": VERSION,
        "rules_version": RULES_VERSION,
        "python_version": platform.python_version(),
        "openssl_versions": {
            "ssl": ssl.OPENSSL_VERSION,
            "cryptography": SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode("ascii", "replace"),
        },
        "kernel_version": platform.release(),
        "argv": list(argv),
        "inventory_sha256": inventory_sha256,
        "seed": seed,
        "resumed_from_seq": None,
        "vantage_facts": {
            "resolvers": list(resolvers),
            "descriptor_limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "interfaces": [name for _, name in socket.if_nameindex()],
            **facts,
        },
    }


def run_end(
    run_id: str, *, vantage: str, elapsed_ms: float, outcome: str, exit_code: int, not_run: int | None,
    duplicates: int, states: Mapping[str, int], codes: Mapping[str, int], lines: int, lines_sha256: str,
) -> Row:
    """The last line; `lines` and their hash are those before it."""
    return {
        "kind": "run_end",
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "seq": 0,
        "vantage": vantage,
        "ended_at": utc_now(),
        "elapsed_ms": round(elapsed_ms, 3),
        "outcome": outcome,
        "exit_code": exit_code,
        "results": sum(states.values()),
        "not_run": not_run,
        "duplicates": duplicates,
        "counts_by_state": dict(states),
        "counts_by_code": dict(codes),
        "lines": lines,
        "lines_sha256": lines_sha256,
    }


def inventory_hash(arguments: Sequence[str], files: Sequence[str]) -> str | None:
    """SHA-256 over arguments and files; None when a pipe is among them, as that can be read but once."""
    if "-" in files:
        return None
    digest = hashlib.sha256("\0".join(arguments).encode("utf-8", "backslashreplace"))
    for path in files:
        if not os.path.isfile(path):
            return None
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest().upper()


def uuid7() -> str:
    """A UUID version 7 (RFC 9562 §5.7): sorts by time."""
    stamp = time.time_ns() // 1_000_000
    bits = int.from_bytes(os.urandom(10), "big")
    value = stamp << 80 | 0x7 << 76 | (bits >> 68 & 0xFFF) << 64 | 0b10 << 62 | bits & (1 << 62) - 1
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def utc_now() -> str:
    """RFC 3339 in UTC with microseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
