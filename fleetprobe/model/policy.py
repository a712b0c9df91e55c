"""What judges go by, frozen for a whole run: thresholds, budgets and the moment that counts as now."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from fleetprobe.model.trust import Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """When a working layer is called slow (design §7); RTT is the kernel's, in milliseconds."""

    dns_ms: float = 1000.0
    tcp_rtt_ms: float = 500.0
    tls_ms: float = 500.0
    tls_rtts: float = 6.0
    http_ms: float = 2000.0
    http_rtts: float = 2.0
    app_ms: float = 2000.0
    app_rtts: float = 2.0
    lag_share: float = 0.1
    """Slowness is not judged when our own loop was late by more than this share of the phase."""


class Mtu(StrEnum):
    """When the size of packets is asked about."""

    AUTO = "auto"
    """After a stall, and once for each path."""
    ALWAYS = "always"
    """At every address."""
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Frozen rules of one run. Judges read it and nothing else beside the facts."""

    as_of: datetime = field(default_factory=lambda: datetime.now(UTC))
    """The moment against which certificate dates are judged."""
    expiring: timedelta = timedelta(days=30)
    """A certificate that ends so soon is told beforehand."""
    slow: Slow = field(default_factory=Slow)
    trust: Trust = field(default_factory=Trust)
    """The stores that certificates are held against."""
    connect_s: float = 3.3
    """Connect budget of one address: just above the third SYN retransmit of current kernels."""
    again_s: float = 1.25
    """A silent connect gets a twin from a fresh source port after so long: just after the first retransmit."""
    survey_s: float = 0.65
    """Budget of the questions that tell what a silence means."""
    exchange_s: float = 3.5
    """Budget of one handshake, one banner or one response head; of a silence, that is, not of an answer."""
    beside_s: float = 2.0
    """A rung that hangs for so long gets a second climb beside it: from here on even an answer would be slow."""
    mtu: Mtu = Mtu.AUTO
    """When the size of packets is asked about: after a stall and once a path, at every address, or never."""
    mtu_to_the_byte: bool = False
    """Whether the largest packet that passes is sought to the byte, at the cost of some ten connections more."""
    hole_s: float = 0.8
    hole_rtts: float = 8.0
    """A wait ends when the kernel has seen later segments but not earlier ones for so many seconds and round trips:
    two retransmits would have come by then."""
    most_handshakes: int = 8
    """Connections that one address may be asked for, all in all."""
    dns_s: float = 4.0
    """Budget of one name, all nameservers together."""
    deadline_s: float | None = None
    """Budget of a whole target; None derives it from the others."""
    witnesses: bool = True
    """False: nothing is asked beyond the climb, and silence stays unexplained."""

    def deadline_for(self, connect_s: float) -> float:
        """Seconds a whole target may take: the name, then the climb and each repetition in full."""
        return self.deadline_s or self.dns_s + 2 * (connect_s + 3 * self.exchange_s)
