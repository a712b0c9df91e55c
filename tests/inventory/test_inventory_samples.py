"""The sample inventories of the repository: every good file is wholly good, every hostile line is named."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from fleetprobe.inventory.fields import FIELDS
from fleetprobe.inventory.read import entries
from fleetprobe.model.target import BadLine, Target

SAMPLES = Path(__file__).parents[2] / "inventories"

DOCUMENTATION = [
    ipaddress.ip_network(text)
    for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "fe80::/10")
]

GOOD = {
    "lines.txt": 28,
    "cmdb.csv": 4,
    "asset-export.csv": 3,
    "fleet.jsonl": 5,
    "fleet.yaml": 6,
    "services.yaml": 3,
}

HOSTILE = [
    "no port is given",
    "zero",
    "too large",
    "too large",
    "not a plain decimal",
    "not in ASCII digits",
    "not in ASCII digits",
    "leading zero",
    "is empty",
    "host is empty",
    "write 127.0.0.1",
    "write 127.0.0.1",
    "write 127.0.0.1",
    "write 127.0.0.1",
    "write 127.0.0.1",
    "write 127.0.0.1",
    "ends in a number but is no IPv4 address",
    "write 192.0.2.1",
    "without brackets everything is address",
    "only link-local addresses take one",
    "not an interface name",
    "not an interface name",
    "brackets not around an IPv6 address",
    "brackets not around an IPv6 address",
    "no user name or password",
    "no user name or password",
    "no user name or password",
    "unknown scheme 'gopher'",
    "tls has no usual port",
    "ssh takes no path",
    "a path but no scheme",
    "an empty label",
    "starts or ends with a hyphen",
    "holds '!'",
    "not a valid IDNA 2008 name",
    "not a valid IDNA 2008 name",
    "a label of 64 octets",
    "304 characters",
    "names 1073741822 targets",
    "names 18446744073709551615 targets",
    "the network is 192.0.2.0/24",
    "no network",
    "runs backwards",
    "not a range",
    "runs backwards",
    "is empty",
    "did you mean port?",
    "not key=value",
    "given twice",
    "unknown service 'gopher'",
    "the scheme says https, the field service ssh",
    "one port and the field port another",
    "expect_status means nothing to service tcp",
    "sni means nothing to service ssh",
    "not like 200",
    "runs backwards",
    "timeout '0'",
    "timeout 'nan'",
    "timeout '61'",
    "neither any nor all",
    "takes no port",
    "must be a name",
    "does not start with a slash",
    "leaves the inventory's directory",
    "not key=value",
    "port '99999' is too large",
    "takes no scheme",
    "U+0000",
    "U+001B",
    "white space",
    "U+2028",
    "not UTF-8",
]


def mapping_for(name: str) -> dict[str, str]:
    return {"host": "ip", "port": "svc port"} if name == "asset-export.csv" else {}


@pytest.mark.parametrize(("name", "count"), list(GOOD.items()))
def test_a_sample_has_no_bad_line_and_only_documentation_addresses(name: str, count: int) -> None:
    found = list(entries([str(SAMPLES / name)], mapping=mapping_for(name)))
    assert [entry for entry in found if isinstance(entry, BadLine)] == []
    assert len(found) == count
    for entry in found:
        assert isinstance(entry, Target)
        for host in filter(None, (entry.host, entry.connect_to)):
            assert is_reserved(host), host


def is_reserved(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.endswith((".example.net", ".test"))
    return any(address in block for block in DOCUMENTATION)


def test_every_hostile_line_is_refused_for_its_own_reason() -> None:
    found = list(entries([str(SAMPLES / "hostile.txt")]))
    assert [entry for entry in found if isinstance(entry, Target)] == []
    assert [entry.source for entry in found] == [
        f"{SAMPLES / 'hostile.txt'}:{n}" for n in range(2, len(HOSTILE) + 2)
    ]
    for entry, fragment in zip(found, HOSTILE, strict=True):
        assert isinstance(entry, BadLine)
        assert fragment in entry.reason, entry
        assert "hunt" not in entry.reason + entry.raw


def test_every_sample_has_a_test_and_a_line_in_the_readme() -> None:
    names = {path.name for path in SAMPLES.iterdir()} - {"README.md"}
    assert names == {*GOOD, "hostile.txt"}
    readme = (SAMPLES / "README.md").read_text()
    assert [name for name in names if f"`{name}`" not in readme] == []
    assert [field for field in FIELDS if f"| `{field}` |" not in readme] == []
