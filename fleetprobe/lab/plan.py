"""What a laboratory is built from, as one file in its state directory, read by each of its processes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fleetprobe.lab.fleet import load_fleet
from fleetprobe.lab.scenario import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that was decided before the lab came up."""

    state: str
    """The lab's private directory."""
    scenarios: str
    """The directory the scenario files come from."""
    only: tuple[str, ...]
    """Names of the scenarios in the lab; empty means all."""
    lifetime_s: float
    nginx: str | None
    """Path of nginx, or None where our own servers stand in for it."""
    dnsmasq: str | None
    digest: str
    """Hash over the scenario files, to see whether a running lab is the one that is wanted."""

    @property
    def file(self) -> Path:
        """Where the plan itself is stored."""
        return Path(self.state) / "plan.json"

    @property
    def pki(self) -> Path:
        """Where the certificates are."""
        return Path(self.state) / "pki"

    def directory(self, name: str) -> Path:
        """A directory of that name in the lab's own, made if it is not there."""
        path = Path(self.state) / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def fleet(self) -> tuple[Scenario, ...]:
        """Load the scenarios of this lab."""
        return load_fleet(Path(self.scenarios), self.only)

    def write(self) -> None:
        """Store the plan in its state directory."""
        self.file.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read a stored plan. Raises OSError, or ValueError if the file is not one."""
        raw: dict[str, Any] = json.loads(path.read_text())
        try:
            return cls(**{**raw, "only": tuple(raw["only"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a lab's plan") from error
