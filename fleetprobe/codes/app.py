"""Codes of other application protocols: who greets, with what, and how soon."""

from __future__ import annotations

from typing import Final

from fleetprobe.codes.boxes import Box
from fleetprobe.codes.code import Code, Severity
from fleetprobe.codes.command import CAPTURE, CONNECT, LISTEN, LISTENER
from fleetprobe.model.verdict import State

APP_CODES: Final = (
    Code(
        name="app.protocol_mismatch", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=True,
        meaning="Something answers on this port in another protocol than the inventory says.",
        boxes=(Box.SERVER, Box.PROXY, Box.BALANCER, Box.INSPECTOR),
        evidence="The first bytes received, which the expected protocol cannot begin with.",
        not_this=(
            "a closed port (tcp.refused): something accepted the connection and spoke",
            "a filtered port (tcp.filtered): bytes came back",
            "a silent service (app.no_banner): it spoke, in another language",
        ),
        could_also_be=(),
        fix="Correct the service or the port in the inventory, or the port the right service listens on.",
        confirm=(LISTEN, LISTENER),
        proves=("ip", "tcp"),
    ),
    Code(
        name="app.no_banner", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=True,
        meaning="The port accepts connections, and the greeting this protocol begins with did not come.",
        boxes=(Box.SERVER, Box.HOST, Box.BALANCER, Box.PROXY, Box.FIREWALL),
        evidence="A completed TCP handshake and zero bytes received "
        "until the deadline, the stream still open.",
        not_this=(
            "a closed or filtered port (tcp.timeout): the TCP handshake succeeded",
            "a server that closed (tcp.closed): the stream is still open",
            "proof that the service runs: a kernel or a balancer accepts in its place",
        ),
        could_also_be=("app.slow", "app.protocol_mismatch", "mtu.black_hole"),
        fix="Look at the service on the host: hung, overloaded, "
        "waiting for reverse DNS, or a protocol that waits for us.",
        confirm=(LISTEN, LISTENER, CAPTURE),
        proves=("ip", "tcp"),
    ),
    Code(
        name="app.unexpected", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=True,
        meaning="The protocol is right, and what the service says is not what this target should say.",
        boxes=(Box.SERVER, Box.PROXY, Box.BACKEND),
        evidence="A valid greeting or reply that differs from the expectation; both are kept.",
        not_this=(
            "another protocol (app.protocol_mismatch): it parses as the one expected",
            "a network fault (tcp.timeout): the answer came over this very connection",
        ),
        could_also_be=(),
        fix="Read the reply: a service in upkeep, a wrong version or instance, or an outdated expectation.",
        confirm=(LISTEN,),
        proves=("ip", "tcp"),
    ),
    Code(
        name="app.slow", severity=Severity.SLOW, state=State.SLOW, osi="L7", emitted=False,
        meaning="The greeting or reply is right, and came later than the round trips explain.",
        boxes=(Box.SERVER, Box.BACKEND, Box.PROXY),
        evidence="Time to first byte above its threshold in round trips, "
        "measured while our own loop kept time.",
        not_this=(
            "a slow network (tcp.slow): the round trips are already taken off",
            "a silent service (app.no_banner): the greeting came",
        ),
        could_also_be=("mtu.masked",),
        fix="Look at the service's load, its backend, and reverse DNS lookups of the client's address.",
        confirm=(LISTEN, CONNECT),
        proves=("ip", "tcp", "app"),
    ),
)
