"""What curl, openssl s_client, testssl.sh, sslyze and we say of the servers of the zoo, beside the truth.

    python -m benchmarks.tls_tools docs/tls-tools.md [--without TOOL]

Takes about a quarter of an hour on a machine that has nothing else to do, nearly all of it testssl.sh, which a busy one
had better leave out. Each command has a time limit; what is not installed (`make tls-tools` does that) is left out and
named. All of them are told the address, so that no name is resolved, and
nothing outside of this machine is asked: no proxies, no revocation lists, no OCSP. Whether a tool names the right cause
is judged by the words of `benchmarks/tls_words.py`. Tools work with one server at a time, some servers side by side.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.tls_words import names_the_cause
from fleetprobe.inventory.hosts import canonical_host
from fleetprobe.lab.programs import child_environment, find_program
from tests.zoo.book import Server
from tests.zoo.scan import scan, verdicts
from tests.zoo.stand import Zoo, standing

_AT_ONCE = 6
_TEXT_CHARS = 110
NOT_ASKED = "-"
LEFT_OUT: set[str] = set()
"""Programs that are passed over, by order of whoever runs this."""
_OUR_DIALOGUE = ("imap", "pop3")
"""In the zoo these follow the words that we say, tags and all: another client would be lost."""
STARTTLS = ("smtp", "imap", "pop3", "ftp", "postgres", "mysql", "ldap", "xmpp")
_OWN_TOOLS = Path(__file__).parent.parent / ".venv" / "tools" / "bin"
"""Where `.ci/lab-tools --bench` puts what is no package of the system."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One server, as a tool is pointed at it."""

    server: Server
    name: str
    """The name, or address, that is verified; names in ASCII (IDNA 2008)."""
    trust: Path
    report: Path
    """A file that only this command writes to."""

    @property
    def endpoint(self) -> str:
        """Address and port, an IPv6 address in brackets."""
        address = self.server.address
        return f"{f'[{address}]' if ':' in address else address}:{self.server.port}"

    @property
    def starttls(self) -> str | None:
        """The service that begins in plain text; None where TLS comes first."""
        scheme = self.server.target.partition("://")[0]
        return None if scheme in ("http", "https", "tls") else scheme

    @property
    def literal(self) -> bool:
        """Whether it is asked for by address, so that no server name is sent."""
        return self.name == self.server.address

    @property
    def asked(self) -> str:
        """As in a URL."""
        return f"{f'[{self.name}]' if ':' in self.name else self.name}:{self.server.port}"


@dataclass(frozen=True, slots=True)
class Tool:
    """One column of the table."""

    title: str
    program: str
    argv: Callable[[Ask, str], list[str]]
    """From what is asked, and the program's path."""
    told: Callable[[Ask, str, int], str]
    """From all that it printed and its exit code to a few words; `ok` if it has nothing to say."""
    limit_s: float
    each: int | None = None
    """How many servers of the same cause it is asked about; None: all."""
    knows_not: tuple[str, ...] = ()
    """Services in which it cannot begin TLS, or goes on to more than that."""


def _curl(ask: Ask, program: str) -> list[str]:
    scheme = "http" if ask.server.target.startswith("http://") else "https"
    host = ask.server.fields.get("host_header")
    header = ["-H", f"Host: {host}"] if host else []
    return [program, "-sS", "-o", "/dev/null", "-w", "%{http_code}\\n", "-m", "5", "--noproxy", "*", "--cacert",
            str(ask.trust), *header, "--connect-to", f"::{ask.endpoint}", f"{scheme}://{ask.asked}/"]


def _curl_told(_ask: Ask, text: str, code: int) -> str:
    said = re.search(r"^curl: (\(\d+\).*)$", text, re.MULTILINE)
    if said:
        return said[1]
    status = (re.findall(r"^(\d{3})$", text, re.MULTILINE) or ["none"])[-1]
    return "ok" if status == "200" else f"HTTP {status}"


def _s_client(ask: Ask, program: str) -> list[str]:
    named = ["-noservername", "-verify_ip", ask.name] if ask.literal else [
        "-servername", ask.name, "-verify_hostname", ask.name,
    ]
    begun = ["-starttls", ask.starttls] if ask.starttls else []
    trusted = ["-CAfile", str(ask.trust), "-no-CApath", "-no-CAstore"]
    return [program, "s_client", "-brief", "-connect", ask.endpoint, *begun, *named, *trusted]


def _s_client_told(_ask: Ask, text: str, code: int) -> str:
    numbers = list(dict.fromkeys(re.findall(r"verify error:num=(\d+):", text)))
    verdict = re.search(r"Verification error: (.*)", text)
    if numbers:
        return f"{', '.join(numbers)}: {verdict[1] if verdict else _broken(text)}"
    if "CONNECTION ESTABLISHED" in text:
        late = _broken(text)
        return f"{verdict[1]}" if verdict else late or "ok"
    return _broken(text) or f"exit {code}"


def _broken(text: str) -> str:
    """The reason in OpenSSL's queue of errors (ERR_print_errors(3)), or the kernel's."""
    reasons = re.findall(r":error:[0-9A-F]+:[^:]*:[^:]*:([^:]+):", text)
    system = re.findall(r"(?:write|read|connect):errno=(\d+)", text)
    return reasons[-1] if reasons else f"errno {system[-1]} ({os.strerror(int(system[-1]))})" if system else ""


def _testssl(ask: Ask, program: str) -> list[str]:
    six = ["-6"] if ":" in ask.server.address else []
    quiet = ["--nodns", "none", "--warnings", "off", "--color", "0", "-q"]
    begun = ["--starttls", ask.starttls] if ask.starttls else []
    limits = ["--openssl-timeout", "4", "--connect-timeout", "4"]
    return [program, *six, "--ip", ask.server.address, *quiet, *limits, *begun, "-S", "--add-ca", str(ask.trust),
            "--jsonfile", str(ask.report), ask.asked]


_TESTSSL_IDS = (
    "scanProblem", "cert_trust", "cert_chain_of_trust", "cert_expirationStatus", "cert_notBefore", "cert_keySize",
    "cert_signatureAlgorithm", "certs_list_ordering_problem", "cert_extKeyUsage", "cert_keyUsage",
    "cert_mustStapleExtension", "cert_subjectAltName",
)
_FINE = ("OK", "INFO", "LOW")


def _testssl_told(ask: Ask, text: str, code: int) -> str:
    found = [one for one in _json(ask.report, []) if one["id"].split(" ")[0] in _TESTSSL_IDS]
    bad = [f"{one['id'].split(' ')[0].removeprefix('cert_')}: {one['finding'].strip()}" for one in found
           if one["severity"] not in _FINE]
    if bad:
        return "; ".join(bad)
    if fatal := re.search(r"(?:Fatal error: |doesn't seem|Oops: )(.*)", text):
        return fatal[0]
    judged = any(one["id"].startswith("cert_chain_of_trust") for one in found)
    return "ok" if judged else f"exit {code}, no verdict"


def _sslyze(ask: Ask, program: str) -> list[str]:
    begun = ["--starttls", ask.starttls] if ask.starttls else []
    quiet = ["--mozilla_config", "disable", "--quiet"]
    return [program, *begun, "--certinfo", "--certinfo_ca_file", str(ask.trust), *quiet, "--json_out", str(ask.report),
            f"{ask.asked}{{{ask.server.address}}}"]


def _sslyze_told(ask: Ask, text: str, code: int) -> str:
    report = _json(ask.report, {})
    results = report.get("server_scan_results") or []
    if not results:
        return f"exit {code}, no verdict"
    if results[0]["connectivity_status"] != "COMPLETED":
        last = (results[0]["connectivity_error_trace"] or "?").strip().splitlines()[-1]
        return last.rpartition(" -> ")[2].strip('"')
    attempt = results[0]["scan_result"]["certificate_info"]
    if attempt["status"] != "COMPLETED":
        return f"error: {(attempt.get('error_trace') or '?').strip().splitlines()[-1]}"
    deployment = attempt["result"]["certificate_deployments"][0]
    paths = deployment["path_validation_results"]
    ours = next(one for one in paths if one["trust_store"]["name"].startswith("Supplied"))
    error = re.sub(r" \(encountered.*", "", ours["validation_error"] or "?")
    said = [] if ours["was_validation_successful"] else [error]
    if deployment["received_chain_has_valid_order"] is False:
        said.append("chain out of order")
    if deployment["received_chain_contains_anchor_certificate"]:
        said.append("chain contains its anchor")
    if deployment["verified_chain_has_sha1_signature"]:
        said.append("SHA1 in the chain")
    return "; ".join(said) or "ok"


def _json(report: Path, otherwise: Any) -> Any:
    try:
        return json.loads(report.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return otherwise


TOOLS = (
    Tool("curl", "curl", _curl, _curl_told, 10.0, knows_not=STARTTLS),
    Tool("openssl s_client", "openssl", _s_client, _s_client_told, 8.0, knows_not=_OUR_DIALOGUE),
    Tool("testssl.sh", "testssl", _testssl, _testssl_told, 180.0, each=1, knows_not=_OUR_DIALOGUE),
    Tool("sslyze", "sslyze", _sslyze, _sslyze_told, 30.0, knows_not=("mysql", *_OUR_DIALOGUE)),
)


def find_tool(name: str) -> str | None:
    """Full path of a program of the system, or of those that were installed for this table alone."""
    if name in LEFT_OUT:
        return None
    own = _OWN_TOOLS / name
    return str(own) if own.exists() else find_program(name)


def ask_one(tool: Tool, ask: Ask) -> str:
    """One cell."""
    program = find_tool(tool.program)
    plain = ask.server.target.startswith("http://")
    if program is None or (tool.title != "curl" if plain else ask.starttls in tool.knows_not):
        return NOT_ASKED
    environment = {name: value for name, value in child_environment().items() if not name.lower().endswith("_proxy")}
    try:
        done = subprocess.run(
            tool.argv(ask, program), env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=tool.limit_s, check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no end in {tool.limit_s:.0f} s"
    # Our names are made of the words by which causes are known.
    return tool.told(ask, done.stdout + done.stderr, done.returncode).replace(ask.name, "NAME")


def cells_of(zoo: Zoo, server: Server, folder: Path) -> dict[str, str]:
    """What each tool says of one server, one after the other."""
    name = canonical_host(str(server.fields.get("sni", server.host)))
    trust = zoo.directory / f"{server.trust}.pem"
    alike = [one.name for one in zoo.servers if one.causes == server.causes]
    cells = {}
    for tool in TOOLS:
        wanted = tool.each is None or server.name in alike[: tool.each]
        ask = Ask(server, name, trust, folder / f"{server.name}-{tool.program}.json")
        cells[tool.title] = ask_one(tool, ask) if wanted else NOT_ASKED
    return cells


def table(zoo: Zoo, ours: Mapping[str, Sequence[str]], cells: Mapping[str, Mapping[str, str]]) -> str:
    """The page."""
    titles = ["fleetprobe", *(tool.title for tool in TOOLS)]
    rows, right, asked = [], dict.fromkeys(titles, 0), dict.fromkeys(titles, 0)
    for server in zoo.servers:
        told = {"fleetprobe": _ours(ours[server.name]), **cells[server.name]}
        named = [
            title for title in titles
            if told[title] != NOT_ASKED and names_the_cause(server, title, told[title], ours[server.name])
        ]
        for title in titles:
            right[title] += title in named
            asked[title] += told[title] != NOT_ASKED
        words = (_cell(told[title]) for title in titles)
        rows.append(" | ".join([f"| `{server.name}`", server.truth, *words, ", ".join(named) or "none"]) + " |")
    missing = [tool.title for tool in TOOLS if find_tool(tool.program) is None]
    counts = ", ".join(f"{title} {right[title]} of {asked[title]}" for title in titles if asked[title])
    head = " | ".join(["| server", "the truth", *titles, "who names it"]) + " |"
    summary = f"Servers, and how many are named rightly: {counts}."
    lines = [*_PREFACE, _versions(missing), "", summary, "", head, "|---" * (len(titles) + 3) + "|", *rows]
    return "\n".join(lines) + "\n"


_PREFACE = (
    "# What common tools say of broken certificates and handshakes", "",
    "Made by `make tls-tools` on the zoo of `tests/zoo`: servers of nginx, `openssl s_server` and our own on",
    "loopback. Each tool is given the address, the name and the roots that the target trusts; its verdict is",
    "shortened. The last column says whose words tell this cause from others, by the table in",
    "`benchmarks/tls_words.py`: a text that is the same for two causes names neither. Where nothing is the matter,",
    "`ok` is right and any complaint is wrong. The tools see one server each; fleetprobe sees all of them in one",
    "scan, and so knows what another server presents. testssl.sh, which is slow, is asked about the first server",
    "of each cause; `-` stands for what was not asked.", "",
)


def _versions(missing: Sequence[str]) -> str:
    said = {
        "curl": _version("curl", "--version"), "openssl": _version("openssl", "version"),
        "testssl.sh": _version("testssl", "--version", r"testssl(?:\.sh)?\s+(\d[\w.]*)"),
        "sslyze": _version("sslyze", "--help", r"SSLyze version (\d[\w.]*)"),
    }
    found = ", ".join(f"{name} {version}" for name, version in said.items() if version)
    left_out = f" Left out: {', '.join(missing)}." if missing else ""
    return f"Linux {re.split(r'[^0-9.]', platform.release())[0]}, {found}.{left_out}"


def _version(name: str, flag: str, pattern: str = r"(\d+(?:\.\d+)+)") -> str | None:
    program = find_tool(name)
    if program is None:
        return None
    done = subprocess.run(
        [program, flag], capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, check=False,
        timeout=60,
    )
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else "?"


def _ours(verdict: Sequence[str]) -> str:
    state, code, confidence, *findings = verdict
    warned = [one for one in findings if one != code]
    return ", ".join(filter(None, (code or state, confidence, f"with {' and '.join(warned)}" if warned else "")))


def _cell(text: str) -> str:
    one_line = " ".join(text.split()).replace("|", "/").replace("<", "(").replace(">", ")")
    return one_line if len(one_line) <= _TEXT_CHARS else f"{one_line[:_TEXT_CHARS - 3]}..."


def main(argv: Sequence[str]) -> int:
    """Write the page to the file named, or to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", nargs="?")
    parser.add_argument("--without", action="append", default=[], choices=[tool.program for tool in TOOLS])
    options = parser.parse_args(argv)
    LEFT_OUT.update(options.without)
    with tempfile.TemporaryDirectory(prefix="fleetprobe-tls-") as state:
        folder = Path(state)
        (folder / "zoo").mkdir()
        with standing(folder / "zoo") as zoo:
            ours = verdicts(scan(zoo, folder / "ours.jsonl"))
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                told = pool.map(lambda server: (server.name, cells_of(zoo, server, folder)), zoo.servers)
                cells = dict(told)
            text = table(zoo, ours, cells)
    if options.page:
        Path(options.page).write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
