"""How the lab finds other programs, and how its own children find fleetprobe."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_PACKAGE_ROOT = Path(__file__).parents[2]

# Debian keeps daemons where an ordinary user's PATH does not look.
SEARCH_PATH = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"]
)


def find_program(name: str) -> str | None:
    """Full path of a program, or None."""
    return shutil.which(name, path=SEARCH_PATH)


def child_environment() -> dict[str, str]:
    """Our environment, in which a child finds system tools and this same fleetprobe, installed or not.

    What the lab presents is of no use to other scans, so it is not kept.
    """
    python_path = os.pathsep.join(filter(None, [str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH", "")]))
    return {"FLEETPROBE_POOL": "none", **os.environ, "PATH": SEARCH_PATH, "PYTHONPATH": python_path}
