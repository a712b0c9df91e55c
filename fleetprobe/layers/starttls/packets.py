"""Dialogues in binary messages: PostgreSQL, MySQL and LDAP (RFC 4511)."""

from __future__ import annotations

import struct

from fleetprobe.layers.starttls.talk import (
    LINE_BYTES,
    Caller,
    Dialogue,
    Question,
    Reply,
    Stage,
    Word,
    begins,
    foreign,
    nothing,
)

# PostgreSQL, "Message Formats": SSLRequest is answered with one byte, S or N, or with an ErrorResponse.

_SSL_REQUEST = struct.pack(">II", 8, 80877103)
_ERROR_HEAD = 5


def _postgres(data: bytes) -> Reply | None:
    """Servers before 7.4, and newer ones that could not start, end the words of an error with a NUL and no length."""
    if not data:
        return None
    if data[:1] in (b"S", b"N"):
        return Reply(Word.READY if data[:1] == b"S" else Word.REFUSED, 1)
    if data[:1] != b"E":
        return foreign(data)
    if len(data) < _ERROR_HEAD:
        return None
    whole = 1 + int.from_bytes(data[1:_ERROR_HEAD], "big")
    if not _ERROR_HEAD <= whole <= LINE_BYTES:
        whole = data.find(b"\0", 1, LINE_BYTES) + 1
        if not whole:
            return foreign(data) if len(data) >= LINE_BYTES else None
    return Reply(Word.TURNED_AWAY, whole) if len(data) >= whole else None


POSTGRES = Dialogue((Question(Stage.UPGRADE, lambda _: _SSL_REQUEST, _postgres),))


# MySQL, "Connection Phase": HandshakeV10, then SSLRequest, and TLS at once without another word of the server.

_PACKET_HEAD = 4
_V10, _ERROR = 10, 0xFF
_OPENINGS = {0: (bytes([_V10]), bytes([_ERROR])), 1: (bytes([_ERROR]),)}
"""How packets of this number begin in the place of a greeting; proxies send their error as number 1."""
_CLIENT_SSL = 0x0800
_CAPABILITIES = 0x0200 | _CLIENT_SSL | 0x8000 | 0x80000
"""CLIENT_PROTOCOL_41, CLIENT_SSL, CLIENT_SECURE_CONNECTION, CLIENT_PLUGIN_AUTH."""
_UTF8 = 33
_BEFORE_CAPABILITIES = 13
"""Behind the server's version: connection id, eight bytes of nonce, a NUL."""


def _mysql(data: bytes) -> Reply | None:
    if len(data) < _PACKET_HEAD:
        return None
    whole = _PACKET_HEAD + int.from_bytes(data[:3], "little")
    if data[3] not in _OPENINGS or not _PACKET_HEAD < whole <= LINE_BYTES:
        return foreign(data)
    if not begins(data[_PACKET_HEAD : _PACKET_HEAD + 1], *_OPENINGS[data[3]]):
        return foreign(data)
    if len(data) < whole:
        return None
    payload = data[_PACKET_HEAD:whole]
    if payload[0] == _ERROR:
        return Reply(Word.TURNED_AWAY, whole)
    at = payload.find(b"\0", 1) + 1 + _BEFORE_CAPABILITIES
    if payload[0] != _V10 or at == _BEFORE_CAPABILITIES or len(payload) < at + 2:
        return foreign(data)
    offered = int.from_bytes(payload[at : at + 2], "little") & _CLIENT_SSL
    return Reply(Word.GOES_ON if offered else Word.NOT_OFFERED, whole)


def _mysql_request(_: Caller) -> bytes:
    payload = struct.pack("<IIB23x", _CAPABILITIES, 1 << 24, _UTF8)
    return len(payload).to_bytes(3, "little") + b"\1" + payload


def mysql_error(data: bytes) -> bool:
    """Whether this is the beginning of an ERR packet behind our request, in the place of TLS.

    Our request was packet 1; who did not take it for one, such as a proxy, counts from its own greeting.
    """
    return len(data) > _PACKET_HEAD and data[3] in (1, 2) and data[_PACKET_HEAD] == _ERROR


MYSQL = Dialogue((
    Question(Stage.GREETING, nothing, _mysql),
    Question(Stage.UPGRADE, _mysql_request, lambda _: Reply(Word.READY, 0), answered=False),
))


# LDAP, RFC 4511 §4.14: one extended operation. BER, of which only definite lengths are allowed (§5.1).

_STARTTLS = b"1.3.6.1.4.1.1466.20037"
_SEQUENCE, _INTEGER, _ENUMERATED, _EXTENDED_RESPONSE = 0x30, 0x02, 0x0A, 0x78
_MOST_LENGTH_BYTES = 4
_LDAP_REQUEST = (
    bytes([_SEQUENCE, len(_STARTTLS) + 7, _INTEGER, 1, 1, 0x77, len(_STARTTLS) + 2, 0x80, len(_STARTTLS)]) + _STARTTLS
)


def _ldap(data: bytes) -> Reply | None:
    """The answer bears our number; one with the number 0 ends the connection (RFC 4511 §4.4.1)."""
    if not begins(data[:1], bytes([_SEQUENCE])):
        return foreign(data)
    head = _content(data, 0)
    if head is None:
        return None
    start, end = head
    if end > LINE_BYTES:
        return foreign(data)
    if len(data) < end:
        return None
    word = _extended(data[start:end])
    return foreign(data) if word is None else Reply(word, end)


def ldap_result(data: bytes) -> int | None:
    """The resultCode of a whole answer (RFC 4511 §4.1.9); None where it holds none."""
    head = _content(data, 0)
    told = _numbers(data[head[0] :]) if head else None
    return told[1] if told else None


def _extended(message: bytes) -> Word | None:
    told = _numbers(message)
    if told is None:
        return None
    number, result = told
    if number != 1:
        return Word.TURNED_AWAY
    return Word.READY if result == 0 else Word.REFUSED


def _numbers(message: bytes) -> tuple[int, int] | None:
    """The message's number and the result of the extended operation in it."""
    number = _element(message, 0, _INTEGER)
    operation = number and _element(message, number[1], _EXTENDED_RESPONSE)
    result = operation and _element(message[: operation[1]], operation[0], _ENUMERATED)
    if not number or not result:
        return None
    return int.from_bytes(message[slice(*number)], "big"), int.from_bytes(message[slice(*result)], "big")


def _element(data: bytes, at: int, tag: int) -> tuple[int, int] | None:
    """Where the content of the element at this place is, if it has this tag, some content, and is all there."""
    if data[at : at + 1] != bytes([tag]):
        return None
    found = _content(data, at)
    return found if found and found[0] < found[1] <= len(data) else None


def _content(data: bytes, at: int) -> tuple[int, int] | None:
    """Start and end of the content of a BER element (X.690 §8.1.3); None while its head is not whole.

    A length of more than four bytes, or an indefinite one, is taken for one that no message has.
    """
    if len(data) < at + 2:
        return None
    first, start = data[at + 1], at + 2
    if first < 0x80:
        return start, start + first
    count = first & 0x7F
    if not 0 < count <= _MOST_LENGTH_BYTES:
        return start, start + (1 << 32)
    if len(data) < start + count:
        return None
    return start + count, start + count + int.from_bytes(data[start : start + count], "big")


LDAP = Dialogue((Question(Stage.UPGRADE, lambda _: _LDAP_REQUEST, _ldap),))
