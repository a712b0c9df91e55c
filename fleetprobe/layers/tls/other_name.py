"""Whether it is the name in our ClientHello, or that there is none, for which a server will not answer (RFC 6066 §3).

A hello with another name of this target, or with none, and, if that is answered, the two in turn (`trial`). What other
names there are, the inventory says: none is made up. A box that kills connections by the name in them looks like a
server that does not know it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fleetprobe.layer import Ground, Witness, found
from fleetprobe.layers.first_bytes import printable
from fleetprobe.layers.sockets import where
from fleetprobe.layers.tls import trial
from fleetprobe.layers.tls.large_hello import DROPPED, failure, met
from fleetprobe.layers.tls.names import address_of
from fleetprobe.layers.tls.trial import Trial
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Target
from fleetprobe.model.verdict import Confidence, Finding
from fleetprobe.net.interface import Address, Net

WHEN = frozenset({"tls.dropped", "tls.alert", "tls.unrecognized_name", "tls.sni_required"})
EMITS = frozenset({"tls.unrecognized_name", "tls.sni_required"})

_ALERTS = (40, 49, 80, 112)
"""With what servers turn away who names no site of theirs: nginx with 112, balancers with 40, Go's with 80."""
_ENDS = frozenset({DROPPED, *(failure(number) for number in _ALERTS)})
_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}")
_ABOUT_NAMES = failure(112)
_WITHOUT = "without a name"
_SHOWN_CHARS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class NameFacts:
    """Hellos with different names.

    | field | type | meaning |
    |---|---|---|
    | named | text | the name that the climb sent |
    | other_name | text | the name sent in its place; not there: none was sent |
    | failed | text | how the climb's hello ended |
    | names_tried | list of {changed, met, version, cipher} | the hellos of this witness, in the order said |
    """

    address: Address
    port: int
    named: str | None
    other: str | None
    failed: str
    trials: tuple[Trial, ...]

    def record(self) -> Mapping[str, Any]:
        """The facts as JSON-ready values."""
        told = {
            "named": self.named, "other_name": self.other, "failed": self.failed,
            "names_tried": [one.record() for one in self.trials],
        }
        return {name: value for name, value in told.items() if value is not None}

    def columns(self) -> Mapping[str, Any]:
        """A witness fills no column: those belong to the climb."""
        return {}


async def probe(ground: Ground, net: Net) -> NameFacts | None:
    """One changed hello, and more if it is answered. None: nothing to ask."""
    assert ground.address is not None
    climbed = ground.facts.get("tls")
    if climbed is None or not trial.worth(ground, climbed.handshake):
        return None
    failed, plain = met(climbed.handshake), trial.plain(ground)
    others = other_names(ground.target, plain.server_name)
    if failed not in _ENDS or not others:
        return None
    other = others[0]
    hello = replace(plain, server_name=other)
    trials = await trial.in_turn(ground, net, failed, other or _WITHOUT, hello, "name")
    return NameFacts(
        address=ground.address, port=ground.target.port, named=plain.server_name, other=other, failed=failed,
        trials=tuple(trials),
    )


def judge(facts: NameFacts | None, policy: Policy) -> Sequence[Finding]:
    """Proven when the name alone turned the outcome, and turned it back."""
    if facts is None or not trial.turned(facts.failed, facts.trials):
        return ()
    code = "tls.unrecognized_name" if facts.other is None else "tls.sni_required"
    works = _WITHOUT if facts.other is None else f"for the name {_shown(facts.other)}"
    fails = "a hello without a name" if facts.named is None else f"one for {_shown(facts.named)}"
    how = "drops" if facts.failed == DROPPED else f"refuses ({facts.failed})"
    summary = f"{where(facts.address.text, facts.port)} answers {works} and {how} {fails}"
    # Behind a router that goes by names, a dead backend drops the name that leads to it and no other.
    certain = facts.named is None or facts.failed == _ABOUT_NAMES
    return (
        found(
            code, summary, facts.record(), supersedes=WHEN - {code},
            confidence=Confidence.PROVEN if certain else Confidence.INFERRED,
            could_also_be=() if certain else ("tls.dropped" if facts.failed == DROPPED else "tls.alert",),
        ),
    )


def other_names(target: Target, sent: str | None) -> Sequence[str | None]:
    """The names that the inventory has for this target beside the one that was sent; then none at all."""
    told = (target.sni, target.host, (target.host_header or "").partition(":")[0])
    names = [name.rstrip(".") for name in told if name and _NAME.fullmatch(name) and not address_of(name)]
    known: list[str | None] = [name for name in dict.fromkeys(names) if name != sent]
    return known if sent is None else [*known, None]


def _shown(name: str) -> str:
    return printable(name.encode(), _SHOWN_CHARS)


WITNESS = Witness(name="name", when=WHEN, probe=probe, judge=judge, layer="tls")
