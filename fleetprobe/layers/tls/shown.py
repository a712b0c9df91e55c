"""Certificates in sentences: which one of a chain, and a stranger's name made short and safe to print."""

from __future__ import annotations

from fleetprobe.layers.first_bytes import printable


def role(depth: int) -> str:
    """Which certificate of a path; 0 is the server's own."""
    return "certificate" if depth == 0 else f"issuer certificate at depth {depth}"


def show(text: str) -> str:
    """A name chosen by a stranger."""
    return printable(text.encode("utf-8", "backslashreplace"), 60)
