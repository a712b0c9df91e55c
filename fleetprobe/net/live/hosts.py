"""The hosts file: names that this machine answers for itself before any nameserver is asked (hosts(5))."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fleetprobe.net.interface import Address

SIZE_LIMIT_BYTES = 16 * 1024 * 1024
"""Block lists reach a few megabytes; what stands beyond this is not read."""
ADDRESSES_PER_NAME = 64


@dataclass(frozen=True, slots=True)
class HostsEntry:
    """Every address that the file gives to one name."""

    addresses: tuple[Address, ...]
    """In file order, each once, at most 64."""
    line: str
    """`path:line` of the first line that names it."""


@dataclass(frozen=True, slots=True)
class Hosts:
    """A hosts file as read once."""

    entries: Mapping[str, HostsEntry]
    """By name in lower case without trailing dot."""

    def lookup(self, name: str, families: frozenset[int]) -> HostsEntry | None:
        """What the file says about a name in the families asked, or None."""
        entry = self.entries.get(name.lower().removesuffix("."))
        if entry is None:
            return None
        wanted = tuple(address for address in entry.addresses if address.family in families)
        return HostsEntry(wanted, entry.line) if wanted else None


def read_hosts(path: str) -> Hosts:
    """Read a hosts file; one that is absent or unreadable counts as empty, as in libc."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(SIZE_LIMIT_BYTES + 1)
    except OSError:
        return Hosts({})
    if len(content) > SIZE_LIMIT_BYTES:
        content = content[: content.rfind(b"\n", 0, SIZE_LIMIT_BYTES) + 1]
    return Hosts(_entries(path, content.split(b"\n")))


def _entries(path: str, lines: Iterable[bytes]) -> dict[str, HostsEntry]:
    found: dict[str, HostsEntry] = {}
    for number, line in enumerate(lines, 1):
        first, *names = line.partition(b"#")[0].split() or [b""]
        address = _address(first) if names else None
        if address is None:
            continue
        for raw in names:
            if not raw.isascii():
                continue
            name = raw.decode("ascii").lower().removesuffix(".")
            found[name] = _joined(found.get(name), address, f"{path}:{number}")
    return found


def _joined(entry: HostsEntry | None, address: Address, line: str) -> HostsEntry:
    if entry is None:
        return HostsEntry((address,), line)
    if address in entry.addresses or len(entry.addresses) >= ADDRESSES_PER_NAME:
        return entry
    return HostsEntry((*entry.addresses, address), entry.line)


def _address(text: bytes) -> Address | None:
    """The address of a line; forms such as `127.1` are refused here as libc refuses them there."""
    try:
        parsed = ipaddress.ip_address(text.decode("ascii"))
    except ValueError:
        return None
    return Address(str(parsed), parsed.version)
