"""The commands of the table are safe to copy: known tools, nothing that destroys, every value quoted."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetprobe.codes.code import Code, Severity
from fleetprobe.codes.command import CHAIN_FILE, CHAIN_INSTALLED, GET, HANDSHAKE, PLACEHOLDERS, fill
from fleetprobe.codes.table import ROWS

Values = Mapping[str, str | int | None]

NAME_TARGET: Values = {
    "host": "web.example", "address": "192.0.2.10", "port": 443, "name": "web.example",
    "sni": "web.example", "path": "/health?full=1&x=2", "service": "https", "family": 4,
    "mtu": 1400, "mss": 1360, "mss4": 1360, "mss6": None, "gateway": "192.0.2.1",
    "chain": "fixes/AB.pem", "anchors": "/etc/our root.pem",
}
LITERAL_TARGET: Values = {
    "host": "2001:db8::10", "address": "2001:db8::10", "port": 443, "name": None,
    "sni": None, "path": "/", "service": "https", "family": 6,
}
LOOKING_TOOLS = {
    "cat", "curl", "date", "dig", "fleetprobe", "getent", "grep", "ip", "mtr", "nc", "openssl", "ping",
    "resolvectl", "ss", "ssh", "sysctl", "timedatectl", "timeout", "tracepath", "ulimit", "uptime",
    "sudo nft", "sudo tcpdump", "sudo arping",
}
MENDING_TOOLS = {"sudo sysctl -w", "sudo nft add", "sudo nft insert", "sudo timedatectl set-ntp",
                 "sudo ip -{family} route flush cache", "sudo resolvectl flush-caches", "ulimit -Sn",
                 "sudo iptables -t mangle -A FORWARD", "sudo ip6tables -t mangle -A FORWARD",
                 "sudo ip route add {bare}",
                 CHAIN_FILE, CHAIN_INSTALLED}
CHANGES = re.compile(
    r"\b(rm|mv|dd|kill|pkill|reboot|shutdown|mkfs|add|del|delete|set|change|replace|insert|flush|restart|stop)\b"
    r"|sysctl -w|\bss -\w*K|flush-caches|>(?!/dev/null)|[;&`]|\$\((?!\()"
)

FAULTS = [row for row in ROWS if row.severity is Severity.FAIL]

REMOTE_TOOLS = {"ss", "nstat", "sysctl"}
PIPED_TOOLS = {"cat -v", "wc -l", "openssl x509"}

each_code = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
each_fault = pytest.mark.parametrize("row", FAULTS, ids=lambda row: row.name)


@each_code
def test_only_the_agreed_placeholders_occur(row: Code) -> None:
    for template in (*row.confirm, *row.fix_commands):
        assert set(re.findall(r"\{(.*?)\}", template)) <= PLACEHOLDERS, template
        assert template == " ".join(template.split())


@each_code
def test_placeholders_stand_outside_quotes_so_that_filling_may_quote(row: Code) -> None:
    for template in (*row.confirm, *row.fix_commands):
        quoted = re.findall(r"'[^']*'|\"[^\"]*\"", template)
        assert not any("{" in text for text in quoted), template


@each_fault
def test_every_fault_can_be_verified_by_hand(row: Code) -> None:
    # A line that names no target leaves nothing to try: it is the one exception.
    assert bool(row.confirm) is (row.name != "input.invalid")


@each_code
def test_commands_that_confirm_use_known_tools_and_only_look(row: Code) -> None:
    for template in row.confirm:
        words = template.split(" ")
        tool = " ".join(words[:2]) if words[0] == "sudo" else words[0]
        assert tool in LOOKING_TOOLS, template
        assert not CHANGES.search(template), template
        assert tool != "sudo nft" or words[2] == "list"
        assert tool != "ssh" or words[2] in REMOTE_TOOLS
        assert {" ".join(part.split()[:2]) for part in template.split("|")[1:]} <= PIPED_TOOLS


@each_code
def test_commands_that_mend_are_of_the_few_that_destroy_nothing(row: Code) -> None:
    for template in row.fix_commands:
        assert any(template.startswith(known) for known in MENDING_TOOLS), template


@pytest.mark.parametrize("target", [NAME_TARGET, LITERAL_TARGET], ids=["name", "IPv6 literal"])
def test_every_filled_command_is_valid_shell(target: Values) -> None:
    filled = [fill(template, target) for row in ROWS for template in (*row.confirm, *row.fix_commands)]
    script = "\n".join(command for command in filled if command is not None)
    assert script.count("\n") > 100
    checked = subprocess.run(
        ["sh", "-n"], input=script, text=True, capture_output=True, timeout=20, check=False,
    )
    assert checked.stderr == ""
    assert checked.returncode == 0


@each_fault
def test_every_fault_keeps_a_command_for_the_target_it_can_happen_to(row: Code) -> None:
    target = NAME_TARGET if row.layer == "dns" else LITERAL_TARGET
    assert any(fill(template, target) for template in row.confirm) is (row.name != "input.invalid")


def test_an_ipv6_literal_gets_brackets_only_before_a_colon() -> None:
    assert fill("nc {address} {port}", LITERAL_TARGET) == "nc 2001:db8::10 443"
    with_colon = fill("ss dst {address}:{port}", LITERAL_TARGET) or ""
    assert shlex.split(with_colon) == ["ss", "dst", "[2001:db8::10]:443"]


def test_the_server_name_option_goes_when_there_is_no_server_name() -> None:
    assert fill(HANDSHAKE, LITERAL_TARGET) == (
        "openssl s_client -connect '[2001:db8::10]':443 -showcerts </dev/null"
    )
    assert fill(HANDSHAKE, NAME_TARGET) == (
        "openssl s_client -connect 192.0.2.10:443 -servername web.example -showcerts </dev/null"
    )


def test_a_command_without_its_operand_is_not_said() -> None:
    assert fill("dig {name} A", LITERAL_TARGET) is None
    assert fill("grep -nFw {name} /etc/hosts", LITERAL_TARGET) is None
    assert fill(GET, {**NAME_TARGET, "path": None}) is None
    assert fill("nc {address}", {}) is None


def test_an_unknown_placeholder_is_a_bug() -> None:
    with pytest.raises(KeyError, match="router"):
        fill("ping {router}", NAME_TARGET)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_no_value_can_break_out_of_its_word(value: str) -> None:
    filled = fill("curl {service}://web{path} --end", {"service": "http", "path": value})
    assert filled is not None
    assert shlex.split(filled) == ["curl", f"http://web{value}", "--end"]


@given(st.text(min_size=1, max_size=40))
def test_a_value_that_looks_like_a_placeholder_is_not_filled_again(value: str) -> None:
    text = "{port}" + value.replace("\0", "")
    assert shlex.split(fill("echo {path}", {"path": text, "port": 1}) or "") == ["echo", text]
