"""A lab comes up once, lets nothing out, and leaves nothing behind however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetprobe.lab.fleet import load_fleet
from fleetprobe.lab.lab import Lab
from fleetprobe.lab.programs import child_environment
from fleetprobe.lab.scenario import Place
from fleetprobe.lab.state import LabError, private_directory
from fleetprobe.lab.topology import namespaces
from tests.lab.conftest import require_program

SMALL = ["healthy-plain-services", "port-closed-on-host"]


def processes_of(lab: Lab) -> list[int]:
    """Every process on this machine whose command line names the lab's directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(lab.state).encode() in line:
                found.append(int(entry.name))
    return found


def eventually(holds: Callable[[], bool], seconds: float = 8.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return holds()


@pytest.mark.lab
def test_up_is_idempotent_and_down_leaves_nothing(labs: Path) -> None:
    lab = Lab("life", labs)
    mounts = Path("/proc/self/mounts").read_text()
    first = lab.up(only=SMALL, ephemeral=True)
    assert lab.up(only=SMALL) == first == Lab("life", labs).status()
    assert len(processes_of(lab)) >= 3
    with pytest.raises(LabError, match="up with other scenarios"):
        lab.up(only=SMALL[:1])
    assert lab.down() is True
    assert processes_of(lab) == []
    assert not lab.state.exists()
    assert Path("/proc/self/mounts").read_text() == mounts
    assert lab.down() is False
    assert lab.status() is None


@pytest.mark.lab
def test_two_labs_are_up_at_once_and_apart(labs: Path) -> None:
    one, two = Lab("one", labs), Lab("two", labs)
    try:
        one.up(only=SMALL[:1], ephemeral=True)
        two.up(only=SMALL[1:], ephemeral=True)
        connect = ["python3", "-c", "import socket; socket.create_connection(('203.0.113.12', 7), 2)"]
        assert one.run_in(Place.CLIENT, connect, timeout_s=10).returncode == 0
        assert two.run_in(Place.CLIENT, connect, timeout_s=10).returncode == 1
        one.down()
        assert two.status() is not None
    finally:
        one.down()
        two.down()


@pytest.mark.lab
def test_a_lab_outlives_who_started_it_and_another_can_end_it(labs: Path) -> None:
    lab = Lab("stays", labs)
    start(labs, "stays", ephemeral=False)
    assert lab.status() is not None
    assert lab.down() is True
    assert processes_of(lab) == []


@pytest.mark.lab
def test_an_ephemeral_lab_ends_with_who_started_it(labs: Path) -> None:
    lab = Lab("brief", labs)
    start(labs, "brief", ephemeral=True)
    assert eventually(lambda: lab.status() is None and processes_of(lab) == [])


def start(labs: Path, name: str, *, ephemeral: bool) -> None:
    """Bring a lab up in another process, which is then killed the hard way."""
    program = (
        "import os, pathlib, signal, sys; from fleetprobe.lab.lab import Lab;"
        f"Lab({name!r}, pathlib.Path({str(labs)!r})).up(only={SMALL!r}, ephemeral={ephemeral});"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program], env=child_environment(), timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.lab
def test_a_lab_ends_by_itself_when_its_time_is_over(labs: Path) -> None:
    lab = Lab("timed", labs)
    lab.up(only=SMALL, lifetime_s=1.0)
    assert eventually(lambda: lab.status() is None and processes_of(lab) == [])
    lab.down()


@pytest.mark.lab
@pytest.mark.parametrize("victim", ["holder", "nginx", "delay"])
def test_a_lab_that_lost_a_process_is_found_dead_and_built_anew(labs: Path, victim: str) -> None:
    if victim == "nginx":
        require_program("nginx")
    lab = Lab("dead", labs)
    only = ["http-not-found", "mtu-full-80-ms-away"]
    first = lab.up(only=only, ephemeral=True)
    os.kill(first.pid if victim == "holder" else child_named(lab, victim), signal.SIGKILL)
    assert eventually(lambda: lab.status() is None and processes_of(lab) == [])
    try:
        again = lab.up(only=only, ephemeral=True)
        assert again.pid != first.pid
        assert lab.status() == again
    finally:
        lab.down()


def child_named(lab: Lab, name: str) -> int:
    words = {name.encode(), f"fleetprobe.lab.{name}".encode()}
    (pid,) = (
        p for p in processes_of(lab)
        if Path(f"/proc/{p}/comm").read_text().strip() == name
        or words & set(Path(f"/proc/{p}/cmdline").read_bytes().split(b"\0"))
    )
    return pid


@pytest.mark.lab
def test_a_lab_that_cannot_be_built_tells_why_and_leaves_nothing(labs: Path, tmp_path: Path) -> None:
    (tmp_path / "bad-rule.toml").write_text(
        'title = "t"\nteaches = "t"\n[firewall.r1]\nforward = ["ip daddr 203.0.113.9 explode"]\n'
        '[[target]]\ntarget = "tcp://203.0.113.9:1"\nexpect = { state = "ok" }\nlookalike = "bad-too"\n'
    )
    (tmp_path / "bad-too.toml").write_text(
        'title = "t"\nteaches = "t"\n'
        '[[target]]\ntarget = "tcp://203.0.113.9:2"\nexpect = { state = "ok" }\nlookalike = "bad-rule"\n'
    )
    lab = Lab("bad", labs)
    with pytest.raises(LabError, match=r"(?s)network could not be built.*explode"):
        lab.up(tmp_path, ephemeral=True)
    assert processes_of(lab) == []
    assert not lab.state.exists()


@pytest.mark.lab
@pytest.mark.parametrize("place", namespaces(load_fleet()))
def test_there_is_no_way_out_of_the_lab(lab: Lab, place: str) -> None:
    devices = lab.run_in(place, ["ip", "-o", "link"]).stdout.splitlines()
    names = {line.split(": ")[1].partition("@")[0] for line in devices}
    links = [scenario.own for scenario in load_fleet() if scenario.own]
    own = {device for link in links for device in (link.device, link.far_device)}
    assert names <= {"lo", "eth0", "c0", "c1", "m0", "m1", "s0", *own}
    kinds = lab.run_in(place, ["ip", "-o", "-d", "link"]).stdout.splitlines()
    assert [line for line in kinds if " veth " not in line and ": lo:" not in line] == []


@pytest.mark.lab
def test_a_program_in_the_client_has_no_privileges(lab: Lab) -> None:
    status = lab.run_in(Place.CLIENT, ["cat", "/proc/self/status"]).stdout
    assert "CapEff:\t0000000000000000" in status
    assert "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    raw = "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)"
    assert lab.run_in(Place.CLIENT, [sys.executable, "-c", raw]).returncode == 1


@pytest.mark.lab
def test_a_program_runs_in_our_directory_with_the_labs_names_and_trust(lab: Lab) -> None:
    assert lab.run_in(Place.CLIENT, ["pwd"]).stdout.strip() == str(Path.cwd())
    assert lab.run_in(Place.CLIENT, ["getent", "ahosts", "www.lab.test"]).stdout.count("STREAM") == 2
    fetch = "import urllib.request as u; print(u.urlopen('https://www.lab.test/').read().decode())"
    assert "status: green" in lab.run_in(Place.CLIENT, [sys.executable, "-c", fetch], timeout_s=20).stdout


@pytest.mark.lab
def test_without_a_lab_nothing_can_be_run_in_it(labs: Path) -> None:
    with pytest.raises(LabError, match="is not up"):
        Lab("nowhere", labs).run_in(Place.CLIENT, ["true"])


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", "x" * 33])
def test_a_lab_name_cannot_leave_its_directory(name: str) -> None:
    with pytest.raises(LabError, match="no name for a lab"):
        Lab(name)


def test_a_directory_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    link = tmp_path / "link"
    link.symlink_to(private_directory(tmp_path / "ours"))
    for path in (shared, link):
        with pytest.raises(LabError, match="not a directory of ours"):
            private_directory(path)
