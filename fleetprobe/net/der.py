"""Just enough DER (X.690) to find an extension of a certificate without reading the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

SEQUENCE: Final = 0x30
_BOOLEAN: Final = 0x01
_OCTET_STRING: Final = 0x04
_EXTENSIONS: Final = 0xA3
"""[3] of TBSCertificate (RFC 5280 §4.1); no other field of it bears this tag."""
ISSUER: Final = 3
SUBJECT: Final = 5
KEY: Final = 6
"""Positions among the fields of a TBSCertificate that states its version; one that does not has one field less."""
_VERSION: Final = 0xA0


@dataclass(frozen=True, slots=True)
class Element:
    """One value of the encoding, by positions in the bytes that it was found in."""

    tag: int
    start: int
    content: int
    end: int


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension of a certificate (RFC 5280 §4.2)."""

    critical: bool
    value: bytes
    whole: bytes
    """With identifier and flag, as it stands in the list."""


def elements(der: bytes, start: int = 0, end: int | None = None) -> Iterator[Element]:
    """The values that stand one behind the other; ValueError where a length is false."""
    end = len(der) if end is None else end
    while start < end:
        element = _element(der, start, end)
        yield element
        start = element.end


def extensions(der: bytes) -> Mapping[bytes, Sequence[Extension]]:
    """Those of a certificate, by the content of their identifiers; ValueError for what is no certificate."""
    listed = next((one for one in _fields(der) if one.tag == _EXTENSIONS), None)
    found: dict[bytes, list[Extension]] = {}
    if listed is None:
        return found
    inner = _element(der, listed.content, listed.end)
    for one in elements(der, inner.content, inner.end):
        kind, *rest = elements(der, one.content, one.end)
        if not rest or rest[-1].tag != _OCTET_STRING:
            raise ValueError("an extension without a value")
        critical = rest[0].tag == _BOOLEAN and der[rest[0].content : rest[0].end] != b"\0"
        value, whole = der[rest[-1].content : rest[-1].end], der[one.start : one.end]
        found.setdefault(der[kind.content : kind.end], []).append(Extension(critical, value, whole))
    return found


def with_extension(der: bytes, whole: bytes) -> bytes:
    """The certificate with this one extension and no other; its signature fits no more."""
    outer = _element(der, 0, len(der))
    body, *rest = elements(der, outer.content, outer.end)
    kept = b"".join(der[one.start : one.end] for one in _fields(der) if one.tag != _EXTENSIONS)
    tail = b"".join(der[one.start : one.end] for one in rest)
    listed = encode(_EXTENSIONS, encode(SEQUENCE, whole))
    return encode(SEQUENCE, encode(body.tag, kept + listed) + tail)


def field(der: bytes, position: int) -> bytes:
    """A field of the TBSCertificate as it stands there; ValueError where there is none."""
    fields = list(_fields(der))
    position -= not fields or fields[0].tag != _VERSION
    if len(fields) <= position:
        raise ValueError("no such field")
    return der[fields[position].start : fields[position].end]


def encode(tag: int, content: bytes) -> bytes:
    """One value with its tag and length."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + content


def _fields(der: bytes) -> Iterator[Element]:
    """The fields of the TBSCertificate."""
    outer = _element(der, 0, len(der))
    body = _element(der, outer.content, outer.end)
    return elements(der, body.content, body.end)


def _element(der: bytes, start: int, end: int) -> Element:
    if start + 2 > end:
        raise ValueError("cut short")
    tag, length, content = der[start], der[start + 1], start + 2
    if tag & 0x1F == 0x1F:
        raise ValueError("a tag of several bytes")
    if length & 0x80:
        size = length & 0x7F
        content += size
        length = int.from_bytes(der[start + 2 : content], "big")
        if not 0 < size <= 4 or content > end:
            raise ValueError("a length that cannot be")
    if content + length > end:
        raise ValueError("longer than what it stands in")
    return Element(tag, start, content, content + length)
