"""The fix of a broken chain: a file to install, offered when OpenSSL has accepted exactly what it holds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import anyio

from fleetprobe.examination import Examination
from fleetprobe.layers.tls.again import file_of
from fleetprobe.layers.tls.certificate import Certificate, iso, read
from fleetprobe.model.trust import MACHINE, Trust
from fleetprobe.net.interface import Net
from fleetprobe.record.fix import Offer, Wanted, mendable, trusted, wanted, with_offer
from fleetprobe.sinks.fix_dir import FixDir, NotWritten

Row = dict[str, Any]
Find = Callable[[str], bytes | None]
"""A certificate in DER by its fingerprint (SHA-256, upper-case hex)."""

_WRITE_S: Final = 2.0
"""A file that takes longer is given up: its directory may be on a server that hangs."""
_REMEMBERED: Final = 10_000
_WHY: Final = {
    2: "its root is not trusted", 19: "its root is not trusted", 20: "its root is not trusted",
    9: "a certificate of it is not valid yet", 10: "a certificate of it has expired",
}
"""By X509_V number, of what the search can leave in a repaired path."""
_HEAD: Final = "What the server should send: its own certificate, then each issuer. The root is left to the clients."


def presented(result: Examination) -> dict[str, bytes]:
    """The certificates that the facts of an examination name, in DER by fingerprint."""
    named: dict[str, bytes] = {}
    for step in result.steps():
        named.update(getattr(step.facts, "named_certificates", {}))
    return named


class Mender:
    """Writes each chain once, however many targets lack it. Without a directory it only words the fix."""

    def __init__(self, net: Net, trust: Trust, directory: FixDir | None) -> None:
        """`trust` has the stores of the run."""
        self._net = net
        self._trust = trust
        self._directory = directory
        self._written: dict[tuple[tuple[str, ...], str], str] = {}
        self.complaint: str | None = None
        """What first went wrong with a file."""

    async def mend(self, row: Mapping[str, Any], find: Find) -> Row:
        """The columns of a result that the fix changes; `find` knows what its target presented."""
        code = mendable(row)
        if code is None:
            return {}
        chain = wanted(row)
        store = self._store(row)
        offer = Offer()
        if chain is not None and self._directory is not None:
            offer = await self._offer(self._directory, chain, store, find)
        return with_offer(row, code, chain, offer, None if store == MACHINE else store)

    def missing(self, row: Mapping[str, Any]) -> dict[str, bytes]:
        """Certificates that a result names and that its target did not present, by fingerprint."""
        chain = wanted(row) if mendable(row) else None
        found = {sha256: self._net.pool.der(sha256) for sha256 in (chain.found_at if chain else ())}
        return {sha256: der for sha256, der in found.items() if der is not None}

    def _store(self, row: Mapping[str, Any]) -> str:
        """The anchors that the target is held against, as `Net.verify` takes them."""
        label, own = trusted(row)
        store = own if own is not None or label is None else file_of(label, self._trust)
        return self._trust.of_run[0].file if store is None else store

    async def _offer(self, directory: FixDir, chain: Wanted, store: str, find: Find) -> Offer:
        known = self._written.get((chain.sha256, store))
        if known is not None:
            return Offer(known)
        ders = await self._certificates(chain, store, find)
        if ders is None:
            return Offer(refused="its certificates are not at hand")
        errors = (await self._net.verify(ders, store)).errors
        if errors:
            number, depth = errors[0]
            why = _WHY.get(number, "OpenSSL does not accept it")
            return Offer(refused=f"{why}: verify code {number} at depth {depth}")
        try:
            file = await _put(directory, ders, _about(chain, ders))
        except NotWritten as no:
            self.complaint = self.complaint or str(no)
            return Offer(refused=str(no))
        if len(self._written) < _REMEMBERED:
            self._written[chain.sha256, store] = file
        return Offer(file)

    async def _certificates(self, chain: Wanted, store: str, find: Find) -> Sequence[bytes] | None:
        """The chain in DER; what no host presented stands on the path that OpenSSL builds of the rest."""
        found = [find(sha256) or self._net.pool.der(sha256) for sha256 in chain.sha256]
        known = [der for der in found if der is not None]
        if len(known) < len(chain.sha256) and found[:1] != [None]:
            path = (await self._net.verify(known, store)).path_der
            known = [der for der in path if _sha256(der) in chain.sha256]
        return known if known and [_sha256(der) for der in known] == list(chain.sha256) else None


async def _put(directory: FixDir, ders: Sequence[bytes], about: Sequence[str]) -> str:
    """In a thread, as a disk may be slow; to its end even where the run is ended, as the result is not out yet."""
    with anyio.move_on_after(_WRITE_S, shield=True):
        return await anyio.to_thread.run_sync(directory.put, ders, about, abandon_on_cancel=True)
    raise NotWritten(f"its file was not written within {_WRITE_S:g} s")


def _about(chain: Wanted, ders: Sequence[bytes]) -> list[str]:
    """What stands above the certificates, for whoever opens the file."""
    lines = [_HEAD]
    for number, der in enumerate(ders, 1):
        one = read(der)
        if isinstance(one, Certificate):
            lines.append(f"{number}. {one.subject}")
            lines.append(f"   until {iso(one.not_after)}, SHA-256 {one.sha256}")
        if at := chain.found_at.get(one.sha256):
            lines.append(f"   {chain.address} does not send it; it is from {at}")
    return lines


def _sha256(der: bytes) -> str:
    return hashlib.sha256(der).hexdigest().upper()
