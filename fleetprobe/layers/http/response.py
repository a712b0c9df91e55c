"""Reads one HTTP/1.1 response from any bytes, within bounds; no I/O (RFC 9112, framing by h11)."""

from __future__ import annotations

from enum import StrEnum

import h11

HEAD_BYTES = 64 * 1024
HEADERS = 500
INTERIM_RESPONSES = 10
EVENTS = 1_000
KEPT_BYTES = 64 * 1024
"""Of the body, kept for expectations."""
ENOUGH_BYTES = 256 * 1024
"""Of the body, read at all: a server that sent so much works."""
FIRST_BYTES = 64
"""Of everything, kept to name what was sent instead of HTTP."""


class Malformation(StrEnum):
    """What is wrong with a response, as far as framing goes."""

    NOT_HTTP = "not HTTP"
    HEAD_TOO_LONG = "head longer than 16 KiB"
    TOO_MANY_HEADERS = "more than 500 header fields"
    TOO_MANY_INTERIM = "more than 10 interim responses"
    TOO_MANY_EVENTS = "more than 1000 parts before the head was whole"
    FRAMING = "framing broken"


class Cut(StrEnum):
    """Why we stopped reading a body that was not at its end."""

    BYTES = "bytes"
    CHUNKS = "chunks"


class ResponseReader:
    """Feed it bytes until `done`. Nothing that a peer can send makes it raise."""

    def __init__(self) -> None:
        self._parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
        self._events = 0
        self._closed = False
        self.first = b""
        self.head: h11.Response | None = None
        self.interim = 0
        self.body = bytearray()
        self.body_bytes = 0
        self.complete = False
        self.cut: Cut | None = None
        self.malformation: Malformation | None = None
        self.detail = ""
        """The parser's own words about broken framing; for information only."""

    def ask(self, request: h11.Request) -> bytes:
        """The request on the wire."""
        head = self._parser.send(request)
        rest = self._parser.send(h11.EndOfMessage())
        return (head or b"") + (rest or b"")

    @property
    def done(self) -> bool:
        """Whether nothing more needs to be read."""
        return self.complete or self.cut is not None or self.malformation is not None

    def feed(self, data: bytes) -> None:
        """Take the next bytes; none means that the peer closed in order."""
        if self.done or self._closed:
            return
        self._closed = not data
        if len(self.first) < FIRST_BYTES:
            self.first = (self.first + data)[:FIRST_BYTES]
        if not _may_be_http(self.first):
            self.malformation = Malformation.NOT_HTTP
            return
        try:
            self._parser.receive_data(data)
            self._take_events()
        except h11.RemoteProtocolError as broken:
            self._refuse(broken)

    def look_closer(self, data: bytes) -> None:
        """More of what turned out not to be HTTP, so that it can be named."""
        self.first = (self.first + data)[:FIRST_BYTES]

    def header(self, name: bytes) -> bytes | None:
        """The first field of that name (lower case), if the head came."""
        if self.head is None:
            return None
        return next((value for field, value in self.head.headers if field == name), None)

    def _take_events(self) -> None:
        while not self.done:
            event = self._parser.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return
            self._events += 1
            self._take(event)
            if self._events >= EVENTS and not self.done:
                self._too_many_events()

    def _take(self, event: object) -> None:
        match event:
            case h11.InformationalResponse():
                self.interim += 1
                if self.interim > INTERIM_RESPONSES:
                    self.malformation = Malformation.TOO_MANY_INTERIM
            case h11.Response():
                self.head = event
                if len(event.headers) > HEADERS:
                    self.malformation = Malformation.TOO_MANY_HEADERS
            case h11.Data():
                self.body_bytes += len(event.data)
                self.body += event.data[: KEPT_BYTES - len(self.body)]
                if self.body_bytes >= ENOUGH_BYTES:
                    self.cut = Cut.BYTES
            case h11.EndOfMessage():
                self.complete = True

    def _too_many_events(self) -> None:
        if self.head is None:
            self.malformation = Malformation.TOO_MANY_EVENTS
        else:
            self.cut = Cut.CHUNKS

    def _refuse(self, broken: h11.RemoteProtocolError) -> None:
        """Broken framing, unless the peer closed in the middle: that is an end, not bad grammar."""
        if self._closed:
            return
        too_long = self.head is None and broken.error_status_hint == 431
        self.malformation = Malformation.HEAD_TOO_LONG if too_long else Malformation.FRAMING
        self.detail = str(broken)


def _may_be_http(first: bytes) -> bool:
    """Whether these are, or may still become, the first bytes of a status line."""
    return first.startswith(b"HTTP/") or b"HTTP/".startswith(first)
