"""Can a laboratory come up on this machine? Each obstacle with what to do about it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fleetprobe.lab.programs import child_environment, find_program

UNSHARE = ("unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child")
"""The start of the command that makes the lab's namespaces, for root and for everybody else alike."""

REQUIRED = {
    "unshare": "util-linux", "nsenter": "util-linux", "mount": "mount", "ip": "iproute2", "nft": "nftables",
    "ethtool": "ethtool",
}
"""Programs the lab cannot do without, and the Debian package of each."""

OPTIONAL = {"nginx": "nginx-light", "dnsmasq": "dnsmasq-base", "setpriv": "util-linux"}
"""Programs that the lab uses where they are installed."""

_TRIAL_TIMEOUT_S = 10.0
# What the lab will do, in miniature; the last word printed tells how far it came.
_TRIAL = """
set -e
echo mount; mount --bind /etc/hosts /etc/hosts
echo link; ip link add trial0 type veth peer name trial1
echo sysctl; echo 1 > /proc/sys/net/ipv4/ip_forward
echo nft; nft add table inet trial
echo nftset; nft 'add chain inet trial c { type filter hook output priority 0; }'
nft add rule inet trial c reject
echo nftct; nft add rule inet trial c ct state new ct count over 9 drop
echo nftrandom; nft add rule inet trial c numgen random mod 100 lt 5 drop
echo packet; "$0" -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)'
echo fine
"""
_STAGES: dict[str, tuple[str, str]] = {
    "mount": (
        "mounting inside a new mount namespace is refused",
        "Ubuntu since 25.04 confines /usr/bin/unshare by AppArmor: allow mounting there or run as root",
    ),
    "link": (
        "virtual Ethernet links (veth) cannot be made",
        "load the kernel module: modprobe veth",
    ),
    "sysctl": (
        "/proc/sys/net is read-only, as in most containers",
        "start the container with --privileged, or run outside of it",
    ),
    "nft": (
        "the kernel has no nf_tables",
        "load the kernel module: modprobe nf_tables",
    ),
    "nftset": (
        "nf_tables lacks the inet family or the reject statement",
        "load the kernel modules: modprobe nf_tables_inet nft_reject_inet",
    ),
    "nftct": (
        "nf_tables cannot look at connections here",
        "load the kernel modules: modprobe nft_ct nft_connlimit",
    ),
    "nftrandom": (
        "nf_tables cannot drop at random here",
        "load the kernel module: modprobe nft_numgen",
    ),
    "packet": (
        "packet sockets, by which links are made that take time, cannot be had",
        "load the kernel module: modprobe af_packet",
    ),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that keeps the lab from coming up."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


@dataclass(frozen=True, slots=True)
class Trial:
    """How the small dress rehearsal went."""

    stage: str
    """`unshare` when not even the namespaces could be made, `fine` when all went well."""
    stderr: str


def preflight(
    rehearse: Callable[[], Trial] | None = None, find: Callable[[str], str | None] = find_program,
    proc: Path = Path("/proc"),
) -> list[Problem]:
    """Everything that is missing for a lab; an empty list means it can come up. Takes about 50 ms.

    The parameters stand in for the machine in tests.
    """
    missing = [
        Problem(f"`{name}` is not installed", f"install it (Debian and Ubuntu: apt-get install {package})")
        for name, package in REQUIRED.items() if find(name) is None
    ]
    missing += [
        Problem("the client's /etc files cannot be replaced", f"create an empty /etc/{name}")
        for name in ("resolv.conf", "hosts", "nsswitch.conf") if not os.path.exists(f"/etc/{name}")
    ]
    if missing:
        return missing
    trial = (rehearse or rehearsal)()
    if trial.stage == "fine":
        return []
    if trial.stage in _STAGES:
        return [Problem(*_STAGES[trial.stage])]
    return [_why_no_namespaces(proc, trial.stderr)]


def rehearsal() -> Trial:
    """Make namespaces like the lab's for a moment and try in them what the lab will need."""
    try:
        done = subprocess.run(
            [*UNSHARE, "sh", "-c", _TRIAL, sys.executable], capture_output=True, text=True, timeout=_TRIAL_TIMEOUT_S,
            env=child_environment(), stdin=subprocess.DEVNULL, check=False,
        )
    except subprocess.TimeoutExpired:
        return Trial("unshare", "no answer in time")
    words = done.stdout.split()
    return Trial(words[-1] if words else "unshare", done.stderr.strip())


def _why_no_namespaces(proc: Path, stderr: str) -> Problem:
    settings = (
        ("sys/user/max_user_namespaces", "0",
         "user namespaces are switched off (user.max_user_namespaces = 0)",
         "as root: sysctl -w user.max_user_namespaces=15000"),
        ("sys/kernel/unprivileged_userns_clone", "0",
         "user namespaces are kept from ordinary users (kernel.unprivileged_userns_clone = 0)",
         "as root: sysctl -w kernel.unprivileged_userns_clone=1"),
        ("sys/kernel/apparmor_restrict_unprivileged_userns", "1",
         "AppArmor keeps users from user namespaces (kernel.apparmor_restrict_unprivileged_userns = 1)",
         "as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or a profile with `userns,`"),
    )
    for path, bad, what, remedy in settings:
        if _read(proc / path) == bad:
            return Problem(what, remedy)
    if "Seccomp:\t2" in _read(proc / "self/status"):
        return Problem(
            "a seccomp filter, as containers have, refuses new namespaces",
            "start the container with --privileged or --security-opt seccomp=unconfined",
        )
    reason = stderr[:200] or "without a word"
    return Problem(f"unshare failed ({reason})", "run as root, or on another machine")


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
