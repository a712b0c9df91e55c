"""The chain that a server should send, as far as a result knows it, and what the result says once it is a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fleetprobe.codes.command import CHAIN_FILE
from fleetprobe.codes.table import CODES
from fleetprobe.model.safe import printable
from fleetprobe.record.amend import target_of
from fleetprobe.record.result import fix_commands

Row = Mapping[str, Any]

MENDED: Final = frozenset(name for name, entry in CODES.items() if CHAIN_FILE in entry.fix_commands)
"""Codes that another chain file mends."""
_MOST_CHARS: Final = 160
_SUBJECT_CHARS: Final = 48
_SHA256_CHARS: Final = 16
_OURS: Final = ("fix_file", "fix_refused")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A chain by its fingerprints (SHA-256, upper-case hex)."""

    sha256: tuple[str, ...]
    """The leaf first, then each issuer; no root."""
    address: str
    """Who should send it."""
    found_at: Mapping[str, str]
    """Where those were found that it does not send."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What came of writing a chain down; neither: nobody asked for files."""

    file: str | None = None
    refused: str | None = None
    """Why there is none."""


def mendable(row: Row) -> str | None:
    """The code of a result that another chain file mends: the verdict's, or the first such finding's beside it."""
    told = (row["code"], *(one["code"] for one in row["findings"]))
    return next((code for code in told if code in MENDED), None)


def wanted(row: Row) -> Wanted | None:
    """The repaired chain of a result; where OpenSSL has nothing against the one that is sent, the tidy one."""
    facts: Row = next((one["facts"] for one in _tls(row)), {})
    repair = facts.get("repair")
    if repair:
        chain, found_at = repair["install_sha256"], {one["sha256"]: one["found_at"] for one in repair["missing"]}
    elif facts.get("trust_anchor") and not facts["verify_errors"]:
        chain, found_at = facts["path_sha256"][:-1] or facts["path_sha256"], {}
    else:
        return None
    return Wanted(tuple(chain), facts["address"], found_at)


def trusted(row: Row) -> tuple[str | None, str | None]:
    """The label of the store that the target was held against, and the bundle of its own."""
    facts: Row = next((one["facts"] for one in _tls(row)), {})
    return facts.get("trust"), facts.get("ca_file")


def with_offer(row: Row, code: str, chain: Wanted | None, offer: Offer, ca_file: str | None) -> dict[str, Any]:
    """The columns that change; `ca_file` is the one that the target is held against, None for the system's trust."""
    commands = fix_commands(code, target_of(row), row, {"chain": offer.file, "anchors": ca_file})
    columns: dict[str, Any] = {}
    if row["code"] == code:
        columns["fix_commands"] = commands
        if sentence := _sentence(row, offer):
            columns["fix"] = sentence[:_MOST_CHARS]
    elif offer.file:
        columns["fix_commands"] = list(dict.fromkeys((*row["fix_commands"], *commands)))
    if chain is not None and (offer.file or offer.refused):
        columns["layers"] = list(_told(row, chain, offer))
    return columns


def without_offer(row: Row) -> Row:
    """The result as it was judged."""
    return {**row, "layers": [_as_judged(one) for one in row["layers"]]}


def _as_judged(layer: Row) -> Row:
    facts = layer["facts"]
    if not facts.get("repair"):
        return layer
    repair = {name: value for name, value in facts["repair"].items() if name not in _OURS}
    return {**layer, "facts": {**facts, "repair": repair}}


def _tls(row: Row) -> Iterator[Row]:
    return (one for one in row["layers"] if one["layer"] == "tls")


def _told(row: Row, chain: Wanted, offer: Offer) -> Iterator[Row]:
    """The layers of a result, the facts of TLS with what came of the offer."""
    tls = next(_tls(row))
    facts = tls["facts"]
    tidy = {
        "install_sha256": list(chain.sha256), "missing": [], "verify_code": 0,
        "trust_anchor": facts.get("trust_anchor"),
    }
    name, value = ("fix_file", offer.file) if offer.file else ("fix_refused", offer.refused)
    repair = {**facts.get("repair", tidy), name: value}
    return ({**one, "facts": {**facts, "repair": repair}} if one is tls else one for one in row["layers"])


def _sentence(row: Row, offer: Offer) -> str | None:
    """Which file to install, or which certificate to add; None: what the table says is all there is to say."""
    repair: Row = next((one["facts"].get("repair") or {} for one in _tls(row)), {})
    missing = repair.get("missing")
    if not missing:
        return None
    if offer.file:
        # Its name, a fingerprint, would leave no room for a sentence.
        return "Install the file that the first command checks as the server's chain file, and reload the service."
    if row["code"] == "tls.missing_intermediate":
        return f"Add {_named(missing)} to the server's chain file, behind the leaf."
    return f"Put {_named(missing)} in place of the expired one." if repair["verify_code"] == 0 else None


def _named(missing: Sequence[Row]) -> str:
    first, more = missing[0], len(missing) - 1
    subject, at = printable(first["subject"], _SUBJECT_CHARS), printable(first["found_at"], _SUBJECT_CHARS)
    named = f"{subject} (SHA-256 {first['sha256'][:_SHA256_CHARS]}, from {at})"
    return f"{named} and {more} more" if more else named
