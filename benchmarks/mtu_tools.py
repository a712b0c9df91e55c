"""What ping, tracepath, nmap, scamper, curl and we say of the laboratory's path MTU faults, beside the truth.

    python -m benchmarks.mtu_tools docs/mtu-tools.md

Takes about two minutes and a half. Each command has 20 s; what is not installed (`make mtu-tools` does that) is left
out and named. The tools run with all capabilities, inside the scenario's own client, fleetprobe with none. Every
exchange over TCP comes before the probes, since what a router says to a probe is remembered by the whole client.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fleetprobe.lab.fleet import load_fleet
from fleetprobe.lab.lab import Lab
from fleetprobe.lab.programs import child_environment, find_program
from fleetprobe.lab.scenario import Scenario

_COMMAND_S = 20.0
_CURL_S = 5
_NOTABLE_S = 0.95
"""From here on it is worth saying how long curl took."""
_AT_ONCE = 5
"""Scenarios; nearly all of their time is waiting."""

SUBJECTS = {
    "healthy-web-server": "1500 both ways",
    "mtu-reduced-both-ways": "1400 both ways, routers say so: works",
    "mtu-clamped-icmp-filtered": "1400 both ways, nobody says so, segments clamped: TCP works, UDP does not",
    "mtu-hole-forward-icmp-filtered": "hole to the server above 1400, ICMP dropped",
    "mtu-hole-forward-silent": "hole to the server above 1400, silent",
    "mtu-hole-reverse-icmp-filtered": "hole from the server above 1400, ICMP dropped",
    "mtu-hole-reverse-silent": "hole from the server above 1400, silent",
    "mtu-hole-both-icmp-filtered": "hole both ways above 1400, ICMP dropped",
    "mtu-hole-both-silent": "hole both ways above 1400, silent",
    "mtu-hole-masked": "hole from the server above 1400, ICMP dropped; the server probes (tcp_mtu_probing)",
}
"""Scenario to what is true of its path."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One column of the table."""

    title: str
    scheme: str
    """Which target of a scenario it is pointed at: `http` or `https`."""
    argv: Callable[[str, str, str], list[str]]
    """From address, URL and the file of the authority to trust."""
    told: Callable[[str], str]
    """From all that it printed to a few words."""
    ours: bool = False
    """Needs no privilege, so gets none; else it gets all that we have."""


def _v6(address: str) -> bool:
    return ":" in address


def _family(address: str) -> str:
    return "-6" if _v6(address) else "-4"


def _curl(_address: str, url: str, ca_file: str) -> list[str]:
    words = "%{http_code} %{size_download} %{time_total}\\n"
    return ["curl", "-sS", "-m", str(_CURL_S), "--cacert", ca_file, "-o", "/dev/null", "-w", words, url]


def _curl_told(text: str) -> str:
    code, size, seconds = re.findall(r"^(\d{3}) (\d+) ([\d.]+)$", text, re.MULTILINE)[-1]
    after = f" in {float(seconds):.0f} s" if float(seconds) >= _NOTABLE_S else ""
    return f"{'hangs' if 'curl: (' in text else code}, {size} bytes{after}"


def _ours(_address: str, url: str, ca_file: str) -> list[str]:
    return [sys.executable, "-m", "fleetprobe", "scan", "-o", "-", "-q", "--no-config", "--ca-file", ca_file, url]


def _ours_told(text: str) -> str:
    rows = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    row = next(row for row in rows if row["kind"] == "result")
    warned = [finding["code"] for finding in row["findings"] if finding["code"].startswith("mtu.")]
    size = filter(None, (row["path_mtu_direction"], str(row["path_mtu_bytes"] or "")))
    verdict = row["state"] if row["state"] == "ok" else row["code"]
    others = " and ".join(code for code in warned if code != row["code"])
    words = (verdict, f"warns {others}" if others else "", " ".join(size) if row["path_mtu_bytes"] else "")
    return ", ".join(filter(None, words))


def _ping(address: str, _url: str, _ca_file: str) -> list[str]:
    # 1500 bytes on the wire: 8 of ICMP, and 40 or 20 of IP.
    return ["ping", _family(address), "-n", "-M", "do", "-c", "2", "-W", "1", "-s", "1452" if _v6(address) else "1472",
            address]


def _ping_told(text: str) -> str:
    size = re.search(r"mtu ?[=:] ?(\d+)", text)
    answers = re.search(r"(\d+) received", text)
    return f"too big, {size[1]}" if size else "fine" if answers and int(answers[1]) else "100 % loss"


def _tracepath_told(text: str) -> str:
    sizes = re.findall(r"pmtu (\d+)", text)
    return f"{sizes[-1]}{'' if 'reached' in text else ', not reached'}" if sizes else "nothing"


def _nmap_told(text: str) -> str:
    found = re.search(r"path-mtu: (.+)", text)
    return found[1] if found else "nothing"


def _scamper_told(text: str) -> str:
    """Of lines as ` 2  198.18.12.2  0.049 ms [*mtu: 1400]`; the star is for a size that nobody told."""
    hops = re.findall(r"^ *(\d+) .*\[(\*?)mtu: (\d+)\]", text, re.MULTILINE)
    if not hops:
        return "nothing"
    size = hops[-1][2]
    at, star = next((hop, star) for hop, star, mtu in hops if mtu == size)
    return size if size == hops[0][2] else f"{size} from hop {at}{', unsaid' if star else ''}"


TOOLS = (
    Tool("curl http", "http", _curl, _curl_told),
    Tool("curl https", "https", _curl, _curl_told),
    Tool("fleetprobe http", "http", _ours, _ours_told, ours=True),
    Tool("fleetprobe https", "https", _ours, _ours_told, ours=True),
    Tool("ping -M do, 1500", "http", _ping, _ping_told),
    # No more hops than it takes to see that nothing comes: each that does not answer costs three seconds.
    Tool("tracepath", "http", lambda a, _u, _c: ["tracepath", _family(a), "-n", "-m", "5", a], _tracepath_told),
    Tool(
        "nmap path-mtu", "http",
        lambda a, _u, _c: ["nmap", *(["-6"] if _v6(a) else []), "-n", "-Pn", "-p", "80", "--script", "path-mtu", a],
        _nmap_told,
    ),
    # Plain UDP, as its usual kind of probe hears no answer over IPv6 here; one second for each, not five.
    Tool(
        "scamper trace -M", "http", lambda a, _u, _c: ["scamper", "-I", f"trace -M -P udp -w 1 {a}"], _scamper_told,
    ),
)
"""In the order in which they run."""


def ask(lab: Lab, scenario: Scenario, tool: Tool, v6: bool) -> str:
    """One cell: what a tool says of a scenario in one family."""
    url, address = _target(scenario, tool.scheme, v6)
    argv = tool.argv(address, url, str(lab.ca_file))
    if find_program(argv[0]) is None:
        return "-"
    command = lab.command(scenario.run.vantage, argv, drop_privileges=tool.ours)
    environment = child_environment() if tool.ours else lab.environment()
    try:
        done = subprocess.run(
            command if tool.ours else list(_with_our_own_user(command)), env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=_COMMAND_S, check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no end in {_COMMAND_S:.0f} s"
    return tool.told(done.stdout + done.stderr)


def _with_our_own_user(command: Sequence[str]) -> Iterator[str]:
    """Root stays the machine's own root, for scamper gives up rights in a way that the lab's user namespace refuses."""
    for word in command:
        if os.geteuid() != 0 or word not in ("--user", "--preserve-credentials"):
            yield word


def _target(scenario: Scenario, scheme: str, v6: bool) -> tuple[str, str]:
    """URL and address of the first target with a literal address of the family."""
    for target in scenario.targets:
        found = re.fullmatch(rf"{scheme}://(\[(?P<six>[^]]+)\]|(?P<four>[\d.]+))/?", target.target)
        if found and (found["six"] is not None) == v6:
            return target.target, found["six"] or found["four"]
    address = scenario.server_addresses[0 if v6 else -1]
    return f"{scheme}://{f'[{address}]' if v6 else address}/", address


def rows_of(lab: Lab, scenario: Scenario) -> list[str]:
    """The rows of one scenario, IPv4 first."""
    rows = []
    for v6 in (False, True):
        cells = [ask(lab, scenario, tool, v6) for tool in TOOLS]
        rows.append(" | ".join([f"| {SUBJECTS[scenario.name]}", "IPv6" if v6 else "IPv4", *cells]) + " |")
    return rows


def table(rows: Sequence[str]) -> str:
    """The page, with the versions of the tools and the kernel it was made with."""
    missing = [tool.title for tool in TOOLS if find_program(tool.argv("::1", "", "")[0]) is None]
    head = " | ".join(["| the truth", "", *(tool.title for tool in TOOLS)]) + " |"
    lines = [
        "# What common tools say of path MTU faults", "",
        "Made by `make mtu-tools` in the laboratory: two or three hops, every link 1500 bytes wide, the narrow place",
        "made by a router in the middle. `hangs` means that the answer had not come when the time was over. Requests",
        "are small; answers take 6 kB over http, and a handshake's flight some 4 kB over https. The nmap script knows",
        "only IPv4. A size that scamper inferred from silence is `unsaid`. fleetprobe has no privilege, the other",
        "tools have all.", "",
        f"Linux {_number(platform.release())}, ping and tracepath of iputils {_version('ping', '-V')}, "
        f"curl {_version('curl', '--version')}, nmap {_version('nmap', '--version')}, "
        f"scamper {_version('scamper', '-v')}."
        + (f" Not installed there, so left out (-): {', '.join(missing)}." if missing else ""), "",
        head, "|---" * (len(TOOLS) + 2) + "|", *rows,
    ]
    return "\n".join(lines) + "\n"


def _version(program: str, flag: str) -> str:
    path = find_program(program)
    if path is None:
        return "(not installed)"
    done = subprocess.run([path, flag], capture_output=True, text=True, timeout=_COMMAND_S, check=False)
    return _number(done.stdout + done.stderr)


def _number(text: str) -> str:
    """The first version number, without what a distributor or a machine adds to it."""
    found = re.search(r"\d+(\.\d+)*", text)
    return found[0] if found else "?"


def main(argv: Sequence[str]) -> int:
    """Write the table to the file named, or to standard output."""
    with tempfile.TemporaryDirectory(prefix="fleetprobe-mtu-") as state:
        lab = Lab("mtu-tools", Path(state))
        lab.up(only=list(SUBJECTS), ephemeral=True)
        try:
            by_name = {scenario.name: scenario for scenario in load_fleet(only=list(SUBJECTS))}
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                found = list(pool.map(lambda name: rows_of(lab, by_name[name]), SUBJECTS))
        finally:
            lab.down()
    text = table([row for rows in found for row in rows])
    if argv:
        Path(argv[0]).write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
