"""Small scripted worlds for the engine's tests: targets, scripts of well-behaved peers, and one way to examine."""

from __future__ import annotations

import asyncio
from typing import Any

from fleetprobe.engine.budget import Gate, Guard, Limit, Manners
from fleetprobe.engine.one import Examiner
from fleetprobe.examination import Examination
from fleetprobe.layer import Ladder
from fleetprobe.layers.ladders import ladder_of
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Target
from fleetprobe.net.fake import FakeNet
from fleetprobe.net.script import Close, Hear, Say, Step
from fleetprobe.record.result import result_row

FREE = Manners(everything=Limit(), per_host=Limit(), per_prefix=Limit())
GOOD: tuple[Step, ...] = (
    Hear(b"\r\n\r\n"),
    Say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", after_ms=20),
    Close(),
)
V4, V6 = "203.0.113.9", "2001:db8::9"


def target(service: str = "http", host: str = "shop.test", port: int = 80, **more: Any) -> Target:
    return Target(service=service, host=host, port=port, **more)


def examine(
    net: FakeNet,
    asked: Target,
    *,
    policy: Policy | None = None,
    guard: Guard | None = None,
    ladder: Ladder | None = None,
    manners: Manners = FREE,
) -> Examination:
    """Examine one target on a fake network, to the end."""
    examiner = Examiner(net, policy or Policy(), Gate(manners, guard or Guard()))
    return asyncio.run(examiner.examine(asked, ladder_of(asked) if ladder is None else ladder))


def row(examined: Examination) -> dict[str, Any]:
    return result_row(examined, "run", "here", 0)
