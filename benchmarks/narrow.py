"""Worlds whose middle loses packets by size, by chance or both, and servers whose answers take several segments.

Any number of targets may have a path to themselves: one /24 out of 198.19.0.0/16 and one /48 out of 2001:db8:8000::/33
for each number. As a module it is the server: `python -m benchmarks.narrow PEM PORT...`, https where PEM is no dash.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.netns import World
from fleetprobe.lab.pki import authority_file, server_file, write_pki
from fleetprobe.lab.scenario import Certificate, Firewall, Place, Scenario, Server, Step, Verb
from fleetprobe.lab.serve import ServerRoom, tls_context
from fleetprobe.layers.sockets import where

NARROW_BYTES = 1400
"""Path MTU of every hole."""
PATHS = 256
LONG_PATH = "x" * 2000
"""With it a request takes more than one segment, so that a climb over http meets a forward hole by itself."""
_PORTS = {"http": 8080, "https": 8443}
"""The server has no capability, so it cannot have the usual ones."""
_NAME = "long.lab.test"
_ANSWER = (Step(Verb.REQUEST), Step(Verb.ANSWER, "6000"))
_PLAIN = Server(addresses=("198.19.0.10",), port=_PORTS["http"], steps=_ANSWER)
_SECURE = Server(
    addresses=("198.19.0.10",), port=_PORTS["https"], certificate=Certificate.LONG, names=(_NAME,),
    steps=(Step(Verb.TLS), *_ANSWER, Step(Verb.FAREWELL)),
)
_SCENARIO = Scenario(name="narrow", title="", teaches="", targets=(), servers=(_SECURE,))
_THERE = ("198.19.0.0/16 via {v4}", "2001:db8:8000::/33 via {v6}")
_BACK = ("198.18.1.0/24 via 198.18.12.1", "2001:db8:1::/64 via 2001:db8:12::1")
_UNSAID = ("icmp type destination-unreachable icmp code frag-needed drop", "icmpv6 type packet-too-big drop")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What the two routers do to packets."""

    forward: bool = False
    """Those above the path MTU vanish on their way to the server."""
    reverse: bool = False
    silent: bool = False
    """Nobody would say so; else a router would, but its words are filtered."""
    loss: int = 0
    """Percent that are lost by chance, each way."""

    @property
    def direction(self) -> str | None:
        """As the record's column has it."""
        ways = {(True, True): "both", (True, False): "forward", (False, True): "reverse"}
        return ways.get((self.forward, self.reverse))


def address(number: int, v6: bool) -> str:
    """The server's address on the path of this number, below `PATHS`."""
    return f"2001:db8:{0x8000 + number:x}::10" if v6 else f"198.19.{number}.10"


def target(scheme: str, at: str, path: str = "", port: int | None = None) -> str:
    """An inventory line."""
    name = f" sni={_NAME}" if scheme == "https" else ""
    return f"{scheme}://{where(at, port or _PORTS[scheme])}/{path}{name}"


def build(state: Path, fault: Fault, served: Sequence[str]) -> World:
    """The finished world without a server."""
    world = World(
        state, served=tuple(served), routes=_routes(fault),
        firewalls={
            Place.ROUTER_NEAR: _wall("c0", fault.forward and fault.silent, fault),
            Place.ROUTER_FAR: _wall("s0", fault.reverse and fault.silent, fault),
        },
    )
    world.build()
    return world


def serve(world: World, ports: Iterable[int] = (_PORTS["http"],), *, tls: bool = True) -> Path:
    """Start the servers on every address of the world's server; the file of the authority to trust."""
    pki = world.state / "pki"
    pki.mkdir()
    write_pki(pki, (_SCENARIO,))
    world.serve(ports, str(server_file(pki, _SCENARIO, _SECURE)) if tls else "-", module="benchmarks.narrow")
    return authority_file(pki)


def codes_of(row: dict[str, Any]) -> set[str]:
    """The verdict's code and those of all findings."""
    return {row["code"] or "none", *(finding["code"] for finding in row["findings"])}


def sockets_of(row: dict[str, Any], transport: str, purpose: str | None = None) -> int:
    """How many were opened for a target, TCP connections or datagrams of a size."""
    return sum(
        one["transport"] == transport and purpose in (None, one["purpose"]) for one in row["attempts"]
    )


def facts_of(row: dict[str, Any]) -> list[dict[str, Any]]:
    """What was seen of packet sizes; empty where nobody looked."""
    return [step["facts"] for step in row["layers"] if step["layer"] == "mtu" and step["facts"]]


def _routes(fault: Fault) -> dict[Place, tuple[str, ...]]:
    """A route's MTU makes one way narrow, and the router would say so as any other."""
    narrow = "" if fault.silent else f" mtu {NARROW_BYTES}"
    near = [route.format(v4="198.18.12.2", v6="2001:db8:12::2") for route in _THERE]
    return {
        Place.ROUTER_NEAR: tuple(route + narrow * fault.forward for route in near),
        Place.ROUTER_FAR: (
            *(route.format(v4="203.0.113.10", v6="2001:db8:3::10") for route in _THERE),
            *(route + narrow for route in _BACK if fault.reverse),
        ),
    }


def _wall(device: str, hole: bool, fault: Fault) -> Firewall:
    """Rules of the router through whose device packets of one way come in. Without a hole its filter hits nothing."""
    # Sizes are those of IP packets, as a link behind the router would count them.
    size = (f'iifname "{device}" meta length > {NARROW_BYTES} drop',) if hole else ()
    loss = (f'iifname "{device}" numgen random mod 100 < {fault.loss} drop',) if fault.loss else ()
    return Firewall(forward=(*size, *loss), output=_UNSAID)


async def _serve(file: str, ports: Sequence[int]) -> None:
    room = ServerRoom([], [])
    everywhere = ("0.0.0.0", "::")
    await room.open(_PLAIN, [(at, port) for at in everywhere for port in ports], None)
    if file != "-":
        await room.open(_SECURE, [(at, _PORTS["https"]) for at in everywhere], tls_context(Path(file)))
    print("ready", flush=True)
    await asyncio.gather(*room.tasks)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], [int(port) for port in sys.argv[2:]]))
