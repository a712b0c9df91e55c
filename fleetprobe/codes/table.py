"""The whole table of codes, ourselves first and then bottom-up by layer, and the ways to look one up."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

from fleetprobe.codes.app import APP_CODES
from fleetprobe.codes.code import Code
from fleetprobe.codes.dns import DNS_CODES
from fleetprobe.codes.http import HTTP_CODES
from fleetprobe.codes.ip import IP_CODES
from fleetprobe.codes.link import LINK_CODES
from fleetprobe.codes.mtu import MTU_CODES
from fleetprobe.codes.own import OWN_CODES
from fleetprobe.codes.tcp import TCP_CODES
from fleetprobe.codes.tls import TLS_CODES
from fleetprobe.codes.tls_certificate import TLS_CERTIFICATE_CODES
from fleetprobe.codes.tls_chain import TLS_CHAIN_CODES

ROWS: Final[tuple[Code, ...]] = (
    *OWN_CODES,
    *LINK_CODES,
    *DNS_CODES,
    *IP_CODES,
    *TCP_CODES,
    *MTU_CODES,
    *TLS_CODES,
    *TLS_CHAIN_CODES,
    *TLS_CERTIFICATE_CODES,
    *HTTP_CODES,
    *APP_CODES,
)

CODES: Final[Mapping[str, Code]] = MappingProxyType({row.name: row for row in ROWS})
"""Every code by name, in the order of ROWS."""

CODE_LAYERS: Final[tuple[str, ...]] = tuple(dict.fromkeys(row.layer for row in ROWS))
"""The first words of all codes, in the order of ROWS."""


def code(name: str) -> Code:
    """Return the code of that name; KeyError with the nearest names if there is none."""
    try:
        return CODES[name]
    except KeyError:
        near = near_names(name)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise KeyError(f"no code {name!r}{hint}") from None


def near_names(name: str) -> tuple[str, ...]:
    """Return at most three names that look like this one, the likeliest first."""
    wanted = name.strip().lower()[:80]
    last_words = [known for known in CODES if known.partition(".")[2] == wanted]
    return tuple(dict.fromkeys([*last_words, *get_close_matches(wanted, CODES, n=3)]))[:3]


def codes_of(layer: str) -> tuple[Code, ...]:
    """Return the codes of one layer (`tls`, `local`, …) in table order; empty if there is no such layer."""
    return tuple(row for row in ROWS if row.layer == layer)
