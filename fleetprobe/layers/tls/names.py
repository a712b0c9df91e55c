"""Whether a certificate is for the name that was asked, and if not, how near it comes (RFC 9525)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache

import idna

from fleetprobe.layers.tls.certificate import Certificate

_NEAR = 8
_WWW = "www."
_NAME_CHARS = 253
_LABEL, _INNER = re.compile(r"[a-z0-9-]+"), re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
"""What OpenSSL lets a `*` stand for, and each label behind one be."""
_DEVIATIONS = str.maketrans({"\u00df": "ss", "\u03c2": "\u03c3", "\u200c": None, "\u200d": None})
"""What IDNA 2003 wrote otherwise, or left out (UTS 46 §2.2): sharp s, the sigma at a word's end, two joiners."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Why no name fits."""

    reason: str
    """no_san, cn_only, not_in_san, ip_not_in_san, ip_in_dns_san, wildcard_covers_one_label,
    wildcard_does_not_cover_apex, wildcard_too_wide, wildcard_label, partial_wildcard, trailing_dot, idna, www."""
    near: tuple[str, ...]
    """Names of the certificate that come close, at most 8; otherwise its first ones."""


def canonical(asked: str) -> str:
    """A name in lower case without trailing dot, or an address in canonical form without zone."""
    name = asked.rstrip(".").lower()
    return address_of(name) or name


@lru_cache(maxsize=256)
def address_of(name: str) -> str | None:
    """The canonical form when the name is an IP literal, else None."""
    try:
        return str(ipaddress.ip_address(name.partition("%")[0]))
    except ValueError:
        return None


def mismatch(certificate: Certificate, asked: str) -> Mismatch | None:
    """None when a subject alternative name covers what was asked; the common name never counts."""
    name = canonical(asked)
    if address_of(name) is not None:
        return _address_mismatch(certificate, name)
    if any(covers(pattern, name) for pattern in certificate.dns_names):
        return None
    near = [(pattern, why) for pattern in certificate.dns_names if (why := _near_miss(pattern, name))]
    if (old := _as_of_2003(name)) is not None:
        near[:0] = [(pattern, "idna") for pattern in certificate.dns_names if covers(pattern, old)]
    if near:
        return Mismatch(near[0][1], tuple(pattern for pattern, _ in near[:_NEAR]))
    return _unrelated(certificate, name, "not_in_san")


def covers(pattern: str, name: str) -> bool:
    """Whether a DNS name of a certificate covers a canonical name.

    `*` stands for exactly one whole label, the left-most, and only above at least two further labels. A name with a
    trailing dot covers nothing (RFC 5280 §4.2.1.6 wants the preferred syntax of RFC 1034, which has none): OpenSSL
    and Go take off that of the name asked for and not this one. Where a `*` stands, OpenSSL takes letters, digits and
    hyphens alone, in the label that it covers and in those behind it (X509_check_host(3)): no underscores.
    """
    pattern = pattern.lower()
    return pattern == name or (_star_covers(pattern, name) and _plain_labels(pattern, name))


def _star_covers(pattern: str, name: str) -> bool:
    star, _, parent = pattern.partition(".")
    label, _, rest = name.partition(".")
    return star == "*" and "." in parent and bool(label) and rest == parent


def _plain_labels(pattern: str, name: str) -> bool:
    """Whether a `*` may stand before these labels and for that of the name, as OpenSSL has it."""
    label = name.partition(".")[0]
    return _LABEL.fullmatch(label) is not None and all(_INNER.fullmatch(one) for one in pattern.split(".")[1:])


def _near_miss(pattern: str, name: str) -> str | None:
    if pattern.endswith(".") and covers(pattern[:-1], name):
        return "trailing_dot"
    if not pattern.isascii():
        return "idna" if covers(_a_labels(pattern), name) else None
    pattern = pattern.lower()
    if _WWW + pattern == name or _WWW + name == pattern:
        return "www"
    star, _, parent = pattern.partition(".")
    if "*" not in star or not parent:
        return None
    if star != "*":
        return "partial_wildcard" if name.partition(".")[2] == parent else None
    if _star_covers(pattern, name):
        return "wildcard_label"
    if name == parent:
        return "wildcard_does_not_cover_apex"
    if not name.endswith("." + parent):
        return None
    return "wildcard_covers_one_label" if "." in parent else "wildcard_too_wide"


def _a_labels(pattern: str) -> str:
    """A name with letters beyond ASCII as it should stand in a certificate (RFC 5280 §7.2); empty where it cannot."""
    star, rest = ("*.", pattern[2:]) if pattern.startswith("*.") else ("", pattern)
    try:
        return star + idna.encode(rest[:_NAME_CHARS], uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return ""


def _as_of_2003(name: str) -> str | None:
    """The A-labels that IDNA 2003 would have made of this name, where they are others: ss for sharp s."""
    if "xn--" not in name:
        return None
    try:
        encoded = idna.encode(idna.decode(name[:_NAME_CHARS]).translate(_DEVIATIONS)).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return None
    return encoded if encoded != name else None


def _address_mismatch(certificate: Certificate, name: str) -> Mismatch | None:
    if name in certificate.ip_addresses:
        return None
    if name in certificate.dns_names:
        return Mismatch("ip_in_dns_san", (name,))
    return _unrelated(certificate, name, "ip_not_in_san")


def _unrelated(certificate: Certificate, name: str, reason: str) -> Mismatch:
    names = (*certificate.dns_names, *certificate.ip_addresses)
    if names:
        return Mismatch(reason, names[:_NEAR])
    common_name = certificate.common_name
    if common_name is not None and (common_name.lower() == name or covers(common_name, name)):
        return Mismatch("cn_only", (common_name,))
    return Mismatch("no_san", ())
