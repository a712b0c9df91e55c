"""Starting and ending the process that holds a lab."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from fleetprobe.lab.plan import Plan
from fleetprobe.lab.preflight import UNSHARE
from fleetprobe.lab.programs import child_environment
from fleetprobe.lab.state import HolderRecord, LabError

_UP_TIMEOUT_S = 45.0
_DOWN_TIMEOUT_S = 5.0


class Launch:
    """A holder that this process has started, from its start until it has been waited for."""

    def __init__(self, plan: Plan, ephemeral: bool) -> None:
        """Start the holder of a plan that has been written; an ephemeral one ends when we do."""
        self._plan = plan
        self._lifeline: int | None = None
        self._report, writing = os.pipe()
        inherited = [writing]
        lifeline = -1
        if ephemeral:
            lifeline, self._lifeline = os.pipe()
            inherited.append(lifeline)
        try:
            with open(self._log, "wb") as log:
                self._process = subprocess.Popen(
                    [*UNSHARE, sys.executable, "-m", "fleetprobe.lab.holder",
                     str(plan.file), str(writing), str(lifeline)],
                    env=child_environment(), cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    pass_fds=inherited, start_new_session=True,
                )
        finally:
            for descriptor in inherited:
                os.close(descriptor)

    @property
    def _log(self) -> Path:
        return Path(self._plan.state) / "holder.log"

    def wait_until_ready(self) -> None:
        """Return when everything in the lab runs. Raises LabError with the whole story when it does not."""
        told = self._read_report()
        if told != b"ready":
            log = self._log.read_text(errors="replace").strip()
            reason = told.removeprefix(b"error ").decode(errors="replace") or "its process ended early"
            raise LabError(f"the lab did not come up: {reason}" + (f"\n{log[-2000:]}" if log else ""))

    def _read_report(self) -> bytes:
        """Up to a NUL, not up to the end: `unshare` waits for its child and keeps the pipe open meanwhile."""
        told = b""
        deadline = time.monotonic() + _UP_TIMEOUT_S
        while not told.endswith(b"\0") and (left_s := deadline - time.monotonic()) > 0:
            readable, _, _ = select.select([self._report], [], [], left_s)
            chunk = os.read(self._report, 4096) if readable else b""
            if not chunk:
                break
            told += chunk
        return told.removesuffix(b"\0")

    def end(self) -> None:
        """Make sure that the process has ended, and let go of it."""
        if self._lifeline is not None:
            os.close(self._lifeline)
        os.close(self._report)
        try:
            self._process.wait(_DOWN_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            # It never got as far as saying who it is; killing `unshare` takes its child along.
            self._process.kill()
            self._process.wait()


def end_process(record: HolderRecord) -> None:
    """End a holder, whoever started it, and return when it is gone."""
    try:
        handle = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return
    try:
        # Opened first, looked at second: now the id cannot be handed to another process between the two.
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not record.alive():
                return
            signal.pidfd_send_signal(handle, number)
            readable, _, _ = select.select([handle], [], [], _DOWN_TIMEOUT_S)
            if readable:
                return
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)
