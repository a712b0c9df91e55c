"""What a server would take that refuses our offer: other cipher suites, or one without TLS 1.3.

The first hello offers every cipher suite that the library knows, anonymous and unencrypted ones among them, and TLS 1.2
at most. If it is answered, it is said in turn with the short hello that offers the usual (`trial`). If it is refused
for its version, the suites are offered with TLS 1.3, once. Which of the two changes made the difference is told by what
was agreed: a suite that we never offer, or one that we always do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fleetprobe.layer import Ground, Witness, found
from fleetprobe.layers.first_bytes import printable
from fleetprobe.layers.sockets import where
from fleetprobe.layers.tls import trial
from fleetprobe.layers.tls.alerts import HANDSHAKE_FAILURE, INSUFFICIENT_SECURITY, PROTOCOL_VERSION
from fleetprobe.layers.tls.large_hello import ANSWERED, DROPPED, failure, met
from fleetprobe.layers.tls.trial import Trial
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Confidence, Finding
from fleetprobe.net.interface import Address, Net

WHEN = frozenset({"tls.dropped", "tls.alert", "tls.version_unsupported"})
EMITS = frozenset({"tls.no_shared_cipher", "tls.version_unsupported"})

_ENDS = frozenset({
    DROPPED, failure(HANDSHAKE_FAILURE), failure(PROTOCOL_VERSION), failure(INSUFFICIENT_SECURITY),
})
_OLD, _NEW = "every cipher suite, TLS 1.2 at most", "every cipher suite"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferFacts:
    """Hellos with different offers.

    | field | type | meaning |
    |---|---|---|
    | failed | text | how the climb's hello ended |
    | offers_tried | list of {changed, met, version, cipher} | the hellos of this witness, in the order said |
    """

    address: Address
    port: int
    failed: str
    trials: tuple[Trial, ...]

    def record(self) -> Mapping[str, Any]:
        """The facts as JSON-ready values."""
        return {"failed": self.failed, "offers_tried": [one.record() for one in self.trials]}

    def columns(self) -> Mapping[str, Any]:
        """A witness fills no column: those belong to the climb."""
        return {}


async def probe(ground: Ground, net: Net) -> OfferFacts | None:
    """One wider offer, and more if it is answered. None: nothing to ask."""
    assert ground.address is not None
    climbed = ground.facts.get("tls")
    if climbed is None or not trial.worth(ground, climbed.handshake):
        return None
    failed, plain = met(climbed.handshake), trial.plain(ground)
    if failed not in _ENDS:
        return None
    wide = replace(plain, any_cipher=True)
    trials = await trial.in_turn(ground, net, failed, _OLD, replace(wide, below_tls13=True), "offer")
    if trials[0].met == failure(PROTOCOL_VERSION) != failed:
        trials.append(await trial.say(ground, net, _NEW, wide, "offer"))
        if trials[-1].met == ANSWERED:
            # The first few hellos may have failed for no reason of their own.
            trials.append(await trial.say(ground, net, "", plain, "offer"))
    return OfferFacts(address=ground.address, port=ground.target.port, failed=failed, trials=tuple(trials))


def judge(facts: OfferFacts | None, policy: Policy) -> Sequence[Finding]:
    """What was agreed on once, and whether the usual offer fails beside it."""
    taken = next((one for one in facts.trials if one.met == ANSWERED), None) if facts else None
    if facts is None or taken is None or taken.cipher is None:
        return ()
    turned = trial.turned(facts.failed, facts.trials)
    if not turned and (taken.changed != _NEW or facts.trials[-1].met != facts.failed):
        return ()
    if taken.unusual:
        code, why = "tls.no_shared_cipher", "which we do not offer"
    elif turned:
        code, why = "tls.version_unsupported", "but not if TLS 1.3 is offered as well"
    else:
        return ()
    agreed = f"{taken.version} with {printable(taken.cipher.encode(), 40)}"
    summary = f"{where(facts.address.text, facts.port)} takes {agreed}, {why}: {_ended(facts.failed)}"
    # Where the usual offer was not repeated, the suite speaks for itself: it is none of ours.
    confidence = Confidence.PROVEN if turned else Confidence.OBSERVED
    return (found(code, summary, facts.record(), confidence=confidence, supersedes=WHEN - {code}),)


def _ended(failed: str) -> str:
    return "ours it drops" if failed == DROPPED else f"ours met {failed}"


WITNESS = Witness(name="offer", when=WHEN, probe=probe, judge=judge, layer="tls")
