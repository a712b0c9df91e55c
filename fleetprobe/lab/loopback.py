"""A small fleet on 127.0.0.1 and ::1, for machines that refuse namespaces: servers only, no network faults.

The scenarios are the lab's own. Those that need neither routes nor firewalls nor a name server are served on
ephemeral ports, their targets rewritten to match. Run as `python -m fleetprobe.lab.loopback DIR READY_FD
LIFELINE_FD`, the process serves until the lifeline reads end-of-file.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fleetprobe.lab.fleet import all_targets, load_fleet
from fleetprobe.lab.pki import authority_file, trust_flags, write_pki
from fleetprobe.lab.programs import child_environment
from fleetprobe.lab.scenario import LabTarget, Place, RunSettings, Scenario, Server
from fleetprobe.lab.serve import ServerRoom, context_of
from fleetprobe.lab.state import LabError

_DEFAULT_PORTS = {"http": 80, "https": 443, "tls": 443, "ssh": 22}
_DOWN_TIMEOUT_S = 5.0
_TARGETS_FILE = "targets.json"

Endpoint = tuple[str, int]


def fits_loopback(scenario: Scenario) -> bool:
    """Whether plain sockets on one machine are enough to stage a scenario."""
    elsewhere = any(place is not Place.SERVER for place in scenario.addresses)
    strange_network = scenario.routes or scenario.firewalls or elsewhere or scenario.run != RunSettings()
    return not (strange_network or scenario.settings or scenario.hosts) and all(entry.plain for entry in scenario.dns)


def endpoints_of(scenario: Scenario, target: LabTarget) -> tuple[Endpoint, ...]:
    """The lab addresses and ports that a target stands for; empty where they are not this scenario's own."""
    url = urlsplit(target.target)
    port = url.port or _DEFAULT_PORTS.get(url.scheme, 0)
    named = {entry.name: entry.addresses for entry in scenario.dns}
    addresses = named.get(url.hostname or "", (url.hostname or "",))
    if not port or not set(addresses) <= set(scenario.server_addresses):
        return ()
    return tuple((address, port) for address in addresses)


def rewrite(scenario: Scenario, target: LabTarget, moved: Mapping[Endpoint, Endpoint]) -> LabTarget | None:
    """The same target on loopback, or None where its story would not be the same there.

    `moved` maps the lab's endpoints to loopback endpoints.
    """
    wanted = endpoints_of(scenario, target)
    served = {(a, server.port) for server in scenario.servers for a in server.addresses}
    url = urlsplit(target.target)
    by_name = bool(url.hostname) and not _is_literal(url.hostname or "")
    # A name with one good and one bad address needs both; a certificate for an address needs that one.
    half = len({endpoint in served for endpoint in wanted}) > 1
    if not wanted or half or wanted[0] not in moved or (url.scheme == "https" and not by_name):
        return None
    address, port = moved[wanted[0]]
    host = str(url.hostname) if by_name else f"[{address}]" if ":" in address else address
    fields: dict[str, Any] = {**target.fields, **({"connect_to": address} if by_name else {})}
    return LabTarget(
        case=target.case, target=f"{url.scheme}://{host}:{port}{url.path}", fields=fields,
        expect=target.expect, lookalike=target.lookalike,
    )


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@dataclass(slots=True)
class Loopback:
    """The fleet as its user sees it. It ends with this process, or by `down`."""

    only: tuple[str, ...] = ()
    """Names of scenarios to serve; empty means all that fit."""
    _directory: Path | None = field(default=None, init=False, repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _lifeline: int | None = field(default=None, init=False, repr=False)

    def up(self) -> tuple[LabTarget, ...]:
        """Start the servers and return the targets. Raises LabError if they do not start, ScenarioError."""
        self._directory = Path(tempfile.mkdtemp(prefix="fleetprobe-loopback-"))
        with ExitStack() as stack:
            stack.callback(self.down)
            reading, writing = os.pipe()
            lifeline, self._lifeline = os.pipe()
            with open(self._directory / "serve.log", "wb") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "fleetprobe.lab.loopback", str(self._directory), str(writing),
                     str(lifeline), *self.only],
                    env=child_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    pass_fds=(writing, lifeline),
                )
            os.close(writing)
            os.close(lifeline)
            with open(reading, "rb") as report:
                if report.read() != b"ready":
                    story = (self._directory / "serve.log").read_text(errors="replace")
                    raise LabError(f"the loopback fleet did not start: {story[-2000:]}")
            stack.pop_all()
        return self.targets()

    def targets(self) -> tuple[LabTarget, ...]:
        """The targets of a fleet that is up."""
        raw = json.loads((self.directory / _TARGETS_FILE).read_text())
        expected = {target.case: target for target in all_targets(load_fleet())}
        return tuple(
            LabTarget(case=case, target=target, fields=fields, expect=expected[case].expect,
                      lookalike=expected[case].lookalike)
            for case, target, fields in raw
        )

    @property
    def directory(self) -> Path:
        """The fleet's private directory. Raises LabError when it is not up."""
        if self._directory is None:
            raise LabError("the loopback fleet is not up")
        return self._directory

    @property
    def ca_file(self) -> Path:
        """The root certificate that clients should trust."""
        return authority_file(self.directory / "pki")

    def scan(
        self, output: Path, *, args: Sequence[str] = (), timeout_s: float | None = None, capture: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run the real scanner against the fleet, records to `output`; as `Lab.scan`."""
        inventory = self.directory / "targets.jsonl"
        inventory.write_text("".join(f"{json.dumps(t.inventory_fields())}\n" for t in self.targets()))
        return subprocess.run(
            [sys.executable, "-m", "fleetprobe", "scan", "-i", str(inventory), "-o", str(output),
             *trust_flags(self.directory / "pki"), *args],
            env=child_environment(), capture_output=capture, text=True,
            timeout=timeout_s, check=False,
        )

    def down(self) -> None:
        """End the servers and remove their files."""
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        if self._process is not None:
            try:
                self._process.wait(_DOWN_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None


async def _serve(directory: Path, ready_fd: int, lifeline_fd: int, only: Sequence[str]) -> None:
    fleet = [scenario for scenario in load_fleet(only=only) if fits_loopback(scenario)]
    pki = directory / "pki"
    pki.mkdir(mode=0o700)
    write_pki(pki, fleet)
    room = ServerRoom([], [])
    told: list[tuple[str, str, Mapping[str, Any]]] = []
    for scenario in fleet:
        moved: dict[Endpoint, Endpoint] = {}
        for server in scenario.servers:
            moved |= await _open(room, scenario, server, pki)
        for target in scenario.targets:
            for endpoint in endpoints_of(scenario, target):
                if endpoint not in moved:
                    moved |= _hold_closed(room, endpoint)
            rewritten = rewrite(scenario, target, moved)
            if rewritten is not None:
                told.append((rewritten.case, rewritten.target, rewritten.fields))
    (directory / _TARGETS_FILE).write_text(json.dumps(told))
    os.write(ready_fd, b"ready")
    os.close(ready_fd)
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(lifeline_fd, over.set)
    await over.wait()


async def _open(room: ServerRoom, scenario: Scenario, server: Server, pki: Path) -> dict[Endpoint, Endpoint]:
    context = context_of(pki, scenario, server)
    moved: dict[Endpoint, Endpoint] = {}
    for address in server.addresses:
        home = "::1" if ":" in address else "127.0.0.1"
        if home == "::1" and not _has_ipv6():
            continue
        (port,) = await room.open(server, [(home, 0)], context)
        moved[(address, server.port)] = (home, port)
    return moved


def _hold_closed(room: ServerRoom, endpoint: Endpoint) -> dict[Endpoint, Endpoint]:
    """Take a port without listening on it: nobody else gets it, and connecting to it is refused."""
    home = "::1" if ":" in endpoint[0] else "127.0.0.1"
    if home == "::1" and not _has_ipv6():
        return {}
    sock = socket.socket(socket.AF_INET6 if home == "::1" else socket.AF_INET, socket.SOCK_STREAM)
    sock.bind((home, 0))
    room.sockets.append(sock)
    return {endpoint: (home, int(sock.getsockname()[1]))}


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def main(argv: Sequence[str]) -> int:
    """Entry point: directory, descriptor for the report, descriptor of the lifeline, scenario names."""
    asyncio.run(_serve(Path(argv[0]), int(argv[1]), int(argv[2]), argv[3:]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
