"""Where laboratories keep their state, and whether the process behind a state is still alive."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

READY_MARK = "ready"
"""File in a lab's directory that is there once everything in it runs."""

_RECORD = "holder.json"
_START_TIME_FIELD = 19
"""Index of `starttime` in /proc/PID/stat after the command name (proc(5), field 22)."""


class LabError(RuntimeError):
    """The laboratory cannot do what was asked; the message says why and, where known, what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderRecord:
    """The process that holds a lab, told apart from a later process with the same id by its start time."""

    pid: int
    start_ticks: int
    """Clock ticks since boot."""
    ends_at: float
    """Unix time at which the lab ends by itself."""

    def alive(self) -> bool:
        """Whether that very process still runs."""
        try:
            return start_ticks(self.pid) == self.start_ticks
        except OSError:
            return False

    def write(self, state: Path) -> None:
        """Store the record in a lab's directory, whole or not at all."""
        temporary = state / f"{_RECORD}.new"
        temporary.write_text(json.dumps(asdict(self)) + "\n")
        temporary.replace(state / _RECORD)

    @classmethod
    def read(cls, state: Path) -> HolderRecord | None:
        """The stored record, or None where there is none that can be read."""
        try:
            return cls(**json.loads((state / _RECORD).read_text()))
        except (OSError, ValueError, TypeError):
            return None


def start_ticks(pid: int) -> int:
    """When a process started. Raises OSError if there is none, or only its remains."""
    text = Path(f"/proc/{pid}/stat").read_text()
    # The command name stands in brackets and may itself hold brackets and blanks.
    fields = text.rpartition(")")[2].split()
    if fields[0] in ("Z", "X"):
        raise ProcessLookupError(pid)
    return int(fields[_START_TIME_FIELD])


def labs_directory() -> Path:
    """The private directory of this user's labs, made if need be. Raises LabError if it is not ours."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    usable = bool(runtime) and os.path.isdir(runtime) and os.access(runtime, os.W_OK)
    base = Path(runtime if usable else tempfile.gettempdir())
    return private_directory(base / f"fleetprobe-lab-{os.geteuid()}")


def private_directory(path: Path) -> Path:
    """Make a directory that only we can enter, or check that an existing one is like that."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise LabError(f"{path} cannot be made: {error.strerror}") from error
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise LabError(f"{path} is not a directory of ours with mode 0700; remove it or choose another place")
    return path
