"""What an inventory line asks about: a target, or a line that could not be understood."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """What must hold beyond reachability for a target to be ok."""

    status: tuple[tuple[int, int], ...] | None = None
    """Inclusive ranges of HTTP status codes; None means the default rules of the http layer."""
    body: str | None = None
    """Text that must occur in the response body or banner."""
    addresses: Literal["any", "all"] = "any"
    """Whether one working address is enough."""


_NOTHING_EXPECTED = Expectations()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One thing to ask about. Host and connect_to are already canonical."""

    service: str
    """Which ladder it climbs: tcp, tls, https, http, ssh, banner."""
    host: str
    """A-label name in lower case without trailing dot, or a canonical IP address without brackets."""
    port: int
    path: str | None = None
    """Request target for http and https, starting with `/`."""
    sni: str | None = None
    host_header: str | None = None
    connect_to: str | None = None
    """Canonical address or name to dial instead of host."""
    expect: Expectations = _NOTHING_EXPECTED
    ca_file: str | None = None
    """A bundle of its own, in place of every label."""
    trust: tuple[str, ...] = ()
    """Labels of the stores that it is held against, the deciding one first; empty means the run's."""
    timeout_s: float | None = None
    """Connect budget of one address in seconds; None means the run's."""
    labels: Labels = ()
    """Sorted key/value pairs."""
    source: str | None = None
    """`file:line` of the inventory, `argv:n` for arguments."""

    @property
    def is_literal(self) -> bool:
        """Whether the host (or what is dialled instead) is an IP address, so that no name is resolved."""
        dialled = self.connect_to or self.host
        return ":" in dialled or dialled.replace(".", "").isdigit()

    @property
    def authority(self) -> str:
        """`host:port`, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def canonical(self) -> str:
        """The target as one URL-like string, unique together with sni, host_header and connect_to."""
        return f"{self.service}://{self.authority}{self.path or ''}"

    target_id: str = field(init=False)
    """16 hex digits that identify the target across runs (design §7): blake2b-8 over its identity."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "target_id", self._identify())

    def _identify(self) -> str:
        told = f"{self.path or ''}\x1f{self.sni or ''}\x1f{self.host_header or ''}\x1f{self.connect_to or ''}"
        text = f"{self.service}\x1f{self.host}\x1f{self.port}\x1f{told}"
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """An inventory line that names no target. It becomes a record of its own, so that nothing is lost."""

    source: str
    """`file:line`."""
    raw: str
    """The line as read, at most 512 characters."""
    reason: str
    """One sentence: what is wrong and what would be right."""

    @property
    def target_id(self) -> str:
        """16 hex digits over place and text (design §7)."""
        text = f"{self.source}\x1f{self.raw}"
        return hashlib.blake2b(text.encode(errors="backslashreplace"), digest_size=8).hexdigest()


Entry = Target | BadLine
