"""Whether it is the length of our ClientHello that a server, or a box before it, cannot take (tldr.fail).

A ClientHello with a post-quantum key share needs two segments. Who reads once and takes what came for the whole hello
finds it broken, and closes, resets, says no or waits for ever. A small hello gets through to it.

Five connections at most: small, twice as long as the one that failed, small twice more. All offer the same, apart
from the length of one list of names, so that neither the version nor the key share is what differs; and all go in
segments of the same size, which the small one fills to the byte. No packet is larger than one that arrived: what loses
large packets (mtu.black_hole) lets the long hello through here, and then nothing is said. Nor do several servers
behind one address, of which some are broken, answer in this order, if they take turns and are no more than six.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fleetprobe.layer import Ground, Witness, found
from fleetprobe.layers.sockets import attempt_of, where
from fleetprobe.layers.tls.alerts import alert_name
from fleetprobe.layers.tls.exchange import begins_record, fatal_alert
from fleetprobe.layers.tls.offer import offer
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Confidence, Finding
from fleetprobe.net.handshake import Handshake
from fleetprobe.net.interface import Address, Dial, Event, Net, Segments

WHEN = frozenset({"tls.no_answer", "tls.dropped", "tls.alert", "tcp.stalled"})
EMITS = frozenset({"tls.large_hello_intolerant"})

SEGMENT_BYTES = 536
"""What every host takes in one segment (RFC 9293 §3.7.1); some filters stop connections that ask for less."""
TIMESTAMPS_BYTES = 12
"""What they take of a segment (RFC 7323). What is left is above 511 bytes: some balancers hang below (RFC 7685 §1)."""

ANSWERED, SILENT, DROPPED, UNCLEAR = "answered", "silent", "dropped", "unclear"
"""How a hello ended; beside these an alert with its name."""
_ALERT = "alert "

_LONG = (False, True, True, False, False, False)
"""Which of them are long. With that of the climb before them, the order repeats itself after none of one to six."""
_SOON_S, _SOON_RTTS = 0.3, 4.0
"""For the first small hello after a silence: a server that is merely dead costs no more than this."""
_SILENCE_S, _LOUD_S, _RTTS = 0.25, 0.8, 8.0
"""For the others after a silence, of which the climb heard seconds; and for all of them after a loud end."""
_SEGMENTS = Segments(mss_bytes=SEGMENT_BYTES)
_LAG_SHARE = 0.5
_HANDSHAKE_RECORD = 0x16


@dataclass(frozen=True, slots=True)
class Said:
    """One hello and what it met."""

    size_bytes: int
    met: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HelloFacts:
    """Hellos of two lengths, in turn.

    | field | type | meaning |
    |---|---|---|
    | failed_bytes, failed | int, text | the hello of the climb, and how it ended |
    | hellos | list of {size_bytes, met} | those of this witness, in the order said |
    | segment_bytes | int | the largest TCP segment that these went in, options included |
    """

    address: Address
    port: int
    failed: Said
    hellos: tuple[Said, ...]

    def record(self) -> Mapping[str, Any]:
        """The facts as JSON-ready values."""
        return {
            "failed_bytes": self.failed.size_bytes,
            "failed": self.failed.met,
            "hellos": [{"size_bytes": said.size_bytes, "met": said.met} for said in self.hellos],
            "segment_bytes": SEGMENT_BYTES,
        }

    def columns(self) -> Mapping[str, Any]:
        """A witness fills no column: those belong to the climb."""
        return {}


async def probe(ground: Ground, net: Net) -> HelloFacts | None:
    """One after the other, as long as each ends as it must to be a proof. None: nothing to ask."""
    assert ground.address is not None
    climbed = ground.facts.get("tls")
    if climbed is None or ground.handshakes_left < len(_LONG):
        return None
    failed = Said(climbed.handshake.hello_bytes, met(climbed.handshake))
    if failed.size_bytes <= SEGMENT_BYTES or failed.met in (ANSWERED, UNCLEAR):
        return None
    dial: Dial = ground.facts["tcp"].dial
    small = Said(SEGMENT_BYTES - TIMESTAMPS_BYTES if dial.timestamps else SEGMENT_BYTES, ANSWERED)
    rtt_s = (dial.rtt_ms or 0.0) / 1000.0
    later_s = (_SILENCE_S if failed.met == SILENT else _LOUD_S) + _RTTS * rtt_s
    budget_s = _SOON_S + _SOON_RTTS * rtt_s if failed.met == SILENT else later_s
    hellos: list[Said] = []
    for long in _LONG:
        wanted = failed if long else small
        hellos.append(await _say(ground, net, wanted.size_bytes, budget_s))
        if hellos[-1].met != wanted.met:
            break
        budget_s = later_s
    return HelloFacts(address=ground.address, port=ground.target.port, failed=failed, hellos=tuple(hellos))


def judge(facts: HelloFacts | None, policy: Policy) -> Sequence[Finding]:
    """Proven when the length alone turned the outcome, and turned it back, each time."""
    if facts is None or len(facts.hellos) < len(_LONG):
        return ()
    long_ones = {said for said, long in zip(facts.hellos, _LONG, strict=True) if long}
    small_ones = {said for said, long in zip(facts.hellos, _LONG, strict=True) if not long}
    if long_ones != {facts.failed} or {said.met for said in small_ones} != {ANSWERED}:
        return ()
    small, large = max(said.size_bytes for said in small_ones), facts.failed.size_bytes
    if small >= large:
        return ()
    summary = (
        f"{where(facts.address.text, facts.port)} answers a ClientHello of {small} bytes "
        f"and {_words(facts.failed.met)} one of {large}, in any segments"
    )
    return (
        found(
            "tls.large_hello_intolerant", summary, facts.record(),
            confidence=Confidence.PROVEN, supersedes=WHEN,
        ),
    )


def met(handshake: Handshake) -> str:
    """How a hello ended: with a ServerHello, or with what instead of it.

    FIN, RST and close_notify are one, as chance decides between them (design §8).
    """
    fault, first = handshake.fault, handshake.first_bytes
    if fault is None or first[:1] == bytes([_HANDSHAKE_RECORD]):
        return ANSWERED
    if first and not begins_record(first):
        return UNCLEAR
    if alert := fatal_alert(handshake, fault):
        return failure(alert)
    match fault.event:
        case Event.CLOSED | Event.RESET:
            return DROPPED
        case Event.SILENT:
            waited_ms = (handshake.ended_s - handshake.started_s) * 1000.0
            return UNCLEAR if handshake.lag_ms > _LAG_SHARE * waited_ms else SILENT
        case _:
            return UNCLEAR


def failure(alert: int) -> str:
    """How a hello ended that met this alert."""
    return f"{_ALERT}{alert_name(alert)}"


async def _say(ground: Ground, net: Net, size_bytes: int, budget_s: float) -> Said:
    """One hello of so many bytes over a connection of its own."""
    assert ground.address is not None
    until_s = ground.until(budget_s, net.now())
    dial, stream = await net.dial(ground.address, ground.target.port, until_s, segments=_SEGMENTS)
    ground.attempts.append(attempt_of(dial, "hello"))
    if stream is None:
        return Said(size_bytes, UNCLEAR)
    hello = replace(offer(ground.target), small=True, pad_to_bytes=size_bytes)
    handshake, secured = await net.handshake(stream, hello, until_s)
    (secured or stream).abort()
    return Said(handshake.hello_bytes, met(handshake))


def _words(how: str) -> str:
    """What the far end does about a hello that ends like this."""
    return {SILENT: "never answers", DROPPED: "drops"}.get(how, f"refuses ({how.removeprefix(_ALERT)})")


WITNESS = Witness(name="hello", when=WHEN, probe=probe, judge=judge, layer="tls")
