"""Hellos that are said to learn what becomes of them, each over a connection of its own that goes no further.

What a change in the hello made of the outcome is proven as `large_hello` proves it of the length: changed, plain twice,
changed twice. With the climb before them, and up to two more that failed, this order repeats itself after none of one
to five, so that no such number of servers behind one address, of which some are broken, answer so by taking turns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fleetprobe.layer import Ground
from fleetprobe.layers.sockets import attempt_of
from fleetprobe.layers.tls.large_hello import ANSWERED, UNCLEAR, met
from fleetprobe.layers.tls.offer import offer
from fleetprobe.net.handshake import Handshake, Hello
from fleetprobe.net.interface import Dial, Net

_BUDGET_S, _RTTS = 0.8, 8.0
_CHANGED = (True, False, False, True, True)
MOST = len(_CHANGED)
"""How many connections a witness may take; who answers nothing costs one."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One hello by what was changed in it, and what it met."""

    changed: str
    """Empty: nothing."""
    met: str
    version: str | None = None
    cipher: str | None = None
    unusual: bool = False
    """The suite agreed on is none that we offer in a climb."""

    def record(self) -> Mapping[str, Any]:
        """As JSON-ready values."""
        told = {"changed": self.changed or "nothing", "met": self.met, "version": self.version, "cipher": self.cipher}
        return {name: value for name, value in told.items() if value is not None}


def plain(ground: Ground) -> Hello:
    """The hello that is changed: that of the climb, short, so that its length is no matter, and without trust."""
    return replace(offer(ground.target), small=True)


async def in_turn(
    ground: Ground, net: Net, failed: str, changed: str, hello: Hello, purpose: str
) -> list[Trial]:
    """The changed hello and the plain one in turn, as long as each ends as it must to be a proof."""
    trials: list[Trial] = []
    for with_change in _CHANGED:
        what = (changed, hello) if with_change else ("", plain(ground))
        trials.append(await say(ground, net, *what, purpose))
        if trials[-1].met != (ANSWERED if with_change else failed):
            break
    return trials


def worth(ground: Ground, climbed: Handshake) -> bool:
    """Whether a proof can be had: there are connections left, and no short hello was answered without a change.

    Who took longer for his no than a trial may take cannot be seen to repeat it.
    """
    answered = sum(attempt.purpose == "hello" for attempt in ground.tried) > 1
    in_time = climbed.ended_s - climbed.started_s < _BUDGET_S
    return ground.handshakes_left >= MOST and in_time and not answered


async def say(ground: Ground, net: Net, changed: str, hello: Hello, purpose: str) -> Trial:
    """Say one hello and go."""
    handshake = await shake(ground, net, hello, purpose)
    return Trial(changed, UNCLEAR) if handshake is None else _trial(changed, handshake)


async def shake(ground: Ground, net: Net, hello: Hello, purpose: str) -> Handshake | None:
    """One handshake over a connection of its own; None: there was no connection."""
    assert ground.address is not None
    dialled: Dial = ground.facts["tcp"].dial
    until_s = ground.until(_BUDGET_S + _RTTS * (dialled.rtt_ms or 0.0) / 1000.0, net.now())
    dial, stream = await net.dial(ground.address, ground.target.port, until_s)
    ground.attempts.append(attempt_of(dial, purpose))
    if stream is None:
        return None
    handshake, secured = await net.handshake(stream, hello, until_s)
    (secured or stream).abort()
    return handshake


def turned(failed: str, trials: Sequence[Trial]) -> bool:
    """Whether the change alone made the difference: with it answered, without it as in the climb, each time."""
    wanted = [(with_change, ANSWERED if with_change else failed) for with_change in _CHANGED]
    return [(bool(one.changed), one.met) for one in trials] == wanted


def _trial(changed: str, handshake: Handshake) -> Trial:
    how = met(handshake)
    if how != ANSWERED:
        return Trial(changed, how)
    return Trial(changed, how, handshake.protocol_version, handshake.cipher, handshake.unusual_cipher)
