"""The shape of a layer: facts, a probe that asks, a judge that thinks, and the witnesses it declares."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from fleetprobe.codes.table import CODES
from fleetprobe.model.attempt import Attempt
from fleetprobe.model.policy import Mtu, Policy
from fleetprobe.model.target import Target
from fleetprobe.model.verdict import Confidence, Finding
from fleetprobe.net.interface import USUAL_SEGMENTS, Address, Net, Segments, Stream
from fleetprobe.net.path import Hole

T = TypeVar("T")


class Facts(Protocol):
    """What a probe saw at one layer: frozen, typed, without opinion."""

    def record(self) -> Mapping[str, Any]:
        """The facts as JSON-ready values, units in the names, unknown ones left out."""

    def columns(self) -> Mapping[str, Any]:
        """The columns of the result record that this layer fills (design §7)."""


@dataclass(frozen=True, slots=True)
class Stall:
    """A rung of the climb that hangs, while the climb still waits."""

    layer: str
    hole: Hole | None
    """What the kernel has seen; None: nothing that points to a hole."""
    went_on: Callable[[], Awaitable[bool]]
    """Whether the answer came after all; waits for the end of the rung."""
    keep: Callable[[], None]
    """To be called when something is proven: it is told then, even if the answer comes after all."""


class Errands(Protocol):
    """Asking somebody who is no target, because a stranger named him. The engine has it for one run."""

    def denied(self, address: Address) -> str | None:
        """Why the address must not be touched on a stranger's word, or None."""

    async def once(self, what: str, ask: Callable[[], Awaitable[T]], until_s: float) -> T | None:
        """What came of it, asked once a run and shared; None: not by then, or the run has asked for too much."""

    async def admitted(self, address: Address, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask when there is room at the address."""


@dataclass(slots=True, kw_only=True)
class Ground:
    """What lower layers hand to the next one in one climb. The engine makes one per climb and ends it."""

    target: Target
    policy: Policy
    deadline: float
    """Monotonic time in seconds at which this target must be done."""
    addresses: tuple[Address, ...] = ()
    """Where the climb forks: filled by the layer that names them."""
    address: Address | None = None
    """The one address this climb stands on."""
    stream: Stream | None = None
    """The open connection; every layer above tcp speaks over this one."""
    attempts: list[Attempt] = field(default_factory=list)
    """Every socket opened for this climb."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Facts of the layers below, by layer name."""
    segments: Segments = USUAL_SEGMENTS
    """How the connection cuts its bytes into packets."""
    on_hole: Callable[[Hole], None] | None = None
    """Whom to tell when the kernel sees a hole in the connection of this climb; None: the wait ends there."""
    stall: Stall | None = None
    """What this question is about, when it is asked beside a climb that hangs."""
    pad_bytes: int = 0
    """Harmless bytes to add to a request, so that it fills several segments."""
    tried: tuple[Attempt, ...] = ()
    """Sockets that earlier climbs of this address opened."""
    errands: Errands | None = None
    """For what a stranger's certificate names; None: nobody wants it asked."""

    @property
    def connect_s(self) -> float:
        """The connect budget: the target's own, or the run's."""
        return self.target.timeout_s or self.policy.connect_s

    @property
    def exchange_s(self) -> float:
        """The budget of one exchange over the connection; a target with more time to connect has it here too."""
        return max(self.policy.exchange_s, self.target.timeout_s or 0.0)

    def hole_s(self, rtt_ms: float | None) -> float | None:
        """How long the kernel's signs of a hole must stand before a wait is over; None: they are not looked for."""
        if self.policy.mtu is Mtu.NEVER:
            return None
        return self.policy.hole_s + self.policy.hole_rtts * (rtt_ms or 0.0) / 1000.0

    @property
    def handshakes_left(self) -> int:
        """How many more connections this address may be asked for."""
        asked = sum(attempt.transport == "tcp" and attempt.purpose not in _NOT_COUNTED for attempt in self.tried)
        return max(0, self.policy.most_handshakes - asked)

    def until(self, budget_s: float, now: float) -> float:
        """The end of a step that may take `budget_s` from now, never past the target's deadline."""
        return min(now + budget_s, self.deadline)


_NOT_COUNTED = frozenset({"walk", "mtu", "aia"})
"""What ended at a router could not have become a connection; the ladder of sizes has a bound of its own, and issuers
are fetched from elsewhere."""

Probe = Callable[[Ground, Net], Awaitable[Any]]
Judge = Callable[[Any, Policy], Sequence[Finding]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A further probe that may be asked when the climb broke with one of these codes.

    Without a probe of its own the witness is the climb itself, done again over a fresh connection.
    """

    name: str
    when: frozenset[str]
    times: int = 1
    probe: Probe | None = None
    judge: Judge | None = None
    layer: str | None = None
    """The layer it looks at; None: the one that declares it."""
    at_once: bool = False
    """Asked beside the climb already when the kernel sees a hole, not only when the rung has given up."""
    afterwards: bool = False
    """Asked after a climb that reached the top, and not because of what was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One rung of a ladder."""

    name: str
    probe: Probe
    judge: Judge
    emits: frozenset[str]
    """Every code its judges can give; a test compares with the table."""
    duration: str | None = None
    """The phase column of the record that this rung's time belongs to (design §7)."""
    per_address: bool = True
    """False: asked once per target, before the climb forks over its addresses."""
    everywhere: bool = True
    """False: asked only on the first working address of each family, and on others beside one that hangs."""
    witnesses: tuple[Witness, ...] = ()
    goes_on: frozenset[str] = frozenset()
    """Codes with which the climb goes on over the same connection although this rung failed."""


Ladder = tuple[Layer, ...]

_PROVES = {name: frozenset(entry.proves) for name, entry in CODES.items()}
_RANKS = {name: position for position, name in enumerate(CODES)}
"""The order of the table is the order of speaking: within TLS the chain, then dates, name, strength."""


def passed(layer: str, facts: Mapping[str, Any], *, unproven: frozenset[str] = frozenset()) -> Finding:
    """The finding that says a layer works."""
    return Finding(layer=layer, facts=facts, unproven=unproven)


def found(
    code: str,
    summary: str,
    facts: Mapping[str, Any],
    *,
    confidence: Confidence = Confidence.OBSERVED,
    silences: int = 0,
    could_also_be: tuple[str, ...] | None = None,
    supersedes: frozenset[str] = frozenset(),
    factor: str | None = None,
    final: bool = False,
    settled: bool = True,
) -> Finding:
    """A finding with a code; state, what it proves and what else it could be come from the table of codes."""
    entry = CODES[code]
    if could_also_be is None:
        could_also_be = entry.could_also_be if confidence is Confidence.INFERRED else ()
    return Finding(
        layer=entry.layer,
        state=entry.state,
        code=code,
        confidence=confidence,
        summary=summary[:160],
        silences=silences,
        proves=_PROVES[code],
        could_also_be=could_also_be,
        rank=_RANKS[code],
        supersedes=supersedes,
        factor=factor,
        final=final,
        settled=settled,
        facts=facts,
    )
