"""One issuer that nobody knows, and that vouches for sites which have nothing to do with each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Row = Mapping[str, Any]

_MOST_ISSUERS: Final = 10_000
_MOST_SITES: Final = 16
_MANY: Final = 5
_UNTRUSTED, _UNKNOWN = "tls.untrusted_root", "tls.issuer_unknown"
_PRIVATE: Final = frozenset(
    {"corp", "home", "internal", "intranet", "lan", "local", "localdomain", "localhost", "private"}
)
"""Top-level names that nobody can register (RFC 6762 appendix G, RFC 6761, `internal` of ICANN): one owner each."""
_SHORT: Final = 3
"""A label of so few letters below a country's is taken for one like `co.uk`; there is no list of them here."""


class Issuers:
    """Collects while results pass by; bounded in issuers and in the sites of each."""

    def __init__(self) -> None:
        self._sites: dict[str, set[str]] = {}

    def see(self, row: Row) -> None:
        """Take note of who vouches for whom without being trusted."""
        issuer, site = _of(row)
        if issuer is None or site is None:
            return
        if issuer not in self._sites and len(self._sites) >= _MOST_ISSUERS:
            return
        sites = self._sites.setdefault(issuer, set())
        if len(sites) < _MOST_SITES:
            sites.add(site)

    def sites(self, row: Row) -> tuple[str, tuple[str, ...]] | None:
        """The issuer of this result and some of the many sites for which it vouches; None for an ordinary one."""
        issuer, _ = _of(row)
        sites = self._sites.get(issuer, set()) if issuer is not None else set()
        return (issuer, tuple(sorted(sites))) if issuer is not None and len(sites) >= _MANY else None


def _of(row: Row) -> tuple[str | None, str | None]:
    """Issuer of the leaf, and the site, of a result whose name is right and whose issuer nobody knows."""
    codes = {row["code"], *(one["code"] for one in row["findings"])}
    facts: Mapping[str, Any] = next((one["facts"] for one in row["layers"] if one["layer"] == "tls"), {})
    shown: Sequence[Mapping[str, Any]] = facts.get("certificates") or ({},)
    leaf, *above = shown
    if "tls.name_mismatch" in codes or not (_UNTRUSTED in codes or (_UNKNOWN in codes and _presented(leaf, above))):
        return None, None
    return leaf.get("issuer"), _site(facts.get("server_name", ""))


def _presented(leaf: Mapping[str, Any], above: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the issuer came along: of a leaf alone nobody knows but that its issuer is missing, which may be good."""
    return any(one.get("subject") == leaf.get("issuer") for one in above)


def _site(name: str) -> str | None:
    """The part of a name that somebody has registered, about; None for addresses and names without a dot."""
    labels = name.rstrip(".").lower().split(".")
    if len(labels) < 2 or ":" in name or labels[-1].isdigit():
        return None
    if labels[-1] in _PRIVATE or labels[-2:] == ["home", "arpa"]:
        return ".".join(labels[-2:] if labels[-1] == "arpa" else labels[-1:])
    wide = len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= _SHORT
    return ".".join(labels[-3 if wide else -2 :])
