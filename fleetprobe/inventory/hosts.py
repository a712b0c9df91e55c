"""Host names and addresses in their one canonical form, or the reason why there is none."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

import idna

from fleetprobe.inventory.refused import Refused, refuse_controls, shown

NAME_OCTETS = 253
_LABEL_OCTETS = 63

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
IPV4 = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
"""A canonical IPv4 address, as a pattern for `re`."""
_IPV4 = re.compile(IPV4)
_ASCII_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_ZONE = re.compile(r"[A-Za-z0-9._-]{1,15}")
_LINK_LOCAL = ipaddress.IPv6Network("fe80::/10")


def canonical_host(text: str) -> str:
    """
    `text` as a canonical IP address or an A-label name.

    Addresses: RFC 4291 and RFC 5952 text without brackets, `%zone` on link-local IPv6 only. Names: UTS 46
    mapping, then IDNA 2008 (RFC 5891) A-labels, lower case, no trailing dot, at most 253 octets; underscores
    are allowed. Whatever a resolver library would take for a number but is not written canonically
    (`127.1`, `0x7f.1`, full-width digits) is `Refused`, with the canonical form as a hint where one exists.
    """
    if _IPV4.fullmatch(text):
        return text
    if not text:
        raise Refused("the host is empty; write a name or an address")
    # Lengths come first: everything after them may cost more than one step per character.
    if len(text) > NAME_OCTETS:
        raise Refused(f"the host has {len(text)} characters; a name has at most {NAME_OCTETS}")
    refuse_controls("the host", text)
    if ":" in text:
        return _ipv6(text)
    return _ipv4_or_name(text)


@lru_cache(maxsize=256)
def canonical_name(what: str, text: str) -> str:
    """Like `canonical_host` for places where only a name makes sense, such as SNI (RFC 6066 §3)."""
    host = canonical_host(text)
    if ":" in host or is_ipv4(host):
        raise Refused(f"{what} {shown(text)} is an address; it must be a name")
    return host


def is_ipv4(host: str) -> bool:
    """Whether a canonical host is an IPv4 address: no canonical name ends in a number."""
    return host[-1].isdigit() and host.replace(".", "").isdigit()


def _ipv6(text: str) -> str:
    bare, percent, zone = text.partition("%")
    try:
        address = ipaddress.IPv6Address(bare)
    except ValueError:
        raise Refused(
            f"{shown(text)} is not an IPv6 address; write host:port, or [address]:port for IPv6"
        ) from None
    if address.ipv4_mapped is not None:
        raise Refused(f"{shown(text)} is an IPv4 address in IPv6 clothes; write {address.ipv4_mapped}")
    if not percent:
        return address.compressed
    if address not in _LINK_LOCAL:
        raise Refused(f"{shown(text)} has a zone, but only link-local addresses take one; drop the %zone")
    if not _ZONE.fullmatch(zone):
        raise Refused(
            f"zone {shown(zone)} is not an interface name; 1 to 15 of A-Z a-z 0-9 . _ - are allowed"
        )
    return f"{address.compressed}%{zone}"


def _ipv4_or_name(text: str) -> str:
    mapped = _mapped(text)
    name = mapped.removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _ipv4(text, labels)
    name = ".".join(_a_label(text, label) for label in labels)
    if len(name) > NAME_OCTETS:
        raise Refused(f"host {shown(text)} has {len(name)} octets as A-labels; the limit is {NAME_OCTETS}")
    return name


def _mapped(text: str) -> str:
    """`text` in lower case with compatibility forms replaced (UTS 46), so that look-alike digits show."""
    if text.isascii():
        return text.lower()
    try:
        return idna.uts46_remap(text, std3_rules=False, transitional=False)
    except idna.IDNAError as problem:
        raise Refused(f"host {shown(text)} is not a valid name ({_one_line(problem)})") from None


def _ipv4(text: str, labels: list[str]) -> str:
    meant = _ipv4_meant(labels)
    if meant == text:
        return meant
    if meant is None:
        raise Refused(f"host {shown(text)} ends in a number but is no IPv4 address; write it like 192.0.2.1")
    raise Refused(f"host {shown(text)} is an oddly spelt IPv4 address; write {meant} if that is meant")


def _ipv4_meant(labels: list[str]) -> str | None:
    """The address that inet_aton(3) would read from 1 to 4 decimal, octal or hexadecimal numbers."""
    if len(labels) > 4:
        return None
    try:
        numbers = [_c_number(label) for label in labels]
    except ValueError:
        return None
    *heads, last = numbers
    if any(number > 255 for number in heads) or last >= 256 ** (5 - len(numbers)):
        return None
    value = last + sum(number << (24 - 8 * place) for place, number in enumerate(heads))
    return str(ipaddress.IPv4Address(value))


def _c_number(label: str) -> int:
    if not label.isascii():
        raise ValueError
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    if not label.isdigit():
        raise ValueError
    return int(label, 8 if label.startswith("0") else 10)


def _a_label(text: str, label: str) -> str:
    if not label:
        raise Refused(f"host {shown(text)} has an empty label; put one dot between labels")
    if label.isascii() and not label.startswith("xn--"):
        if not _ASCII_LABEL.fullmatch(label):
            raise Refused(_label_problem(text, label))
        encoded = label
    else:
        encoded = _idna_label(text, label)
    if len(encoded) > _LABEL_OCTETS:
        raise Refused(f"host {shown(text)} has a label of {len(encoded)} octets; at most {_LABEL_OCTETS} fit")
    return encoded


def _idna_label(text: str, label: str) -> str:
    try:
        encoded = idna.alabel(label).decode("ascii")
    except (idna.IDNAError, UnicodeError) as problem:
        raise Refused(f"host {shown(text)} is not a valid IDNA 2008 name ({_one_line(problem)})") from None
    return encoded


def _label_problem(text: str, label: str) -> str:
    if label.startswith("-") or label.endswith("-"):
        return f"host {shown(text)} has a label that starts or ends with a hyphen; names do not"
    odd = next(char for char in label if not re.fullmatch(r"[a-z0-9_-]", char))
    return f"host {shown(text)} holds {shown(odd)}; names hold letters, digits, hyphens, underscores and dots"


def _one_line(problem: Exception) -> str:
    return ascii(str(problem))[1:-1][:120]
