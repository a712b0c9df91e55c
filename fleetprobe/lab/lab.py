"""A laboratory as its user sees it: bring it up, run programs in it, scan it, take it down."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fleetprobe.lab.fleet import ScanGroup, load_fleet, scan_groups
from fleetprobe.lab.launch import Launch, end_process
from fleetprobe.lab.load import BUILT_IN
from fleetprobe.lab.pki import authority_file, trust_flags
from fleetprobe.lab.plan import Plan
from fleetprobe.lab.preflight import preflight
from fleetprobe.lab.programs import SEARCH_PATH, child_environment, find_program
from fleetprobe.lab.scenario import LabTarget, Place, Scenario
from fleetprobe.lab.state import READY_MARK, HolderRecord, LabError, labs_directory, private_directory
from fleetprobe.lab.topology import namespace_file

DEFAULT_LIFETIME_S = 2 * 3600.0
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabStatus:
    """What is known about a lab that is up."""

    pid: int
    ends_at: float
    """Unix time at which it ends by itself."""
    http_server: str
    """`nginx`, or `python` where nginx is not installed."""
    name_server: str
    """`dnsmasq`, or `python` where dnsmasq is not installed."""


@dataclass(slots=True)
class Lab:
    """One laboratory, found by its name. Several can be up at once."""

    name: str = "default"
    directory: Path | None = None
    """Directory that holds labs; None means this user's runtime directory."""
    _launch: Launch | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise LabError(f"{self.name!r} is no name for a lab: use a-z, 0-9 and hyphens, at most 32")

    @property
    def state(self) -> Path:
        """This lab's own directory; it need not exist."""
        return self._root() / self.name

    @property
    def ca_file(self) -> Path:
        """The root certificate that clients should trust."""
        return authority_file(self.state / "pki")

    def up(
        self, scenarios: Path = BUILT_IN, only: Sequence[str] = (), *,
        lifetime_s: float = DEFAULT_LIFETIME_S, ephemeral: bool = False, daemons: bool = True,
    ) -> LabStatus:
        """Bring the lab up, or find it up already with the same scenarios. Takes 1 to 3 s.

        An ephemeral lab ends with this process. Without `daemons` our own servers stand in for nginx and
        dnsmasq even where those are installed. Raises ScenarioError for a bad scenario, and LabError when
        the machine cannot carry a lab, when this lab is up with other scenarios, or when building fails.
        """
        load_fleet(scenarios, only)
        plan = self._plan(scenarios, only, lifetime_s, daemons)
        with self._lock():
            status = self.status()
            if status is not None:
                if Plan.read(plan.file).digest != plan.digest:
                    raise LabError(f"lab {self.name!r} is up with other scenarios; take it down first")
                return status
            self._end()
            problems = preflight()
            if problems:
                raise LabError("\n".join(["no lab can come up here:", *(f"- {p}" for p in problems)]))
            private_directory(self.state)
            plan.write()
            try:
                self._launch = Launch(plan, ephemeral)
                self._launch.wait_until_ready()
                status = self.status()
                if status is None:
                    raise LabError(f"lab {self.name!r} ended as soon as it was up")
            except BaseException:  # An interrupt, too, must not leave half a lab behind.
                self._end()
                raise
            return status

    def down(self) -> bool:
        """End every process of the lab and remove its files. Returns whether there was anything to end."""
        with self._lock():
            return self._end()

    def status(self) -> LabStatus | None:
        """None when the lab is not up (or its holder has died)."""
        record = HolderRecord.read(self.state)
        if record is None or not record.alive() or not (self.state / READY_MARK).exists():
            return None
        plan = self.plan()
        return LabStatus(
            pid=record.pid,
            ends_at=record.ends_at,
            http_server="nginx" if plan.nginx else "python",
            name_server="dnsmasq" if plan.dnsmasq else "python",
        )

    def plan(self) -> Plan:
        """What the lab was built from. Raises LabError if it is not there."""
        try:
            return Plan.read(self.state / "plan.json")
        except (OSError, ValueError) as error:
            raise LabError(f"lab {self.name!r} is not up") from error

    def fleet(self) -> tuple[Scenario, ...]:
        """The scenarios of a lab that is up."""
        return self.plan().fleet()

    def groups(self) -> tuple[ScanGroup, ...]:
        """The scans that cover this lab, the main one first."""
        return scan_groups(self.fleet())

    def environment(self) -> dict[str, str]:
        """Variables for programs run by hand: they find system tools and us, and trust the lab's authority."""
        trust, own = str(self.ca_file), os.path.dirname(sys.executable)
        return {
            **os.environ, "PATH": f"{SEARCH_PATH}{os.pathsep}{own}", "SSL_CERT_FILE": trust, "CURL_CA_BUNDLE": trust,
            "PS1": f"[lab {self.name}] \\w \\$ ", "FLEETPROBE_CA_FILE": trust,
        }

    def command(self, place: str, argv: Sequence[str], *, drop_privileges: bool = True) -> list[str]:
        """The command line that runs `argv` in a namespace of the lab, from the current directory.

        `place` is a `Place`, or the vantage of a scenario's own (`RunSettings.vantage`).
        With dropped privileges the program has no capability and can gain none, as on any other machine.
        Raises LabError if the lab is not up.
        """
        status = self.status()
        if status is None:
            raise LabError(f"lab {self.name!r} is not up")
        enter = ["nsenter", f"--target={status.pid}", "--user", "--mount", "--preserve-credentials"]
        enter += ["nsenter", f"--net={namespace_file(self.state, place)}"]
        if drop_privileges and find_program("setpriv"):
            enter += ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
        # Entering a mount namespace moves the process to the root directory.
        return [*enter, "env", "-C", os.getcwd(), *argv]

    def run_in(
        self, place: str, argv: Sequence[str], *, drop_privileges: bool = True,
        timeout_s: float | None = None, capture: bool = True,
        environment: Mapping[str, str] | None = None, stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in a namespace and wait for it.

        Without `capture` it talks to our own terminal. Raises LabError if the lab is not up, and
        subprocess.TimeoutExpired.
        """
        return subprocess.run(
            self.command(place, argv, drop_privileges=drop_privileges),
            env={"PATH": SEARCH_PATH, **(self.environment() if environment is None else environment)},
            input=stdin, capture_output=capture, text=True, timeout=timeout_s, check=False,
        )

    def shell(self, place: str = Place.CLIENT) -> int:
        """A shell in a namespace, with all capabilities, as `ping` needs. Its exit code.

        At a terminal it is interactive; otherwise it reads its commands from standard input, without a prompt.
        """
        bash = find_program("bash")
        argv = [bash, "--norc", "--noprofile"] if bash else ["sh"]
        if os.isatty(0):
            argv.append("-i")
        return self.run_in(place, argv, drop_privileges=False, capture=False).returncode

    def inventory_lines(self, group: ScanGroup | None = None) -> list[str]:
        """Lines of JSON for `fleetprobe scan -i`; without a group, of every target."""
        groups = self.groups() if group is None else (group,)
        return inventory_lines([target for one in groups for target in one.targets])

    def scan(
        self, group: ScanGroup, output: Path, *, args: Sequence[str] = (), timeout_s: float | None = None,
        capture: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run the real scanner in the group's vantage, records to `output`.

        `args` are further arguments of `fleetprobe scan`. The scanner's own words go to our terminal unless
        captured. The exit code is the scanner's: 1 is what a lab of faults should give.
        """
        inventory = self.state / f"targets-{group.name}.jsonl"
        inventory.write_text("".join(f"{line}\n" for line in self.inventory_lines(group)))
        words = [
            "scan", "-i", str(inventory), "-o", str(output.resolve()), *trust_flags(self.state / "pki"),
            *group.settings.args, *args,
        ]
        return self.fleetprobe(words, place=group.settings.vantage, timeout_s=timeout_s, capture=capture)

    def fleetprobe(
        self, words: Sequence[str], *, place: str = Place.CLIENT, timeout_s: float | None = None,
        capture: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run this same fleetprobe in a vantage, e.g. with `["check", TARGET, "--ca-file", …]`."""
        argv = [sys.executable, "-m", "fleetprobe", *words]
        return self.run_in(
            place, argv, timeout_s=timeout_s, capture=capture, environment=child_environment()
        )

    def _root(self) -> Path:
        return labs_directory() if self.directory is None else private_directory(self.directory)

    def _plan(self, scenarios: Path, only: Sequence[str], lifetime_s: float, daemons: bool) -> Plan:
        digest = hashlib.sha256(json.dumps([sorted(only), daemons]).encode())
        for path in sorted(scenarios.glob("*.toml")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        return Plan(
            state=str(self.state), scenarios=str(scenarios.resolve()), only=tuple(only),
            lifetime_s=lifetime_s, nginx=find_program("nginx") if daemons else None,
            dnsmasq=find_program("dnsmasq") if daemons else None, digest=digest.hexdigest(),
        )

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Keep two callers from building or ending the same lab at once."""
        with open(self._root() / f"{self.name}.lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _end(self) -> bool:
        """End the holder, with it everything in its namespaces, and remove the files. Needs the lock."""
        record = HolderRecord.read(self.state)
        existed = record is not None and record.alive()
        if record is not None:
            end_process(record)
        if self._launch is not None:
            self._launch.end()
            self._launch = None
        shutil.rmtree(self.state, ignore_errors=True)
        return existed


def inventory_lines(targets: Sequence[LabTarget]) -> list[str]:
    """One JSON object per target, in the words of the JSONL inventory."""
    return [json.dumps(target.inventory_fields(), sort_keys=True) for target in targets]
