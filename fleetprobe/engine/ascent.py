"""One climb: rung after rung over one ground, until a rung leaves nothing to stand on."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from fleetprobe.examination import Climb, Step
from fleetprobe.layer import Ground, Ladder, Layer, found
from fleetprobe.model.verdict import Finding
from fleetprobe.net.interface import Net

AskRung = Callable[[Layer, Ground, Net], Awaitable[Step]]


async def ascend(layers: Ladder, ground: Ground, climb: Climb, net: Net, ask: AskRung | None = None) -> None:
    """Ask these rungs, bottom first, and write what they told into the climb. `ask` does it in its own way."""
    for layer in layers:
        step = await (ask or ask_rung)(layer, ground, net)
        climb.add(step)
        if step.broke and any(finding.breaks and finding.code not in layer.goes_on for finding in step.findings):
            break
    climb.attempts = ground.attempts
    climb.ended_s = net.now()


def end(ground: Ground, climb: Climb) -> None:
    """Give the connection back after a good climb, and cut it after a broken one."""
    if ground.stream is None:
        return
    if climb.broke or not climb.steps:
        ground.stream.abort()
    else:
        ground.stream.release()


async def ask_rung(layer: Layer, ground: Ground, net: Net) -> Step:
    """Probe, then judge. A bug of ours is a finding like any other."""
    started = net.now()
    findings: Sequence[Finding]
    try:
        facts = await layer.probe(ground, net)
        ended = net.now()
        ground.facts[layer.name] = facts
        findings = _placed(layer.judge(facts, ground.policy), layer.name)
    except Exception as bug:  # noqa: BLE001  # a bug of ours has its own code
        facts, ended = None, net.now()
        findings = (_bug(layer, bug),)
    return Step(
        layer=layer.name,
        started_s=started,
        ended_s=ended,
        findings=findings,
        facts=facts,
        duration=layer.duration,
    )


def _placed(findings: Sequence[Finding], rung: str) -> Sequence[Finding]:
    """The findings, each of another layer marked with the rung that saw it."""
    for stranger in findings:
        if stranger.layer != rung:
            return [one if one.layer == rung else replace(one, rung=rung) for one in findings]
    return findings


def _bug(layer: Layer, bug: Exception) -> Finding:
    trace = "".join(traceback.format_exception(bug))[-2000:]
    facts = {"layer": layer.name, "exception": type(bug).__name__, "traceback": trace}
    return found("local.bug", f"a bug of ours in the {layer.name} layer: {type(bug).__name__}", facts)


