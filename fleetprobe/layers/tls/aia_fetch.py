"""One fetch of an issuer: one GET without redirects, credentials or cookies, and certificates out of any bytes.

What comes back is never trusted. Whoever takes a certificate of it has to hold its signature against something.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any, Final

import h11
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from fleetprobe.layer import Errands
from fleetprobe.layers.http.response import ResponseReader
from fleetprobe.layers.sockets import attempt_of
from fleetprobe.layers.tls.aia_url import PORT, Place
from fleetprobe.model.attempt import Attempt
from fleetprobe.model.version import VERSION
from fleetprobe.net.interface import Address, Event, Net, Stream

FETCH_S: Final = 2.0
"""Connecting included; the name has the budget that every name has, as its answer may be a target's, too."""
_CONNECT_S: Final = 0.9
_MOST_ADDRESSES: Final = 2
MOST_BYTES: Final = 64 * 1024
_MOST_RAW_BYTES: Final = 3 * MOST_BYTES
_READ_BYTES: Final = 16 * 1024
_MOST_CERTIFICATES: Final = 16
_DETAIL_CHARS: Final = 200
PURPOSE: Final = "aia"


class Came(StrEnum):
    """What came of one URL."""

    ISSUER = "issuer"
    """A certificate whose key signed the one that named the URL."""
    STRANGER = "other certificate"
    ODD_URL = "url refused"
    NO_ADDRESS = "no address"
    DENIED = "address denied"
    UNREACHED = "not connected"
    REDIRECT = "redirect"
    STATUS = "status"
    TOO_LARGE = "too large"
    TOO_SLOW = "too slow"
    BROKEN = "broken response"
    UNREADABLE = "no certificate"
    NOT_ASKED = "not asked"
    """In time, or at all, as so many others were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The outcome of one URL. `ISSUER` and `STRANGER` are for whoever asked to tell apart."""

    url: str
    came: Came
    detail: str = ""
    size_bytes: int = 0
    duration_ms: float = 0.0
    certificates: tuple[bytes, ...] = ()
    """In DER."""
    attempts: tuple[Attempt, ...] = ()

    def record(self) -> Mapping[str, Any]:
        """As JSON-ready values."""
        told = {
            "url": self.url, "outcome": str(self.came), "detail": self.detail[:_DETAIL_CHARS] or None,
            "bytes": self.size_bytes, "duration_ms": round(self.duration_ms, 3),
        }
        return {name: value for name, value in told.items() if value is not None}


async def fetch(where: Place, net: Net, errands: Errands, name_s: float) -> Fetched:
    """Resolve, be admitted, ask. A name may take `name_s` seconds."""
    started = net.now()
    addresses = await _addresses(where, net, name_s)
    if not addresses:
        return Fetched(url=where.url, came=Came.NO_ADDRESS, duration_ms=(net.now() - started) * 1000.0)
    for address in addresses:
        # One bad address is enough: a name that mixes them is not meant well.
        if denied := errands.denied(address):
            return Fetched(
                url=where.url, came=Came.DENIED, detail=denied, duration_ms=(net.now() - started) * 1000.0
            )
    return await _in_turn(where, addresses[:_MOST_ADDRESSES], net, errands)


async def _addresses(where: Place, net: Net, name_s: float) -> Sequence[Address]:
    if where.address is not None:
        return (where.address,)
    return (await net.resolve(where.host, net.now() + name_s)).addresses


async def _in_turn(where: Place, addresses: Sequence[Address], net: Net, errands: Errands) -> Fetched:
    """The first address that takes the connection; all of them together have the budget of one."""
    told = Fetched(url=where.url, came=Came.NO_ADDRESS)
    for address in addresses:
        ask = partial(_ask, where, address, net, FETCH_S - told.duration_ms / 1000.0)
        last = await errands.admitted(address, ask)
        spent_ms = told.duration_ms + last.duration_ms
        told = replace(last, attempts=(*told.attempts, *last.attempts), duration_ms=spent_ms)
        if told.came is not Came.UNREACHED:
            break
    return told


async def _ask(where: Place, address: Address, net: Net, budget_s: float) -> Fetched:
    started = net.now()
    until_s = started + budget_s
    dial, stream = await net.dial(address, PORT, min(until_s, started + _CONNECT_S))
    attempt = attempt_of(dial, PURPOSE)
    came, detail, reader = Came.UNREACHED, attempt.outcome, ResponseReader()
    if stream is not None:
        try:
            came, detail, reader = await _exchange(where, stream, until_s)
        finally:
            stream.abort()
    found = certificates_in(bytes(reader.body)) if came is Came.STRANGER else ()
    return Fetched(
        url=where.url, came=Came.UNREADABLE if came is Came.STRANGER and not found else came, detail=detail,
        size_bytes=reader.body_bytes, duration_ms=(net.now() - started) * 1000.0,
        certificates=found, attempts=(attempt,),
    )


async def _exchange(where: Place, stream: Stream, until_s: float) -> tuple[Came, str, ResponseReader]:
    """STRANGER stands for a whole answer whose body is still to be looked at."""
    reader, raw_bytes = ResponseReader(), 0
    sent = await stream.send(reader.ask(_request(where)), until_s)
    if sent.event is not Event.DONE:
        return Came.BROKEN, str(sent.event), reader
    while not reader.done:
        got = await stream.receive(_READ_BYTES, until_s)
        raw_bytes += len(got.data)
        if got.data or got.event is Event.CLOSED:
            reader.feed(got.data)
        if (refused := _refused(reader)) is not None:
            return *refused, reader
        if raw_bytes > _MOST_RAW_BYTES:
            return Came.TOO_LARGE, "", reader
        if not got.data and not reader.done:
            slow = got.event is Event.SILENT
            return Came.TOO_SLOW if slow else Came.BROKEN, str(got.event), reader
    return (Came.STRANGER, "", reader) if reader.complete else (Came.TOO_LARGE, str(reader.cut), reader)


def _request(where: Place) -> h11.Request:
    """The least that a server needs."""
    headers = [
        ("Host", where.host),
        ("User-Agent", f"fleetprobe/{VERSION}"),
        ("Accept", "application/pkix-cert, application/pkcs7-mime"),
        ("Connection", "close"),
    ]
    return h11.Request(method="GET", target=where.path, headers=headers)


def _refused(reader: ResponseReader) -> tuple[Came, str] | None:
    """Why we read no further, as soon as it can be known."""
    if reader.malformation is not None:
        return Came.BROKEN, str(reader.malformation)
    if reader.head is None:
        return None
    status = reader.head.status_code
    if 300 <= status <= 399:
        return Came.REDIRECT, str(status)
    if status != 200:
        return Came.STATUS, str(status)
    declared = reader.header(b"content-length")
    if reader.body_bytes > MOST_BYTES or (declared is not None and int(declared) > MOST_BYTES):
        return Came.TOO_LARGE, ""
    return None


def certificates_in(body: bytes) -> tuple[bytes, ...]:
    """Certificates in DER, at most 16: one as DER, any number as PEM, or certs-only PKCS#7 in either. Never raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for reading in (_der, _pem, pkcs7.load_der_pkcs7_certificates, pkcs7.load_pem_pkcs7_certificates):
            try:
                found = reading(body)[:_MOST_CERTIFICATES]
                return tuple(dict.fromkeys(one.public_bytes(Encoding.DER) for one in found))
            except Exception:  # noqa: BLE001  # a stranger's bytes: whatever is raised means another form
                continue
    return ()


def _der(body: bytes) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(body)]


def _pem(body: bytes) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(body)
