"""A routed world of namespaces for the long runs, cl - r1 - r2 - sv, made of the laboratory's own pieces.

A run starts itself again inside fresh namespaces (`enter`), builds the world there (`World`), and speaks only to
addresses in it. All of it ends with the process that made it.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleetprobe.lab.preflight import UNSHARE
from fleetprobe.lab.scenario import Firewall, Place, Scenario
from fleetprobe.lab.topology import build_script, etc_files, namespace_file

ROOT = Path(__file__).parent.parent
_PLAIN = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
SLOW_FROM = 9000
"""Servers on this port and above think before they answer."""
_THINKING_S = 0.3
_BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"


def enter(module: str, state: str, argv: Sequence[str], lifetime_s: float) -> int:
    """Run a module inside new namespaces as their first process; its exit code."""
    command = [*UNSHARE, sys.executable, "-m", module, "--inside", state, *argv]
    return subprocess.run(command, cwd=ROOT, env=environment(), timeout=lifetime_s, check=False).returncode


def environment() -> dict[str, str]:
    """Our own, with this checkout and the system's tools to be found."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path}


@dataclass(slots=True)
class World:
    """The namespaces, and what runs in them."""

    state: Path
    firewalls: Mapping[Place, Firewall] = field(default_factory=dict)
    served: tuple[str, ...] = ()
    """Further addresses of the server machine, out of 203.0.113.0/24 and 2001:db8:3::/64."""
    routes: Mapping[Place, tuple[str, ...]] = field(default_factory=dict)
    settings: Sequence[tuple[Place, str, str]] = ()
    """Where, which file under /proc/sys/net, and what to write there."""
    _children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def build(self) -> None:
        """Make everything; raises CalledProcessError when the machine cannot carry it."""
        scenario = Scenario(
            name="long-run", title="", teaches="", targets=(), routes=self.routes, firewalls=self.firewalls,
            addresses={Place.SERVER: self.served},
        )
        for name in ("ns", "etc"):
            (self.state / name).mkdir()
        for name, text in etc_files((scenario,)).items():
            (self.state / "etc" / name).write_text(text)
        subprocess.run(["sh", "-s"], input=build_script((scenario,), self.state), text=True, check=True, timeout=60)
        for place, key, value in self.settings:
            self.shell(place, f"echo '{value}' > /proc/sys/net/{key}")

    def shell(self, place: Place, script: str) -> None:
        """Run a script in one namespace, with all capabilities."""
        command = ["nsenter", f"--net={namespace_file(self.state, place)}", "sh", "-e", "-s"]
        subprocess.run(command, input=script, text=True, check=True, timeout=30, stdout=subprocess.DEVNULL)

    def command(self, place: Place, *argv: str) -> list[str]:
        """The command line that runs this interpreter in a namespace, without any capability."""
        return ["nsenter", f"--net={namespace_file(self.state, place)}", *_PLAIN, sys.executable, *argv]

    def serve(self, ports: Iterable[int], *words: str, module: str = "benchmarks.netns") -> None:
        """Answer HTTP on these ports of every address of the server machine; return when it listens.

        Another module may do it: it gets the words and the ports, and says `ready`.
        """
        argv = ["-m", module, *words, *map(str, ports)]
        child = subprocess.Popen(self.command(Place.SERVER, *argv), cwd=ROOT, stdout=subprocess.PIPE)
        self._children.append(child)
        assert child.stdout is not None
        if child.stdout.readline() != b"ready\n":
            raise RuntimeError("the server did not start")

    def close(self) -> None:
        """End what runs."""
        for child in self._children:
            child.kill()
            child.wait()


def scan(
    world: World, targets: Sequence[str], name: str, *words: str, timeout_s: float = 300.0, **more: Any
) -> tuple[list[dict[str, Any]], dict[str, Any], float]:
    """Scan from cl without privileges: the records, the run's end, and the wall seconds. `more` goes to Popen."""
    inventory, output = world.state / f"{name}.txt", world.state / f"{name}.jsonl"
    inventory.write_text("".join(f"{target}\n" for target in targets))
    output.unlink(missing_ok=True)
    argv = ["-m", "fleetprobe", "scan", "-i", str(inventory), "-o", str(output)]
    argv += ["--no-config", "-q", "--pool", "none", *words]
    started = time.monotonic()
    with subprocess.Popen(
        world.command(Place.CLIENT, *argv), cwd=ROOT, stdout=subprocess.DEVNULL, **more
    ) as child:
        try:
            child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGINT)
            child.wait(20)
    took_s = time.monotonic() - started
    rows = [json.loads(line) for line in output.read_bytes().splitlines()]
    return [row for row in rows if row["kind"] == "result"], rows[-1], took_s


def where() -> dict[str, object]:
    """Date, commit and machine, for the results."""
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": asked.stdout.strip() if asked.returncode == 0 else None,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(30):
            await reader.readuntil(b"\r\n\r\n")
            if writer.get_extra_info("sockname")[1] >= SLOW_FROM:
                await asyncio.sleep(_THINKING_S)
            writer.write(_BODY)
            await writer.drain()
            await reader.read()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass  # the scanner may end a connection as it likes
    finally:
        writer.close()


async def _serve(ports: Sequence[int]) -> None:
    servers = [await asyncio.start_server(_answer, None, port, backlog=4096) for port in ports]
    print("ready", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(_serve([int(port) for port in sys.argv[1:]]))
