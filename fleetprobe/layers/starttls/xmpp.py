"""The dialogue of XMPP (RFC 6120 §5.4): two streams of XML, of which only a few tags are looked for.

No XML parser reads what a stranger sends; what is sought stands in the clear between `<` and `>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
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

_NAME = rb"[A-Za-z_\x80-\xff][\w.\x80-\xff-]*"
_PROLOG = re.compile(rb"\s*<\?xml[^<>]{0,256}\?>\s*")
_HEAD = re.compile(rb"\s*<(?:%b:)?stream(?:\s[^<>]*)?>" % _NAME)
_HEAD_BEGUN = re.compile(rb"\s*(?:<(?:%b[^<>]*)?)?\Z" % _NAME)
_TAG = re.compile(rb"<(/?)(?:%b:)?(%b)(?:\s[^<>]*?)?(/?)>" % (_NAME, _NAME))
"""Prefixes are the server's own choice (XML namespaces), so that names are looked at without."""
_TAG_BEGUN = re.compile(rb"</?(?:%b[^<>]*)?\Z" % _NAME)
_SPACE = re.compile(rb"\s*(?:<|\Z)")
_MESSAGE_BYTES = 4 * LINE_BYTES
"""Of features: login mechanisms and certificates' hints make them longer than a line."""


def _stream(caller: Caller) -> bytes:
    return (
        f"<?xml version='1.0'?><stream:stream to={quoteattr(caller.name)} version='1.0' "
        "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
    ).encode()


@dataclass(frozen=True, slots=True)
class _Element:
    """A whole element, or, without a name, what no stream may hold here."""

    name: bytes
    children: tuple[bytes, ...] = ()
    empty: bool = True
    end: int = 0


_MISPLACED = _Element(b"")


def _tags(data: bytes, at: int) -> Iterator[re.Match[bytes] | None]:
    """Tag after tag, as far as they are whole; None for a comment or the like, which are forbidden (RFC 6120 §11.1)."""
    while (at := data.find(b"<", at)) >= 0:
        tag = _TAG.match(data, at)
        if tag is None:
            if not _TAG_BEGUN.match(data, at):
                yield None
            return
        yield tag
        at = tag.end()


def _element(data: bytes, at: int) -> _Element | None:
    """The next one, when all of it is there; only space may stand before it."""
    if not _SPACE.match(data, at):
        return _MISPLACED
    depth, name, inner, children = 0, b"", 0, list[bytes]()
    for tag in _tags(data, at):
        if tag is None or (tag[1] and not depth):
            return _MISPLACED
        if not depth:
            name, inner = tag[2], tag.end()
        elif depth == 1 and not tag[1]:
            children.append(tag[2])
        if not tag[3]:
            depth += -1 if tag[1] else 1
        if not depth:
            return _Element(name, tuple(children), not data[inner : tag.start()].strip(), tag.end())
    return None


def _features(data: bytes) -> Reply | None:
    """The head of the stream, which stays open, then its features; an error ends it (RFC 6120 §4.9.1.1)."""
    prolog = _PROLOG.match(data)
    start = prolog.end() if prolog else 0
    head = _HEAD.match(data, start)
    if head is None:
        begun = _HEAD_BEGUN.match(data, start) or (not prolog and begins(data.lstrip(), b"<?xml"))
        return None if begun and len(data) <= _MESSAGE_BYTES else foreign(data)
    at = head.end()
    while (one := _element(data, at)) is not None:
        if one.name == b"features":
            return Reply(Word.GOES_ON if b"starttls" in one.children else Word.NOT_OFFERED, one.end)
        if one.name == b"error":
            return Reply(Word.TURNED_AWAY, one.end)
        if not one.name:
            return foreign(data)
        at = one.end
    return foreign(data) if len(data) > _MESSAGE_BYTES else None


def _proceed(data: bytes) -> Reply | None:
    """To the last byte: not even a space may follow (RFC 6120 §5.3.2)."""
    one = _element(data, 0)
    if one is None:
        return foreign(data) if len(data) > LINE_BYTES else None
    word = _ANSWERS.get(one.name)
    if word is None or (word is Word.READY and not one.empty):
        return foreign(data)
    return Reply(word, one.end)


_ANSWERS = {b"proceed": Word.READY, b"failure": Word.REFUSED, b"error": Word.TURNED_AWAY}


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
