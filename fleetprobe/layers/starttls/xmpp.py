"""The dialogue of XMPP (RFC 6120 §5.4): two streams of XML, of which only a few tags are looked for.

No XML parser reads what a stranger sends; what is sought stands in the clear between `<` and `>`.
"""

from __future__ import annotations

import re
from xml.sax.saxutils import quoteattr

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
)

_PROLOG = re.compile(rb"\s*<\?xml[^<>]{0,256}\?>\s*")
_FEATURES_END = re.compile(rb"</stream:features\s*>\s*|<stream:features\s*/>\s*")
_OFFER = re.compile(rb"<starttls[\s/>]")
_ERROR, _ERROR_END = b"<stream:error", re.compile(rb"</stream:(error|stream)\s*>")
_PROCEED = re.compile(rb"\s*<proceed(\s[^<>]*)?(/>|>\s*</proceed\s*>)")
_FAILURE = re.compile(rb"\s*<failure(\s[^<>]*)?(/>|>)")
_MESSAGE_BYTES = 4 * LINE_BYTES
"""Of features: login mechanisms and certificates' hints make them longer than a line."""


def _stream(caller: Caller) -> bytes:
    return (
        f"<?xml version='1.0'?><stream:stream to={quoteattr(caller.name)} version='1.0' "
        "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
    ).encode()


def _features(data: bytes) -> Reply | None:
    prolog = _PROLOG.match(data)
    opening = data[prolog.end() :] if prolog else data.lstrip()
    if not begins(opening, b"<stream:stream", *(() if prolog else (b"<?xml",))) or len(data) > _MESSAGE_BYTES:
        return foreign(data)
    if _ERROR in opening:
        return _error(data, data.index(_ERROR))
    end = _FEATURES_END.search(data)
    if end is None:
        return None
    return Reply(Word.GOES_ON if _OFFER.search(data, 0, end.end()) else Word.NOT_OFFERED, end.end())


def _error(data: bytes, start: int) -> Reply | None:
    """An error ends the stream (RFC 6120 §4.9.1.1)."""
    end = _ERROR_END.search(data, start)
    return Reply(Word.TURNED_AWAY, end.end()) if end else None


def _proceed(data: bytes) -> Reply | None:
    """To the last byte: not even a space may follow (RFC 6120 §5.3.2)."""
    if agreed := _PROCEED.match(data):
        return Reply(Word.READY, agreed.end())
    if refused := _FAILURE.match(data):
        return Reply(Word.REFUSED, refused.end())
    words = data.lstrip()
    if words.startswith(_ERROR) and len(data) <= LINE_BYTES:
        return _error(data, 0)
    known = begins(words, b"<proceed", b"<failure", _ERROR)
    return None if known and len(data) <= LINE_BYTES else foreign(data)


XMPP = Dialogue(
    (
        Question(Stage.CAPABILITIES, _stream, _features),
        Question(
            Stage.UPGRADE, lambda _: b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", _proceed,
        ),
    ),
    # Some servers keep a connection alive with spaces (RFC 6120 §4.6.1).
    bytes.strip,
)
