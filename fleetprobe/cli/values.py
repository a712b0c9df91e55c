"""What the text behind a flag means; a text that means nothing is a usage error naming the flag."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

import typer

from fleetprobe.engine.budget import Limit, Network
from fleetprobe.inventory.csv import MAPPABLE
from fleetprobe.inventory.refused import Refused, hide_secret, shown
from fleetprobe.inventory.trust import trust_label, trust_labels
from fleetprobe.model.trust import CA_FILE, CERTIFI, SYSTEM, Store, Trust, UnknownLabel
from fleetprobe.net.live.resolv_conf import parse_server
from fleetprobe.net.live.trust import certifi_file

_COUNT: Final = re.compile(r"[0-9]{1,9}")
_DAYS: Final = re.compile(r"([0-9]{1,5})d")
_RATE: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)/s")


def limit(flag: str, text: str, *, bare_is_rate: bool = False) -> Limit:
    """`N` at once, `M/s` started per second, or `N,M/s`; 0 lifts a limit. Raises BadParameter.

    With `bare_is_rate` a number alone is a rate.
    """
    at_once: int | None = None
    per_second: float | None = None
    parts = text.split(",")
    for part in (part.strip() for part in parts):
        rate = _RATE.fullmatch(part)
        if rate is None and bare_is_rate and len(parts) == 1:
            rate = _RATE.fullmatch(f"{part}/s")
        if rate is not None and per_second is None:
            per_second = float(rate[1])
        elif rate is None and _COUNT.fullmatch(part) and at_once is None:
            at_once = int(part)
        else:
            raise _bad(flag, f"{shown(text)} is no limit; write N, M/s or N,M/s, and 0 for none")
    return Limit(at_once or None, per_second or None)


def days(flag: str, text: str) -> timedelta:
    """`30d`, a number of days. Raises BadParameter."""
    found = _DAYS.fullmatch(text.strip())
    if found is None:
        raise _bad(flag, f"{shown(text)} is no number of days; write it like 30d")
    return timedelta(days=int(found[1]))


def networks(flag: str, texts: Sequence[str]) -> tuple[Network, ...]:
    """Networks in CIDR notation; a single address is a network of one. Raises BadParameter."""
    found: list[Network] = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text.strip()))
        except ValueError:
            example = "192.0.2.0/24 or 2001:db8::/32"
            raise _bad(flag, f"{shown(text)} is no network; write it like {example}") from None
    return tuple(found)


def resolvers(texts: Sequence[str]) -> tuple[str, ...] | None:
    """Nameservers as `address:port`; None when none is named. Raises BadParameter."""
    try:
        return tuple(str(parse_server(text.strip())) for text in texts) or None
    except ValueError:
        raise _bad(
            "--resolver", "a resolver is an address, like 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:53"
        ) from None


def trust(ca_file: str | None, labels: str | None, stores: Sequence[str]) -> Trust:
    """The stores of a run: the system's, certifi's where it is installed, and `NAME=PEM` each. Raises BadParameter."""
    known = {SYSTEM: Store(SYSTEM)}
    if (bundle := certifi_file()) is not None:
        known[CERTIFI] = Store(CERTIFI, bundle)
    for text in stores:
        store = _trust_store(text)
        if store.label in (SYSTEM, CERTIFI) or store.label in known:
            raise _bad("--trust-store", f"the name {store.label} is taken; give it another one")
        known[store.label] = store
    if ca_file == "":
        raise _bad("--ca-file", "the file has no name")
    if ca_file is not None and labels is not None:
        raise _bad("--trust", "--ca-file takes the place of every label; keep one of --trust and --ca-file")
    all_of_them = Trust(known=tuple(known.values()))
    try:
        of_run = all_of_them.named(trust_labels([labels])) if labels is not None else all_of_them.of_run
    except (Refused, UnknownLabel) as why:
        raise _bad("--trust", str(why)) from None
    return Trust(known=all_of_them.known, of_run=of_run if ca_file is None else (Store(CA_FILE, ca_file),))


def _trust_store(text: str) -> Store:
    name, _, file = text.partition("=")
    try:
        label = trust_label(name)
    except Refused as why:
        raise _bad("--trust-store", str(why)) from None
    if not file:
        raise _bad("--trust-store", f"{shown(text)} names no file; write it like corp=/etc/corp/ca.pem")
    return Store(label, file)


def mapping(texts: Sequence[str]) -> Mapping[str, str]:
    """`FIELD=COLUMN` pairs, several separated by commas. Raises BadParameter."""
    pairs: dict[str, str] = {}
    for text in (part for whole in texts for part in whole.split(",")):
        name, equals, column = text.partition("=")
        name = name.strip()
        if not equals or not column.strip():
            raise _bad("--map", f"{shown(text)} is no mapping; write host=COLUMN,port=COLUMN")
        if name not in MAPPABLE:
            raise _bad("--map", f"no field {shown(name)}; known are {', '.join(MAPPABLE)}")
        if name in pairs:
            raise _bad("--map", f"{name} is mapped twice")
        pairs[name] = column
    return pairs


def without_secrets(argv: Sequence[str]) -> list[str]:
    """The arguments as they may be recorded: what stands before an `@` could be a password."""
    return [hide_secret(argument) for argument in argv]


def _bad(flag: str, message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint=f"'{flag}'")
