"""One socket that was opened: why, where to, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Every socket of a target is listed as one of these in its record."""

    purpose: str
    """climb, or the name of the witness that asked."""
    transport: str
    """tcp, udp or icmp."""
    address: str
    port: int
    """0 for icmp, which has none."""
    local_port: int | None
    started_s: float
    """Monotonic seconds."""
    ended_s: float
    outcome: str
    """connected, silent, or the errno's name."""
