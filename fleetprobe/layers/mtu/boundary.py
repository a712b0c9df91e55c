"""Where packets begin to vanish: upward over the usual sizes, both sides of the boundary twice, then to the byte.

Upward, so that only the last step costs the time of a stall.
"""

from __future__ import annotations

from collections.abc import Sequence

from fleetprobe.layers.mtu.exchange import Exchange
from fleetprobe.layers.mtu.rungs import Met, Rung
from fleetprobe.layers.mtu.sizes import steps_between
from fleetprobe.net.interface import Net

_WIDE_BYTES = 125
_AT_ONCE, _AT_ONCE_IF_WIDE, _AT_ONCE_SINCE_WIDE = 4, 2, 3
"""Sizes asked side by side, so that a round costs one stall: four find a byte among 125 in three rounds. Between jumbo
sizes two, and then three, take more rounds and fewer connections."""
_MOST_ROUNDS = 8
_LONG_WAY = 6


async def climb(exchange: Exchange, net: Net, sizes: Sequence[int], floor: Sequence[Rung]) -> list[Rung]:
    """From what was asked already over the further sizes to the first stall; then both sides of the boundary again.

    What passes is asked for three times in all, or twice after a long way up, which costs no time: of several ways to
    a host only one may have a hole. The usual sizes that were stepped over are asked in the same round, twice each.
    """
    rungs = list(floor)
    for size in sizes:
        if rungs[-1].met is not Met.PASSES:
            break
        rungs.append(await exchange.at(size))
    if len(rungs) > 1 and [rung.met for rung in rungs[-2:]] == [Met.PASSES, Met.STALLS]:
        below, above = rungs[-2].size_bytes, rungs[-1].size_bytes
        passed = (below, below) if len(rungs) < _LONG_WAY else (below,)
        rungs += await repeated(exchange, net, (*passed, *2 * steps_between(below, above), above))
    return rungs


async def repeated(exchange: Exchange, net: Net, sizes: Sequence[int]) -> list[Rung]:
    """Each of these sizes once, all at once, in one stall's time."""
    return await net.together(*(exchange.at(size) for size in sizes))


async def to_the_byte(exchange: Exchange, net: Net, passes_bytes: int, stalls_bytes: int) -> list[Rung]:
    """The sizes between these two, until nothing is left between, then the last two once more.

    Ends at once when what comes back is not in order of size: the judge makes of it what it can.
    """
    low, high = passes_bytes, stalls_bytes
    rungs: list[Rung] = []
    wide = high - low > _WIDE_BYTES
    for _ in range(_MOST_ROUNDS):
        if high - low < 2:
            break
        at_once = _AT_ONCE_IF_WIDE if high - low > _WIDE_BYTES else _AT_ONCE_SINCE_WIDE if wide else _AT_ONCE
        # The usual sizes are usual because paths are of exactly that size: the next byte is asked about first.
        sizes = _between(low, high, at_once) if rungs else [low + 1, *_between(low + 1, high, at_once - 1)]
        told = await repeated(exchange, net, sizes)
        rungs += told
        passed = [rung.size_bytes for rung in told if rung.met is Met.PASSES]
        stalled = [rung.size_bytes for rung in told if rung.met is Met.STALLS]
        low, high = max(passed, default=low), min(stalled, default=high)
        if low >= high or len(passed) + len(stalled) < len(told):
            return rungs
    return [*rungs, *await repeated(exchange, net, (low, high))]


def _between(low: int, high: int, count: int) -> Sequence[int]:
    """At most so many sizes, which cut the gap into equal parts."""
    gap = high - low
    return sorted({low + gap * part // (count + 1) for part in range(1, count + 1)} - {low, high})
