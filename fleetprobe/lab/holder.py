"""The process that is a laboratory: the first of its namespaces, whose end is the end of all in them.

Run by `Lab.up` as `unshare … python -m fleetprobe.lab.holder PLAN READY_FD LIFELINE_FD`. Reports on READY_FD,
ending with a NUL. Ends on SIGTERM, when the plan's lifetime is over, when one of its processes ends, or when
LIFELINE_FD reads end-of-file (-1: no lifeline). A lifeline rather than PR_SET_PDEATHSIG, which the kernel
clears when the process enters a user namespace.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from fleetprobe.lab.pki import write_pki
from fleetprobe.lab.plan import Plan
from fleetprobe.lab.scenario import Place
from fleetprobe.lab.state import READY_MARK, HolderRecord, start_ticks
from fleetprobe.lab.topology import DELAY, build_script, delayed, etc_files, namespace_file

_TICK_S = 0.5
_BUILD_TIMEOUT_S = 30.0


class _BuildError(Exception):
    """The lab could not be built; the message is for the user."""


def main(argv: Sequence[str]) -> int:
    """Entry point: path of the plan, descriptor for the report, descriptor of the lifeline or -1."""
    plan, ready_fd, lifeline_fd = Plan.read(Path(argv[0])), int(argv[1]), int(argv[2])
    signal.signal(signal.SIGTERM, _stop)
    state = Path(plan.state)
    # The inner process id means nothing outside; an outer /proc knows both.
    pid = int(os.readlink("/proc/self"))
    ends_at = time.time() + plan.lifetime_s
    HolderRecord(pid=pid, start_ticks=start_ticks(pid), ends_at=ends_at).write(state)
    try:
        running = _build(plan)
    except _BuildError as error:
        os.write(ready_fd, f"error {error}\0".encode())
        return 1
    (state / READY_MARK).touch()
    # If whoever wanted the lab has died meanwhile, this raises BrokenPipeError, and that is the end of it.
    os.write(ready_fd, b"ready\0")
    os.close(ready_fd)
    _hold(running, lifeline_fd, plan.lifetime_s)
    return 0


def _stop(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(0)


def _build(plan: Plan) -> list[subprocess.Popen[bytes]]:
    fleet = plan.fleet()
    state = Path(plan.state)
    plan.directory("ns")
    etc = plan.directory("etc")
    for name, text in etc_files(fleet).items():
        (etc / name).write_text(text)
    network = subprocess.Popen(["sh", "-s"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        # Certificates are made while the shell builds the network.
        assert network.stdin is not None
        network.stdin.write(build_script(fleet, state).encode())
        network.stdin.close()
        network.stdin = None
        write_pki(plan.directory("pki"), fleet)
        _, stderr = network.communicate(timeout=_BUILD_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise _BuildError(f"building the network took longer than {_BUILD_TIMEOUT_S:g} s") from None
    if network.returncode != 0:
        reason = stderr.decode(errors="replace").strip()[-2000:]
        raise _BuildError(f"the network could not be built: {reason}")
    starting = [("the servers", *_start(plan, "serve", Place.SERVER))]
    if delayed(fleet):
        starting.append(("the links that take time", *_start(plan, "delay", DELAY)))
    for name, _, reading in starting:
        with open(reading, "rb") as report:
            if report.read() != b"ready\n":
                raise _BuildError(f"{name} did not start; the reason is in holder.log")
    return [process for _, process, _ in starting]


def _start(plan: Plan, module: str, place: str) -> tuple[subprocess.Popen[bytes], int]:
    """A module of the lab as a process in a namespace, and the descriptor on which it reports."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        ["nsenter", f"--net={namespace_file(Path(plan.state), place)}",
         sys.executable, "-m", f"fleetprobe.lab.{module}", str(plan.file), str(writing)],
        pass_fds=(writing,),
    )
    os.close(writing)
    return process, reading


def _hold(running: Sequence[subprocess.Popen[bytes]], lifeline_fd: int, lifetime_s: float) -> None:
    lifeline = [] if lifeline_fd < 0 else [lifeline_fd]
    deadline = time.monotonic() + lifetime_s
    while time.monotonic() < deadline and all(process.poll() is None for process in running):
        readable, _, _ = select.select(lifeline, [], [], _TICK_S)
        if readable:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
